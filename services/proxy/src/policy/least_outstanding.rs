//! The fewest requests in flight.

use super::{Candidate, Policy, PolicyKind, Situation};
use crate::{chance::unit, hash::mix};

/// Picks the smallest number of requests in flight per weight; chance decides among equals, in proportion to their weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastOutstanding;

impl Policy for LeastOutstanding {
    fn pick(&mut self, candidates: &mut [Candidate], situation: &Situation) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        let mut tied_weight = 0.0;
        let mut chance = situation.chance;
        for (position, candidate) in candidates.iter_mut().enumerate() {
            candidate.score = candidate.in_flight as f64 / candidate.weight;
            match best {
                Some((_, least)) if candidate.score > least => {}
                Some((_, least)) if least - candidate.score < 1e-9 => {
                    // One walk over the equals: each replaces the one held so far with the probability that makes the
                    // whole proportional to the weights.
                    tied_weight += candidate.weight;
                    chance = mix(chance);
                    if unit(chance) * tied_weight < candidate.weight {
                        best = Some((position, least.min(candidate.score)));
                    }
                }
                _ => {
                    tied_weight = candidate.weight;
                    best = Some((position, candidate.score));
                }
            }
        }
        best.map(|(position, _)| position)
    }

    fn kind(&self) -> PolicyKind {
        PolicyKind::LeastOutstanding
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
    fn the_idle_one_is_picked() {
        let table: &[(&[usize], &[f64], usize)] = &[
            (&[3, 1, 2], &[1.0, 1.0, 1.0], 1),
            // Two in flight at weight 4 are less than one at weight 1.
            (&[2, 1], &[4.0, 1.0], 0),
            (&[0, 1], &[1.0, 100.0], 0),
        ];
        for (in_flight, weights, expected) in table {
            let mut candidates = weighted(weights);
            for (candidate, in_flight) in candidates.iter_mut().zip(*in_flight) {
                candidate.in_flight = *in_flight;
            }
            let situation = Stage::new(1).situation(None);
            assert_eq!(
                LeastOutstanding.pick(&mut candidates, &situation),
                Some(*expected),
                "{in_flight:?} {weights:?}"
            );
        }
    }

    #[test]
    fn a_million_picks_among_equals_are_shared_by_weight() {
        // Nobody ever has anything in flight: all are equal, chance decides. Binomial, within five standard deviations.
        let mut candidates = weighted(&[1.0, 2.0, 5.0]);
        let taken = tally(&mut LeastOutstanding, &mut candidates, 1_000_000);
        assert_shares_by_chance(&taken, &[0.125, 0.25, 0.625]);
    }

    #[test]
    fn a_million_requests_that_stay_are_shared_within_one() {
        // Requests never end: the difference between two of equal weight can never exceed one.
        let mut candidates = weighted(&[1.0; 7]);
        let mut stage = Stage::new(9);
        for _ in 0..1_000_000 {
            let picked = LeastOutstanding
                .pick(&mut candidates, &stage.situation(None))
                .expect("there are candidates");
            candidates[picked].in_flight += 1;
        }
        let counts = candidates.iter().map(|candidate| candidate.in_flight);
        let (most, least) = (counts.clone().max(), counts.min());
        assert!(most <= least.map(|least| least + 1), "{candidates:?}");
    }

    proptest! {
        #[test]
        fn nobody_else_has_less(load in prop::collection::vec((0_usize..50, 1_u32..10), 1..20), seed: u64) {
            let mut candidates = weighted(&load.iter().map(|(_, weight)| f64::from(*weight)).collect::<Vec<_>>());
            for (candidate, (in_flight, _)) in candidates.iter_mut().zip(&load) {
                candidate.in_flight = *in_flight;
            }
            let situation = Stage::new(seed).situation(None);
            let picked = LeastOutstanding.pick(&mut candidates, &situation).expect("there are candidates");
            for candidate in &candidates {
                prop_assert!(candidates[picked].score <= candidate.score + 1e-9);
            }
        }
    }
}
