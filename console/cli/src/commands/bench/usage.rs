//! What other processes use of the machine, as Linux tells it under `/proc`; elsewhere there are no such figures.

use std::{fs, ops::AddAssign, time::Duration};

use serde::Serialize;

/// Linux shows processor time to programs in hundredths of a second on every architecture there is.
const TICK: Duration = Duration::from_millis(10);

/// Processor time since a process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpu {
    pub user: Duration,
    pub system: Duration,
}

impl Cpu {
    /// The time of several processes together; none where the system does not tell of one of them.
    pub fn of(pids: &[u32]) -> Option<Self> {
        let mut all = Self::default();
        for pid in pids {
            all += of_process(*pid)?;
        }
        Some(all)
    }

    /// What was used since an earlier look, in microseconds for each of so many requests: in all, and in user code.
    pub fn since(self, earlier: Self, requests: u64) -> (f64, f64) {
        let each = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() * 1e6 / requests.max(1) as f64
        };
        let user = each(self.user, earlier.user);
        (user + each(self.system, earlier.system), user)
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
    }
}

/// The sum is exact to microseconds (the scheduler's count); how it is split is counted by the tick.
fn of_process(pid: u32) -> Option<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (user, system) = ticks(&stat)?;
    let (user, system) = (TICK * user, TICK * system);
    let Some(exact) = scheduled(pid) else {
        return Some(Cpu { user, system });
    };
    let share = user.as_secs_f64() / (user + system).max(TICK).as_secs_f64();
    let user = exact.mul_f64(share.min(1.0));
    Some(Cpu {
        user,
        system: exact.saturating_sub(user),
    })
}

/// The time the scheduler gave to all threads of a process.
fn scheduled(pid: u32) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
        sum += Duration::from_nanos(nanoseconds);
    }
    Some(sum)
}

/// User and system time in ticks, from a line of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<(u32, u32)> {
    let mut fields = after_name(stat)?.skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The fields after the program's name, which may hold spaces and brackets; the first is the state.
fn after_name(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

/// Bytes of memory of several processes: shared pages count in equal parts for all that share them, where the system tells,
/// and in full otherwise.
pub fn memory(pids: &[u32]) -> Option<u64> {
    let each = pids.iter().map(|pid| {
        let field = |file: &str, name: &str| {
            kilobytes(
                &fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?,
                name,
            )
        };
        field("smaps_rollup", "Pss:").or_else(|| field("status", "VmRSS:"))
    });
    Some(each.sum::<Option<u64>>()? * 1024)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// The processes below this one, in no particular order.
pub fn descendants(root: u32) -> Vec<u32> {
    let Ok(folders) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: Vec<(u32, u32)> = folders
        .flatten()
        .filter_map(|folder| {
            let pid = folder.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(folder.path().join("stat")).ok()?;
            Some((pid, after_name(&stat)?.nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let stat = "4711 (a (b) c) S 17 4711 4711 0 -1 4194560 1 2 3 4 123 45 6 7 20 0 1 0";
        assert_eq!(ticks(stat), Some((123, 45)));
        assert_eq!(after_name(stat).and_then(|mut f| f.nth(1)), Some("17"));
        assert_eq!(ticks("no brackets"), None);
        let text = "Rss:    900 kB\nPss:    512 kB\nPss_Dirty:   1 kB\n";
        assert_eq!(kilobytes(text, "Pss:"), Some(512));
        assert_eq!(kilobytes(text, "VmRSS:"), None);
    }

    #[test]
    fn time_is_shared_among_requests() {
        let cpu = |user, system| Cpu {
            user: Duration::from_micros(user),
            system: Duration::from_micros(system),
        };
        assert_eq!(cpu(300, 700).since(cpu(100, 100), 10), (80.0, 20.0));
        assert_eq!(cpu(0, 0).since(cpu(1, 1), 0), (0.0, 0.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(descendants(pid).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(memory(&[pid]).unwrap() > 1_000_000);
        let before = Cpu::of(&[pid]).unwrap();
        let mut sum = 0_u64;
        // The work is done until the clock of the process has seen it.
        while Cpu::of(&[pid]).unwrap().since(before, 1).0 < 1000.0 {
            sum = sum.wrapping_add((0..10_000).sum::<u64>());
        }
        assert_eq!(Cpu::of(&[u32::MAX]), None, "{sum}");
    }
}
