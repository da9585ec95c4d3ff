//! Whether a value is rebuilt before its time: the decision of each reader on its own (`XFetch`), so that a popular value is
//! rebuilt by somebody a little early and nobody waits for it.
//!
//! The rule is Vattani, Chierichetti and Lowenstein's: the longer a rebuild takes and the nearer the end, the likelier.

use std::time::Duration;

/// How eager readers are; 1 is what the authors prove to be best when rebuild times vary little.
const BETA: f64 = 1.0;
/// Beyond so many rebuild times before the end nobody is so lucky (once in 10^17).
const HOPELESS: u32 = 40;

/// Whether this reader should rebuild a value that is fresh for another `left` and took `rebuild` to make; `chance` is drawn
/// evenly from 0..1.
#[must_use]
pub fn is_due(left: Duration, rebuild: Duration, chance: impl FnOnce() -> f64) -> bool {
    if rebuild.is_zero() || left > rebuild * HOPELESS {
        return false;
    }
    // 1 - chance lies in (0, 1]: its logarithm exists.
    let reach = rebuild.as_secs_f64() * BETA * -(1.0 - chance().clamp(0.0, 1.0)).ln();
    reach >= left.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_nearer_the_end_and_the_slower_the_rebuild_the_likelier() {
        for (left, rebuild, chance, due) in [
            // -ln(1 - 0.5) = 0.69 rebuild times before the end.
            (ms(69), ms(100), 0.5, true),
            (ms(70), ms(100), 0.5, false),
            (ms(690), ms(1000), 0.5, true),
            (ms(230), ms(100), 0.9, true),
            (ms(231), ms(100), 0.9, false),
            (ms(1), ms(100), 0.0, false),
            (ms(0), ms(100), 0.0, true),
            (ms(0), ms(0), 0.9, false),
            (ms(300_000), ms(100), 0.999_999, false),
            (ms(10), ms(100), 1.0, true),
        ] {
            assert_eq!(
                is_due(left, rebuild, || chance),
                due,
                "{left:?} {rebuild:?} {chance}"
            );
        }
    }

    #[test]
    fn chance_is_not_drawn_in_vain() {
        assert!(!is_due(ms(300_000), ms(5), || unreachable!(
            "far from its end"
        )));
        assert!(!is_due(ms(1), Duration::ZERO, || unreachable!(
            "nobody measured"
        )));
    }

    proptest! {
        #[test]
        fn it_grows_with_chance_and_shrinks_with_time(
            left in 0_u64..10_000,
            more in 0_u64..10_000,
            rebuild in 1_u64..5_000,
            chance in 0.0_f64..1.0,
            luck in 0.0_f64..1.0,
        ) {
            let due = |left, chance| is_due(ms(left), ms(rebuild), || chance);
            if due(left + more, chance) {
                prop_assert!(due(left, chance));
            }
            if due(left, chance.min(luck)) {
                prop_assert!(due(left, chance.max(luck)));
            }
        }

        /// Over many readers, as often as the formula says.
        #[test]
        fn its_frequency_is_the_formulas(left in 1_u64..400) {
            let draws = 4000_u32;
            let hits = (0..draws)
                .filter(|draw| is_due(ms(left), ms(100), || (f64::from(*draw) + 0.5) / f64::from(draws)))
                .count();
            let expected = (-(left as f64) / 100.0).exp() * f64::from(draws);
            prop_assert!((hits as f64 - expected).abs() <= 2.0, "{hits} {expected}");
        }
    }
}
