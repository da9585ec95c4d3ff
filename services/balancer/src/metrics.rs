//! `GET /metrics` on the public port.

use axum::{extract::State, response::IntoResponse};
use http::header;
use kit::Instance;

/// The balancer's own figures, the same as on its admin port.
#[utoipa::path(get, path = "/metrics", tag = "Front door", security(()), summary = "The balancer's Prometheus text",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text",
        example = json!("# EOF\n"))))]
pub(crate) async fn metrics(State(instance): State<Instance>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, kit::metrics::CONTENT_TYPE)],
        instance.metrics().encode(),
    )
}
