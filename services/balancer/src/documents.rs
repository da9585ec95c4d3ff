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

use crate::page;

const DOCUMENT: &str = "/openapi.json";

/// Both pages style elements one by one from scripts; the reference page also searches in a worker made of a blob.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; frame-ancestors 'none'";

/// The routes of the API pages.
pub(crate) fn router(document: &OpenApi) -> Result<Router, kit::Error> {
    let text: Bytes = document.to_json().map_err(kit::Error::other)?.into();
    let swagger = Arc::new(utoipa_swagger_ui::Config::from(DOCUMENT));
    Ok(Router::new()
        .route(
            DOCUMENT,
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text) }),
        )
        .route(
            "/docs",
            get(|headers: HeaderMap| async move { html("docs.html", &headers) }),
        )
        .route(
            "/docs/",
            get(|headers: HeaderMap| async move { html("docs.html", &headers) }),
        )
        .route("/docs/{*path}", get(swagger_file).with_state(swagger))
        .route(
            "/redoc",
            get(|headers: HeaderMap| async move { html("redoc.html", &headers) }),
        ))
}

fn html(name: &str, request: &HeaderMap) -> Response {
    let mut response = page::file(name, request);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    response
}

async fn swagger_file(
    State(config): State<Arc<utoipa_swagger_ui::Config<'static>>>,
    Path(path): Path<String>,
) -> Response {
    match utoipa_swagger_ui::serve(&path, config) {
        Ok(Some(file)) => {
            let compressed = file.gzpipped;
            let mut response = (
                [(header::CONTENT_TYPE, file.content_type)],
                file.bytes.into_owned(),
            )
                .into_response();
            if compressed {
                response
                    .headers_mut()
                    .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            page::harden(response.headers_mut());
            response
        }
        Ok(None) => Problem::not_found("There is no such file").into_response(),
        Err(error) => {
            tracing::error!(error = %error, "an API page could not be put together");
            Problem::internal().into_response()
        }
    }
}
