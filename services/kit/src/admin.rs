//! The admin surface: liveness, readiness, metrics, information, the log stream, and the levers.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post, put},
};
use futures::{Stream, StreamExt, stream};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use crate::{
    Instance, Problem,
    extract::{Json, Query},
    faults::{Fault, FaultList},
    metrics, safeguards,
    telemetry::{self, Line},
};

pub(crate) fn router(instance: Instance) -> Router {
    let levers = Router::new()
        .route("/admin/log-level", put(set_log_level))
        .route("/admin/faults", put(set_faults))
        .route("/admin/safeguards", get(show_safeguards).put(set_safeguard))
        .route("/admin/drain", post(drain))
        .route("/admin/undrain", post(undrain))
        .route("/admin/crash", post(crash))
        .with_state(instance.clone());
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .route("/admin/info", get(info))
        .route("/logs", get(logs))
        .with_state(instance.clone())
        .merge(guarded(levers, instance))
        .fallback(async || Problem::not_found("The admin surface has no such path"))
}

/// Lets only the operator's token through; in a read-only lab not even that, but for reading.
pub(crate) fn guarded(router: Router, instance: Instance) -> Router {
    router.layer(middleware::from_fn_with_state(instance, require_operator))
}

async fn require_operator(
    State(instance): State<Instance>,
    request: Request,
    next: Next,
) -> Response {
    if !request.method().is_safe()
        && let Err(problem) = instance.levers_allowed()
    {
        return problem.into_response();
    }
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match token.map(|token| token.strip_prefix("Bearer ").unwrap_or(token)) {
        None => {
            Problem::unauthorized("This needs the operator's token: Authorization: Bearer <token>")
                .into_response()
        }
        Some(token) if instance.is_operator_token(token.as_bytes()) => next.run(request).await,
        Some(_) => Problem::forbidden("This is not the operator's token").into_response(),
    }
}

async fn ready(State(instance): State<Instance>) -> Response {
    let ready = instance.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(json!({"ready": ready, "draining": instance.is_draining(), "checks": instance.checks()}))).into_response()
}

async fn render(State(instance): State<Instance>) -> Response {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        instance.metrics().encode(),
    )
        .into_response()
}

async fn info(State(instance): State<Instance>) -> axum::Json<Value> {
    let (listen, admin) = instance.addresses().unzip();
    let standings = safeguards::standings(&instance, Instant::now());
    let off: Vec<_> = standings
        .iter()
        .filter(|(_, standing)| !standing.on)
        .map(|(safeguard, _)| *safeguard)
        .collect();
    axum::Json(json!({
        "service": "recarga",
        "role": instance.role(),
        "instance": instance.name(),
        "version": crate::VERSION,
        "pid": std::process::id(),
        "started_at": instance.started_at(),
        "uptime_seconds": instance.uptime().as_secs(),
        "draining": instance.is_draining(),
        "ready": instance.is_ready(),
        "checks": instance.checks(),
        "log_level": telemetry::level(),
        "faults": instance.faults().list(Instant::now()),
        "levers": instance.levers(),
        "read_only": instance.is_read_only(),
        "safeguards": standings,
        "safeguards_off": off,
        "listen": listen,
        "admin": admin,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    level: String,
}

async fn set_log_level(Json(wanted): Json<LogLevel>) -> Result<axum::Json<Value>, Problem> {
    let previous = telemetry::level();
    telemetry::set_level(&wanted.level).map_err(|error| Problem::invalid("level", error))?;
    tracing::info!(level = wanted.level, "the log level was changed");
    Ok(axum::Json(
        json!({"level": telemetry::level(), "previous": previous}),
    ))
}

async fn set_faults(
    State(instance): State<Instance>,
    Json(list): Json<FaultList>,
) -> Result<axum::Json<Value>, Problem> {
    let answers = |fault: &Fault| fault.lose_rate > 0.0 || fault.hold_ms > 0;
    if !instance.loses_answers() && list.faults.iter().any(answers) {
        let role = instance.role();
        return Err(Problem::invalid(
            "faults",
            format!(
                "the {role} passes answers on as they come: it can neither lose nor hold one; have a service behind it do so"
            ),
        ));
    }
    let previous = instance
        .faults()
        .replace(list.faults, Instant::now())
        .map_err(|error| Problem::invalid(error.field, error.reason))?;
    let faults = instance.faults().list(Instant::now());
    tracing::warn!(faults = faults.len(), "the injected faults were changed");
    Ok(axum::Json(json!({"faults": faults, "previous": previous})))
}

async fn show_safeguards(State(instance): State<Instance>) -> axum::Json<Value> {
    let standings = safeguards::standings(&instance, Instant::now());
    axum::Json(json!({"safeguards": standings}))
}

async fn set_safeguard(
    State(instance): State<Instance>,
    Json(wanted): Json<safeguards::Wanted>,
) -> Result<axum::Json<safeguards::Changed>, Problem> {
    safeguards::set(&instance, &wanted, Instant::now()).map(axum::Json)
}

async fn drain(State(instance): State<Instance>) -> axum::Json<Value> {
    let previous = instance.is_draining();
    instance.set_draining(true);
    tracing::warn!("draining: no new work is wanted");
    axum::Json(json!({"draining": true, "previous": previous}))
}

async fn undrain(State(instance): State<Instance>) -> axum::Json<Value> {
    let previous = instance.is_draining();
    instance.set_draining(false);
    tracing::info!("taking new work again");
    axum::Json(json!({"draining": false, "previous": previous}))
}

async fn crash() -> StatusCode {
    tracing::error!("crashing on the operator's word");
    tokio::spawn(async {
        // Time for the answer and the log line to leave.
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::process::abort();
    });
    StatusCode::ACCEPTED
}

#[derive(Deserialize)]
struct LogFilter {
    level: Option<String>,
    target: Option<String>,
    request_id: Option<String>,
    q: Option<String>,
}

impl LogFilter {
    fn admits(&self, line: &Line) -> bool {
        self.level
            .as_deref()
            .is_none_or(|wanted| severity(line.level) <= severity(wanted))
            && self
                .target
                .as_deref()
                .is_none_or(|target| line.target.starts_with(target))
            && self
                .request_id
                .as_deref()
                .is_none_or(|id| line.request_id.as_deref() == Some(id))
            && self.q.as_deref().is_none_or(|q| {
                line.message.contains(q)
                    || line
                        .fields
                        .values()
                        .any(|v| v.as_str().is_some_and(|v| v.contains(q)))
            })
    }
}

fn severity(level: &str) -> usize {
    ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]
        .iter()
        .position(|known| known.eq_ignore_ascii_case(level))
        .unwrap_or(usize::MAX)
}

async fn logs(
    State(instance): State<Instance>,
    Query(filter): Query<LogFilter>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    if let Some(level) = filter
        .level
        .as_deref()
        .filter(|level| severity(level) == usize::MAX)
    {
        return Err(Problem::invalid(
            "level",
            format!("{level:?} is not error, warn, info, debug or trace"),
        ));
    }
    let hub =
        telemetry::hub().ok_or_else(|| Problem::unavailable("This process keeps no log stream"))?;
    let (recent, live) = hub.subscribe();
    let recent = stream::iter(recent.into_iter().map(Entry::Line));
    let live = BroadcastStream::new(live).map(|received| match received {
        Ok(line) => Entry::Line(line),
        Err(BroadcastStreamRecvError::Lagged(lost)) => Entry::Lost(lost),
    });
    // The stream ends with the instance, so that an open reader does not hold up its stop.
    let stop = instance.shutdown().clone();
    let events = recent
        .chain(live)
        .take_until(async move { stop.requested().await })
        .filter_map(move |entry| {
            let event = match entry {
                Entry::Line(line) if filter.admits(&line) => {
                    Event::default().json_data(line.as_ref()).ok()
                }
                Entry::Line(_) => None,
                Entry::Lost(lost) => Event::default()
                    .event("lost")
                    .json_data(HashMap::from([("lost", lost)]))
                    .ok(),
            };
            std::future::ready(event.map(Ok))
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

enum Entry {
    Line(Arc<Line>),
    Lost(u64),
}
