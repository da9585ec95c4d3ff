//! What a proxy counts, one series per pool and upstream.

use std::fmt::Write;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{
    admission::{ShedCounters, ShedReason},
    gauges::Gauges,
    outlier::EjectionReason,
    pool::Pool,
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
pub(crate) struct PoolLabels {
    pub pool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EjectionLabels {
    pool: String,
    upstream: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    pool: String,
    reason: &'static str,
}

/// The families all pools of a process share: make it once, register it once, give it to every pool.
///
/// Counters are kept; gauges are read from the pools when they are asked for, so that they are right at that moment and cost
/// the requests nothing.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<UpstreamLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    ejections: Family<EjectionLabels, Counter>,
    breaker_opened: Family<UpstreamLabels, Counter>,
    retries: Family<PoolLabels, Counter>,
    retries_denied: Family<PoolLabels, Counter>,
    shed: Family<ShedLabels, Counter>,
    pools: Gauges,
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
            "recarga_upstream_ejections",
            "Times an upstream was left out because it failed more than the others, by reason",
            metrics.ejections.clone(),
        );
        registry.register(
            "recarga_upstream_breaker_opened",
            "Times an upstream's circuit breaker opened because it did not answer",
            metrics.breaker_opened.clone(),
        );
        registry.register(
            "recarga_retries",
            "Requests sent again to another upstream",
            metrics.retries.clone(),
        );
        registry.register(
            "recarga_retries_denied",
            "Requests not sent again because the retry budget was spent",
            metrics.retries_denied.clone(),
        );
        registry.register(
            "recarga_admission_shed",
            "Requests turned away because too many were on their way, by reason",
            metrics.shed.clone(),
        );
        registry.register_collector(Box::new(metrics.pools.clone()));
        metrics
    }

    /// Adds a pool whose gauges are told from now on, until it is gone.
    pub(crate) fn watch(&self, pool: &Pool) {
        self.pools.add(pool);
    }

    pub(crate) fn retries(&self, pool: &str) -> Counter {
        self.retries.get_or_create_owned(&PoolLabels {
            pool: pool.to_owned(),
        })
    }

    pub(crate) fn retries_denied(&self, pool: &str) -> Counter {
        self.retries_denied.get_or_create_owned(&PoolLabels {
            pool: pool.to_owned(),
        })
    }

    pub(crate) fn shed(&self, pool: &str) -> ShedCounters {
        let counter = |reason: ShedReason| {
            self.shed.get_or_create_owned(&ShedLabels {
                pool: pool.to_owned(),
                reason: reason.as_str(),
            })
        };
        ShedCounters {
            queue_full: counter(ShedReason::QueueFull),
            waited_too_long: counter(ShedReason::WaitedTooLong),
            deadline: counter(ShedReason::Deadline),
        }
    }

    pub(crate) fn upstream(&self, pool: &str, upstream: &str) -> UpstreamSeries {
        let labels = UpstreamLabels {
            pool: pool.to_owned(),
            upstream: upstream.to_owned(),
        };
        let failure = |reason| {
            self.failures
                .get_or_create_owned(&labels.of_failure(reason))
        };
        let ejection = |reason| {
            self.ejections
                .get_or_create_owned(&labels.of_ejection(reason))
        };
        UpstreamSeries {
            requests: self.requests.get_or_create_owned(&labels),
            connect: failure(FailureReason::Connect),
            timeout: failure(FailureReason::Timeout),
            reset: failure(FailureReason::Reset),
            status: failure(FailureReason::Status),
            ejected_for_failures: ejection(EjectionReason::ConsecutiveFailures),
            ejected_for_rate: ejection(EjectionReason::SuccessRate),
            breaker_opened: self.breaker_opened.get_or_create_owned(&labels),
            labels,
        }
    }

    /// Forgets an upstream that is gone for good, or was renamed.
    pub(crate) fn remove(&self, labels: &UpstreamLabels) {
        self.requests.remove(labels);
        self.breaker_opened.remove(labels);
        for reason in [
            FailureReason::Connect,
            FailureReason::Timeout,
            FailureReason::Reset,
            FailureReason::Status,
        ] {
            self.failures.remove(&labels.of_failure(reason));
        }
        for reason in EjectionReason::ALL {
            self.ejections.remove(&labels.of_ejection(reason));
        }
    }
}

impl UpstreamLabels {
    fn of_failure(&self, reason: FailureReason) -> FailureLabels {
        FailureLabels {
            pool: self.pool.clone(),
            upstream: self.upstream.clone(),
            reason,
        }
    }

    fn of_ejection(&self, reason: EjectionReason) -> EjectionLabels {
        EjectionLabels {
            pool: self.pool.clone(),
            upstream: self.upstream.clone(),
            reason: reason.as_str(),
        }
    }
}

/// The counters of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamSeries {
    pub labels: UpstreamLabels,
    pub requests: Counter,
    connect: Counter,
    timeout: Counter,
    reset: Counter,
    status: Counter,
    ejected_for_failures: Counter,
    ejected_for_rate: Counter,
    pub breaker_opened: Counter,
}

impl UpstreamSeries {
    pub fn failures(&self, reason: FailureReason) -> &Counter {
        match reason {
            FailureReason::Connect => &self.connect,
            FailureReason::Timeout => &self.timeout,
            FailureReason::Reset => &self.reset,
            FailureReason::Status => &self.status,
        }
    }

    pub fn ejections(&self, reason: EjectionReason) -> &Counter {
        match reason {
            EjectionReason::ConsecutiveFailures => &self.ejected_for_failures,
            EjectionReason::SuccessRate => &self.ejected_for_rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::discovery::Endpoint;

    use super::*;
    use crate::{pool::PoolSettings, selection::Selection};

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn series_carry_the_documented_names() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pool = Pool::new(PoolSettings::new("gateway"), &metrics);
        let endpoint = |port, name: &str| Endpoint {
            name: Some(name.to_owned()),
            address: ([127, 0, 0, 1], port).into(),
        };
        // Two of one name, as while an instance moves: told once.
        pool.set_endpoints(&[
            endpoint(1, "gateway-1"),
            endpoint(2, "gateway-2"),
            endpoint(3, "gateway-2"),
        ]);
        let mut lease = pool
            .pick(&Selection::default(), std::time::Instant::now())
            .unwrap();
        pool.count_retry();
        lease.failed(FailureReason::Reset, &"broken");
        let text_now = text(&registry);
        for line in [
            r#"recarga_upstream_requests_total{pool="gateway",upstream="gateway-1"} 1"#,
            r#"recarga_upstream_failures_total{pool="gateway",upstream="gateway-1",reason="reset"} 1"#,
            r#"recarga_upstream_ejections_total{pool="gateway",upstream="gateway-1",reason="success_rate"} 0"#,
            r#"recarga_upstream_breaker_opened_total{pool="gateway",upstream="gateway-1"} 0"#,
            r#"recarga_upstream_up{pool="gateway",upstream="gateway-1"} 0"#,
            r#"recarga_upstream_in_flight{pool="gateway",upstream="gateway-1"} 1"#,
            r#"recarga_upstream_weight{pool="gateway",upstream="gateway-1"} 1"#,
            r#"recarga_upstream_effective_weight{pool="gateway",upstream="gateway-1"} 1.0"#,
            r#"recarga_upstream_ejected{pool="gateway",upstream="gateway-1"} 0"#,
            r#"recarga_upstream_breaker_state{pool="gateway",upstream="gateway-1"} 0"#,
            r#"recarga_upstream_ewma_seconds{pool="gateway",upstream="gateway-1"} "#,
            r#"recarga_panic{pool="gateway"} 0"#,
            r#"recarga_admission_limit{pool="gateway"} 0"#,
            r#"recarga_admission_in_flight{pool="gateway"} 0"#,
            r#"recarga_admission_queued{pool="gateway"} 0"#,
            r#"recarga_admission_shed_total{pool="gateway",reason="queue_full"} 0"#,
            r#"recarga_retries_total{pool="gateway"} 1"#,
            r#"recarga_retries_denied_total{pool="gateway"} 0"#,
        ] {
            assert!(text_now.contains(line), "{line} is missing in\n{text_now}");
        }
        let weights = r#"recarga_upstream_weight{pool="gateway",upstream="gateway-2"}"#;
        assert_eq!(text_now.matches(weights).count(), 1, "{text_now}");
        drop(lease);
        assert!(
            text(&registry)
                .contains(r#"recarga_upstream_in_flight{pool="gateway",upstream="gateway-1"} 0"#)
        );
        pool.set_endpoints(&[endpoint(2, "gateway-2")]);
        assert!(!text(&registry).contains("gateway-1"));
        drop(pool);
        assert!(!text(&registry).contains(r#"recarga_panic{pool="gateway"}"#));
    }
}
