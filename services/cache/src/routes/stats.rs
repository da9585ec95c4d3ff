//! What the cache holds and how well it does.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use kit::problem::ProblemBody;
use serde::{Deserialize, Serialize};

use super::App;
use crate::{causes::Cause, error::CacheError};

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
    /// Reads that found a fresh value, over all instances and the first levels of the gateways.
    pub hits: u64,
    /// Those of them that a gateway answered from its own memory.
    pub first_level_hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Why not; and `bypass`, the reads of cacheable routes that never asked (the cache was off or away, or the request was
    /// too odd to be cached), which are not among the misses.
    pub misses_by_cause: BTreeMap<String, u64>,
    /// Look-ups that got a value past its freshness at once, while somebody else rebuilt it; neither hits nor misses.
    pub stale: u64,
    /// Hits among hits and misses, 0 to 1.
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
        hits: sums.all_hits(),
        first_level_hits: sums.first_level_hits,
        misses: sums.all_misses(),
        misses_by_cause: Cause::ALL
            .into_iter()
            .zip(sums.misses)
            .map(|(cause, count)| (cause.name().to_owned(), count))
            .chain([("bypass".to_owned(), sums.bypasses)])
            .collect(),
        stale: sums.stale,
        hit_ratio: sums.hit_ratio(),
        evictions,
        bytes: contents.bytes,
    }))
}
