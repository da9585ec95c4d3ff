//! What a gateway counts besides its requests.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Cache look-ups by result, and refusals by rate.
pub struct Metrics {
    hit: Counter,
    miss: Counter,
    stale: Counter,
    bypass: Counter,
    pub rate_limited: Counter,
}

impl Metrics {
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let look_ups = Family::<ResultLabels, Counter>::default();
        registry.register(
            "recarga_cache_lookups",
            "Reads of cacheable routes, by what the cache gave",
            look_ups.clone(),
        );
        let result = |result| look_ups.get_or_create_owned(&ResultLabels { result });
        let metrics = Self {
            hit: result("hit"),
            miss: result("miss"),
            stale: result("stale"),
            bypass: result("bypass"),
            rate_limited: Counter::default(),
        };
        registry.register(
            "recarga_rate_limited",
            "Requests refused because there were too many",
            metrics.rate_limited.clone(),
        );
        metrics
    }

    /// Counts one read by the `X-Cache` of its answer; without one, the service was asked past the cache or failed.
    pub fn count(&self, x_cache: Option<&[u8]>) {
        match x_cache {
            Some(b"HIT") => &self.hit,
            Some(b"MISS") => &self.miss,
            Some(b"STALE") => &self.stale,
            _ => &self.bypass,
        }
        .inc();
    }
}
