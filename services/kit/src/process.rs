//! What this process and this machine use, read from the operating system.

use std::sync::{LazyLock, Mutex, PoisonError};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// None where the operating system tells nothing; the figures are zero then.
static SYSTEM: LazyLock<Mutex<Option<System>>> = LazyLock::new(|| Mutex::new(System::new().ok()));

/// One process's use of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time since the start, in seconds.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub open_files: u64,
}

/// The machine's use, as of the last two calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host {
    /// Busy share of all cores since the previous call, 0 to 1.
    pub cpu_ratio: f64,
    pub memory_used_bytes: u64,
    pub memory_total_bytes: u64,
    pub cores: u64,
}

/// This process's figures, read now.
#[must_use]
pub fn usage() -> Usage {
    let pid = Pid::from_u32(std::process::id());
    let mut system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(system) = system.as_mut() else {
        return Usage::default();
    };
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing()
            .with_cpu()
            .with_memory()
            .without_tasks(),
    );
    system
        .process(pid)
        .map_or_else(Usage::default, |process| Usage {
            cpu_seconds: process.accumulated_cpu_time() as f64 / 1000.0,
            resident_bytes: process.memory(),
            open_files: process.open_files().unwrap_or(0) as u64,
        })
}

/// The machine's figures, read now.
#[must_use]
pub fn host() -> Host {
    let mut system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(system) = system.as_mut() else {
        return Host::default();
    };
    system.refresh_cpu_usage();
    system.refresh_memory();
    Host {
        cpu_ratio: f64::from(system.global_cpu_usage()) / 100.0,
        memory_used_bytes: system.used_memory(),
        memory_total_bytes: system.total_memory(),
        cores: system.cpus().len() as u64,
    }
}
