//! Other processes seen from outside: whose they are, and stopping those an earlier lab left behind.

use std::{ffi::OsString, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// How a process was started.
#[derive(Debug, Default)]
pub struct Origin {
    pub command: Vec<OsString>,
    pub environment: Vec<OsString>,
}

impl Origin {
    #[must_use]
    pub fn has_argument(&self, argument: impl AsRef<std::ffi::OsStr>) -> bool {
        self.command.iter().any(|word| word == argument.as_ref())
    }

    #[must_use]
    pub fn has_variable(&self, assignment: impl AsRef<std::ffi::OsStr>) -> bool {
        self.environment
            .iter()
            .any(|word| word == assignment.as_ref())
    }
}

/// `None` when there is no such process, or it is only waiting to be buried.
#[must_use]
pub fn origin(pid: u32) -> Option<Origin> {
    let pid = sysinfo::Pid::from_u32(pid);
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        true,
        ProcessRefreshKind::nothing()
            .with_cmd(UpdateKind::Always)
            .with_environ(UpdateKind::Always),
    );
    let process = system.process(pid)?;
    if matches!(
        process.status(),
        sysinfo::ProcessStatus::Zombie | sysinfo::ProcessStatus::Dead
    ) {
        return None;
    }
    Some(Origin {
        command: process.cmd().to_vec(),
        environment: process.environ().to_vec(),
    })
}

/// Sends a signal; a process that is gone already is no failure.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends a process and everything that it started itself, all at once, also what is stopped.
pub fn kill_with_children(pid: u32) {
    let parent = sysinfo::Pid::from_u32(pid);
    let children: Vec<u32> = System::new().map_or_else(
        |_| Vec::new(),
        |mut system| {
            system.refresh_processes_specifics(
                ProcessesToUpdate::All,
                true,
                ProcessRefreshKind::nothing().without_tasks(),
            );
            let all = system.processes().iter();
            all.filter(|(_, process)| process.parent() == Some(parent))
                .map(|(pid, _)| pid.as_u32())
                .collect()
        },
    );
    for pid in std::iter::once(pid).chain(children) {
        signal(pid, Signal::KILL);
    }
}

/// Asks a process that is not our child to end, waits, then makes it; `still_ours` guards against a reused number.
pub async fn stop(pid: u32, first: Signal, patience: Duration, still_ours: impl Fn() -> bool) {
    if !still_ours() {
        return;
    }
    signal(pid, first);
    if gone(patience, &still_ours).await {
        return;
    }
    signal(pid, Signal::KILL);
    gone(Duration::from_secs(5), &still_ours).await;
}

async fn gone(patience: Duration, still_ours: &impl Fn() -> bool) -> bool {
    let wait = async {
        while still_ours() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::time::timeout(patience, wait).await.is_ok()
}
