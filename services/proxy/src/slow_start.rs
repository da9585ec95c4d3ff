//! Slow start: an upstream that has just come (back) gets less at first.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::settings::{Invalid, within};

/// How slowly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlowStartSettings {
    /// Milliseconds until it gets its whole share; policies that look at weights only. 0 to 3,600,000; 0 switches it off.
    pub window_ms: u64,
    /// The shape of the way there: 1 is a straight line, more gives more at the beginning. 0.1 to 10.
    pub aggression: f64,
}

impl Default for SlowStartSettings {
    fn default() -> Self {
        Self {
            window_ms: 10_000,
            aggression: 1.0,
        }
    }
}

impl SlowStartSettings {
    /// The least part of its weight an upstream begins with.
    pub const FLOOR: f64 = 0.1;

    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        within("slow_start.window_ms", self.window_ms, 0..=3_600_000)?;
        within("slow_start.aggression", self.aggression, 0.1..=10.0)
    }

    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// The part of its weight that an upstream has after `elapsed` in the rotation: Envoy's curve, time factor to the power
    /// of 1 / aggression, and at least [`FLOOR`](Self::FLOOR).
    #[must_use]
    pub fn factor(&self, elapsed: Duration) -> f64 {
        if elapsed >= self.window() {
            return 1.0;
        }
        let time = elapsed.as_secs_f64() / self.window().as_secs_f64();
        time.powf(1.0 / self.aggression).max(Self::FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_curve_is_envoys() {
        let table = [
            (1.0, 0, 0.1),
            (1.0, 500, 0.1),
            (1.0, 5_000, 0.5),
            (1.0, 10_000, 1.0),
            (2.0, 2_500, 0.5),
            (0.5, 5_000, 0.25),
        ];
        for (aggression, elapsed, expected) in table {
            let settings = SlowStartSettings {
                window_ms: 10_000,
                aggression,
            };
            let factor = settings.factor(Duration::from_millis(elapsed));
            assert!(
                (factor - expected).abs() < 1e-9,
                "{aggression} {elapsed}: {factor}"
            );
        }
        let off = SlowStartSettings {
            window_ms: 0,
            aggression: 1.0,
        };
        assert!((off.factor(Duration::ZERO) - 1.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn it_only_grows(window_ms in 0_u64..100_000, aggression in 0.1_f64..10.0, earlier in 0_u64..200_000, more in 0_u64..100_000) {
            let settings = SlowStartSettings { window_ms, aggression };
            let (first, then) = (settings.factor(Duration::from_millis(earlier)), settings.factor(Duration::from_millis(earlier + more)));
            prop_assert!((SlowStartSettings::FLOOR..=1.0).contains(&first) && first <= then);
        }
    }
}
