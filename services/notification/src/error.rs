//! Why a call is refused or fails, and what the caller is told.

use axum::response::{IntoResponse, Response};
use kit::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("PostgreSQL is away")]
    Away,
    #[error("no such notification")]
    NotFound,
    #[error("{field}: {reason}")]
    Invalid {
        field: &'static str,
        reason: &'static str,
    },
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error.into(),
            Error::NotFound => Self::not_found("There is no notification with this id"),
            Error::Away => Self::unavailable("The database is unavailable; try again shortly"),
            Error::Invalid { field, reason } => Self::invalid(field, reason),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
