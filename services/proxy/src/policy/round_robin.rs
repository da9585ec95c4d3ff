//! Round robin: each candidate in its turn.

use super::{Candidate, Policy, PolicyKind, Situation};

/// Takes the candidates in order of id, starting again after the last.
///
/// The position is remembered as the id picked last, not as an index, so that an upstream leaving or coming back neither
/// skips nor repeats a neighbour.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    last: Option<u64>,
}

impl Policy for RoundRobin {
    fn pick(&mut self, candidates: &mut [Candidate], _: &Situation) -> Option<usize> {
        let next = match self.last {
            Some(last) => candidates
                .iter()
                .position(|candidate| candidate.id > last)
                .unwrap_or(0),
            None => 0,
        };
        let picked = candidates.get(next)?;
        self.last = Some(picked.id);
        Some(next)
    }

    fn kind(&self) -> PolicyKind {
        PolicyKind::RoundRobin
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::testing::{Stage, candidate, tally, weighted},
        *,
    };

    fn candidates(ids: &[u64]) -> Vec<Candidate> {
        ids.iter().map(|&id| candidate(id, 1.0)).collect()
    }

    fn pick(policy: &mut RoundRobin, candidates: &mut [Candidate]) -> Option<usize> {
        policy.pick(candidates, &Stage::new(0).situation(None))
    }

    /// Plays rounds of candidates and compares the ids picked.
    fn check(rounds: &[(&[u64], Option<u64>)]) {
        let mut policy = RoundRobin::default();
        for (number, (ids, expected)) in rounds.iter().enumerate() {
            let mut candidates = candidates(ids);
            let picked = pick(&mut policy, &mut candidates).map(|index| candidates[index].id);
            assert_eq!(picked, *expected, "round {number} of {rounds:?}");
        }
    }

    #[test]
    fn a_million_picks_are_shared_within_one() {
        // Whole rounds: the counts differ by one at most, whatever the weights say.
        let taken = tally(
            &mut RoundRobin::default(),
            &mut weighted(&[1.0, 5.0, 2.0]),
            1_000_000,
        );
        assert_eq!(taken, [333_334, 333_333, 333_333]);
    }

    #[test]
    fn takes_turns() {
        let all: &[u64] = &[1, 2, 3];
        check(&[
            (all, Some(1)),
            (all, Some(2)),
            (all, Some(3)),
            (all, Some(1)),
        ]);
    }

    #[test]
    fn one_that_leaves_is_passed_over_and_nobody_is_repeated() {
        check(&[
            (&[1, 2, 3], Some(1)),
            (&[1, 3], Some(3)),
            (&[1, 3], Some(1)),
            (&[1, 2, 3], Some(2)),
        ]);
    }

    #[test]
    fn one_that_joins_waits_for_its_turn() {
        check(&[
            (&[1, 2], Some(1)),
            (&[1, 2, 3], Some(2)),
            (&[1, 2, 3], Some(3)),
        ]);
    }

    #[test]
    fn nobody_to_pick() {
        check(&[(&[], None), (&[5], Some(5)), (&[], None), (&[5], Some(5))]);
    }

    proptest! {
        #[test]
        fn shares_are_equal_within_one(count in 1_usize..12, picks in 1_usize..200) {
            let ids: Vec<u64> = (0..count as u64).collect();
            let mut candidates = candidates(&ids);
            let mut policy = RoundRobin::default();
            let mut taken = vec![0_usize; count];
            for _ in 0..picks {
                let index = pick(&mut policy, &mut candidates).expect("there are candidates");
                taken[index] += 1;
            }
            let most = taken.iter().max().copied().unwrap_or(0);
            let least = taken.iter().min().copied().unwrap_or(0);
            prop_assert!(most - least <= 1, "{taken:?}");
        }

        #[test]
        fn the_pick_is_always_a_candidate(rounds in prop::collection::vec(prop::collection::btree_set(0_u64..20, 0..8), 1..60)) {
            let mut policy = RoundRobin::default();
            for round in rounds {
                let ids: Vec<u64> = round.into_iter().collect();
                let picked = pick(&mut policy, &mut candidates(&ids));
                match picked {
                    Some(index) => prop_assert!(index < ids.len()),
                    None => prop_assert!(ids.is_empty()),
                }
            }
        }

        #[test]
        fn nobody_starves_while_others_come_and_go(always in 0_u64..10, rounds in prop::collection::vec(prop::collection::btree_set(0_u64..10, 0..10), 25)) {
            let mut policy = RoundRobin::default();
            let mut since = 0_usize;
            for mut round in rounds {
                round.insert(always);
                let ids: Vec<u64> = round.into_iter().collect();
                let index = pick(&mut policy, &mut candidates(&ids)).expect("there is at least one");
                since = if ids[index] == always { 0 } else { since + 1 };
                prop_assert!(since < 10, "passed over {since} times");
            }
        }
    }
}
