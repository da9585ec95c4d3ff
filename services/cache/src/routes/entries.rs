//! The lease protocol of the gateways: look up or get the lease, fill, give back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::{Problem, RequestContext, extract::Query};
use serde::Deserialize;

use super::{App, checked, seconds};
use crate::{
    envelope::Envelope,
    error::{CacheError, StoreError},
    key::{Key, Variant},
    store::{Claim, Lifetime, now},
};

/// The longest anybody waits for somebody else's rebuild.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// How much earlier than its caller's deadline a wait ends.
const MARGIN: Duration = Duration::from_millis(20);

#[derive(Deserialize)]
pub struct LookUp {
    #[serde(default)]
    variant: String,
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    wait_ms: Option<i64>,
}

/// 200 and the value; 202 and a lease to rebuild it; or 409 when somebody else rebuilds it and the wait is over. With the
/// last two comes the older value, if one may stand in.
pub async fn look_up(
    State(app): State<Arc<App>>,
    key: Key,
    Query(query): Query<LookUp>,
) -> Result<Response, CacheError> {
    let variant = Variant::parse(query.variant)?;
    let found = app.store.read(&key, &variant).await?;
    let now = now();
    if let Some(envelope) = found.as_ref().filter(|envelope| envelope.is_fresh(now)) {
        app.statistics.hit();
        return Ok(hit(envelope, now));
    }
    let wait = Duration::from_millis(u64::try_from(query.wait_ms.unwrap_or(0)).unwrap_or(0));
    let claim = claim_or_wait(&app, &key, &variant, wait).await?;
    Ok(match claim {
        Claim::Fresh(envelope) => {
            app.statistics.hit();
            hit(&envelope, crate::store::now())
        }
        Claim::Granted { token, stale } => {
            app.statistics.miss(key.as_str(), found.is_some());
            let mut response = stand_in(StatusCode::ACCEPTED, stale);
            if let Ok(token) = HeaderValue::from_str(&token) {
                response.headers_mut().insert("x-lease", token);
            }
            response
        }
        Claim::Busy { stale, .. } => {
            app.statistics.miss(key.as_str(), found.is_some());
            stand_in(StatusCode::CONFLICT, stale)
        }
    })
}

/// Claims the lease; while somebody else holds it, waits to be woken. `Busy` only when the time is over or too many wait.
async fn claim_or_wait(
    app: &App,
    key: &Key,
    variant: &Variant,
    wait: Duration,
) -> Result<Claim, StoreError> {
    let mut claim = app.store.claim(key, variant).await?;
    if wait.is_zero() || !matches!(claim, Claim::Busy { .. }) {
        return Ok(claim);
    }
    let Some(place) = app.store.waiters().enter(key.as_str()) else {
        return Ok(claim);
    };
    app.statistics.lease_waits.inc();
    let patience = RequestContext::current().map_or(WAIT_LIMIT, |context| {
        context.remaining().saturating_sub(MARGIN)
    });
    let end = Instant::now() + wait.min(WAIT_LIMIT).min(patience);
    loop {
        let mut woken = std::pin::pin!(place.woken());
        woken.as_mut().enable();
        // Once more, now that no wake-up can be missed.
        claim = if let Some(envelope) = app.store.read(key, variant).await?
            && envelope.is_fresh(now())
        {
            Claim::Fresh(envelope)
        } else {
            app.store.claim(key, variant).await?
        };
        let Claim::Busy { left_ms, .. } = &claim else {
            return Ok(claim);
        };
        // A rebuilder that died wakes nobody: its lease ends by itself.
        let left =
            Duration::from_millis(*left_ms).min(end.saturating_duration_since(Instant::now()));
        let _ = tokio::time::timeout(left, woken).await;
        if Instant::now() >= end {
            return Ok(claim);
        }
    }
}

fn hit(envelope: &Envelope, now: i64) -> Response {
    let mut response = Response::new(envelope.json.clone().into());
    let headers = response.headers_mut();
    json_type(headers);
    headers.insert(header::AGE, HeaderValue::from(envelope.age_seconds(now)));
    headers.insert("x-cache-state", HeaderValue::from_static("hit"));
    response
}

fn stand_in(status: StatusCode, stale: Option<Envelope>) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(
        "x-cache-state",
        HeaderValue::from_static(if stale.is_some() { "stale" } else { "miss" }),
    );
    if let Some(envelope) = stale {
        json_type(headers);
        headers.insert(
            "x-stale-age",
            HeaderValue::from(envelope.age_seconds(now())),
        );
        *response.body_mut() = envelope.json.into();
    }
    response
}

fn json_type(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
}

#[derive(Deserialize)]
pub struct Fill {
    #[serde(default)]
    variant: String,
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    ttl_s: Option<i64>,
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    stale_s: Option<i64>,
}

/// Stores the rebuilt value: 204, or 409 when the lease is void.
pub async fn fill(
    State(app): State<Arc<App>>,
    key: Key,
    Query(query): Query<Fill>,
    request: Request,
) -> Result<StatusCode, CacheError> {
    let variant = Variant::parse(query.variant)?;
    let token = lease(request.headers())?;
    let defaults = app.store.defaults;
    let lifetime = Lifetime {
        ttl_seconds: seconds("ttl_s", query.ttl_s, 1, defaults.ttl_seconds)?,
        stale_seconds: seconds("stale_s", query.stale_s, 0, defaults.stale_seconds)?,
    };
    let body: Bytes = kit::extract::body(request, &()).await?;
    let value = checked(body)?;
    if app
        .store
        .fill(&key, &variant, &token, value, lifetime)
        .await?
    {
        app.statistics.fills.inc();
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(CacheError::LeaseVoid)
    }
}

#[derive(Deserialize)]
pub struct Release {
    #[serde(default)]
    variant: String,
}

/// Gives the lease back unused: 204, or 409 when it is void.
pub async fn release(
    State(app): State<Arc<App>>,
    key: Key,
    Query(query): Query<Release>,
    headers: HeaderMap,
) -> Result<StatusCode, CacheError> {
    let variant = Variant::parse(query.variant)?;
    if app.store.release(&key, &variant, &lease(&headers)?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(CacheError::LeaseVoid)
    }
}

/// The token of the lease. An empty one would mean anybody's.
fn lease(headers: &HeaderMap) -> Result<String, Problem> {
    headers
        .get("x-lease")
        .and_then(|value| value.to_str().ok())
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| Problem::bad_request("The X-Lease header is missing"))
}
