//! The same upstream for the same key: weighted rendezvous hashing with bounded loads.

use super::{Candidate, Policy, PolicyKind, Situation};
use crate::{chance::unit, hash::pair};

/// Every upstream draws a number from the key and its own name; the highest wins, in proportion to the weights.
///
/// * One that joins takes keys from the others and moves none between them; the keys of one that leaves are spread over all.
/// * No upstream is given more than `bound` times its share of the requests in flight: above it, the next highest wins, and
///   that is the same one each time, too.
/// * A request without a key goes by chance, under the same bound.
///
/// Rendezvous rather than a ring or a Maglev table: there is nothing to build when membership or weights change, and for the
/// tens of upstreams a pool has, drawing for each of them takes as long as looking into a table would.
#[derive(Clone, Copy, Debug)]
pub struct ConsistentHash {
    bound: f64,
}

impl ConsistentHash {
    /// `bound`: how many times its share an upstream may have in flight, at least 1.
    #[must_use]
    pub fn new(bound: f64) -> Self {
        Self { bound }
    }
}

impl Policy for ConsistentHash {
    fn pick(&mut self, candidates: &mut [Candidate], situation: &Situation) -> Option<usize> {
        let key = situation.key.unwrap_or(situation.chance);
        let mut in_flight = 1;
        let mut total_weight = 0.0;
        for candidate in &*candidates {
            in_flight += candidate.in_flight;
            total_weight += candidate.weight;
        }
        let per_weight = self.bound * in_flight as f64 / total_weight;
        let mut best: Option<(usize, f64)> = None;
        for (position, candidate) in candidates.iter_mut().enumerate() {
            // Weighted rendezvous: with u uniform in (0, 1), weight / -ln(u) is the highest of all with a probability in
            // proportion to the weight.
            let uniform = unit(pair(key, candidate.hash)).max(f64::MIN_POSITIVE);
            candidate.score = candidate.weight / -uniform.ln();
            let has_room = (candidate.in_flight as f64) < (per_weight * candidate.weight).ceil();
            if has_room && best.is_none_or(|(_, most)| candidate.score > most) {
                best = Some((position, candidate.score));
            }
        }
        // All together have room for more than there is, so one of them has; rounding must not turn a request away.
        best.map(|(position, _)| position)
            .or(candidates.len().checked_sub(1))
    }

    fn kind(&self) -> PolicyKind {
        PolicyKind::ConsistentHash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{Stage, assert_shares_by_chance, candidate, weighted},
        *,
    };
    use crate::hash;

    /// Who gets each of the keys 0 to `keys`, nobody having anything in flight.
    fn owners(candidates: &mut [Candidate], keys: u64) -> Vec<u64> {
        let mut policy = ConsistentHash::new(1.25);
        let mut stage = Stage::new(0);
        (0..keys)
            .map(|key| {
                let situation = stage.situation(Some(hash::mix(key)));
                let picked = policy.pick(candidates, &situation).expect("candidates");
                candidates[picked].id
            })
            .collect()
    }

    #[test]
    fn a_million_keys_are_shared_by_weight() {
        // Each key falls independently: binomial counts, within five standard deviations.
        let mut taken = [0; 3];
        for owner in owners(&mut weighted(&[1.0, 2.0, 5.0]), 1_000_000) {
            taken[owner as usize] += 1;
        }
        assert_shares_by_chance(&taken, &[0.125, 0.25, 0.625]);
    }

    #[test]
    fn a_change_of_membership_moves_as_few_keys_as_can_be() {
        let mut all: Vec<Candidate> = (0..10).map(|id| candidate(id, 1.0)).collect();
        let before = owners(&mut all, 100_000);
        let left = all.remove(4);
        let after = owners(&mut all, 100_000);
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let lost = before.iter().filter(|owner| **owner == left.id).count();
        // Exactly the keys of the one that left move, a tenth of all (five standard deviations of it: 475).
        assert_eq!(moved, lost);
        assert!(lost.abs_diff(10_000) < 475, "{lost}");
    }

    #[test]
    fn a_hot_key_is_bounded_and_spills_to_the_same_next() {
        let mut candidates = weighted(&[1.0; 4]);
        let mut policy = ConsistentHash::new(1.25);
        let mut stage = Stage::new(0);
        for sent in 1..=1_000_usize {
            let situation = stage.situation(Some(7));
            let picked = policy.pick(&mut candidates, &situation).expect("four");
            candidates[picked].in_flight += 1;
            // The bound: 1.25 times the share, rounded up to a whole request.
            let most = candidates.iter().map(|c| c.in_flight).max().unwrap_or(0);
            assert!(
                most <= (1.25 * sent as f64 / 4.0).ceil() as usize,
                "{most} of {sent}"
            );
        }
        // In order of preference they are full, full, full, and the last has the rest.
        let mut by_score = candidates.clone();
        by_score.sort_by(|a, b| b.score.total_cmp(&a.score));
        let loads: Vec<usize> = by_score.iter().map(|c| c.in_flight).collect();
        assert!(loads.is_sorted_by(|a, b| a >= b), "{loads:?}");
        assert_eq!(loads[0], 313);
    }

    #[test]
    fn without_a_key_chance_decides() {
        let mut policy = ConsistentHash::new(1.25);
        let mut candidates = weighted(&[1.0, 1.0, 2.0]);
        let mut stage = Stage::new(8);
        let mut taken = [0; 3];
        for _ in 0..100_000 {
            let situation = stage.situation(None);
            taken[policy.pick(&mut candidates, &situation).expect("three")] += 1;
        }
        assert_shares_by_chance(&taken, &[0.25, 0.25, 0.5]);
    }

    proptest! {
        /// A key goes where it went, or to the one that joined.
        #[test]
        fn joining_only_takes(ids in prop::collection::btree_set(0_u64..1_000, 2..12), key: u64) {
            let all: Vec<u64> = ids.into_iter().collect();
            let (joined, before) = all.split_last().expect("two at least");
            let mut stage = Stage::new(0);
            let mut owner = |ids: &[u64]| {
                let mut candidates: Vec<_> = ids.iter().map(|&id| candidate(id, 1.0)).collect();
                let picked = ConsistentHash::new(1.25).pick(&mut candidates, &stage.situation(Some(key)));
                picked.map(|index| candidates[index].id)
            };
            let (old, new) = (owner(before), owner(&all));
            prop_assert!(new == old || new == Some(*joined));
        }

        /// The bound holds whatever is in flight already, and there is always room for one more.
        #[test]
        fn the_bound_holds(load in prop::collection::vec((0_usize..40, 1_u32..9), 1..12), key: u64, bound in 1.0_f64..3.0) {
            let mut candidates = weighted(&load.iter().map(|(_, weight)| f64::from(*weight)).collect::<Vec<_>>());
            for (candidate, (in_flight, _)) in candidates.iter_mut().zip(&load) {
                candidate.in_flight = *in_flight;
            }
            let total = load.iter().map(|(in_flight, _)| in_flight).sum::<usize>() + 1;
            let weights: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
            let picked = ConsistentHash::new(bound).pick(&mut candidates, &Stage::new(0).situation(Some(key))).expect("one");
            let limit = (bound * total as f64 * candidates[picked].weight / weights).ceil();
            prop_assert!(candidates[picked].in_flight as f64 + 1.0 <= limit + 1e-9);
        }
    }
}
