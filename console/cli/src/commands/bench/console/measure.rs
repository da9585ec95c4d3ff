//! Instances to look at, and what a terminal tells of the program in it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use pty::{Instance, Lab, Session};

/// Nothing measured here takes longer, unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A lab of stand-ins.
pub struct Stage {
    pub lab: Lab,
    pub instances: Vec<Instance>,
}

impl Stage {
    /// As many instances as a lab has, that answer so that everything grows.
    pub fn busy() -> Result<Self> {
        let lab = Lab::new().context("making a folder for a lab")?;
        let mut instances = Vec::new();
        let mut places = Vec::new();
        for (role, count) in pty::ROLES {
            for number in 1..=count {
                let name = format!("{role}-{number}");
                let instance = Instance::start(&name).context("starting a stand-in")?;
                instance.serve_at(100.0);
                places.push((role, name, instance.address()));
                instances.push(instance);
            }
        }
        lab.place(&places)?;
        Ok(Self { lab, instances })
    }

    /// Waits until every log is read.
    pub fn until_read(&self) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        while self
            .instances
            .iter()
            .any(|instance| instance.readers() == 0)
        {
            anyhow::ensure!(Instant::now() < limit, "the console does not read the logs");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Does the work while all instances together log so many lines a second.
    pub fn flood<T>(&self, rate: u32, work: impl FnOnce() -> T) -> T {
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let over = Over(&stop);
            let each = rate / self.instances.len() as u32;
            for instance in &self.instances {
                let over = || stop.load(Ordering::SeqCst);
                scope.spawn(move || instance.flood(each, Duration::MAX, over));
            }
            let result = work();
            drop(over);
            result
        })
    }
}

/// What a program cost over a while.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Per cent of one core.
    pub cpu: Option<f64>,
    /// Bytes a second to the terminal.
    pub rate: f64,
    pub written: usize,
}

/// Looks on for a while.
pub fn cost(session: &Session, duration: Duration) -> Cost {
    let started = Instant::now();
    let (cpu, written) = (session.processor_time(), session.written());
    std::thread::sleep(duration);
    let seconds = started.elapsed().as_secs_f64();
    let used = session
        .processor_time()
        .zip(cpu)
        .map(|(now, before)| now.saturating_sub(before));
    let written = session.written() - written;
    session.forget();
    Cost {
        cpu: used.map(|used| used.as_secs_f64() / seconds * 100.0),
        rate: written as f64 / seconds,
        written,
    }
}

/// Waits for the first frame; how long it took since the start.
pub fn first_frame(session: &Session) -> Result<Duration> {
    let at = session.wait_for("the first frame is there", PATIENCE, |seen| {
        let drawn = seen.screen().alternate_screen() && !seen.text().trim().is_empty();
        drawn.then(|| seen.last_at()).flatten()
    })?;
    Ok(at.saturating_duration_since(session.started()))
}

pub fn mebibytes(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64 / 1_048_576.0)
}

pub fn kibibytes(rate: f64) -> f64 {
    rate / 1024.0
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value below which the given part of all is; none of nothing.
pub fn quantile(values: &[Duration], part: f64) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        for (part, expected) in [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)] {
            assert_eq!(
                quantile(&values, part),
                Some(Duration::from_millis(expected))
            );
        }
        assert_eq!(quantile(&[], 0.5), None);
    }
}
