//! Chance: a small generator whose whole future is its seed, so that decisions made with it can be made again.

use crate::hash::mix;

/// `SplitMix64`: a counter, mixed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 fair bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }
}

/// Makes 64 fair bits a number from 0 to below 1.
#[must_use]
pub fn unit(bits: u64) -> f64 {
    // The 53 bits that a float can tell apart.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Makes 64 fair bits a number below `count`, which must not be 0. The bias is below `count` / 2^64.
#[must_use]
pub fn below(bits: u64, count: usize) -> usize {
    ((u128::from(bits) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seed_is_the_whole_future() {
        let (mut one, mut other) = (Chance::seeded(7), Chance::seeded(7));
        for _ in 0..100 {
            assert_eq!(one.bits(), other.bits());
        }
    }

    proptest! {
        #[test]
        fn numbers_stay_in_their_range(bits: u64, count in 1_usize..1_000) {
            prop_assert!((0.0..1.0).contains(&unit(bits)));
            prop_assert!(below(bits, count) < count);
        }
    }
}
