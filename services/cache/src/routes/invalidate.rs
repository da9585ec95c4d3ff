//! Deleting the keys that a committed write has made wrong.

use std::sync::Arc;

use axum::{Json, extract::State};
use kit::{Problem, extract};
use serde::Deserialize;
use serde_json::json;

use super::App;
use crate::{causes::Cause, error::CacheError, key::Key};

/// The most keys in one call.
const LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    keys: Vec<String>,
}

/// Deletes keys and voids their leases; 200 when no reader can see the old values any more. When Redis is away, that is so
/// as soon as no first level holds a lease, and the refusal says it in a header.
pub async fn invalidate(
    State(app): State<Arc<App>>,
    extract::Json(Keys { keys }): extract::Json<Keys>,
) -> Result<Json<serde_json::Value>, CacheError> {
    if keys.len() > LIMIT {
        return Err(Problem::invalid("keys", format!("must be at most {LIMIT}")).into());
    }
    let keys = keys
        .into_iter()
        .map(Key::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let count = keys.len();
    let found = app.store.forget(keys).await?;
    note(&app, count, &found);
    Ok(Json(json!({"count": found.len()})))
}

/// Counts a deletion, and remembers why the values that were there went.
pub fn note(app: &App, keys: usize, found: &[Key]) {
    app.statistics.invalidations.inc_by(keys as u64);
    app.store
        .causes()
        .departure(found.iter().map(Key::as_str), Cause::invalidated);
}
