//! What is stored, key by key.

use std::sync::Arc;

use axum::{Json, extract::State};
use kit::{Problem, extract::Query, problem::ProblemBody};
use serde::{Deserialize, Serialize};

use super::{App, beginning};
use crate::{
    error::CacheError,
    store::{Figures, now},
};

/// The most keys on a page, but for a few.
const LIMIT: i64 = 500;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What the keys begin with, taken literally; all keys without it.
    #[serde(default)]
    #[param(example = "card:")]
    prefix: String,
    /// About how many keys, 1 to 500; 100 when absent. A page may hold a few more, or fewer though there are more.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[param(value_type = Option<i64>, example = 100)]
    limit: Option<i64>,
    /// The `cursor` of the page before.
    #[param(example = "0")]
    cursor: Option<String>,
}

/// One key.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    #[schema(example = "card:7:balance")]
    key: String,
    /// How many values are kept under it, such as pages of a list.
    #[schema(example = 1)]
    variants: u64,
    /// Seconds that its freshest value stays fresh; 0 when all are stale.
    #[schema(example = 287.4)]
    ttl_seconds: f64,
    /// Seconds until the last of them is gone, the time that stale ones may be served included.
    #[schema(example = 887.4)]
    kept_seconds: f64,
    /// Seconds since the youngest was stored.
    #[schema(example = 12.6)]
    age_seconds: f64,
    /// Bytes of JSON, all variants together.
    #[schema(example = 58)]
    size_bytes: u64,
    /// How many of the variants are remembered absences (404).
    #[schema(example = 0)]
    absent: u64,
    /// Whether somebody holds the lease to rebuild one of them.
    leased: bool,
    /// Seconds that the lease lasts; null without one.
    lease_seconds: Option<f64>,
}

/// A page of keys, in no order.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entries {
    entries: Vec<Entry>,
    /// Where the next page begins; null when this is the last one. While keys come and go one may be told twice.
    cursor: Option<String>,
}

/// The keys that are stored, fresh or stale, page by page. The work of each call is bounded.
#[utoipa::path(
    get, path = "/entries", tag = "cache", params(Wanted),
    responses(
        (status = 200, description = "A page of keys", body = Entries),
        (status = 422, description = "A value cannot be used", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn get(
    State(app): State<Arc<App>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Entries>, CacheError> {
    let prefix = beginning(wanted.prefix)?;
    let limit = wanted.limit.unwrap_or(100);
    if !(1..=LIMIT).contains(&limit) {
        return Err(Problem::invalid("limit", format!("must be 1 to {LIMIT}")).into());
    }
    let cursor = wanted.cursor.as_deref().unwrap_or("0");
    let cursor: u64 = cursor
        .parse()
        .map_err(|_| Problem::invalid("cursor", "must be the cursor of the page before"))?;
    let (next, found) = app.store.list(&prefix, cursor, limit as usize).await?;
    let now = now();
    Ok(Json(Entries {
        entries: found.into_iter().map(|found| show(found, now)).collect(),
        cursor: (next != 0).then(|| next.to_string()),
    }))
}

fn show(found: Figures, now: i64) -> Entry {
    let seconds = |milliseconds: i64| milliseconds.max(0) as f64 / 1000.0;
    let leased = found.lease_ms > 0;
    Entry {
        key: found.key,
        variants: found.variants,
        ttl_seconds: seconds(found.fresh_until - now),
        kept_seconds: seconds(found.kept_until - now),
        age_seconds: seconds(now - found.stored_at),
        size_bytes: found.bytes,
        absent: found.absent,
        leased,
        lease_seconds: leased.then_some(found.lease_ms as f64 / 1000.0),
    }
}
