//! What a gateway counts besides its requests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::running::Snapshot;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Why a read of a cacheable route went past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
pub enum Bypass {
    /// The operator switched it off.
    off,
    /// The request is too odd to be cached.
    uncacheable,
    /// The cache could not be asked, or not in time.
    away,
    /// Somebody else rebuilt the value for longer than could be waited.
    busy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BypassLabels {
    cause: &'static str,
    reason: Bypass,
}

/// Reads of cacheable routes that went past the cache.
pub struct Bypasses {
    by_reason: Family<BypassLabels, Counter>,
    /// Those that the shared statistics do not know of yet.
    unsent: AtomicU64,
}

impl Bypasses {
    pub fn count(&self, reason: Bypass) {
        let labels = BypassLabels {
            cause: "bypass",
            reason,
        };
        self.by_reason.get_or_create(&labels).inc();
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// Those since the last time this was asked.
    pub fn take(&self) -> u64 {
        self.unsent.swap(0, Ordering::Relaxed)
    }
}

/// Cache look-ups by result, and refusals by rate.
pub struct Metrics {
    hit: Counter,
    miss: Counter,
    stale: Counter,
    bypass: Counter,
    pub rate_limited: Counter,
    pub bypasses: Arc<Bypasses>,
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
            bypasses: Arc::new(Bypasses {
                by_reason: Family::default(),
                unsent: AtomicU64::new(0),
            }),
        };
        registry.register(
            "recarga_cache_misses",
            "Reads of cacheable routes that went past the cache, by reason; the cache service counts the other causes",
            metrics.bypasses.by_reason.clone(),
        );
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    hash: String,
    origin: &'static str,
}

/// Which routes are in force.
pub struct RouteMetrics {
    version: Gauge,
    info: Family<RouteLabels, Gauge>,
    pub file_is_bad: Gauge,
}

impl RouteMetrics {
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            version: Gauge::default(),
            info: Family::default(),
            file_is_bad: Gauge::default(),
        };
        registry.register(
            "recarga_routes_version",
            "How often the routes were put in force in this process",
            metrics.version.clone(),
        );
        registry.register(
            "recarga_routes_info",
            "Always 1; the labels say which routes are in force and where they came from",
            metrics.info.clone(),
        );
        registry.register(
            "recarga_routes_file_bad",
            "Whether the routes file has changed and cannot be used (1)",
            metrics.file_is_bad.clone(),
        );
        metrics
    }

    pub fn show(&self, snapshot: &Snapshot) {
        self.version
            .set(i64::try_from(snapshot.version).unwrap_or(i64::MAX));
        self.info.clear();
        self.info
            .get_or_create(&RouteLabels {
                hash: snapshot.hash.clone(),
                origin: snapshot.origin.name(),
            })
            .set(1);
    }
}

/// The alarm of [`crate::shared::Shared`].
#[must_use]
pub fn limiter_degraded(registry: &mut Registry) -> Gauge {
    let degraded = Gauge::default();
    registry.register(
        "recarga_limiter_degraded",
        "Whether limits for all gateways together are counted by each gateway alone (1), because Redis cannot be asked in time",
        degraded.clone(),
    );
    degraded
}
