//! Why a request could not be forwarded, and what the client is told.

use std::time::Duration;

use http::StatusCode;
use kit::Problem;

use crate::body::BoxError;

/// A request that got no answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Nobody in the pool takes requests: 503.
    #[error("no instance of {pool} is healthy")]
    NoneHealthy { pool: String, retry_after: Duration },
    /// Those that would take requests have not been answering, and it is not yet time to try again: 503.
    #[error("the circuit breakers of {pool} are open")]
    BreakersOpen { pool: String, retry_after: Duration },
    /// Too many requests are on their way already, so nobody has seen this one: 503.
    #[error("too many requests are on their way to {pool}")]
    Shed { pool: String, retry_after: Duration },
    /// Nobody could be reached, so nobody has seen the request: 503.
    #[error("{upstream} cannot be reached")]
    Unreachable {
        upstream: String,
        retry_after: Duration,
        source: BoxError,
    },
    /// The time the request had is over: 504.
    #[error("{upstream} did not answer in time")]
    Timeout { upstream: String },
    /// The connection broke after the request was sent, and the request could not be repeated: 502.
    #[error("the connection to {upstream} broke")]
    Broken { upstream: String, source: BoxError },
    /// The client's body could not be read to its end: 400, or whatever the caller makes of the cause.
    #[error("the request's body could not be read")]
    RequestBody { source: BoxError },
    /// The client did not send its body in time: 408.
    #[error("the request's body did not come in time")]
    BodyTimeout,
    /// This method is not forwarded: 405.
    #[error("{0} is not forwarded")]
    Method(http::Method),
    /// The head frames its body in two ways: 400.
    #[error("the request's length is ambiguous")]
    AmbiguousFraming,
    /// The target cannot be put into a request to an upstream: 400.
    #[error("the request's target cannot be used")]
    Target(#[source] http::Error),
}

impl ForwardError {
    /// The upstream that failed, if it came to one.
    #[must_use]
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Unreachable { upstream, .. }
            | Self::Timeout { upstream }
            | Self::Broken { upstream, .. } => Some(upstream),
            _ => None,
        }
    }

    /// The status the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoneHealthy { .. }
            | Self::BreakersOpen { .. }
            | Self::Shed { .. }
            | Self::Unreachable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken { .. } => StatusCode::BAD_GATEWAY,
            Self::RequestBody { .. } | Self::AmbiguousFraming | Self::Target(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Whether the client's body was larger than the limit its [`http_body_util::Limited`] wrapper set.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        let Self::RequestBody { source } = self else {
            return false;
        };
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
        while let Some(error) = cause {
            if error.is::<http_body_util::LengthLimitError>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl From<ForwardError> for Problem {
    fn from(error: ForwardError) -> Self {
        if error.is_body_too_large() {
            return Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request's body is too large",
            );
        }
        match error {
            ForwardError::NoneHealthy { pool, retry_after } => Self::unavailable(format!(
                "No {pool} instance is available; try again shortly"
            ))
            .retry_after(retry_after),
            ForwardError::BreakersOpen { pool, retry_after } => Self::unavailable(format!(
                "No {pool} instance has been answering; the request was not carried out, try again shortly"
            ))
            .retry_after(retry_after),
            ForwardError::Shed { retry_after, .. } => Self::unavailable(
                "Too many requests are on their way; this one was not carried out, try again shortly",
            )
            .retry_after(retry_after),
            ForwardError::Unreachable { retry_after, .. } => Self::unavailable(
                "No instance could be reached; the request was not carried out, try again shortly",
            )
            .retry_after(retry_after),
            ForwardError::Timeout { .. } => {
                Self::timed_out("The service behind did not answer in time")
            }
            ForwardError::Broken { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "The connection to the service broke before it answered; the request may have been carried out, an Idempotency-Key makes repeating it safe",
            ),
            ForwardError::RequestBody { .. } => {
                Self::bad_request("The request's body could not be read to its end")
            }
            ForwardError::BodyTimeout => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "The request's body did not come in time",
            ),
            ForwardError::Method(method) => Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is not taken here"),
            ),
            ForwardError::AmbiguousFraming => {
                Self::bad_request("The request gives its length in two ways")
            }
            ForwardError::Target(_) => Self::bad_request("The request's target cannot be used"),
        }
    }
}
