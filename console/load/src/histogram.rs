//! Distributions of durations, in microseconds from one to five minutes.

use std::time::Duration;

use crate::Latency;

const HIGHEST: u64 = 300_000_000;

/// A histogram with a relative error of a tenth of a per cent (fine) or one per cent (coarse).
#[derive(Clone, Debug)]
pub(crate) struct Histogram(hdrhistogram::Histogram<u64>);

impl Histogram {
    pub fn fine() -> Self {
        Self::with_digits(3)
    }

    pub fn coarse() -> Self {
        Self::with_digits(2)
    }

    fn with_digits(digits: u8) -> Self {
        let inner = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST, digits)
            .expect("the bounds are in range");
        Self(inner)
    }

    /// Longer durations count as the longest.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.clamp(1, HIGHEST));
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Zero when nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let histogram = &self.0;
        if histogram.is_empty() {
            return 0;
        }
        histogram.value_at_quantile(quantile).min(histogram.max())
    }

    pub fn summary(&self) -> Latency {
        let histogram = &self.0;
        if histogram.is_empty() {
            return Latency::default();
        }
        // A bucket's upper edge may lie above the largest value recorded in it.
        let max = histogram.max();
        let quantile = |quantile| histogram.value_at_quantile(quantile).min(max);
        Latency {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max,
        }
    }
}
