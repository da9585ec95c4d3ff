//! The API pages: `/openapi.json`, `/docs` and `/redoc`. Nothing of them comes from another host.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use kit::Problem;
use utoipa::openapi::OpenApi;

use crate::{description, page};

const DOCUMENT: &str = "/openapi.json";

/// Both pages style elements one by one from scripts; the reference page also searches in a worker made of a blob.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'none'";

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct Text(Bytes);

/// The routes of the API pages.
pub(crate) fn router(description: &OpenApi) -> Result<Router, kit::Error> {
    let text = description::complete(description).map_err(kit::Error::other)?;
    let text = Text(text.to_string().into());
    let swagger = Arc::new(utoipa_swagger_ui::Config::from(DOCUMENT));
    Ok(Router::new()
        .route(DOCUMENT, get(document).with_state(text))
        .route("/docs", get(docs))
        .route("/docs/", get(docs))
        .route("/docs/{*path}", get(swagger_file).with_state(swagger))
        .route("/redoc", get(redoc)))
}

#[utoipa::path(get, path = "/openapi.json", tag = "Front door", security(()), summary = "This description",
    responses((status = 200, description = "OpenAPI 3.1", body = Object,
        example = json!({"openapi": "3.1.0", "info": {"title": "Recarga", "version": "0.1.0"}, "paths": {}}))))]
pub(crate) async fn document(State(text): State<Text>, request: HeaderMap) -> Response {
    page::content("application/json", text.0, &request)
}

#[utoipa::path(get, path = "/docs", tag = "Front door", security(()), summary = "A page to try the calls on",
    responses((status = 200, description = "Swagger UI; needs no internet", body = String, content_type = "text/html",
        example = json!("<!doctype html>…"))))]
pub(crate) async fn docs(request: HeaderMap) -> Response {
    html("docs.html", &request)
}

#[utoipa::path(get, path = "/redoc", tag = "Front door", security(()), summary = "A page to read about the calls on",
    responses((status = 200, description = "Redoc; needs no internet", body = String, content_type = "text/html",
        example = json!("<!doctype html>…"))))]
pub(crate) async fn redoc(request: HeaderMap) -> Response {
    html("redoc.html", &request)
}

fn html(name: &str, request: &HeaderMap) -> Response {
    let mut response = page::file(name, request);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    response
}

/// Swagger UI's own files. They are built in uncompressed, so that every client can read them.
async fn swagger_file(
    State(config): State<Arc<utoipa_swagger_ui::Config<'static>>>,
    Path(path): Path<String>,
    request: HeaderMap,
) -> Response {
    match utoipa_swagger_ui::serve(&path, config) {
        Ok(Some(file)) => {
            page::content(&file.content_type, file.bytes.into_owned().into(), &request)
        }
        Ok(None) => Problem::not_found("There is no such file").into_response(),
        Err(error) => {
            tracing::error!(error = %error, "an API page could not be put together");
            Problem::internal().into_response()
        }
    }
}
