//! What the front door counts besides what every service counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The front door's series.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    refusals: Family<ReasonLabels, Counter>,
    pub(super) connections: Gauge,
    pub(super) accepted: Counter,
    pub(super) upstream_connects: Counter,
    pub(super) upstream_reuses: Counter,
    pub(super) upstream_idle: Gauge,
    pub(super) upgrades: Counter,
}

impl EdgeMetrics {
    /// Makes the series and registers them under their documented names.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            refusals: Family::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            upstream_connects: Counter::default(),
            upstream_reuses: Counter::default(),
            upstream_idle: Gauge::default(),
            upgrades: Counter::default(),
        };
        registry.register(
            "recarga_refusals",
            "Requests refused at the door for what they are, by reason",
            metrics.refusals.clone(),
        );
        registry.register(
            "recarga_edge_connections",
            "Clients connected now",
            metrics.connections.clone(),
        );
        registry.register(
            "recarga_edge_accepted",
            "Connections accepted from clients",
            metrics.accepted.clone(),
        );
        registry.register(
            "recarga_upstream_connects",
            "Connections made to upstreams",
            metrics.upstream_connects.clone(),
        );
        registry.register(
            "recarga_upstream_reuses",
            "Requests sent over a connection that was there already",
            metrics.upstream_reuses.clone(),
        );
        registry.register(
            "recarga_upstream_idle",
            "Connections to upstreams that wait for a request",
            metrics.upstream_idle.clone(),
        );
        registry.register(
            "recarga_edge_upgrades",
            "Connections handed through to an upstream for another protocol",
            metrics.upgrades.clone(),
        );
        metrics
    }

    pub(super) fn refused_for(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabels { reason }).inc();
    }
}
