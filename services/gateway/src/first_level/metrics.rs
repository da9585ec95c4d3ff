//! What the first level counts.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// The metrics of one gateway's first level.
#[derive(Clone, Default)]
pub struct Metrics {
    pub hits: Counter,
    pub misses: Counter,
    pub invalidations: Counter,
    pub entries: Gauge,
    pub bytes: Gauge,
    pub lease: Gauge,
}

impl Metrics {
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "recarga_first_level_hits",
            "Reads answered from this gateway's memory",
            this.hits.clone(),
        );
        registry.register(
            "recarga_first_level_misses",
            "Reads of cacheable routes that this gateway's memory could not answer",
            this.misses.clone(),
        );
        registry.register(
            "recarga_first_level_invalidations",
            "Keys that this gateway was told to forget; everything counts as one",
            this.invalidations.clone(),
        );
        registry.register(
            "recarga_first_level_entries",
            "Keys in this gateway's memory",
            this.entries.clone(),
        );
        registry.register(
            "recarga_first_level_bytes",
            "Bytes of this gateway's memory that copies take",
            this.bytes.clone(),
        );
        registry.register(
            "recarga_first_level_lease",
            "1 while this gateway may serve from its memory",
            this.lease.clone(),
        );
        this
    }
}
