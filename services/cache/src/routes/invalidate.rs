//! Deleting the keys that a committed write has made wrong.

use std::sync::Arc;

use axum::{Json, extract::State};
use kit::{Problem, extract};
use serde::Deserialize;
use serde_json::json;

use super::App;
use crate::{
    error::{CacheError, StoreError},
    key::Key,
    statistics::Cause,
};

/// The most keys in one call.
const LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    keys: Vec<String>,
}

/// Deletes keys and voids their leases. When this fails nothing stale is served all the same: the cache answers 503 until
/// Redis is back and purged.
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
    let count = delete(&app, keys).await?;
    Ok(Json(json!({"count": count})))
}

/// Deletes keys to the end, also when the client leaves. How many had a fresh value.
pub async fn delete(app: &App, keys: Vec<Key>) -> Result<u64, StoreError> {
    let (store, statistics) = (app.store.clone(), app.statistics.clone());
    app.finish(async move {
        let found = store.delete(&keys).await?;
        statistics.invalidations.inc_by(keys.len() as u64);
        if found > 0 {
            statistics.departure(keys.iter().map(Key::as_str), Cause::invalidated);
        }
        Ok(found)
    })
    .await
}
