//! What this process and this machine use, read from the operating system.

use std::{
    fs,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
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

/// With more descriptors than this sockets are counted from time to time only: each is one look at a link.
const OFTEN_COUNTED: usize = 512;
const COUNT_AGAIN: Duration = Duration::from_secs(10);

/// Tells more of this process when the metrics are read: its limits, threads and sockets, and how busy the main
/// runtime is. What the operating system does not tell is absent.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// When sockets were counted last, and how many there were.
    sockets: Mutex<Option<(Instant, u64)>>,
}

impl Collector for Vitals {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let runtime = tokio::runtime::Handle::try_current().map(|runtime| runtime.metrics());
        let gauges = [
            (
                "process_max_fds",
                "File descriptors that may be open",
                max_files(&limits),
            ),
            (
                "process_open_sockets",
                "File descriptors that are sockets",
                self.sockets(Instant::now()),
            ),
            (
                "process_threads",
                "Threads of this process",
                field(&status, "Threads:"),
            ),
            (
                "recarga_runtime_tasks",
                "Tasks that the main runtime holds",
                runtime.as_ref().ok().map(|it| it.num_alive_tasks() as u64),
            ),
            (
                "recarga_runtime_queue_depth",
                "Tasks that wait in the main runtime's shared queue to be run",
                runtime
                    .as_ref()
                    .ok()
                    .map(|it| it.global_queue_depth() as u64),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

impl Vitals {
    fn sockets(&self, now: Instant) -> Option<u64> {
        let mut counted = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, count)) = *counted
            && count > OFTEN_COUNTED as u64
            && now.saturating_duration_since(at) < COUNT_AGAIN
        {
            return Some(count);
        }
        let open = fs::read_dir("/proc/self/fd").ok()?;
        let count = open
            .flatten()
            .filter(|entry| {
                fs::read_link(entry.path()).is_ok_and(|target| {
                    target
                        .as_os_str()
                        .as_encoded_bytes()
                        .starts_with(b"socket:")
                })
            })
            .count() as u64;
        *counted = Some((now, count));
        Some(count)
    }
}

/// The number that follows a word at the beginning of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The soft limit; absent when there is none.
fn max_files(limits: &str) -> Option<u64> {
    field(limits, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_operating_system_are_read() {
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 524288               files\n";
        assert_eq!(max_files(limits), Some(1024));
        assert_eq!(
            max_files("Max open files  unlimited  unlimited files"),
            None
        );
        let status = "Name:\tx\nThreads:\t7\nSigQ:\t3/95\n";
        assert_eq!(field(status, "Threads:"), Some(7));
        assert_eq!(field(status, "SigQ:"), None);
        assert_eq!(field("", "Threads:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn sockets_are_counted_as_they_come() {
        let vitals = Vitals::default();
        let now = Instant::now();
        let sockets: Vec<_> = (0..50)
            .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        // Other tests of this process open and close theirs meanwhile.
        let before = vitals.sockets(now).unwrap();
        assert!(before >= 50, "{before}");
        drop(sockets);
    }
}
