//! What one process uses, as Linux tells it under `/proc`.

use std::{fs, time::Duration};

/// Processor time of all threads since the process began; `None` when it is gone or the system does not tell.
#[must_use]
pub fn processor_time(pid: u32) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread that ends while we look takes its time with it: too little is told, never too much.
        let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
        sum += Duration::from_nanos(nanoseconds);
    }
    Some(sum)
}

/// Bytes of memory that are resident.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .split_ascii_whitespace()
        .next()?;
    Some(line.parse::<u64>().ok()? * 1024)
}

/// The processes that a process has started and not buried.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether the process does anything any more; one that only waits to be buried does not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        assert!(super::is_alive(pid));
        assert!(super::resident(pid).unwrap() > 1_000_000);
        let before = super::processor_time(pid).unwrap();
        let mut sum = 0_u64;
        while super::processor_time(pid).unwrap() <= before {
            sum = sum.wrapping_add((0..10_000).sum::<u64>());
        }
        assert_eq!(super::processor_time(u32::MAX), None, "{sum}");
        assert!(!super::is_alive(u32::MAX));
    }
}
