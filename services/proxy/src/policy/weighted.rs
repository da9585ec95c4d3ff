//! Smooth weighted round robin, as nginx does it: shares in proportion to the weights, turns evenly spread.

use super::{Candidate, Policy, PolicyKind, Situation};

/// At each pick every candidate gains its weight, the one that has most is picked and pays the sum of all weights.
///
/// What a candidate has is its lag: how far it is behind its share, times the sum. So nobody is ever one pick or more ahead of
/// its share, and with whole weights everybody has exactly its share after as many picks as the weights sum up to.
#[derive(Clone, Debug, Default)]
pub struct Weighted {
    /// What each candidate has, ordered by id; one that does not take part keeps it for its return.
    balances: Vec<(u64, f64)>,
}

impl Policy for Weighted {
    fn pick(&mut self, candidates: &mut [Candidate], _: &Situation) -> Option<usize> {
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut best: Option<(usize, usize, f64)> = None;
        let mut next = 0;
        for (position, candidate) in candidates.iter_mut().enumerate() {
            // Both are ordered by id: one walk through the two.
            while self
                .balances
                .get(next)
                .is_some_and(|(id, _)| *id < candidate.id)
            {
                next += 1;
            }
            if self
                .balances
                .get(next)
                .is_none_or(|(id, _)| *id != candidate.id)
            {
                self.balances.insert(next, (candidate.id, 0.0));
            }
            let balance = &mut self.balances[next].1;
            *balance += candidate.weight;
            candidate.score = *balance;
            if best.is_none_or(|(_, _, most)| *balance > most) {
                best = Some((position, next, *balance));
            }
        }
        let (position, entry, _) = best?;
        self.balances[entry].1 -= total;
        Some(position)
    }

    fn forget(&mut self, id: u64) {
        self.balances.retain(|(known, _)| *known != id);
    }

    fn kind(&self) -> PolicyKind {
        PolicyKind::Weighted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{Stage, tally, weighted},
        *,
    };

    #[test]
    fn the_turns_are_those_of_nginx() {
        // The example of nginx's own commit message: a a b a c a a, not five of a in a row.
        let mut policy = Weighted::default();
        let mut candidates = weighted(&[5.0, 1.0, 1.0]);
        let mut stage = Stage::new(0);
        let turns: Vec<usize> = (0..7)
            .filter_map(|_| policy.pick(&mut candidates, &stage.situation(None)))
            .collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_million_picks_are_shared_exactly() {
        // 1,000,000 is 100,000 whole rounds of 1 + 2 + 3 + 4.
        let taken = tally(
            &mut Weighted::default(),
            &mut weighted(&[1.0, 2.0, 3.0, 4.0]),
            1_000_000,
        );
        assert_eq!(taken, [100_000, 200_000, 300_000, 400_000]);
    }

    #[test]
    fn one_that_left_is_forgotten_and_one_that_is_away_is_not() {
        let mut policy = Weighted::default();
        let mut candidates = weighted(&[1.0, 1.0, 1.0]);
        let mut stage = Stage::new(0);
        for _ in 0..2 {
            policy.pick(&mut candidates, &stage.situation(None));
        }
        // The third is next, and stays so while it is away.
        policy.pick(&mut candidates[..2], &stage.situation(None));
        assert_eq!(
            policy.pick(&mut candidates, &stage.situation(None)),
            Some(2)
        );
        policy.forget(1);
        assert_eq!(policy.balances.len(), 2);
    }

    proptest! {
        /// Each share is kept at every moment: never a whole pick ahead, and behind by less than the others are ahead
        /// together, which is one less than there are candidates.
        #[test]
        fn nobody_is_far_from_its_share(weights in prop::collection::vec(1_u32..20, 1..8), picks in 1_usize..400) {
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let total: f64 = weights.iter().sum();
            let mut candidates = weighted(&weights);
            let mut policy = Weighted::default();
            let mut stage = Stage::new(0);
            let mut taken = vec![0_usize; weights.len()];
            for pick in 1..=picks {
                let index = policy.pick(&mut candidates, &stage.situation(None)).expect("there are candidates");
                taken[index] += 1;
                for (taken, weight) in taken.iter().zip(&weights) {
                    let ahead = *taken as f64 - pick as f64 * weight / total;
                    prop_assert!(ahead < 1.0 + 1e-9, "{ahead} ahead");
                    prop_assert!(ahead > -(weights.len() as f64 - 1.0).max(1.0), "{ahead} behind");
                }
            }
        }
    }
}
