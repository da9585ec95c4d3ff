//! Percentiles, intervals of confidence, and what two sets of samples can be told apart by.

use std::ops::Range;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The intervals hold the true value 19 times of 20.
pub const CONFIDENCE: f64 = 0.95;
/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// What a resampling may cost: numbers drawn for one interval.
const DRAWS: usize = 8_000_000;
const RESAMPLES: Range<usize> = 300..2_000;
/// Fixed, so that the same data give the same report.
const SEED: u64 = 0x5eed;

/// A value with the ends of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// Sorted, without those that are no numbers or negative: what a file holds may be anything.
#[must_use]
pub fn sorted(samples: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut samples: Vec<f64> = samples
        .into_iter()
        .filter(|value| is_time(*value))
        .collect();
    samples.sort_by(f64::total_cmp);
    samples
}

/// Whether it can be a time.
#[must_use]
pub fn is_time(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// The smallest sample that at least this share of all is not above (nearest rank), of sorted samples. `share` is from 0 to 1.
#[must_use]
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get(rank(sorted.len(), share)?).copied()
}

/// From 0.
fn rank(count: usize, share: f64) -> Option<usize> {
    if count == 0 || share.is_nan() {
        return None;
    }
    // 0.95 x 20 is a little more than 19 in floating point.
    let rank = (share.clamp(0.0, 1.0) * count as f64 - 1e-9)
        .ceil()
        .max(1.0);
    Some((rank as usize - 1).min(count - 1))
}

#[must_use]
pub fn mean(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

/// Wilson's interval of a proportion.
#[must_use]
pub fn wilson(hits: usize, of: usize) -> Option<Interval> {
    if of == 0 {
        return None;
    }
    let n = of as f64;
    let p = hits.min(of) as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval {
        value: p,
        low: (middle - half).clamp(0.0, p),
        high: (middle + half).clamp(p, 1.0),
    })
}

/// Newcombe's interval of the difference of two proportions, the second less the first; from their Wilson intervals.
#[must_use]
pub fn difference(first: Interval, second: Interval) -> Interval {
    let down = (second.value - second.low).hypot(first.high - first.value);
    let up = (second.high - second.value).hypot(first.value - first.low);
    let value = second.value - first.value;
    Interval {
        value,
        low: value - down,
        high: value + up,
    }
}

/// How many samples a percentile's interval needs: some must lie beyond it.
#[must_use]
pub fn enough(share: f64) -> usize {
    (5.0 / (1.0 - share).max(1e-6) - 1e-9).ceil() as usize
}

/// The bootstrap's interval of a percentile of sorted samples.
#[must_use]
pub fn bootstrap(sorted: &[f64], share: f64) -> Option<Interval> {
    let value = percentile(sorted, share)?;
    let mut chance = ChaCha8Rng::seed_from_u64(SEED);
    let mut drawn = Resample::of(sorted, share)?;
    let mut values: Vec<f64> = (0..resamples(sorted.len()))
        .map(|_| drawn.next(&mut chance))
        .collect();
    Some(interval(value, &mut values))
}

/// The bootstrap's intervals of the difference (second less first) and of the ratio (second to first) of a percentile.
#[must_use]
pub fn bootstrap_pair(first: &[f64], second: &[f64], share: f64) -> Option<(Interval, Interval)> {
    let before = percentile(first, share)?;
    let after = percentile(second, share)?;
    let mut chance = ChaCha8Rng::seed_from_u64(SEED);
    let mut one = Resample::of(first, share)?;
    let mut other = Resample::of(second, share)?;
    let count = resamples(first.len() + second.len());
    let (mut differences, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let before = one.next(&mut chance);
        let after = other.next(&mut chance);
        differences.push(after - before);
        ratios.push(ratio(before, after));
    }
    Some((
        interval(after - before, &mut differences),
        interval(ratio(before, after), &mut ratios),
    ))
}

fn ratio(first: f64, second: f64) -> f64 {
    if first.total_cmp(&second).is_eq() {
        1.0
    } else {
        // A time of nothing is less than the clock can tell.
        second.max(1e-6) / first.max(1e-6)
    }
}

fn resamples(count: usize) -> usize {
    (DRAWS / count.max(1)).clamp(RESAMPLES.start, RESAMPLES.end)
}

fn interval(value: f64, values: &mut [f64]) -> Interval {
    values.sort_by(f64::total_cmp);
    let beyond = (1.0 - CONFIDENCE) / 2.0;
    let at = |share| percentile(values, share).unwrap_or(value);
    // Never without the value itself: with ties or few samples the resamples may all lie on one side.
    Interval {
        value,
        low: at(beyond).min(value),
        high: at(1.0 - beyond).max(value),
    }
}

/// Draws as many samples as there are, with replacement, and gives their percentile: by counting, without sorting.
struct Resample<'a> {
    sorted: &'a [f64],
    rank: usize,
    counts: Vec<u32>,
}

impl<'a> Resample<'a> {
    fn of(sorted: &'a [f64], share: f64) -> Option<Self> {
        Some(Self {
            sorted,
            rank: rank(sorted.len(), share)?,
            counts: vec![0; sorted.len()],
        })
    }

    fn next(&mut self, chance: &mut ChaCha8Rng) -> f64 {
        self.counts.fill(0);
        let count = self.sorted.len();
        for _ in 0..count {
            self.counts[chance.random_range(0..count)] += 1;
        }
        let mut seen = 0;
        for (place, times) in self.counts.iter().enumerate() {
            seen += *times as usize;
            if seen > self.rank {
                return self.sorted[place];
            }
        }
        self.sorted[count - 1]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_samples_of_the_nearest_rank() {
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        for (share, expected) in [
            (0.0, 1.0),
            (0.5, 10.0),
            (0.95, 19.0),
            (0.99, 20.0),
            (1.0, 20.0),
        ] {
            assert_eq!(percentile(&twenty, share), Some(expected), "{share}");
        }
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&twenty, f64::NAN), None);
    }

    #[test]
    fn what_is_no_time_is_left_out() {
        assert_eq!(
            sorted([2.0, f64::NAN, -1.0, f64::INFINITY, 1.0]),
            [1.0, 2.0]
        );
    }

    #[test]
    fn wilson_agrees_with_the_textbook() {
        // 10 of 100: 5.52 % to 17.44 %; none of 20: 0 to 16.11 %.
        let ten = wilson(10, 100).unwrap();
        assert!((ten.low - 0.05523).abs() < 1e-4 && (ten.high - 0.17437).abs() < 1e-4);
        let none = wilson(0, 20).unwrap();
        assert!(none.low.abs() < 1e-9 && (none.high - 0.16113).abs() < 1e-4);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn differences_agree_with_newcombe() {
        // His example: 56 of 70 and 48 of 80: 0.0524 to 0.3339.
        let apart = difference(wilson(48, 80).unwrap(), wilson(56, 70).unwrap());
        assert!((apart.low - 0.0524).abs() < 1e-4 && (apart.high - 0.3339).abs() < 1e-4);
    }

    #[test]
    fn the_bootstrap_covers_the_true_median() {
        let mut chance = ChaCha8Rng::seed_from_u64(7);
        let mut held = 0;
        for _ in 0..100 {
            // Exponential with the median ln 2.
            let samples = sorted((0..40).map(|_| -(1.0 - chance.random::<f64>()).ln()));
            let found = bootstrap(&samples, 0.5).unwrap();
            held += usize::from((found.low..=found.high).contains(&std::f64::consts::LN_2));
        }
        assert!((86..=100).contains(&held), "{held} of 100");
    }

    #[test]
    fn twice_as_slow_is_seen_and_the_same_is_not() {
        let one: Vec<f64> = (0..400).map(|n| 10.0 + f64::from(n % 100) / 10.0).collect();
        let twice = sorted(one.iter().map(|value| value * 2.0));
        let one = sorted(one);
        let (apart, ratio) = bootstrap_pair(&one, &twice, 0.5).unwrap();
        assert!(
            apart.low > 0.0 && ratio.low > 1.8 && ratio.high < 2.2,
            "{ratio:?}"
        );
        let (apart, ratio) = bootstrap_pair(&one, &one, 0.5).unwrap();
        assert!(apart.low <= 0.0 && apart.high >= 0.0 && (ratio.value - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn at_least_the_share_is_not_above_its_percentile(
            samples in prop::collection::vec(0.0..1e6, 1..200), share in 0.0..=1.0,
        ) {
            let all = sorted(samples);
            let found = percentile(&all, share).unwrap();
            let not_above = all.iter().filter(|value| **value <= found).count();
            let below = all.iter().filter(|value| **value < found).count();
            prop_assert!(not_above as f64 >= share * all.len() as f64 - 1e-6);
            prop_assert!(below == 0 || (below as f64) < share * all.len() as f64 + 1e-6);
        }

        #[test]
        fn intervals_hold_their_value(
            samples in prop::collection::vec(0.0..1e3, 1..40), share in 0.0..=1.0, hits in 0_usize..50, more in 0_usize..50,
        ) {
            let found = bootstrap(&sorted(samples), share).unwrap();
            prop_assert!(found.low <= found.value && found.value <= found.high);
            if let Some(found) = wilson(hits, hits + more) {
                prop_assert!(0.0 <= found.low && found.low <= found.value && found.value <= found.high && found.high <= 1.0);
            }
        }
    }
}
