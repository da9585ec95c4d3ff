//! Metrics that every service has, and the buckets and text form they share.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::Registry,
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A latency histogram from 50 µs to about two minutes; neighbouring bounds are 20% apart, so that a percentile read
/// from the middle of a bucket is within 10%.
#[must_use]
pub fn latency_histogram() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        50e-6, 1.2, 82,
    ))
}

/// One service's registry and the metrics that all have.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) durations: Family<DurationLabels, Histogram, LatencyBuckets>,
    pub(crate) in_flight: Gauge,
    pub(crate) stores: Family<StoreLabels, Gauge>,
    pub(crate) draining: Gauge,
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_files: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub route: String,
    pub status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct DurationLabels {
    pub cache: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct StoreLabels {
    pub store: String,
}

/// Makes [`latency_histogram`]s for a family.
#[derive(Clone, Copy, Debug, Default)]
pub struct LatencyBuckets;

impl MetricConstructor<Histogram> for LatencyBuckets {
    fn new_metric(&self) -> Histogram {
        latency_histogram()
    }
}

impl Metrics {
    pub(crate) fn new(role: &str, instance: &str) -> Self {
        let labels = [
            ("role".into(), role.to_owned().into()),
            ("instance".into(), instance.to_owned().into()),
        ];
        let mut registry = Registry::with_labels(labels.into_iter());
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(LatencyBuckets),
            in_flight: Gauge::default(),
            stores: Family::default(),
            draining: Gauge::default(),
            cpu: Counter::default(),
            resident: Gauge::default(),
            open_files: Gauge::default(),
            registry: Arc::default(),
        };
        registry.register(
            "recarga_http_requests",
            "Requests answered, by route and status",
            metrics.requests.clone(),
        );
        registry.register(
            "recarga_http_request_duration_seconds",
            "Time from the request's head to the answer's head",
            metrics.durations.clone(),
        );
        registry.register(
            "recarga_http_requests_in_flight",
            "Requests being served",
            metrics.in_flight.clone(),
        );
        registry.register(
            "recarga_store_up",
            "Whether a store answers (1) or not (0)",
            metrics.stores.clone(),
        );
        registry.register(
            "recarga_draining",
            "Whether the instance takes no new work (1)",
            metrics.draining.clone(),
        );
        registry.register(
            "process_cpu_seconds",
            "Processor time used by this process",
            metrics.cpu.clone(),
        );
        registry.register(
            "process_resident_memory_bytes",
            "Memory resident in RAM",
            metrics.resident.clone(),
        );
        registry.register(
            "process_open_fds",
            "File descriptors open",
            metrics.open_files.clone(),
        );
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(chrono::Utc::now().timestamp_millis() as f64 / 1000.0);
        registry.register(
            "process_start_time_seconds",
            "When this process started, in seconds since 1970",
            started,
        );
        registry.register_collector(Box::new(crate::process::Vitals::default()));
        Self {
            registry: Arc::new(Mutex::new(registry)),
            ..metrics
        }
    }

    /// Registers a service's own metrics: `metrics.register(|registry| registry.register(name, help, metric.clone()))`.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The registry as OpenMetrics text, with the process figures read now.
    #[must_use]
    pub fn encode(&self) -> String {
        let usage = crate::process::usage();
        let grown = usage.cpu_seconds - self.cpu.get();
        if grown > 0.0 {
            self.cpu.inc_by(grown);
        }
        self.resident
            .set(i64::try_from(usage.resident_bytes).unwrap_or(i64::MAX));
        self.open_files
            .set(i64::try_from(usage.open_files).unwrap_or(i64::MAX));
        let mut encoded = String::with_capacity(32 * 1024);
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = text::encode(&mut encoded, &registry);
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_carry_role_and_instance() {
        let metrics = Metrics::new("gateway", "gateway-1");
        metrics
            .requests
            .get_or_create(&RequestLabels {
                route: "/data".to_owned(),
                status: 200,
            })
            .inc();
        let text = metrics.encode();
        assert!(text.contains(r#"recarga_http_requests_total{role="gateway",instance="gateway-1",route="/data",status="200"} 1"#), "{text}");
        assert!(text.contains("process_resident_memory_bytes{"), "{text}");
        if cfg!(target_os = "linux") {
            for name in ["max_fds", "threads", "open_sockets"] {
                assert!(
                    text.contains(&format!("process_{name}{{role=\"gateway\"")),
                    "{name} in {text}"
                );
            }
        }
    }

    #[test]
    fn a_percentile_is_within_ten_percent() {
        // The worst case is a value at a bound: the middle of its bucket is at most half a step away.
        assert!(1.2_f64.sqrt() - 1.0 < 0.10);
    }
}
