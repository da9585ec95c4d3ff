//! A gateway's own levers: the routes, the cache on or off, and what is known of limits and services.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use chrono::Utc;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::{Problem, extract};
use proxy::Pool;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    document::{self, Changes},
    flaw::Flaws,
    gate::Gate,
    running::{Conflict, Origin, Snapshot},
};

/// Whether reads go through the cache.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSwitch {
    pub enabled: bool,
}

/// What may be read by anybody who reaches the admin port.
pub fn open(gate: Arc<Gate>) -> Router {
    let pools = proxy::admin::open(pools(&gate));
    Router::new()
        .route("/admin/routes", get(routes))
        .route(
            "/admin/routes/schema",
            get(async || Json(document::schema())),
        )
        .route("/admin/limits", get(limits))
        .with_state(gate)
        .merge(pools)
}

/// What needs the operator's token.
pub fn operator(gate: Arc<Gate>) -> Router {
    let pools = proxy::admin::operator(pools(&gate));
    Router::new()
        .route("/admin/cache", put(switch).get(state))
        .route("/admin/routes", put(replace))
        .route("/admin/routes/rollback", post(roll_back))
        .layer(DefaultBodyLimit::max(document::LIMIT))
        .with_state(gate)
        .merge(pools)
}

/// The pools of the services and of the cache.
fn pools(gate: &Gate) -> Vec<Pool> {
    let services = gate
        .pools
        .values()
        .map(|forwarder| forwarder.pool().clone());
    services.chain([gate.cache.pool().clone()]).collect()
}

async fn state(State(gate): State<Arc<Gate>>) -> Json<CacheSwitch> {
    let enabled = gate.cache_enabled.load(Ordering::Relaxed);
    Json(CacheSwitch { enabled })
}

async fn switch(
    State(gate): State<Arc<Gate>>,
    extract::Json(wanted): extract::Json<CacheSwitch>,
) -> Json<Value> {
    let previous = gate.cache_enabled.swap(wanted.enabled, Ordering::Relaxed);
    tracing::warn!(enabled = wanted.enabled, "the cache was switched");
    Json(json!({"enabled": wanted.enabled, "previous": previous}))
}

/// What is known of the routes file.
#[derive(Serialize)]
struct RoutesFile {
    path: PathBuf,
    /// What is wrong with it as it is now; the routes in force are older then.
    problems: Option<Flaws>,
}

async fn routes(State(gate): State<Arc<Gate>>) -> Response {
    let snapshot = gate.running.current();
    let file = gate.routes_file.clone().map(|path| RoutesFile {
        path,
        problems: gate.running.flaws(),
    });
    let mut body = facts(&snapshot);
    body["previous"] = gate.running.previous().as_deref().map(facts).into();
    body["file"] = json!(file);
    body["routes"] = json!(snapshot.routes);
    tagged(&snapshot, body)
}

/// What names a table, without its routes.
fn facts(snapshot: &Snapshot) -> Value {
    json!({
        "version": snapshot.version,
        "hash": snapshot.hash,
        "origin": snapshot.origin,
        "since": snapshot.since,
        "count": snapshot.routes.len(),
    })
}

fn tagged(snapshot: &Snapshot, body: Value) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", snapshot.hash)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn changed(snapshot: &Snapshot, changes: &Changes) -> Response {
    let mut body = facts(snapshot);
    body["changes"] = json!(changes);
    tagged(snapshot, body)
}

/// Puts a whole document in force, or none of it.
async fn replace(State(gate): State<Arc<Gate>>, request: Request) -> Result<Response, Problem> {
    let expected = expected(request.headers())?;
    let body = extract::body(request, &()).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Problem::bad_request("The document is not UTF-8"))?;
    let (routes, table) = document::read(text).map_err(refused)?;
    let (snapshot, changes) = gate
        .running
        .replace(
            routes,
            table,
            Origin::Operator,
            expected.as_deref(),
            Utc::now(),
        )
        .map_err(|Conflict(hash)| {
            Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "Other routes than these are in force now; read them again",
            )
            .with("hash", hash)
        })?;
    Ok(changed(&snapshot, &changes))
}

fn refused(Flaws(flaws): Flaws) -> Problem {
    let count = match flaws.len() {
        1 => "There is one problem".to_owned(),
        count => format!("There are {count} problems"),
    };
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!(
            "{count} with these routes, nothing was changed; the first: {}",
            flaws[0]
        ),
    )
    .with("problems", json!(flaws))
}

/// The hash that `If-Match` names.
fn expected(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .map(|hash| Some(hash.to_owned()))
        .ok_or_else(|| Problem::invalid("If-Match", "must be one entity tag in quotes, or *"))
}

async fn roll_back(State(gate): State<Arc<Gate>>) -> Result<Response, Problem> {
    let (snapshot, changes) = gate
        .running
        .roll_back(Utc::now())
        .ok_or_else(|| Problem::conflict("There are no routes to go back to; one step is kept"))?;
    Ok(changed(&snapshot, &changes))
}

async fn limits(State(gate): State<Arc<Gate>>) -> Json<Value> {
    let shared = match gate.limits.shared() {
        None => "off",
        Some(shared) if shared.is_degraded() => "degraded",
        Some(_) => "on",
    };
    Json(json!({
        "shared": shared,
        "callers": gate.limits.callers(),
        "callers_limit": gate.limits.most_callers(),
    }))
}
