//! Whether a client sends a failed request again, and how many of them it may: pure decisions.

use serde::{Deserialize, Serialize};

/// How a client repeats what failed: at once, under the same idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// How often one request is sent again at most, 0 to 20; 0 gives up at once.
    pub most: u32,
    /// Retries for each hundred requests, over all of them, 0 to 100; without it only `most` bounds them.
    pub budget_percent: Option<f64>,
}

/// What was saved up is no more than so many retries, so that a quiet hour does not pay for a storm.
const SAVED: f64 = 10.0;

/// The budget: requests earn, retries spend.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    percent: Option<f64>,
    saved: f64,
}

impl Budget {
    #[must_use]
    pub fn new(retries: Retries) -> Self {
        Self {
            percent: retries.budget_percent,
            saved: 0.0,
        }
    }

    /// A request is sent for the first time.
    pub fn earn(&mut self) {
        if let Some(percent) = self.percent {
            self.saved = (self.saved + percent / 100.0).min(SAVED);
        }
    }

    /// Whether one may be sent again.
    pub fn spend(&mut self) -> bool {
        if self.percent.is_none() {
            return true;
        }
        let may = self.saved >= 1.0;
        if may {
            self.saved -= 1.0;
        }
        may
    }
}

/// Whether an answer says that the same request may succeed later. A conflict that asks to be repeated is over a key that is
/// being worked on.
pub(crate) fn asks_again(status: u16, asks_to_wait: bool) -> bool {
    status >= 500 || status == 429 || status == 409 && asks_to_wait
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_succeed_later_is_sent_again() {
        for (status, asks_to_wait, expected) in [
            (200, false, false),
            (404, false, false),
            (409, false, false),
            (409, true, true),
            (422, true, false),
            (429, false, true),
            (500, false, true),
            (503, true, true),
        ] {
            assert_eq!(asks_again(status, asks_to_wait), expected, "{status}");
        }
    }

    #[test]
    fn without_a_budget_everything_is_allowed() {
        let mut budget = Budget::new(Retries {
            most: 3,
            budget_percent: None,
        });
        assert!((0..1_000).all(|_| budget.spend()));
    }

    proptest! {
        #[test]
        fn a_storm_adds_no_more_than_the_share(percent in 0.0_f64..100.0, requests in 1_u32..2_000, most in 1_u32..5) {
            let mut budget = Budget::new(Retries { most, budget_percent: Some(percent) });
            let mut retried = 0;
            for _ in 0..requests {
                budget.earn();
                retried += (0..most).take_while(|_| budget.spend()).count();
            }
            prop_assert!(retried as f64 <= f64::from(requests) * percent / 100.0 + 1e-6);
        }
    }
}
