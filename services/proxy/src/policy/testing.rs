//! Help for the tests of policies.

use std::time::{Duration, Instant};

use super::{Candidate, Policy, Situation};
use crate::{chance::Chance, hash, latency::Latency};

/// Candidates with these weights, ids from 0.
pub fn weighted(weights: &[f64]) -> Vec<Candidate> {
    weights
        .iter()
        .zip(0_u64..)
        .map(|(&weight, id)| candidate(id, weight))
        .collect()
}

pub fn candidate(id: u64, weight: f64) -> Candidate {
    Candidate {
        id,
        hash: hash::of(format!("gateway-{id}").as_bytes()),
        in_flight: 0,
        weight,
        latency: Latency::default(),
        score: f64::NAN,
    }
}

/// A source of situations: chance from a seed, time standing still unless it is moved.
pub struct Stage {
    pub chance: Chance,
    pub now: Instant,
}

impl Stage {
    pub fn new(seed: u64) -> Self {
        Self {
            chance: Chance::seeded(seed),
            now: Instant::now(),
        }
    }

    pub fn situation(&mut self, key: Option<u64>) -> Situation {
        Situation {
            now: self.now,
            key,
            mean: 0.001,
            chance: self.chance.bits(),
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// How often each candidate is picked in `picks` picks, each finished before the next.
pub fn tally(policy: &mut dyn Policy, candidates: &mut [Candidate], picks: usize) -> Vec<usize> {
    let mut stage = Stage::new(42);
    let mut taken = vec![0; candidates.len()];
    for _ in 0..picks {
        let situation = stage.situation(None);
        let index = policy
            .pick(candidates, &situation)
            .expect("there are candidates");
        taken[index] += 1;
    }
    taken
}

/// Checks shares that chance decides: each count is binomial, and this is within five standard deviations, which fails by
/// mere chance less than once in a million seeds (and the seed is fixed).
pub fn assert_shares_by_chance(taken: &[usize], shares: &[f64]) {
    let picks = taken.iter().sum::<usize>() as f64;
    for (index, (&taken, share)) in taken.iter().zip(shares).enumerate() {
        let bound = 5.0 * (picks * share * (1.0 - share)).sqrt();
        let off = (taken as f64 - picks * share).abs();
        assert!(
            off <= bound,
            "candidate {index} got {taken} of {picks}, {off} off {share}; the bound is {bound}"
        );
    }
}
