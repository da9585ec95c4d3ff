//! `GET /health` and the JSON side of `GET /`: is anyone there to serve?

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use kit::Instance;
use proxy::Pool;
use serde_json::json;

use crate::api::HealthBody;

/// Who asks and who is asked about.
#[derive(Clone)]
pub(crate) struct Health {
    pub instance: Instance,
    pub pool: Pool,
}

/// 200 while a gateway takes requests and this balancer is not draining, 503 otherwise.
#[utoipa::path(get, path = "/health", tag = "Front door", security(()), summary = "Is anyone there to serve?",
    responses((status = 200, description = "At least one gateway takes requests", body = HealthBody),
              (status = 503, description = "No gateway takes requests, or the balancer drains", body = HealthBody)))]
pub(crate) async fn health(State(health): State<Health>) -> Response {
    let (status, word) = if health.instance.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if health.pool.is_healthy() {
        (StatusCode::OK, "up")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "down")
    };
    let body = json!({
        "status": word,
        "gateways": health.pool.health(),
        "service": health.instance.role(),
        "instance": health.instance.name(),
    });
    (status, Json(body)).into_response()
}

/// What older clients read at `/`.
pub(crate) fn describe(health: &Health) -> Response {
    Json(json!({"service": "Load Balancer", "status": "running", "gateways": health.pool.health()}))
        .into_response()
}
