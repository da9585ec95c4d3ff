//! By chance, in proportion to the weights.

use super::{Candidate, Policy, PolicyKind, Situation};
use crate::chance::unit;

/// Remembers nothing: several proxies that use it never fall into step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Policy for Random {
    fn pick(&mut self, candidates: &mut [Candidate], situation: &Situation) -> Option<usize> {
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = unit(situation.chance) * total;
        for (position, candidate) in candidates.iter().enumerate() {
            left -= candidate.weight;
            if left < 0.0 {
                return Some(position);
            }
        }
        // Rounding may leave a crumb over.
        candidates.len().checked_sub(1)
    }

    fn kind(&self) -> PolicyKind {
        PolicyKind::Random
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{Stage, assert_shares_by_chance, tally, weighted},
        *,
    };

    #[test]
    fn a_million_picks_are_shared_by_weight() {
        // Binomial counts, within five standard deviations.
        let taken = tally(&mut Random, &mut weighted(&[1.0, 2.0, 7.0]), 1_000_000);
        assert_shares_by_chance(&taken, &[0.1, 0.2, 0.7]);
    }

    proptest! {
        #[test]
        fn the_pick_is_a_candidate(weights in prop::collection::vec(0.001_f64..1_000.0, 0..20), seed: u64) {
            let picked = Random.pick(&mut weighted(&weights), &Stage::new(seed).situation(None));
            prop_assert_eq!(picked.is_some(), !weights.is_empty());
            prop_assert!(picked.is_none_or(|index| index < weights.len()));
        }
    }
}
