//! Errors as `application/problem+json` (RFC 9457), with an `error` member for older clients.

use std::{borrow::Cow, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::RequestContext;

/// A refusal or failure as the client sees it: no internals, and a sentence that says what to do.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    extra: Map<String, Value>,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
            allow: None,
            extra: Map::new(),
        }
    }

    /// 400: the request cannot be read.
    #[must_use]
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422: a field has a value that cannot be used.
    #[must_use]
    pub fn invalid(field: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("{field}: {detail}"),
        )
        .with("field", field)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 403 for a lever of a lab that is only to be looked at.
    #[must_use]
    pub fn read_only() -> Self {
        Self::forbidden(
            "This lab is read-only: it was started with --read-only (RECARGA_READ_ONLY), so nothing of it can be steered, by nobody",
        )
        .with("read_only", true)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: the thing is in a state that does not allow this.
    #[must_use]
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: the body has more than so many bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is too large: it may have at most {limit} bytes"),
        )
    }

    /// 503 with `Retry-After`.
    #[must_use]
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
    }

    /// 504.
    #[must_use]
    pub fn timed_out(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// 500; the cause is logged where it was handled, the client only learns the request id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong on our side; the request id finds it in the logs",
        )
    }

    /// Adds a `Retry-After` header, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds an `Allow` header, which a 405 must have: the methods that are served.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(member.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The body, for callers that keep a problem (a stored reply, a test).
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = self.extra.clone();
        body.insert("type".to_owned(), "about:blank".into());
        body.insert(
            "title".to_owned(),
            self.status.canonical_reason().unwrap_or("Error").into(),
        );
        // An older client's own word for it, where the contract has one, stands instead of the number.
        body.entry("status".to_owned())
            .or_insert_with(|| self.status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.clone().into());
        body.entry("error".to_owned())
            .or_insert_with(|| self.detail.clone().into());
        if let Some(id) = RequestContext::current_id() {
            body.insert("instance".to_owned(), id.as_ref().into());
        }
        Value::Object(body)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.status, self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    /// The store being away is 503; anything else is ours, logged here, and 500.
    fn from(error: sqlx::Error) -> Self {
        if crate::postgres::is_unavailable(&error) {
            tracing::debug!(error = %error, "PostgreSQL is unavailable");
            return Self::unavailable("The database is unavailable; try again shortly");
        }
        tracing::error!(error = %error, "a query failed");
        Self::internal()
    }
}

impl From<::redis::RedisError> for Problem {
    /// Redis being away is 503; anything else is ours, logged here, and 500.
    fn from(error: ::redis::RedisError) -> Self {
        if crate::redis::is_unavailable(&error) {
            tracing::debug!(error = %error, "Redis is unavailable");
            return Self::unavailable("Redis is unavailable; try again shortly");
        }
        tracing::error!(error = %error, "a Redis command failed");
        Self::internal()
    }
}

/// The documented shape of every error, for the OpenAPI pages.
#[derive(utoipa::ToSchema, serde::Serialize)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Always `about:blank`: the status says the kind.
    #[schema(example = "about:blank")]
    pub r#type: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: String,
    #[schema(example = 404)]
    pub status: u16,
    /// What went wrong and what to do.
    pub detail: String,
    /// The request id.
    pub instance: String,
    /// The same as `detail`, for older clients.
    pub error: String,
}
