//! A gateway's own levers: the cache on or off, and what is known of the services.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::State,
    routing::{get, put},
};
use kit::extract;
use proxy::PoolSnapshot;
use serde::{Deserialize, Serialize};

use crate::gate::Gate;

/// Whether reads go through the cache.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSwitch {
    pub enabled: bool,
}

/// What may be read by anybody who reaches the admin port.
pub fn open(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/admin/upstreams", get(upstreams))
        .with_state(gate)
}

/// What needs the operator's token.
pub fn operator(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/admin/cache", put(switch).get(state))
        .with_state(gate)
}

async fn upstreams(State(gate): State<Arc<Gate>>) -> Json<Vec<PoolSnapshot>> {
    let mut pools: Vec<_> = gate
        .pools
        .values()
        .map(|forwarder| forwarder.pool().snapshot())
        .collect();
    pools.push(gate.cache.pool().snapshot());
    pools.sort_by(|a, b| a.pool.cmp(&b.pool));
    Json(pools)
}

async fn state(State(gate): State<Arc<Gate>>) -> Json<CacheSwitch> {
    let enabled = gate.cache_enabled.load(Ordering::Relaxed);
    Json(CacheSwitch { enabled })
}

async fn switch(
    State(gate): State<Arc<Gate>>,
    extract::Json(wanted): extract::Json<CacheSwitch>,
) -> Json<CacheSwitch> {
    gate.cache_enabled.store(wanted.enabled, Ordering::Relaxed);
    tracing::warn!(enabled = wanted.enabled, "the cache was switched");
    Json(wanted)
}
