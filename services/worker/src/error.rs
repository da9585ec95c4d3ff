//! Why a call is refused or fails, and what the caller is told.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kit::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("PostgreSQL is away")]
    Away,
    #[error("the task is too large")]
    TooLarge,
    #[error("the task holds a zero character")]
    ZeroCharacter,
    #[error("no such task")]
    NotFound,
    #[error("the key was used for another body")]
    KeyReused,
    #[error("the same request is being worked on")]
    InProgress,
    #[error("an outcome that this build does not know: {0}")]
    Unknown(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error.into(),
            Error::Away => Self::unavailable("The database is unavailable; try again shortly"),
            Error::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "A task may have 192 KiB"),
            Error::ZeroCharacter => Self::invalid("task", "must not contain a zero character"),
            // Older clients look for this word in this member.
            Error::NotFound => {
                Self::not_found("There is no task with this id").with("status", "not_found")
            }
            Error::KeyReused => Self::invalid(
                "Idempotency-Key",
                "was used for a request with another body; take a new key",
            ),
            Error::InProgress => {
                Self::conflict("The first request with this key is still being worked on")
                    .retry_after(Duration::from_secs(1))
            }
            Error::Unknown(outcome) => {
                tracing::error!(outcome, "a stored function gave an unknown outcome");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
