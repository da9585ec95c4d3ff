//! Why a booking is refused or fails, and what the caller is told.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use kit::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("PostgreSQL is away")]
    Away,
    #[error("{field}: {reason}")]
    Invalid {
        field: &'static str,
        reason: &'static str,
    },
    #[error("no such student")]
    StudentNotFound,
    #[error("no such tutor")]
    TutorNotFound,
    #[error("no such booking")]
    BookingNotFound,
    #[error("the tutor has another session then")]
    Overlap,
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
            Error::Invalid { field, reason } => Self::invalid(field, reason),
            Error::StudentNotFound => Self::not_found("There is no student with this student_id"),
            Error::TutorNotFound => Self::not_found("There is no tutor with this tutor_id"),
            Error::BookingNotFound => Self::not_found("There is no booking with this id"),
            Error::Overlap => Self::conflict(
                "The tutor has another session at that time; leave starts_at out for the next free slot",
            ),
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
