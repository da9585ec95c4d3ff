//! `GET /notifications`: what was sent to whom, newest first.

use axum::{Json as Answer, extract::State};
use chrono::{DateTime, Utc};
use kit::{
    extract::{Id, Query},
    problem::ProblemBody,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Error, Store};

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// `student:ID` or `user:ID`; everybody when absent.
    #[param(example = "student:1")]
    recipient: Option<String>,
    /// 1 to 100; 20 when absent.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[param(value_type = Option<i64>, example = 20)]
    limit: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Notifications {
    pub notifications: Vec<Notification>,
}

/// One notification.
#[derive(Debug, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct Notification {
    pub id: i64,
    pub event_id: String,
    /// `booking` or `recharge`.
    #[schema(example = "booking")]
    pub kind: String,
    pub booking_id: Option<i64>,
    pub recharge_id: Option<i64>,
    #[schema(example = "student:1")]
    pub recipient: String,
    pub body: String,
    /// `pending`, `sent` or `failed`.
    #[schema(example = "sent")]
    pub state: String,
    pub attempts: i32,
    /// `log`, `webhook` or `smtp`.
    #[schema(example = "log")]
    pub channel: String,
    /// Why the latest attempt did not go out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
}

/// A notification and how it went out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Story {
    #[serde(flatten)]
    pub notification: Notification,
    /// The attempts of channels that leave the system, in their order.
    pub deliveries: Vec<Delivery>,
}

/// One attempt.
#[derive(Debug, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct Delivery {
    pub attempt: i32,
    pub channel: String,
    /// `sent`, `retry` or `failed`.
    #[schema(example = "sent")]
    pub outcome: String,
    /// Why it did not go out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub took_ms: i32,
    pub created_at: DateTime<Utc>,
}

/// One notification with its attempts.
#[utoipa::path(
    get, path = "/notifications/{id}", tag = "notification",
    params(("id" = i64, Path, example = 1, minimum = 1)),
    responses(
        (status = 200, description = "The notification", body = Story),
        (status = 404, description = "No such notification", body = ProblemBody),
        (status = 422, description = "Not an id", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub async fn one(State(store): State<Store>, Id(id): Id) -> Result<Answer<Story>, Error> {
    store.story(id).await?.map(Answer).ok_or(Error::NotFound)
}

/// The newest notifications.
#[utoipa::path(
    get, path = "/notifications", tag = "notification",
    params(Filter),
    responses(
        (status = 200, description = "Newest first", body = Notifications),
        (status = 422, description = "A value cannot be used", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    )
)]
pub async fn list(
    State(store): State<Store>,
    Query(filter): Query<Filter>,
) -> Result<Answer<Notifications>, Error> {
    let limit = filter.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Error::Invalid {
            field: "limit",
            reason: "must be 1 to 100",
        });
    }
    // PostgreSQL's text cannot hold it, so nobody has it.
    if filter
        .recipient
        .as_deref()
        .is_some_and(|text| text.contains('\0'))
    {
        return Err(Error::Invalid {
            field: "recipient",
            reason: "must not contain a zero character",
        });
    }
    let notifications = store.newest(filter.recipient.as_deref(), limit).await?;
    Ok(Answer(Notifications { notifications }))
}
