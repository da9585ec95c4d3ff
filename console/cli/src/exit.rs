//! Exit codes, and how a failure is told.

use std::process::ExitCode;

use crate::terminal::tell;

/// Everything went well.
pub const SUCCESS: u8 = 0;
/// Something failed, and the words say what.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// PostgreSQL or Redis is missing on this machine.
pub const MISSING: u8 = 3;
/// A port is taken by another program.
pub const PORT_TAKEN: u8 = 4;
/// No lab is running here.
pub const NOT_RUNNING: u8 = 5;
/// An invariant does not hold.
pub const VIOLATED: u8 = 6;
/// An invariant could not be checked; those that could, hold.
pub const UNCHECKED: u8 = 7;
/// A limit that was set was broken, or a lab's check failed.
pub const LIMIT: u8 = 8;
/// Stopped by a signal before the work was done.
pub const INTERRUPTED: u8 = 130;

/// Shown at the end of `--help`.
pub const HELP: &str = "\
Exit codes:
  0    done
  1    failed; the words say why
  2    the command line is wrong
  3    PostgreSQL or Redis is missing (see `recarga doctor`)
  4    a port is taken by another program
  5    no lab is running in this folder
  6    `recarga verify` or `recarga chaos`: an invariant is violated
  7    `recarga verify`: an invariant could not be checked; those that could, hold
  8    `recarga top`: a limit was broken; `recarga lab run`: a check failed
  130  stopped by a signal before it was done
`recarga test` passes the exit code of the tests on.";

/// Prints a failure with its causes and chooses the code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    tell(format_args!("recarga: {}", words(error)));
    ExitCode::from(code_of(error))
}

/// A failure with its causes, but none that the words before it end with: some errors tell theirs themselves.
fn words(error: &anyhow::Error) -> String {
    let mut causes = error.chain().map(ToString::to_string);
    let mut last = causes.next().unwrap_or_default();
    let mut words = last.clone();
    for cause in causes {
        if !last.ends_with(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
        last = cause;
    }
    words
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<host::Error>() {
        Some(host::Error::Missing { .. }) => MISSING,
        Some(host::Error::PortTaken { .. }) => PORT_TAKEN,
        Some(host::Error::NotRunning { .. }) => NOT_RUNNING,
        Some(host::Error::Interrupted) => INTERRUPTED,
        _ => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::anyhow;

    use super::words;

    #[test]
    fn a_cause_is_told_once() {
        // It tells its cause itself.
        let error = proof::journal::Journal::load(Path::new("/nowhere/at/all")).unwrap_err();
        let told = error.to_string();
        let error = anyhow::Error::new(error).context("verifying");
        assert_eq!(words(&error), format!("verifying: {told}"));
        let error = anyhow!("the end").context("the middle").context("first");
        assert_eq!(words(&error), "first: the middle: the end");
    }
}
