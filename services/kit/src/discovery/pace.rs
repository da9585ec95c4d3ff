//! When a source is looked at again: as its answer allows, and later and later while it fails.

use std::time::Duration;

/// A record's time to live is obeyed down to this.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The wait after the first failure.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The wait after many.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Counts failures in a row, and says how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    longest: Duration,
    failures: u32,
}

impl Pace {
    /// `longest` bounds the wait after an answer, whatever its time to live.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest: longest.max(SHORTEST),
            failures: 0,
        }
    }

    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The wait after an answer that may be believed for `ttl`.
    pub fn answered(&mut self, ttl: Duration) -> Duration {
        self.failures = 0;
        ttl.clamp(SHORTEST, self.longest)
    }

    /// The wait after a failure: half a second, doubled with each one in a row up to five seconds. `chance` in 0..1 takes up to
    /// a quarter off, so that instances that failed together do not ask together.
    pub fn failed(&mut self, chance: f64) -> Duration {
        let doubled = FIRST_RETRY * 2_u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST_RETRY).mul_f64(1.0 - chance / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_time_to_live_is_obeyed_within_bounds() {
        let mut pace = Pace::new(Duration::from_mins(1));
        for (ttl, wait) in [(0, 1), (1, 1), (7, 7), (60, 60), (600, 60)] {
            assert_eq!(
                pace.answered(Duration::from_secs(ttl)),
                Duration::from_secs(wait),
                "{ttl}"
            );
        }
    }

    #[test]
    fn a_bound_below_the_floor_is_the_floor() {
        let mut pace = Pace::new(Duration::ZERO);
        assert_eq!(pace.answered(Duration::from_mins(10)), SHORTEST);
    }

    #[test]
    fn failures_in_a_row_wait_longer_until_an_answer() {
        let mut pace = Pace::new(Duration::from_secs(2));
        let waits: Vec<_> = (0..6).map(|_| pace.failed(0.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        assert!(pace.is_failing());
        pace.answered(Duration::from_secs(2));
        assert!(!pace.is_failing());
        assert_eq!(pace.failed(1.0).as_millis(), 375);
    }

    proptest! {
        #[test]
        fn waits_are_bounded(longest in 0..120_u64, steps in prop::collection::vec((any::<bool>(), 0..100_000_u64, 0.0..1.0), 1..60)) {
            let mut pace = Pace::new(Duration::from_secs(longest));
            for (answer, ttl, chance) in steps {
                let wait = if answer {
                    pace.answered(Duration::from_secs(ttl))
                } else {
                    pace.failed(chance)
                };
                prop_assert!(wait >= Duration::from_millis(375));
                prop_assert!(wait <= Duration::from_secs(longest.max(5)));
            }
        }
    }
}
