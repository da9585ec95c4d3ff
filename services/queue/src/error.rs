//! Why a call is refused or fails, and what the caller is told.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kit::{Problem, messaging::disk::Unfit};
use std::time::Duration;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("Redis is away")]
    Away,
    /// Redis cannot keep what the queue promises.
    #[error(transparent)]
    Unfit(Unfit),
    #[error("the disk has not confirmed what was written")]
    Unconfirmed,
    #[error("the queue holds its most, {most} {what}")]
    Full { what: &'static str, most: u64 },
    #[error("the queue's oldest message waits for more than {0:?}")]
    Behind(Duration),
    #[error("there are {0} queues, no more may be made")]
    TooManyQueues(u64),
    #[error("the receipt came too late")]
    Late,
    #[error("there is no such queue")]
    NoQueue,
    #[error("there is nothing to take")]
    Empty,
    #[error("{field}: {reason}")]
    Invalid { field: String, reason: String },
    #[error("the message is too large")]
    TooLarge,
    #[error("Redis answered something else than the script gives: {0}")]
    Unexpected(&'static str),
    #[error(transparent)]
    Refused(#[from] Problem),
}

impl Error {
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    #[must_use]
    pub fn full(what: &'static str, most: u64) -> Self {
        Self::Full { what, most }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Redis(error) => error.into(),
            Error::Away => Self::unavailable("Redis is unavailable; try again shortly"),
            Error::Unfit(unfit) => Self::unavailable(format!(
                "The queue is durable, and its Redis cannot keep that: {unfit}"
            )),
            Error::Unconfirmed => Self::unavailable(
                "The disk has not confirmed the change in time; it may be made or not. Try again",
            ),
            Error::Full { what, most } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("The queue holds its most, {most} {what}; try again when some were taken"),
            )
            .retry_after(Duration::from_secs(1)),
            Error::Behind(most) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "The queue's oldest message has waited for more than {} s; try again when the consumers caught up",
                    most.as_secs_f64()
                ),
            )
            .retry_after(Duration::from_secs(5)),
            Error::TooManyQueues(most) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("There are {most} queues already, the most there may be"),
            )
            .retry_after(Duration::from_mins(1)),
            Error::Late => Self::conflict(
                "The receipt came too late: the message was given back, delivered again or ended",
            ),
            Error::NoQueue => Self::not_found("There is no such queue; the first message sent makes it"),
            Error::Empty => Self::not_found("No tasks in the queue"),
            Error::Invalid { field, reason } => Self::invalid(&field, reason),
            Error::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "A message's body may have 256 KiB",
            ),
            Error::Unexpected(what) => {
                tracing::error!(what, "Redis answered something unexpected");
                Self::internal()
            }
            Error::Refused(problem) => problem,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
