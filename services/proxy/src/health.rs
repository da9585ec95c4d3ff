//! Health of one upstream as a state machine: observations in, state out, the time passed in by the caller.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What is known of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing has been learnt yet.
    Unknown,
    /// It takes requests.
    Up,
    /// It lives but says it wants no new requests.
    Draining,
    /// It does not answer.
    Down,
}

/// Why it is in that state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Discovered, not checked yet.
    Discovered,
    /// Checks pass.
    CheckPassed,
    /// It answered the check with this status instead of 200: draining, or not ready.
    NotReady(u16),
    /// Checks fail, this is the last failure.
    CheckFailed(String),
    /// A request could not be sent: no connection was to be had.
    Unreachable(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovered => formatter.write_str("not checked yet"),
            Self::CheckPassed => formatter.write_str("check passed"),
            Self::NotReady(status) => write!(formatter, "not ready: health answered {status}"),
            Self::CheckFailed(failure) => write!(formatter, "check failed: {failure}"),
            Self::Unreachable(failure) => write!(formatter, "unreachable: {failure}"),
        }
    }
}

/// One thing seen of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The active check answered 200.
    Passed,
    /// The active check was answered, with a status that asks for no new requests.
    NotReady(u16),
    /// The active check failed: no answer in time, or no sense in it.
    Failed(String),
    /// A real request could not be sent because no connection could be made.
    Unreachable(String),
}

/// How many checks in a row change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed checks in a row after which a down upstream is up again.
    pub rise: u32,
    /// Failed checks in a row after which an upstream is down.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rise: 1, fall: 2 }
    }
}

/// A change of state, for the log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
}

/// The state machine.
///
/// * An active check that fails `fall` times in a row takes an upstream down; one that passes `rise` times in a row brings it up.
/// * A refused connection takes it down at once: the kernel has said that nobody listens, there is nothing to wait for.
/// * An upstream that says it is not ready is believed at once.
/// * One never seen before is believed at its first passed check, whatever `rise` says.
#[derive(Clone, Debug)]
pub struct Health {
    thresholds: Thresholds,
    state: State,
    reason: Reason,
    since: Instant,
    passed_in_a_row: u32,
    failed_in_a_row: u32,
}

impl Health {
    #[must_use]
    pub fn new(thresholds: Thresholds, now: Instant) -> Self {
        Self {
            thresholds,
            state: State::Unknown,
            reason: Reason::Discovered,
            since: now,
            passed_in_a_row: 0,
            failed_in_a_row: 0,
        }
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// When the present state began.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Takes in one observation; the transition it caused, if any.
    pub fn observe(&mut self, observation: Observation, now: Instant) -> Option<Transition> {
        let (next, reason) = match observation {
            Observation::Passed => {
                self.failed_in_a_row = 0;
                self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
                let believed = match self.state {
                    State::Unknown | State::Draining | State::Up => true,
                    State::Down => self.passed_in_a_row >= self.thresholds.rise,
                };
                if !believed {
                    return None;
                }
                (State::Up, Reason::CheckPassed)
            }
            Observation::NotReady(status) => {
                self.failed_in_a_row = 0;
                self.passed_in_a_row = 0;
                (State::Draining, Reason::NotReady(status))
            }
            Observation::Failed(failure) => {
                self.passed_in_a_row = 0;
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                if self.state != State::Down && self.failed_in_a_row < self.thresholds.fall {
                    return None;
                }
                (State::Down, Reason::CheckFailed(failure))
            }
            Observation::Unreachable(failure) => {
                self.passed_in_a_row = 0;
                (State::Down, Reason::Unreachable(failure))
            }
        };
        self.reason = reason;
        if next == self.state {
            return None;
        }
        let from = std::mem::replace(&mut self.state, next);
        self.since = now;
        Some(Transition { from, to: next })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn passed() -> Observation {
        Observation::Passed
    }
    fn failed() -> Observation {
        Observation::Failed("timed out".into())
    }
    fn refused() -> Observation {
        Observation::Unreachable("connection refused".into())
    }
    fn not_ready() -> Observation {
        Observation::NotReady(503)
    }

    /// Feeds the observations and compares the state after each.
    fn check(thresholds: Thresholds, steps: &[(Observation, State)]) {
        let mut now = Instant::now();
        let mut health = Health::new(thresholds, now);
        for (number, (observation, expected)) in steps.iter().enumerate() {
            now += Duration::from_millis(500);
            let before = health.state();
            let transition = health.observe(observation.clone(), now);
            assert_eq!(health.state(), *expected, "step {number} of {steps:?}");
            assert_eq!(
                transition.is_some(),
                before != *expected,
                "step {number}: a transition is reported exactly when the state changes"
            );
            if transition.is_some() {
                assert_eq!(health.since(), now);
            }
        }
    }

    const DEFAULT: Thresholds = Thresholds { rise: 1, fall: 2 };
    const SLOW: Thresholds = Thresholds { rise: 2, fall: 3 };

    #[test]
    fn first_passed_check_is_believed() {
        check(SLOW, &[(passed(), State::Up)]);
    }

    #[test]
    fn one_failure_is_forgiven_two_are_not() {
        check(
            DEFAULT,
            &[
                (passed(), State::Up),
                (failed(), State::Up),
                (passed(), State::Up),
                (failed(), State::Up),
                (failed(), State::Down),
            ],
        );
    }

    #[test]
    fn rise_counts_passes_in_a_row() {
        check(
            SLOW,
            &[
                (refused(), State::Down),
                (passed(), State::Down),
                (failed(), State::Down),
                (passed(), State::Down),
                (passed(), State::Up),
            ],
        );
    }

    #[test]
    fn a_refused_connection_is_down_at_once_and_a_check_brings_it_back() {
        check(
            DEFAULT,
            &[
                (passed(), State::Up),
                (refused(), State::Down),
                (passed(), State::Up),
            ],
        );
    }

    #[test]
    fn draining_is_believed_at_once_both_ways() {
        check(
            SLOW,
            &[
                (passed(), State::Up),
                (not_ready(), State::Draining),
                (passed(), State::Up),
            ],
        );
    }

    #[test]
    fn an_answer_of_any_kind_ends_a_run_of_failures() {
        check(
            DEFAULT,
            &[
                (passed(), State::Up),
                (failed(), State::Up),
                (not_ready(), State::Draining),
                (failed(), State::Draining),
                (failed(), State::Down),
            ],
        );
    }

    #[test]
    fn the_reason_follows_without_a_transition() {
        let now = Instant::now();
        let mut health = Health::new(DEFAULT, now);
        health.observe(refused(), now);
        assert_eq!(
            health.reason().to_string(),
            "unreachable: connection refused"
        );
        assert_eq!(health.observe(failed(), now), None);
        assert_eq!(health.reason().to_string(), "check failed: timed out");
    }

    fn any_observation() -> impl Strategy<Value = Observation> {
        prop_oneof![
            Just(passed()),
            Just(not_ready()),
            Just(failed()),
            Just(refused())
        ]
    }

    proptest! {
        #[test]
        fn enough_of_the_same_always_decides(rise in 1_u32..5, fall in 1_u32..5, history in prop::collection::vec(any_observation(), 0..40)) {
            let now = Instant::now();
            let mut health = Health::new(Thresholds { rise, fall }, now);
            for observation in history {
                health.observe(observation, now);
            }
            let mut recovering = health.clone();
            for _ in 0..rise {
                recovering.observe(passed(), now);
            }
            prop_assert_eq!(recovering.state(), State::Up);
            for _ in 0..fall {
                health.observe(failed(), now);
            }
            prop_assert_eq!(health.state(), State::Down);
        }

        #[test]
        fn only_a_passed_check_makes_it_up(history in prop::collection::vec(any_observation(), 1..40)) {
            let now = Instant::now();
            let mut health = Health::new(DEFAULT, now);
            for observation in history {
                let before = health.state();
                let is_pass = observation == passed();
                health.observe(observation, now);
                prop_assert!(health.state() != State::Up || before == State::Up || is_pass);
            }
        }
    }
}
