//! The better of two: power of two choices by peak EWMA.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Candidate, Policy, PolicyKind, Situation};
use crate::{
    chance::below,
    hash::mix,
    settings::{Invalid, within},
};

/// How `p2c` weighs what it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct P2cSettings {
    /// Milliseconds after which about two thirds (1 - 1/e) of what was seen of an upstream is forgotten. 100 to 600,000.
    pub decay_ms: u64,
    /// What a failure counts for, in milliseconds of latency. 0 to 600,000.
    pub failure_cost_ms: u64,
    /// The longest `Retry-After` that is honoured, in milliseconds. 0 to 600,000.
    pub retry_after_cap_ms: u64,
}

impl P2cSettings {
    pub const DEFAULT: Self = Self {
        decay_ms: 5_000,
        failure_cost_ms: 1_000,
        retry_after_cap_ms: 10_000,
    };

    #[must_use]
    pub fn decay(&self) -> Duration {
        Duration::from_millis(self.decay_ms)
    }

    #[must_use]
    pub fn failure_cost(&self) -> Duration {
        Duration::from_millis(self.failure_cost_ms)
    }

    #[must_use]
    pub fn retry_after_cap(&self) -> Duration {
        Duration::from_millis(self.retry_after_cap_ms)
    }

    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        within("p2c.decay_ms", self.decay_ms, 100..=600_000)?;
        within("p2c.failure_cost_ms", self.failure_cost_ms, 0..=600_000)?;
        within(
            "p2c.retry_after_cap_ms",
            self.retry_after_cap_ms,
            0..=600_000,
        )
    }
}

impl Default for P2cSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Takes two by chance and picks the one that costs less: expected latency (failures included) times the requests it would
/// then have in flight, per weight.
///
/// Two are enough to avoid the slow ones, and leave enough to chance that several proxies do not all run to the same one.
#[derive(Clone, Copy, Debug)]
pub struct P2c {
    settings: P2cSettings,
}

impl P2c {
    #[must_use]
    pub fn new(settings: P2cSettings) -> Self {
        Self { settings }
    }

    fn cost(&self, candidate: &Candidate, situation: &Situation) -> f64 {
        let expected = candidate
            .latency
            .cost(situation.now, situation.mean, &self.settings)
            // Even an instant answer costs something, or the requests in flight would not count.
            .max(1e-6);
        expected * (candidate.in_flight as f64 + 1.0) / candidate.weight
    }
}

impl Policy for P2c {
    fn pick(&mut self, candidates: &mut [Candidate], situation: &Situation) -> Option<usize> {
        let count = candidates.len();
        if count < 2 {
            return count.checked_sub(1);
        }
        let first = below(situation.chance, count);
        let mut second = below(mix(situation.chance), count - 1);
        if second >= first {
            second += 1;
        }
        for index in [first, second] {
            candidates[index].score = self.cost(&candidates[index], situation);
        }
        // Equals: the first, which chance has put there.
        Some(if candidates[second].score < candidates[first].score {
            second
        } else {
            first
        })
    }

    fn kind(&self) -> PolicyKind {
        PolicyKind::P2c
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Stage, assert_shares_by_chance, tally, weighted},
        *,
    };
    use crate::latency::Mean;

    fn policy() -> P2c {
        P2c::new(P2cSettings::DEFAULT)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_million_picks_among_equals_are_shared_equally() {
        // All cost the same: chance decides. Binomial, within five standard deviations.
        let taken = tally(&mut policy(), &mut weighted(&[1.0; 5]), 1_000_000);
        assert_shares_by_chance(&taken, &[0.2; 5]);
    }

    #[test]
    fn a_million_picks_never_take_the_worst_of_many() {
        // The worst of all wins only against itself, which is never taken twice; the best wins whenever it is one of the
        // two: in 2 of 5 picks. Binomial, within five standard deviations.
        let mut candidates = weighted(&[1.0; 5]);
        for (candidate, in_flight) in candidates.iter_mut().zip([0, 1, 2, 3, 4]) {
            candidate.in_flight = in_flight;
        }
        let taken = tally(&mut policy(), &mut candidates, 1_000_000);
        assert_eq!(taken[4], 0);
        assert_shares_by_chance(&taken, &[0.4, 0.3, 0.2, 0.1, 0.0]);
    }

    #[test]
    fn each_part_of_the_cost_decides() {
        let stage = &mut Stage::new(3);
        let now = stage.now;
        let settings = P2cSettings::DEFAULT;
        let base = || weighted(&[1.0, 1.0]);
        let slow = |candidates: &mut [Candidate]| {
            candidates[0].latency.succeeded(ms(20), now, &settings);
            candidates[1].latency.succeeded(ms(5), now, &settings);
        };
        let mut cases = vec![];
        let mut slower = base();
        slow(&mut slower);
        cases.push(("slower", slower));
        let mut busier = base();
        busier[0].in_flight = 1;
        cases.push(("busier", busier));
        cases.push(("lighter", weighted(&[1.0, 2.0])));
        let mut failing = base();
        failing[0]
            .latency
            .failed(ms(0), None, now, 0.001, &settings);
        cases.push(("failing", failing));
        for (name, mut candidates) in cases {
            for _ in 0..20 {
                assert_eq!(
                    policy().pick(&mut candidates, &stage.situation(None)),
                    Some(1),
                    "{name}"
                );
            }
        }
        assert_eq!(policy().pick(&mut [], &stage.situation(None)), None);
    }

    /// Plays requests against three servers with these latencies: `behave` says how each answers at a moment. Arrivals every
    /// millisecond; returns what each got.
    fn play(
        seconds: u64,
        behave: impl Fn(usize, Duration) -> (Duration, Option<u16>),
    ) -> Vec<usize> {
        let settings = P2cSettings::DEFAULT;
        let mut policy = policy();
        let mut stage = Stage::new(11);
        let start = stage.now;
        let mut mean = Mean::default();
        let mut candidates = weighted(&[1.0; 3]);
        let mut taken = vec![0; 3];
        let mut on_the_way: Vec<(std::time::Instant, usize, Duration, Option<u16>)> = vec![];
        for _ in 0..seconds * 1_000 {
            stage.pass(ms(1));
            let now = stage.now;
            on_the_way.retain(|&(end, index, took, failure)| {
                if end > now {
                    return true;
                }
                let candidate = &mut candidates[index];
                candidate.in_flight -= 1;
                if failure.is_some() {
                    candidate
                        .latency
                        .failed(took, None, now, mean.seconds(), &settings);
                } else {
                    candidate.latency.succeeded(took, now, &settings);
                    let estimate = candidate.latency.seconds(now, mean.seconds(), &settings);
                    mean.observe(estimate, now, &settings);
                }
                false
            });
            let mut situation = stage.situation(None);
            situation.mean = mean.seconds();
            let picked = policy
                .pick(&mut candidates, &situation)
                .expect("there are three");
            taken[picked] += 1;
            candidates[picked].in_flight += 1;
            let (took, failure) = behave(picked, now - start);
            on_the_way.push((now + took, picked, took, failure));
        }
        taken
    }

    #[test]
    fn fast_failures_attract_nobody() {
        // The third answers 503 at once, the others take 20 ms: its share stays far below the fair third.
        let taken = play(10, |index, _| {
            if index == 2 {
                (ms(1), Some(503))
            } else {
                (ms(20), None)
            }
        });
        assert!(taken[2] < 1_000, "{taken:?}");
    }

    #[test]
    fn a_slow_one_is_avoided_and_taken_back_when_it_is_well() {
        let slow = play(10, |index, _| (ms(if index == 2 { 220 } else { 20 }), None));
        assert!(slow[2] < 1_000, "{slow:?}");
        // The same, but well again after 5 of 60 seconds: it gets a good part of its third back.
        let recovered = play(60, |index, at| {
            (
                ms(if index == 2 && at < ms(5_000) {
                    220
                } else {
                    20
                }),
                None,
            )
        });
        assert!(recovered[2] > 8_000, "{recovered:?}");
    }

    #[test]
    fn a_new_one_is_neither_flooded_nor_starved() {
        // The third is not there for the first two of four seconds: then it gets about its third of the rest, from the
        // first tenth of a second on.
        let settings = P2cSettings::DEFAULT;
        let mut stage = Stage::new(5);
        let mut candidates = weighted(&[1.0; 3]);
        for candidate in &mut candidates[..2] {
            candidate.latency.succeeded(ms(50), stage.now, &settings);
            candidate.in_flight = 10;
        }
        let mut situation = stage.situation(None);
        situation.mean = 0.050;
        let mut taken = [0; 3];
        for _ in 0..300 {
            situation.chance = stage.chance.bits();
            let picked = policy().pick(&mut candidates, &situation).expect("three");
            candidates[picked].in_flight += 1;
            taken[picked] += 1;
        }
        // Nobody has answered yet, so it gets what brings the requests in flight level: (300 + 20) / 3 are 107 each.
        assert!((95..=115).contains(&taken[2]), "{taken:?}");
    }
}
