//! Everything this service refuses or fails at, and the status each has.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kit::{Problem, committer::Failure};

/// What a call can end with instead of its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such card")]
    CardNotFound,
    #[error("No such user")]
    UserNotFound,
    #[error("There are no users yet")]
    NoUsers,
    #[error("No such trip")]
    TripNotFound,
    #[error("No such recharge")]
    RechargeNotFound,
    #[error("No such route")]
    RouteNotFound,
    #[error("No such station")]
    StationNotFound,
    #[error("No such station on this route")]
    StationNotOnRoute,
    #[error("No such recharge point")]
    RechargePointNotFound,
    #[error("No such path")]
    PathNotFound,
    #[error("The card is blocked")]
    CardBlocked,
    #[error(
        "The balance of {balance} pesos does not cover the fare of {fare} pesos; recharge the card"
    )]
    InsufficientBalance { balance: i64, fare: i64 },
    #[error("The trip has already ended")]
    TripAlreadyEnded,
    #[error("this key was used before with another body; use a new key for a new request")]
    KeyReused,
    #[error("A request with this Idempotency-Key is still running; repeat it shortly")]
    KeyInProgress,
    #[error("must be 1 to 100")]
    InvalidLimit,
    #[error("is not a cursor of this list; start without one")]
    InvalidCursor,
    #[error("Incorrect username or password")]
    WrongCredentials,
    #[error("Too many sign-ins at once; try again shortly")]
    TooManySignIns,
    #[error("Too many writes are waiting; try again shortly")]
    TooManyWrites,
    #[error("the write was not confirmed")]
    Uncommitted {
        failure: kit::committer::Failure,
        /// It can be repeated without fear.
        keyed: bool,
    },
    #[error("a query failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Unconfirmed(#[from] kit::caching::Unconfirmed),
    #[error("a task ended without an answer")]
    Interrupted,
    #[error("the stored function answered {outcome}: {reason}")]
    UnexpectedReply { outcome: String, reason: String },
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::CardNotFound
            | Error::UserNotFound
            | Error::NoUsers
            | Error::TripNotFound
            | Error::RechargeNotFound
            | Error::RouteNotFound
            | Error::StationNotFound
            | Error::StationNotOnRoute
            | Error::RechargePointNotFound
            | Error::PathNotFound => Self::not_found(text),
            Error::CardBlocked | Error::TripAlreadyEnded => Self::conflict(text),
            Error::InsufficientBalance { balance, fare } => Self::conflict(text)
                .with("balance", balance)
                .with("fare", fare),
            Error::KeyInProgress => Self::conflict(text).retry_after(Duration::from_secs(1)),
            Error::KeyReused => Self::invalid("Idempotency-Key", text),
            Error::InvalidLimit => Self::invalid("limit", text),
            Error::InvalidCursor => Self::invalid("cursor", text),
            Error::WrongCredentials => Self::unauthorized(text),
            Error::TooManyWrites => Self::unavailable(text),
            Error::Uncommitted { failure, keyed } => uncommitted(&failure, keyed),
            Error::TooManySignIns => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(Duration::from_secs(1))
            }
            Error::Database(error) => error.into(),
            Error::Unconfirmed(error) => error.into(),
            Error::Interrupted | Error::UnexpectedReply { .. } => {
                tracing::error!(error = text, "a request failed");
                Self::internal()
            }
        }
    }
}

fn uncommitted(failure: &Failure, keyed: bool) -> Problem {
    match failure {
        Failure::Unavailable(_) => {
            tracing::debug!(error = %failure, "a write was not begun or taken back");
            Problem::unavailable("The database is unavailable; try again shortly")
        }
        Failure::Unknown(_) => {
            tracing::warn!(error = %failure, "a write may have been committed");
            Problem::unavailable(if keyed {
                "The connection to the database was lost: whether this was carried out is unknown. Send the same request with \
                 the same Idempotency-Key again: it is not carried out twice"
            } else {
                "The connection to the database was lost: whether this was carried out is unknown. Look at the card's history \
                 before you repeat it; with an Idempotency-Key it could be repeated without fear"
            })
        }
        Failure::Refused(_) => {
            tracing::error!(error = %failure, "a write failed");
            Problem::internal()
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
