//! Chance that can be repeated: one stream of numbers per subject, whole numbers only.
//!
//! Streams are apart so that more users do not move the trips, and nothing here rounds: a float's last bit may differ from
//! one machine to the next, and the city must not.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of numbers is for.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    People = 1,
    Cards = 2,
    Trips = 3,
    Tutors = 4,
    Salts = 5,
}

pub struct Chance(ChaCha8Rng);

impl Chance {
    pub fn new(seed: u64, subject: Subject) -> Self {
        let mut numbers = ChaCha8Rng::seed_from_u64(seed);
        numbers.set_stream(subject as u64);
        Self(numbers)
    }

    /// A number from 0 up to but not including `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        // The bias of the multiplication is below one in a thousand for every bound here, and nobody bets on this city.
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number of seconds, minutes or days in a range, its end excluded.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::from(
            self.below(u32::try_from(to - from).expect("ranges are small and forward")),
        )
    }

    /// True that many times in a hundred.
    pub fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u32) as usize]
    }

    /// One of several values, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, from: &[(u32, T)]) -> T {
        let mut left = self.below(from.iter().map(|(weight, _)| weight).sum());
        for &(weight, value) in from {
            if left < weight {
                return value;
            }
            left -= weight;
        }
        unreachable!("the weights sum to more than what was drawn")
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut chance = Chance::new(7, Subject::Trips);
        let drawn: Vec<u32> = (0..5).map(|_| chance.below(1000)).collect();
        let mut again = Chance::new(7, Subject::Trips);
        assert_eq!(drawn, (0..5).map(|_| again.below(1000)).collect::<Vec<_>>());
        let mut other = Chance::new(7, Subject::Cards);
        assert_ne!(drawn, (0..5).map(|_| other.below(1000)).collect::<Vec<_>>());
    }

    #[test]
    fn weights_are_kept() {
        let mut chance = Chance::new(1, Subject::Trips);
        let heavy = (0..10_000)
            .filter(|_| chance.weighted(&[(9, true), (1, false)]))
            .count();
        assert!((8_800..9_200).contains(&heavy), "{heavy}");
    }
}
