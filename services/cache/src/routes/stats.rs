//! What the cache holds and how well it does.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use kit::problem::ProblemBody;
use serde::{Deserialize, Serialize};

use super::App;
use crate::error::CacheError;

/// The most keys listed.
const ITEMS: usize = 1000;

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Stats {
    /// Keys with a fresh value.
    pub size: u64,
    /// Seconds a value stays fresh when its writer does not say.
    pub ttl: u32,
    /// The keys, at most 1000 of them.
    pub items: Vec<String>,
    /// Whether there are more keys than are listed.
    pub items_truncated: bool,
    /// Seconds each listed key stays fresh.
    pub ttl_remaining: BTreeMap<String, u64>,
    /// Look-ups that found a fresh value, over all instances.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Hits among all look-ups, 0 to 1.
    pub hit_ratio: f64,
    /// Keys Redis removed for want of memory since it started.
    pub evictions: u64,
    /// Bytes of JSON stored, stale ones included.
    pub bytes: u64,
}

/// Statistics.
#[utoipa::path(
    get, path = "/cache/stats", tag = "cache",
    responses(
        (status = 200, description = "The statistics", body = Stats),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn get(State(app): State<Arc<App>>) -> Result<Json<Stats>, CacheError> {
    let contents = app.store.inspect(ITEMS).await?;
    let sums = app.statistics.sums(&app.store).await?;
    let evictions = app.store.evictions().await?;
    Ok(Json(Stats {
        size: contents.size,
        ttl: app.store.defaults.ttl_seconds,
        items: contents.items.keys().cloned().collect(),
        items_truncated: contents.size > contents.items.len() as u64,
        ttl_remaining: contents.items,
        hits: sums.hits,
        misses: sums.misses,
        hit_ratio: sums.hit_ratio(),
        evictions,
        bytes: contents.bytes,
    }))
}
