//! `GET /openapi.json` of a service that clients call on its own port.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::header;
use utoipa::openapi::OpenApi;

/// The route; calls of the document are relative to where it was read.
pub fn router<S: Clone + Send + Sync + 'static>(document: &OpenApi) -> Router<S> {
    let text = serde_json::to_vec(document).expect("a description serialises");
    let text = Bytes::from(text);
    Router::new().route(
        "/openapi.json",
        get(async move || ([(header::CONTENT_TYPE, "application/json")], text)),
    )
}
