//! How long to wait before starting a process again that died.

use std::time::Duration;

use rand::RngExt as _;

/// Doubles from death to death, with jitter, and starts over after a stable run.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    stable_after: Duration,
    deaths: u32,
}

impl Default for Backoff {
    /// From 1 s, which is long enough to be seen on a screen, to 10 s; a run of 20 s counts as stable.
    fn default() -> Self {
        Self::new(
            Duration::from_secs(1),
            Duration::from_secs(10),
            Duration::from_secs(20),
        )
    }
}

impl Backoff {
    #[must_use]
    pub fn new(first: Duration, limit: Duration, stable_after: Duration) -> Self {
        Self {
            first,
            limit,
            stable_after,
            deaths: 0,
        }
    }

    /// The wait after a process that ran for `ran` died: the full step shortened by up to a quarter.
    pub fn after(&mut self, ran: Duration, random: &mut impl rand::Rng) -> Duration {
        if ran >= self.stable_after {
            self.deaths = 0;
        }
        let step = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.deaths))
            .min(self.limit);
        self.deaths = self.deaths.saturating_add(1);
        step.mul_f64(random.random_range(0.75..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(wait: Duration, full_milliseconds: u64) {
        let full = Duration::from_millis(full_milliseconds);
        assert!(
            wait <= full && wait >= full.mul_f64(0.75),
            "{wait:?} is not a jittered {full:?}"
        );
    }

    #[test]
    fn doubles_up_to_the_limit() {
        let mut backoff = Backoff::default();
        let mut random = rand::rng();
        for full in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            between(backoff.after(Duration::ZERO, &mut random), full);
        }
    }

    #[test]
    fn a_stable_run_starts_over() {
        let mut backoff = Backoff::default();
        let mut random = rand::rng();
        for _ in 0..5 {
            backoff.after(Duration::from_secs(1), &mut random);
        }
        between(backoff.after(Duration::from_secs(20), &mut random), 1_000);
        between(backoff.after(Duration::from_secs(19), &mut random), 2_000);
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff::default();
        let mut random = rand::rng();
        for _ in 0..200 {
            backoff.after(Duration::ZERO, &mut random);
        }
        between(backoff.after(Duration::ZERO, &mut random), 10_000);
    }
}
