//! How long the requests of one route took: a histogram of plain atomics, so that counting a request costs two additions.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// The first bucket's upper bound, in nanoseconds.
const FIRST: u64 = 50_000;

/// Buckets, each twice as wide as the one before: 50 µs to 105 s; the last one has no upper bound.
const BUCKETS: usize = 23;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    pub route: String,
}

/// Clones share their counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteLatency(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl RouteLatency {
    pub fn observe(&self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.0.buckets[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// The first bucket whose upper bound is not below.
fn bucket(nanoseconds: u64) -> usize {
    let firsts = nanoseconds.div_ceil(FIRST).max(1);
    // The exponent of the next power of two.
    let doublings = u64::BITS - (firsts - 1).leading_zeros();
    (doublings as usize).min(BUCKETS - 1)
}

impl TypedMetric for RouteLatency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for RouteLatency {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let mut count = 0;
        let buckets: [(f64, u64); BUCKETS] = std::array::from_fn(|place| {
            let own = self.0.buckets[place].load(Ordering::Relaxed);
            count += own;
            let bound = if place + 1 == BUCKETS {
                f64::INFINITY
            } else {
                (FIRST << place) as f64 / 1e9
            };
            (bound, own)
        });
        let sum = self.0.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, metrics::family::Family, registry::Registry};

    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_it_ends() {
        for (nanoseconds, expected) in [
            (0, 0),
            (1, 0),
            (50_000, 0),
            (50_001, 1),
            (100_000, 1),
            (100_001, 2),
            (200_000, 2),
            (FIRST << 21, 21),
            ((FIRST << 21) + 1, 22),
            (u64::MAX, 22),
        ] {
            assert_eq!(bucket(nanoseconds), expected, "{nanoseconds}");
        }
    }

    #[test]
    fn it_is_written_as_a_histogram() {
        let mut registry = Registry::default();
        let family: Family<RouteLabels, RouteLatency> = Family::default();
        registry.register("duration_seconds", "How long", family.clone());
        let route = family.get_or_create_owned(&RouteLabels {
            route: "/data".to_owned(),
        });
        route.observe(Duration::from_micros(80));
        route.observe(Duration::from_millis(3));
        route.observe(Duration::from_secs(1_000));
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).unwrap();
        for line in [
            r#"duration_seconds_count{route="/data"} 3"#,
            r#"duration_seconds_bucket{le="0.00005",route="/data"} 0"#,
            r#"duration_seconds_bucket{le="0.0001",route="/data"} 1"#,
            r#"duration_seconds_bucket{le="0.0032",route="/data"} 2"#,
            r#"duration_seconds_bucket{le="+Inf",route="/data"} 3"#,
        ] {
            assert!(encoded.contains(line), "{line} is missing in {encoded}");
        }
    }
}
