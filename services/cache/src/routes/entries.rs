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

use super::{App, checked, miss, seconds};
use crate::{
    envelope::{Envelope, Facts, Lifetime, Standing},
    error::{CacheError, StoreError},
    key::{Key, Variant},
    store::{Claim, now},
};

/// The longest anybody waits for somebody else's rebuild.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// How much earlier than its caller's deadline a wait ends.
const MARGIN: Duration = Duration::from_millis(20);
/// The longest rebuild that is believed, in milliseconds.
const REBUILD_LIMIT: i64 = 600_000;

#[derive(Deserialize)]
pub struct LookUp {
    #[serde(default)]
    variant: String,
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    wait_ms: Option<i64>,
    /// Whether the lease is wanted also while the value is fresh.
    #[serde(default)]
    early: bool,
}

/// 200 and the value; 202 and a lease to rebuild it; or 409 when somebody else rebuilds it and the wait is over. With the
/// last two comes the older value, if there is one: `x-stale-use` says whether it may be served at once (then nobody waits)
/// or only stand in when its source fails, and `x-stale-ms` for how long.
pub async fn look_up(
    State(app): State<Arc<App>>,
    key: Key,
    Query(query): Query<LookUp>,
) -> Result<Response, CacheError> {
    let variant = Variant::parse(query.variant)?;
    if query.early {
        return early(&app, &key, &variant).await;
    }
    let found = app.store.read(&key, &variant).await?;
    let (started, now) = (Instant::now(), now());
    let standing = found.as_ref().map(|envelope| envelope.standing(now));
    if let (Some(envelope), Some(Standing::Fresh)) = (&found, standing) {
        app.statistics.hit();
        return Ok(hit(envelope, now, Duration::ZERO));
    }
    // Nobody waits who has something to serve.
    let wait = if standing == Some(Standing::Revalidate) {
        Duration::ZERO
    } else {
        Duration::from_millis(u64::try_from(query.wait_ms.unwrap_or(0)).unwrap_or(0))
    };
    let claim = claim_or_wait(&app, &key, &variant, wait).await?;
    Ok(match claim {
        Claim::Fresh(envelope) => {
            app.statistics.hit();
            hit(&envelope, crate::store::now(), started.elapsed())
        }
        Claim::Granted { token, stale } => {
            miss(&app, &key, &variant, found.is_some());
            granted(&token, stale)
        }
        Claim::Busy { stale, .. } => {
            if standing == Some(Standing::Revalidate) {
                app.statistics.stale();
            } else {
                miss(&app, &key, &variant, found.is_some());
            }
            stand_in(StatusCode::CONFLICT, stale)
        }
    })
}

/// The lease to rebuild a value before its time, or 409 when somebody else has it.
async fn early(app: &App, key: &Key, variant: &Variant) -> Result<Response, CacheError> {
    Ok(match app.store.claim(key, variant, true).await? {
        Claim::Granted { token, .. } => {
            app.statistics.early.inc();
            granted(&token, None)
        }
        Claim::Fresh(_) | Claim::Busy { .. } => stand_in(StatusCode::CONFLICT, None),
    })
}

/// Claims the lease; while somebody else holds it, waits to be woken. `Busy` only when the time is over or too many wait.
async fn claim_or_wait(
    app: &App,
    key: &Key,
    variant: &Variant,
    wait: Duration,
) -> Result<Claim, StoreError> {
    let mut claim = app.store.claim(key, variant, false).await?;
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
            app.store.claim(key, variant, false).await?
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

fn hit(envelope: &Envelope, now: i64, waited: Duration) -> Response {
    let mut response = Response::new(envelope.json.clone().into());
    let headers = response.headers_mut();
    json_type(headers);
    headers.insert(header::AGE, HeaderValue::from(envelope.age_seconds(now)));
    headers.insert("x-cache-state", HeaderValue::from_static("hit"));
    headers.insert("x-age-ms", HeaderValue::from(envelope.age_ms(now)));
    let fresh_ms = envelope.fresh_until - now;
    headers.insert("x-fresh-ms", HeaderValue::from(fresh_ms.max(0)));
    let Facts { rebuild_ms, status } = envelope.facts;
    if rebuild_ms > 0 {
        headers.insert("x-rebuild-ms", HeaderValue::from(rebuild_ms));
    }
    if status != 200 {
        headers.insert("x-value-status", HeaderValue::from(status));
    }
    if !waited.is_zero() {
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        headers.insert("x-waited-ms", HeaderValue::from(waited));
    }
    response
}

fn granted(token: &str, stale: Option<Envelope>) -> Response {
    let mut response = stand_in(StatusCode::ACCEPTED, stale);
    if let Ok(token) = HeaderValue::from_str(token) {
        response.headers_mut().insert("x-lease", token);
    }
    response
}

fn stand_in(status: StatusCode, stale: Option<Envelope>) -> Response {
    let now = now();
    let stale = stale.and_then(|envelope| {
        let (usage, until) = match envelope.standing(now) {
            Standing::Revalidate => ("revalidate", envelope.kept_until()),
            Standing::IfError => ("error", envelope.error_until),
            Standing::Fresh | Standing::Over => return None,
        };
        // A remembered absence is remembered no longer than it is fresh.
        (envelope.facts.status == 200).then_some((envelope, usage, until))
    });
    let mut response = status.into_response();
    let headers = response.headers_mut();
    let state = if stale.is_some() { "stale" } else { "miss" };
    headers.insert("x-cache-state", HeaderValue::from_static(state));
    if let Some((envelope, usage, until)) = stale {
        json_type(headers);
        headers.insert("x-stale-use", HeaderValue::from_static(usage));
        headers.insert("x-stale-age", HeaderValue::from(envelope.age_seconds(now)));
        headers.insert("x-stale-ms", HeaderValue::from((until - now).max(0)));
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
    /// Seconds after that in which it is served while somebody rebuilds it.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    swr_s: Option<i64>,
    /// Seconds after that in which it stands in when its source fails.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    sie_s: Option<i64>,
    /// How long making it took.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    rebuild_ms: Option<i64>,
    /// 200, or 404 for an absence: it is remembered while it is fresh and not a moment longer.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    status: Option<i64>,
}

impl Fill {
    fn facts(&self) -> Result<Facts, Problem> {
        let status = match self.status {
            None | Some(200) => 200,
            Some(404) => 404,
            Some(_) => return Err(Problem::invalid("status", "must be 200 or 404")),
        };
        let rebuild_ms = self.rebuild_ms.unwrap_or(0).clamp(0, REBUILD_LIMIT);
        Ok(Facts {
            rebuild_ms: rebuild_ms as u32,
            status,
        })
    }
}

/// Stores the rebuilt value: 204, and in `x-fresh-ms` how long it is fresh; or 409 when the lease is void.
pub async fn fill(
    State(app): State<Arc<App>>,
    key: Key,
    Query(query): Query<Fill>,
    request: Request,
) -> Result<Response, CacheError> {
    let facts = query.facts()?;
    let token = lease(request.headers())?;
    let defaults = app.store.defaults;
    let absent = facts.status != 200;
    let window = |field, given, default| {
        let default = if absent { 0 } else { default };
        seconds(field, given, 0, default)
    };
    let ttl_seconds = seconds("ttl_s", query.ttl_s, 1, defaults.ttl_seconds)?;
    let lifetime = Lifetime {
        fresh_ms: i64::from(ttl_seconds) * 1000,
        swr_seconds: window("swr_s", query.swr_s, defaults.swr_seconds)?,
        sie_seconds: window("sie_s", query.sie_s, defaults.sie_seconds)?,
    };
    let variant = Variant::parse(query.variant)?;
    let body: Bytes = kit::extract::body(request, &()).await?;
    let value = checked(body)?;
    let stored = app
        .store
        .fill(&key, &variant, &token, value, lifetime, facts)
        .await?
        .ok_or(CacheError::LeaseVoid)?;
    app.statistics.fills.inc();
    let mut response = StatusCode::NO_CONTENT.into_response();
    let fresh_ms = stored.fresh_until - stored.stored_at;
    response
        .headers_mut()
        .insert("x-fresh-ms", HeaderValue::from(fresh_ms));
    Ok(response)
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
