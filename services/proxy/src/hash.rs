//! A hash that is the same in every process and every version, for keys and names that several balancers must agree on.

/// Hashes bytes: FNV-1a, then mixed so that every bit of the result depends on every byte.
#[must_use]
pub fn of(bytes: &[u8]) -> u64 {
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(folded)
}

/// Hashes two hashes to one.
#[must_use]
pub fn pair(first: u64, second: u64) -> u64 {
    mix(first ^ mix(second.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// Spreads a number over all 64 bits (the finalizer of `SplitMix64`); different numbers stay different.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_changes() {
        // Cookies out in the world hold these.
        assert_eq!(of(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(of(b"gateway-1"), of(b"gateway-1"));
        assert_ne!(of(b"gateway-1"), of(b"gateway-2"));
    }

    #[test]
    fn every_bit_is_a_fair_coin() {
        let mut ones = [0_u32; 64];
        for number in 0..10_000_u32 {
            let hash = of(format!("student-{number}").as_bytes());
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += u32::from(hash >> bit & 1 == 1);
            }
        }
        // Six standard deviations of a fair coin thrown 10,000 times: 6 * sqrt(10,000 / 4) = 300.
        assert!(
            ones.iter().all(|ones| ones.abs_diff(5_000) <= 300),
            "{ones:?}"
        );
    }
}
