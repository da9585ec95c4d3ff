//! Why a read is refused or fails, and what the caller is told.

use axum::response::{IntoResponse, Response};
use kit::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("PostgreSQL is away")]
    Away,
    #[error("the key cannot be used")]
    Key,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error.into(),
            Error::Away => Self::unavailable("The database is unavailable; try again shortly"),
            Error::Key => Self::invalid(
                "key",
                "must have 1 to 256 characters, none of them a control character",
            ),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
