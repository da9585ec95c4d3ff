//! What a proxy counts, one series per pool and upstream.

use std::fmt::Write;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Why an attempt at an upstream counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// No connection could be made.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke under the request or the answer.
    Reset,
    /// It answered 5xx.
    Status,
}

impl FailureReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Status => "status",
        }
    }
}

impl EncodeLabelValue for FailureReason {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UpstreamLabels {
    pub pool: String,
    pub upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    pool: String,
    upstream: String,
    reason: FailureReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

/// The families all pools of a process share: make it once, register it once, give it to every pool.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<UpstreamLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    up: Family<UpstreamLabels, Gauge>,
    in_flight: Family<UpstreamLabels, Gauge>,
    weight: Family<UpstreamLabels, Gauge>,
    retries: Family<PoolLabels, Counter>,
}

impl Metrics {
    /// Makes the families and registers them under their documented names.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "recarga_upstream_requests",
            "Requests sent to an upstream, repeated ones too",
            metrics.requests.clone(),
        );
        registry.register(
            "recarga_upstream_failures",
            "Attempts at an upstream that failed, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "recarga_upstream_up",
            "1 when the upstream takes requests",
            metrics.up.clone(),
        );
        registry.register(
            "recarga_upstream_in_flight",
            "Requests an upstream is serving now, as seen from here",
            metrics.in_flight.clone(),
        );
        registry.register(
            "recarga_upstream_weight",
            "An upstream's share relative to the others that are up",
            metrics.weight.clone(),
        );
        registry.register(
            "recarga_retries",
            "Requests sent again to another upstream",
            metrics.retries.clone(),
        );
        metrics
    }

    pub(crate) fn retries(&self, pool: &str) -> Counter {
        self.retries.get_or_create_owned(&PoolLabels {
            pool: pool.to_owned(),
        })
    }

    pub(crate) fn upstream(&self, pool: &str, upstream: &str) -> UpstreamMetrics {
        let labels = UpstreamLabels {
            pool: pool.to_owned(),
            upstream: upstream.to_owned(),
        };
        let failure = |reason| {
            self.failures.get_or_create_owned(&FailureLabels {
                pool: pool.to_owned(),
                upstream: upstream.to_owned(),
                reason,
            })
        };
        UpstreamMetrics {
            requests: self.requests.get_or_create_owned(&labels),
            connect: failure(FailureReason::Connect),
            timeout: failure(FailureReason::Timeout),
            reset: failure(FailureReason::Reset),
            status: failure(FailureReason::Status),
            up: self.up.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            weight: self.weight.get_or_create_owned(&labels),
            labels,
        }
    }

    /// Forgets an upstream that is gone for good, or was renamed.
    pub(crate) fn remove(&self, labels: &UpstreamLabels) {
        self.requests.remove(labels);
        self.up.remove(labels);
        self.in_flight.remove(labels);
        self.weight.remove(labels);
        for reason in [
            FailureReason::Connect,
            FailureReason::Timeout,
            FailureReason::Reset,
            FailureReason::Status,
        ] {
            self.failures.remove(&FailureLabels {
                pool: labels.pool.clone(),
                upstream: labels.upstream.clone(),
                reason,
            });
        }
    }
}

/// The series of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamMetrics {
    pub labels: UpstreamLabels,
    pub requests: Counter,
    connect: Counter,
    timeout: Counter,
    reset: Counter,
    status: Counter,
    pub up: Gauge,
    pub in_flight: Gauge,
    pub weight: Gauge,
}

impl UpstreamMetrics {
    pub fn failures(&self, reason: FailureReason) -> &Counter {
        match reason {
            FailureReason::Connect => &self.connect,
            FailureReason::Timeout => &self.timeout,
            FailureReason::Reset => &self.reset,
            FailureReason::Status => &self.status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_carry_the_documented_names() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let upstream = metrics.upstream("gateway", "gateway-1");
        upstream.requests.inc();
        upstream.failures(FailureReason::Connect).inc();
        upstream.up.set(1);
        metrics.retries("gateway").inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"recarga_upstream_requests_total{pool="gateway",upstream="gateway-1"} 1"#,
            r#"recarga_upstream_failures_total{pool="gateway",upstream="gateway-1",reason="connect"} 1"#,
            r#"recarga_upstream_up{pool="gateway",upstream="gateway-1"} 1"#,
            r#"recarga_upstream_in_flight{pool="gateway",upstream="gateway-1"} 0"#,
            r#"recarga_retries_total{pool="gateway"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.remove(&upstream.labels);
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("gateway-1"), "{text}");
    }
}
