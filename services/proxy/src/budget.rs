//! The retry budget: how many requests may be sent again, so that retries never become the load that keeps a system down.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::settings::{Invalid, within};

/// How many retries there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// Retries for each hundred requests. 0 to 100.
    pub percent: u32,
    /// Retries a second that are always allowed, however few requests there are. 0 to 10,000.
    pub floor_per_second: u32,
    /// Milliseconds for which a request counts. 1,000 to 600,000.
    pub window_ms: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            percent: 20,
            floor_per_second: 10,
            window_ms: 10_000,
        }
    }
}

impl RetrySettings {
    /// As many retries as there are requests to repeat, up to a thousand a second.
    pub(crate) const UNBOUNDED: Self = Self {
        percent: 0,
        floor_per_second: 1_000,
        window_ms: 1_000,
    };

    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        within("retries.percent", self.percent, 0..=100)?;
        within(
            "retries.floor_per_second",
            self.floor_per_second,
            0..=10_000,
        )?;
        within("retries.window_ms", self.window_ms, 1_000..=600_000)
    }

    /// What is always allowed within a window, in hundredths of a retry.
    fn floor(&self) -> u64 {
        u64::from(self.floor_per_second) * self.window_ms / 10
    }
}

/// The window moves on in steps of its tenth.
const SLOTS: usize = 10;

/// The bucket: requests of the last window put tokens in, retries of the last window have taken theirs out.
///
/// It counts in hundredths of a retry: a request is worth `percent` of them, a retry costs a hundred.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: RetrySettings,
    slots: [Slot; SLOTS],
    current: usize,
    ends: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    requests: u64,
    retries: u64,
}

impl Budget {
    #[must_use]
    pub fn new(settings: RetrySettings, now: Instant) -> Self {
        Self {
            settings,
            slots: [Slot::default(); SLOTS],
            current: 0,
            ends: now + Self::step(&settings),
        }
    }

    /// Other settings from now on; what was counted stays counted.
    pub fn set(&mut self, settings: RetrySettings) {
        self.settings = settings;
    }

    /// Requests of clients came in.
    pub fn deposit(&mut self, requests: u64, now: Instant) {
        self.advance(now);
        self.slots[self.current].requests += requests;
    }

    /// Asks for one retry.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.advance(now);
        let (requests, retries) = self.slots.iter().fold((0, 0), |(requests, retries), slot| {
            (requests + slot.requests, retries + slot.retries)
        });
        let earned = requests * u64::from(self.settings.percent) + self.settings.floor();
        let allowed = (retries + 1) * 100 <= earned;
        if allowed {
            self.slots[self.current].retries += 1;
        }
        allowed
    }

    fn step(settings: &RetrySettings) -> Duration {
        Duration::from_millis(settings.window_ms) / SLOTS as u32
    }

    fn advance(&mut self, now: Instant) {
        if now < self.ends {
            return;
        }
        let step = Self::step(&self.settings);
        let behind = (now - self.ends).as_nanos() / step.as_nanos().max(1) + 1;
        if behind >= SLOTS as u128 {
            self.slots = [Slot::default(); SLOTS];
            self.ends = now + step;
            return;
        }
        for _ in 0..behind {
            self.current = (self.current + 1) % SLOTS;
            self.slots[self.current] = Slot::default();
            self.ends += step;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retries(budget: &mut Budget, now: Instant) -> usize {
        (0..1_000_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_fifth_and_the_floor_are_allowed() {
        let now = Instant::now();
        let mut budget = Budget::new(RetrySettings::default(), now);
        assert_eq!(
            retries(&mut budget, now),
            100,
            "the floor: ten a second for ten seconds"
        );
        budget.deposit(1_000, now);
        assert_eq!(retries(&mut budget, now), 200);
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn what_was_earned_expires_and_so_does_what_was_spent() {
        let start = Instant::now();
        let mut budget = Budget::new(RetrySettings::default(), start);
        budget.deposit(1_000, start);
        let later = start + Duration::from_secs(10);
        assert_eq!(retries(&mut budget, later), 100);
        let much_later = later + Duration::from_hours(1);
        assert_eq!(retries(&mut budget, much_later), 100);
    }

    #[test]
    fn none_are_allowed_when_none_are_wanted() {
        let now = Instant::now();
        let none = RetrySettings {
            percent: 0,
            floor_per_second: 0,
            ..RetrySettings::default()
        };
        let mut budget = Budget::new(none, now);
        budget.deposit(1_000_000, now);
        assert!(!budget.withdraw(now));
    }

    proptest! {
        /// In a storm, where every request fails and asks for a retry, and each retry too, the load added over any time is at
        /// most the percentage of the requests of that time and one window before it, and the floor.
        #[test]
        fn a_storm_stays_within_the_budget(
            percent in 0_u32..=100, floor_per_second in 0_u32..50, bursts in prop::collection::vec((0_u64..200, 0_u64..3_000), 1..60),
        ) {
            let settings = RetrySettings { percent, floor_per_second, window_ms: 10_000 };
            let start = Instant::now();
            let mut now = start;
            let mut budget = Budget::new(settings, now);
            let (mut requests, mut retried) = (0, 0);
            for (burst, pause) in bursts {
                now += Duration::from_millis(pause);
                requests += burst;
                for _ in 0..burst {
                    budget.deposit(1, now);
                    while budget.withdraw(now) {
                        retried += 1;
                    }
                }
            }
            let windows = (now - start).as_millis() / 9_000 + 2;
            let floor = u128::from(floor_per_second) * 10 * windows;
            prop_assert!(u128::from(retried as u64) <= u128::from(requests * u64::from(percent) / 100) + floor);
        }
    }
}
