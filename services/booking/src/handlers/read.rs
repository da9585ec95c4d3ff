//! `GET /bookings/{id}`: the booking, and how far its notification is.

use axum::{Json as Answer, extract::State};
use chrono::{DateTime, Utc};
use kit::{extract::Id, problem::ProblemBody};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{AppState, Error};

/// A session with a tutor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Booking {
    #[schema(example = 17)]
    pub booking_id: i64,
    #[schema(example = 1)]
    pub student_id: i64,
    #[schema(example = "Ana Rojas")]
    pub student: String,
    #[schema(example = 1)]
    pub tutor_id: i64,
    #[schema(example = "Laura Gómez")]
    pub tutor: String,
    #[schema(example = "Math")]
    pub subject: String,
    #[schema(example = "2026-03-02T15:00:00Z")]
    pub starts_at: DateTime<Utc>,
    #[schema(example = "2026-03-02T16:00:00Z")]
    pub ends_at: DateTime<Utc>,
    #[schema(example = "2026-03-02T12:00:00Z")]
    pub created_at: DateTime<Utc>,
    pub notification: Notification,
}

/// The notification that the booking causes, once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// `pending`, `sent` or `failed`.
    #[schema(example = "sent")]
    pub state: String,
    pub sent_at: Option<DateTime<Utc>>,
}

/// One booking, with the state of its notification.
#[utoipa::path(
    get, path = "/bookings/{id}", tag = "Tutors",
    params(("id" = i64, Path, example = 1, minimum = 1)),
    responses(
        (status = 200, description = "The booking", body = Booking),
        (status = 401, description = "No valid token", body = ProblemBody),
        (status = 404, description = "No such booking", body = ProblemBody),
        (status = 422, description = "Not an id", body = ProblemBody),
        (status = 429, description = "Too many requests", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    ),
    security(("bearer" = []))
)]
pub async fn read(State(state): State<AppState>, Id(id): Id) -> Result<Answer<Booking>, Error> {
    let booking = state.store.booking(id).await?;
    booking.map(Answer).ok_or(Error::BookingNotFound)
}
