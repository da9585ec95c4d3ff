//! Fills gaps with amounts: a search with memory over which of the things that may have happened did, and when.

use std::collections::HashSet;

/// A stretch between two known balances that only things of unknown outcome can have bridged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub size: i64,
    /// Something that comes after the gap was over by then, so what was asked for later cannot be in it.
    pub until: u64,
}

/// Something that may have happened once, at any time after it was asked for, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perhaps {
    pub amount: i64,
    pub since: u64,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    Yes,
    /// No choice fills the gap with this number (and all before it).
    No {
        gap: usize,
    },
    /// The search took more than its budget.
    GaveUp,
}

/// Whether all gaps can be filled exactly, none of the things used twice. Gaps come in order of time. `budget` bounds the
/// states that are looked at.
#[must_use]
pub fn fill(gaps: &[Gap], perhaps: &[Perhaps], budget: usize) -> Filled {
    // Largest first: fewer ways to go wrong.
    let mut items: Vec<Perhaps> = perhaps.to_vec();
    items.sort_unstable_by_key(|item| std::cmp::Reverse((item.amount, item.since)));
    let mut search = Search {
        gaps,
        items: &items,
        used: vec![false; items.len()],
        signature: 0,
        seen: HashSet::new(),
        left: budget,
        deepest: 0,
    };
    match search.go() {
        Some(true) => Filled::Yes,
        Some(false) => Filled::No {
            gap: search.deepest,
        },
        None => Filled::GaveUp,
    }
}

/// Where the search stands: in which gap, how much of it is left, and which item is looked at next.
#[derive(Clone, Copy, Debug)]
struct Place {
    gap: usize,
    left: i64,
    next: usize,
}

struct Search<'a> {
    gaps: &'a [Gap],
    items: &'a [Perhaps],
    used: Vec<bool>,
    /// Of the items used, whatever the order.
    signature: u64,
    /// States that led nowhere.
    seen: HashSet<(usize, i64, usize, u64)>,
    left: usize,
    deepest: usize,
}

impl Search<'_> {
    /// Depth first, without recursion: histories are long. `None` when the budget is spent.
    fn go(&mut self) -> Option<bool> {
        let mut path: Vec<(Place, usize)> = Vec::new();
        let mut place = Place {
            gap: 0,
            left: self.gaps.first().map_or(0, |gap| gap.size),
            next: 0,
        };
        loop {
            // What is filled lies behind.
            while place.gap < self.gaps.len() && place.left == 0 {
                let gap = place.gap + 1;
                place = Place {
                    gap,
                    left: self.gaps.get(gap).map_or(0, |gap| gap.size),
                    next: 0,
                };
            }
            self.deepest = self.deepest.max(place.gap);
            if place.gap == self.gaps.len() {
                return Some(true);
            }
            self.left = self.left.checked_sub(1)?;
            let new = self
                .seen
                .insert((place.gap, place.left, place.next, self.signature));
            let candidate = if new { self.candidate(place) } else { None };
            if let Some(item) = candidate {
                path.push((place, item));
                self.take(item);
                place.left -= self.items[item].amount;
                place.next = item + 1;
            } else {
                let Some((before, item)) = path.pop() else {
                    return Some(false);
                };
                self.take(item);
                place = Place {
                    next: item + 1,
                    ..before
                };
            }
        }
    }

    fn candidate(&self, place: Place) -> Option<usize> {
        let until = self.gaps[place.gap].until;
        (place.next..self.items.len()).find(|&index| {
            let item = self.items[index];
            !self.used[index] && item.amount <= place.left && item.since <= until
        })
    }

    /// Uses an item, or gives it back.
    fn take(&mut self, item: usize) {
        self.used[item] = !self.used[item];
        self.signature ^= mark(item);
    }
}

/// A number that differs from item to item in about half of its bits (the finisher of `SplitMix64`).
fn mark(item: usize) -> u64 {
    let mut z = (item as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn perhaps(items: &[(i64, u64)]) -> Vec<Perhaps> {
        items
            .iter()
            .map(|&(amount, since)| Perhaps { amount, since })
            .collect()
    }

    #[test]
    fn table() {
        let gap = |size, until| Gap { size, until };
        for (gaps, items, expected) in [
            (vec![], vec![], Filled::Yes),
            (vec![], vec![(5, 0)], Filled::Yes),
            (vec![gap(5, 9)], vec![], Filled::No { gap: 0 }),
            (vec![gap(5, 9)], vec![(2, 0), (3, 0)], Filled::Yes),
            // Asked for too late.
            (
                vec![gap(5, 9)],
                vec![(2, 0), (3, 10)],
                Filled::No { gap: 0 },
            ),
            // The 5 is needed later: the search must come back from taking it.
            (
                vec![gap(5, 9), gap(5, 19)],
                vec![(5, 10), (2, 0), (3, 0)],
                Filled::Yes,
            ),
            (
                vec![gap(5, 9), gap(5, 19)],
                vec![(5, 0), (2, 0), (3, 0)],
                Filled::Yes,
            ),
            // Nothing is used twice.
            (
                vec![gap(5, 9), gap(5, 19)],
                vec![(5, 0)],
                Filled::No { gap: 1 },
            ),
        ] {
            assert_eq!(
                fill(&gaps, &perhaps(&items), 10_000),
                expected,
                "{gaps:?} {items:?}"
            );
        }
    }

    #[test]
    fn it_gives_up_within_its_budget() {
        let items = vec![(2, 0); 60];
        let gaps = [Gap { size: 61, until: 9 }];
        assert_ne!(fill(&gaps, &perhaps(&items), 100), Filled::Yes);
        let distinct: Vec<(i64, u64)> = (0..40).map(|n| (1 << n, 0)).collect();
        let impossible = [Gap {
            size: (1 << 41) + 1,
            until: 9,
        }];
        assert_eq!(
            fill(&impossible, &perhaps(&distinct), 1_000),
            Filled::GaveUp
        );
    }

    proptest! {
        /// Gaps that were made of items are filled; one that no sum reaches is not.
        #[test]
        fn what_happened_is_found(
            items in prop::collection::vec((1_i64..50, 0_u64..100, 0_usize..5), 0..14),
        ) {
            let mut gaps = vec![0_i64; 4];
            for &(amount, _, into) in &items {
                if let Some(gap) = gaps.get_mut(into) {
                    *gap += amount;
                }
            }
            let gaps: Vec<Gap> = gaps.into_iter().map(|size| Gap { size, until: 100 }).collect();
            let things: Vec<(i64, u64)> = items.iter().map(|&(amount, since, _)| (amount, since)).collect();
            prop_assert_eq!(fill(&gaps, &perhaps(&things), 1_000_000), Filled::Yes);
            let all: i64 = things.iter().map(|(amount, _)| amount).sum();
            let too_much = [Gap { size: all + 1, until: 100 }];
            prop_assert_eq!(fill(&too_much, &perhaps(&things), 10_000_000), Filled::No { gap: 0 });
        }
    }
}
