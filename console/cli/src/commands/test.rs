//! `recarga test`: the workspace's tests, against stores that are thrown away afterwards.

use std::{ffi::OsString, os::unix::process::ExitStatusExt as _};

use anyhow::{Context as _, Result};
use host::Scratch;

use super::doctor;
use crate::{
    arguments::Test,
    terminal::{say, tell},
};

pub async fn run(arguments: Test) -> Result<u8> {
    doctor::ensure(arguments.yes)?;
    let browser = !opens_pages(&arguments.arguments) || has_browser(arguments.yes);
    let program = std::env::current_exe().context("finding this program's own file")?;
    let scratch = Scratch::start(&program).await?;
    say("PostgreSQL and Redis for the tests are up");
    // The tests get the signals of the terminal themselves; this only outlives them to clean up.
    let shutdown = kit::Shutdown::on_signals()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tokio::process::Command::new(cargo);
    command.arg("test");
    if !names_packages(&arguments.arguments) {
        command.arg("--workspace");
    }
    command
        .args(&arguments.arguments)
        .env("DATABASE_URL", scratch.database_url())
        .env("RECARGA_TEST_REDIS_URL", scratch.redis_url())
        .kill_on_drop(true);
    if !browser {
        command.env("RECARGA_TEST_BROWSER", "none");
    }
    let status = async {
        let mut child = command.spawn().context("starting cargo test")?;
        tokio::select! {
            status = child.wait() => status.context("waiting for cargo test"),
            () = shutdown.requested() => {
                let _ = child.kill().await;
                child.wait().await.context("waiting for cargo test")
            }
        }
    }
    .await;
    if let Err(error) = scratch.stop().await {
        tell(format_args!("warning: {error}"));
    }
    let status = status?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Installs a browser where there is none. All else is tested without one, and it is said what is not.
fn has_browser(yes: bool) -> bool {
    let why = match doctor::ensure_browser(yes) {
        Ok(true) => return true,
        Ok(false) => "this system has no Chromium to install".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    tell(format_args!(
        "warning: {why}: the tests of the web page are SKIPPED"
    ));
    false
}

/// `--workspace` would win over the packages that were asked for.
fn names_packages(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .take_while(|argument| *argument != "--")
        .any(|argument| {
            argument.starts_with("-p")
                || argument.starts_with("--package")
                || argument == "--workspace"
        })
}

/// Whether the tests of this package, which steer a browser, are among those asked for.
fn opens_pages(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .take_while(|argument| *argument != "--")
        .collect();
    !names_packages(arguments)
        || words.iter().any(|word| {
            let name = word.strip_prefix("--package=").or(word.strip_prefix("-p"));
            matches!(name.unwrap_or(word), "cli" | "--workspace")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_needed_only_where_one_is_opened() {
        for (words, expected) in [
            (&[][..], true),
            (&["-p", "cli"], true),
            (&["--package=cli"], true),
            (&["-pcli", "--test", "browser"], true),
            (&["--workspace"], true),
            (&["-p", "travel"], false),
            (&["-p", "travel", "--", "cli"], false),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(opens_pages(&words), expected, "{words:?}");
        }
    }

    #[test]
    fn packages_are_found_among_cargos_own_arguments() {
        for (words, expected) in [
            (&["-p", "travel"][..], true),
            (&["--package=travel"], true),
            (&["--", "-p"], false),
            (&["--lib"], false),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(names_packages(&words), expected, "{words:?}");
        }
    }
}
