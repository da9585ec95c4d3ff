//! The generic cell rate algorithm: one number per caller says when the next request conforms.
//!
//! Pure, in whole microseconds of any clock: the same rule runs here on our own cells and, as a script, in Redis.

use std::time::Duration;

use crate::table::Period;

/// How often, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Between two requests in the long run, in microseconds.
    pub interval: u64,
    /// So many at once after a rest.
    pub burst: u64,
}

/// What was decided about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub admitted: bool,
    /// How many more would be admitted at once.
    pub left: u64,
    /// Until the next one is admitted; zero when one would be at once.
    pub wait: Duration,
    /// Until the whole burst is there again.
    pub reset: Duration,
}

impl Rate {
    /// `burst` is at least one. The interval is rounded up, so that no rounding admits more than was asked for.
    #[must_use]
    pub fn new(requests: u32, per: Period, burst: u32) -> Self {
        let period = u64::from(per.seconds()) * 1_000_000;
        Self {
            interval: period.div_ceil(u64::from(requests.max(1))),
            burst: u64::from(burst.max(1)),
        }
    }

    /// How far ahead of the present a cell may be, in microseconds.
    #[must_use]
    pub fn tolerance(self) -> u64 {
        self.interval.saturating_mul(self.burst)
    }

    /// Decides about a request at `now`. `cell` is when the burst will be, or was, whole again, if that is known; the result is
    /// its new value.
    #[must_use]
    pub fn decide(self, cell: Option<u64>, now: u64) -> (Standing, u64) {
        let whole = self.kept(cell, now);
        let next = whole + self.interval;
        let admitted = next - now <= self.tolerance();
        let cell = if admitted { next } else { whole };
        (self.standing(admitted, cell - now), cell)
    }

    /// A cell's value within its bounds: the past is forgotten, and no cell is further ahead than this rate could bring it (another
    /// rate may have, or a clock that was set back).
    fn kept(self, cell: Option<u64>, now: u64) -> u64 {
        cell.map_or(now, |cell| cell.clamp(now, now + self.tolerance()))
    }

    /// What a cell means that is so many microseconds ahead, after the decision.
    #[must_use]
    pub fn standing(self, admitted: bool, ahead: u64) -> Standing {
        let room = self.tolerance().saturating_sub(ahead);
        let left = room / self.interval;
        let wait = if left > 0 { 0 } else { self.interval - room };
        Standing {
            admitted,
            left,
            wait: Duration::from_micros(wait),
            reset: Duration::from_micros(ahead),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_and_then_one_by_one() {
        let rate = Rate::new(3, Period::Second, 3);
        assert_eq!(rate.interval, 333_334);
        let mut cell = None;
        let mut at = |now| {
            let (standing, next) = rate.decide(cell, now);
            cell = Some(next);
            (
                standing.admitted,
                standing.left,
                standing.wait.as_micros(),
                standing.reset.as_micros(),
            )
        };
        assert_eq!(at(1_000_000), (true, 2, 0, 333_334));
        assert_eq!(at(1_000_000), (true, 1, 0, 666_668));
        assert_eq!(at(1_000_000), (true, 0, 333_334, 1_000_002));
        assert_eq!(at(1_000_000), (false, 0, 333_334, 1_000_002));
        assert_eq!(at(1_333_333), (false, 0, 1, 666_669));
        assert_eq!(at(1_333_334), (true, 0, 333_334, 1_000_002));
        assert_eq!(at(9_000_000), (true, 2, 0, 333_334));
    }

    #[test]
    fn a_cell_from_elsewhere_is_bounded() {
        let rate = Rate::new(1, Period::Second, 2);
        let (standing, cell) = rate.decide(Some(u64::MAX), 5);
        assert!(!standing.admitted);
        assert_eq!((standing.wait, cell), (Duration::from_secs(1), 2_000_005));
        assert!(rate.decide(Some(3), 5).0.admitted);
    }

    proptest! {
        /// Another implementation of the same rule decides alike.
        #[test]
        fn governor_agrees(
            requests in 1_u32..2000,
            burst in 1_u32..50,
            gaps in proptest::collection::vec(0_u64..3_000_000, 1..200),
        ) {
            let rate = Rate::new(requests, Period::Second, burst);
            let clock = FakeRelativeClock::default();
            let quota = Quota::with_period(Duration::from_micros(rate.interval))
                .expect("not zero")
                .allow_burst(NonZeroU32::new(burst).expect("not zero"));
            let other = RateLimiter::direct_with_clock(quota, clock.clone());
            let (mut cell, mut now) = (None, 0);
            for gap in gaps {
                // Mostly close together, where it matters.
                let gap = gap / u64::from(requests).max(1);
                now += gap;
                clock.advance(Duration::from_micros(gap));
                let (standing, next) = rate.decide(cell, now);
                cell = Some(next);
                prop_assert_eq!(standing.admitted, other.check().is_ok());
                if !standing.admitted {
                    prop_assert!(!standing.wait.is_zero());
                }
            }
        }

        /// Whoever waits as long as was said is admitted, and not a microsecond earlier.
        #[test]
        fn waiting_helps(requests in 1_u32..5000, burst in 1_u32..20, cell in 0_u64..9_000_000, now in 0_u64..9_000_000) {
            let rate = Rate::new(requests, Period::Minute, burst);
            let (standing, cell) = rate.decide(Some(cell), now);
            let wait = standing.wait.as_micros() as u64;
            prop_assert!(rate.decide(Some(cell), now + wait).0.admitted);
            if wait > 0 {
                prop_assert!(!rate.decide(Some(cell), now + wait - 1).0.admitted);
            }
        }
    }
}
