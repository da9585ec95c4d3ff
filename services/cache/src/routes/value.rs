//! Single values: read, write, delete.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use kit::{Problem, problem::ProblemBody};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{App, checked, seconds};
use crate::{
    envelope::{Envelope, Lifetime},
    error::CacheError,
    key::{Key, Variant},
    store::now,
};

/// Reads a value.
#[utoipa::path(
    get, path = "/cache/{key}", tag = "cache",
    params(("key" = String, Path, description = "1 to 512 bytes, percent-encoded")),
    responses(
        (status = 200, description = "The value", body = inline(serde_json::Value), example = json!({"value": 42})),
        (status = 404, description = "Nothing fresh is stored there", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn get(State(app): State<Arc<App>>, key: Key) -> Result<Response, CacheError> {
    let found = app.store.read(&key, &Variant::default()).await?;
    let now = now();
    // A remembered absence is no value.
    let usable = |envelope: &&Envelope| envelope.is_fresh(now) && envelope.facts.status == 200;
    let Some(envelope) = found.as_ref().filter(usable) else {
        super::miss(&app, &key, &Variant::default(), found.is_some());
        return Err(CacheError::NotCached);
    };
    app.statistics.hit();
    let mut body = BytesMut::with_capacity(envelope.json.len() + 10);
    body.extend_from_slice(b"{\"value\":");
    body.extend_from_slice(&envelope.json);
    body.extend_from_slice(b"}");
    Ok((
        [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
            (header::AGE, HeaderValue::from(envelope.age_seconds(now))),
        ],
        body.freeze(),
    )
        .into_response())
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct NewValue {
    /// Any JSON but null, at most 1 MiB.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    value: Option<Box<RawValue>>,
    /// Seconds it stays fresh: 1 to 86400; the service's default without it.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    ttl: Option<i64>,
}

/// Stores a value. A rebuild of it that is under way becomes void.
#[utoipa::path(
    post, path = "/cache/{key}", tag = "cache",
    params(("key" = String, Path, description = "1 to 512 bytes, percent-encoded")),
    request_body = NewValue,
    responses(
        (status = 200, description = "Stored", body = inline(serde_json::Value), example = json!({"status": "ok"})),
        (status = 400, description = "No value, or no JSON", body = ProblemBody),
        (status = 413, description = "Larger than 1 MiB", body = ProblemBody),
        (status = 422, description = "A bad key or time to live", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn set(
    State(app): State<Arc<App>>,
    key: Key,
    request: axum::extract::Request,
) -> Result<Json<serde_json::Value>, CacheError> {
    let body = kit::extract::body(request, &()).await?;
    if body.is_empty() {
        return Err(CacheError::NoValue);
    }
    // A list would pass for the members in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The body must be a JSON object",
        )
        .into());
    }
    let new: NewValue = kit::extract::json(&body)?;
    let value = new.value.ok_or(CacheError::NoValue)?;
    let defaults = app.store.defaults;
    let ttl_seconds = seconds("ttl", new.ttl, 1, defaults.ttl_seconds)?;
    // Whoever says how long means it: no jitter.
    let lifetime = Lifetime {
        fresh_ms: i64::from(ttl_seconds) * 1000,
        swr_seconds: defaults.swr_seconds,
        sie_seconds: defaults.sie_seconds,
    };
    let value = checked(Bytes::from(String::from(Box::<str>::from(value))))?;
    let store = app.store.clone();
    app.finish(async move { store.set(&key, value, lifetime).await })
        .await?;
    app.statistics.fills.inc();
    Ok(Json(json!({"status": "ok"})))
}

/// Deletes a value and voids the rebuild of it that may be under way.
#[utoipa::path(
    delete, path = "/cache/{key}", tag = "cache",
    params(("key" = String, Path, description = "1 to 512 bytes, percent-encoded")),
    responses(
        (status = 200, description = "Deleted", body = inline(serde_json::Value), example = json!({"status": "deleted"})),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 404, description = "It was not there", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    key: Key,
) -> Result<Json<serde_json::Value>, CacheError> {
    app.instance.levers_allowed()?;
    let found = app.store.delete(vec![key]).await?;
    super::invalidate::note(&app, 1, &found);
    if found.is_empty() {
        return Err(CacheError::NothingToDelete);
    }
    Ok(Json(json!({"status": "deleted"})))
}
