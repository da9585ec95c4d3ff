//! Deleting many values: by prefix, or all.

use std::sync::Arc;

use axum::{Json, extract::State};
use kit::{Problem, extract::Query, problem::ProblemBody};
use serde::Deserialize;
use serde_json::json;

use super::{App, beginning};
use crate::{causes::Cause, error::CacheError};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Prefix {
    /// What the keys begin with, taken literally.
    #[param(example = "card:")]
    prefix: String,
    /// Only tell how many there are: `{"status": "counted", "count": 3}`.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Flush {
    /// Only tell how many there are: `{"status": "counted", "count": 3}`.
    #[serde(default)]
    dry_run: bool,
}

/// Deletes every value whose key begins with the prefix.
#[utoipa::path(
    delete, path = "/cache", tag = "cache", params(Prefix),
    responses(
        (status = 200, description = "How many were deleted", body = inline(serde_json::Value), example = json!({"status": "deleted", "count": 3})),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 422, description = "No prefix", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn prefix(
    State(app): State<Arc<App>>,
    Query(Prefix { prefix, dry_run }): Query<Prefix>,
) -> Result<Json<serde_json::Value>, CacheError> {
    if prefix.is_empty() {
        return Err(Problem::invalid(
            "prefix",
            "must not be empty; POST /cache/flush deletes everything",
        )
        .into());
    }
    let prefix = beginning(prefix)?;
    if dry_run {
        return counted(&app, &prefix).await;
    }
    let count = sweep(&app, prefix).await?;
    Ok(Json(json!({"status": "deleted", "count": count})))
}

/// Deletes everything.
#[utoipa::path(
    post, path = "/cache/flush", tag = "cache", params(Flush),
    responses(
        (status = 200, description = "How many were deleted", body = inline(serde_json::Value), example = json!({"status": "flushed", "count": 3})),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn everything(
    State(app): State<Arc<App>>,
    Query(Flush { dry_run }): Query<Flush>,
) -> Result<Json<serde_json::Value>, CacheError> {
    if dry_run {
        return counted(&app, "").await;
    }
    let count = sweep(&app, String::new()).await?;
    Ok(Json(json!({"status": "flushed", "count": count})))
}

async fn counted(app: &App, prefix: &str) -> Result<Json<serde_json::Value>, CacheError> {
    let count = app.store.count_prefix(prefix).await?;
    Ok(Json(json!({"status": "counted", "count": count})))
}

async fn sweep(app: &App, prefix: String) -> Result<usize, CacheError> {
    app.instance.levers_allowed()?;
    let store = app.store.clone();
    let removed = app
        .finish(async move { store.delete_prefix(&prefix).await })
        .await?;
    app.statistics.flushes.inc();
    app.store
        .causes()
        .departure(removed.iter().map(String::as_str), Cause::flushed);
    Ok(removed.len())
}
