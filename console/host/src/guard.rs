//! The guard: stands between the supervisor and a store, so that the store ends with the supervisor however that ends.
//!
//! The supervisor holds the other end of the guard's standard input. When it closes, for whatever reason, the guard
//! stops its child in order. On Linux the child is also told by the kernel when the guard itself is killed.

use std::{
    ffi::OsString,
    io::Read as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::ExitStatus,
    str::FromStr,
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::{
    account::Account,
    error::{Error, Result},
    processes,
};

/// The signal that asks a store to stop in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// PostgreSQL's fast shutdown.
    Int,
    /// Redis's.
    Term,
}

impl StopSignal {
    fn number(self) -> Signal {
        match self {
            Self::Int => Signal::INT,
            Self::Term => Signal::TERM,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Term => "term",
        }
    }
}

impl FromStr for StopSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "int" => Ok(Self::Int),
            "term" => Ok(Self::Term),
            other => Err(format!("{other} is neither int nor term")),
        }
    }
}

/// What to run and how to stop it.
#[derive(Clone, Debug)]
pub struct Options {
    pub command: Vec<OsString>,
    pub account: Option<Account>,
    pub signal: StopSignal,
    /// How long the child may take to stop before it is killed.
    pub patience: Duration,
}

/// The name of the hidden subcommand that becomes the store; see [`become_child`].
pub const CHILD_COMMAND: &str = "guard-child";

/// Runs the command until it ends, the supervisor is gone, or a signal asks to stop; returns the exit code.
pub async fn run(options: Options) -> Result<i32> {
    let failed = || Error::doing("guarding a store");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed())?;
    let parent_gone = watch_standard_input();

    let mut child = start(&options)?;
    tokio::select! {
        status = child.wait() => return Ok(code(status.map_err(failed())?)),
        _ = parent_gone => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    let Some(pid) = child.id() else {
        return Ok(code(child.wait().await.map_err(failed())?));
    };
    processes::signal(pid, options.signal.number());
    let in_order = tokio::time::timeout(options.patience, child.wait()).await;
    let status = if let Ok(status) = in_order {
        status
    } else {
        processes::signal(pid, Signal::KILL);
        child.wait().await
    };
    Ok(code(status.map_err(failed())?))
}

/// Ends when the other end of standard input is closed; a thread, because a pipe's end can only be read for.
fn watch_standard_input() -> tokio::sync::oneshot::Receiver<()> {
    let (gone, watch) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut input = std::io::stdin().lock();
        while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
        let _ = gone.send(());
    });
    watch
}

fn start(options: &Options) -> Result<Child> {
    let [program, arguments @ ..] = &options.command[..] else {
        return Err(Error::Invalid("guard: no command given".to_owned()));
    };
    let mut command = if cfg!(target_os = "linux") {
        // By this name the account finds the binary even where it may not walk the path to it.
        let mut command = Command::new("/proc/self/exe");
        command
            .args([CHILD_COMMAND, options.signal.name()])
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .current_dir("/")
        .process_group(0);
    if let Some(account) = options.account {
        command.uid(account.uid).gid(account.gid);
    }
    command
        .spawn()
        .map_err(Error::doing(format!("starting {}", program.display())))
}

/// Asks the kernel for the signal when the guard dies, then becomes the store. Returns only when that fails.
#[must_use]
pub fn become_child(stop_signal: StopSignal, guard_pid: u32, command: &[OsString]) -> Error {
    let [program, arguments @ ..] = command else {
        return Error::Invalid("guard: no command given".to_owned());
    };
    #[cfg(target_os = "linux")]
    {
        let wanted = Some(stop_signal.number());
        if let Err(error) = rustix::process::set_parent_process_death_signal(wanted) {
            return Error::doing("asking to be told when the guard dies")(error.into());
        }
    }
    // The guard may have died before it was asked to be told.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(guard_pid) {
        return Error::Interrupted;
    }
    let source = std::process::Command::new(program).args(arguments).exec();
    Error::Io {
        context: format!("starting {}", program.display()),
        source,
    }
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number))
        .unwrap_or(1)
}
