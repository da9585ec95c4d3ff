//! Latency histograms: merged over instances, subtracted over time, and only then asked for percentiles.

use std::collections::BTreeMap;

/// Counts per bucket, with the bucket's upper bound in seconds. Not cumulative, so merging is plain addition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Non-negative floats sort by their bits; infinity comes last.
    buckets: Vec<(u64, u64)>,
}

/// Percentiles of one window, in seconds, with the number of samples they stand on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub samples: u64,
}

impl Histogram {
    /// From Prometheus buckets: (upper bound, count of everything at or below it), in any order.
    pub fn from_cumulative(buckets: &BTreeMap<u64, u64>) -> Self {
        let mut below = 0;
        let buckets = buckets
            .iter()
            .map(|(&bound, &count)| {
                let own = count.saturating_sub(below);
                below = below.max(count);
                (bound, own)
            })
            .collect();
        Self { buckets }
    }

    pub fn samples(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Every bucket: its upper bound in seconds, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets
            .iter()
            .map(|&(bound, count)| (f64::from_bits(bound), count))
    }

    pub fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        let mut own = std::mem::take(&mut self.buckets).into_iter().peekable();
        let mut others = other.buckets.iter().copied().peekable();
        loop {
            let next = match (own.peek(), others.peek()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    let sum = (a.0, a.1.saturating_add(b.1));
                    own.next();
                    others.next();
                    sum
                }
                (Some(a), Some(b)) if a.0 > b.0 => others.next().expect("it was seen"),
                (Some(_), _) => own.next().expect("it was seen"),
                (None, Some(_)) => others.next().expect("it was seen"),
                (None, None) => return,
            };
            self.buckets.push(next);
        }
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.buckets.iter().peekable();
        let buckets = self
            .buckets
            .iter()
            .map(|&(bound, count)| {
                while before.next_if(|(other, _)| *other < bound).is_some() {}
                let had = before
                    .next_if(|(other, _)| *other == bound)
                    .map_or(0, |(_, had)| *had);
                (bound, count.saturating_sub(had))
            })
            .collect();
        Self { buckets }
    }

    /// The value below which `quantile` (0 to 1) of the samples lie, in seconds, interpolated inside its bucket.
    /// Beyond the last finite bound it is that bound: the truth is at least so much.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.samples();
        if total == 0 {
            return None;
        }
        let rank = (quantile * total as f64).max(f64::MIN_POSITIVE);
        let mut seen = 0.0;
        let mut lower = 0.0;
        for &(bits, count) in &self.buckets {
            let upper = f64::from_bits(bits);
            let count = count as f64;
            if count > 0.0 && seen + count >= rank {
                if upper.is_infinite() {
                    return Some(lower);
                }
                return Some(lower + (upper - lower) * (rank - seen) / count);
            }
            seen += count;
            if upper.is_finite() {
                lower = upper;
            }
        }
        Some(lower)
    }

    pub fn percentiles(&self) -> Option<Percentiles> {
        Some(Percentiles {
            p50: self.quantile(0.50)?,
            p95: self.quantile(0.95)?,
            p99: self.quantile(0.99)?,
            samples: self.samples(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cumulative(buckets: &[(f64, u64)]) -> Histogram {
        Histogram::from_cumulative(&buckets.iter().map(|&(b, c)| (b.to_bits(), c)).collect())
    }

    #[test]
    fn percentiles_of_a_merge_are_not_averages() {
        // One instance answers 900 requests in 1 ms, the other 100 in 1 s: the true p50 is about 1 ms.
        let mut all = cumulative(&[(0.001, 900), (1.0, 900), (f64::INFINITY, 900)]);
        all.merge(&cumulative(&[(0.001, 0), (1.0, 100), (f64::INFINITY, 100)]));
        let found = all.percentiles().unwrap();
        assert_eq!(found.samples, 1000);
        assert!(found.p50 < 0.001, "{found:?}");
        assert!(found.p95 > 0.4 && found.p99 > 0.8, "{found:?}");
    }

    #[test]
    fn a_window_is_a_difference() {
        let before = cumulative(&[(0.1, 50), (0.2, 50), (f64::INFINITY, 50)]);
        let after = cumulative(&[(0.1, 50), (0.2, 60), (f64::INFINITY, 60)]);
        let window = after.since(&before);
        assert_eq!(window.samples(), 10);
        assert!(window.quantile(0.01).unwrap() > 0.1);
    }

    #[test]
    fn the_edges_are_honest() {
        assert_eq!(Histogram::default().percentiles(), None);
        let beyond = cumulative(&[(0.5, 0), (f64::INFINITY, 7)]);
        assert_eq!(beyond.quantile(0.5), Some(0.5));
        // A decreasing "cumulative" count is nonsense from outside: it must not wrap around.
        let nonsense = cumulative(&[(0.1, 10), (0.2, 3), (f64::INFINITY, 10)]);
        assert_eq!(nonsense.samples(), 10);
    }
}
