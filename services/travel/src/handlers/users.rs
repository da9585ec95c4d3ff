//! `GET /users/count`, `/users/active/count` and `/users/latest`: never cached, so that there is something to compare with.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use kit::problem::ProblemBody;
use serde::Serialize;

use crate::{App, error::Error, responses::Always, store::LatestUser};

/// A user is active who was seen within so many days.
const ACTIVE_DAYS: i32 = 30;

/// How many users there are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UsersCount {
    #[schema(example = 24_000)]
    pub total_users: i64,
}

/// How many users were seen lately.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ActiveUsersCount {
    #[schema(example = 9_120)]
    pub active_users: i64,
    /// What "lately" means.
    #[schema(example = 30)]
    pub days: i32,
}

fn uncached(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The number of users
#[utoipa::path(get, path = "/users/count", tag = "Users",
    responses(
        (status = 200, description = "Counted now", body = UsersCount, example = json!({"total_users": 24_000})), Always))]
pub async fn count(State(app): State<App>) -> Result<Response, Error> {
    let total_users = app.store.users_count().await?;
    Ok(uncached(UsersCount { total_users }))
}

/// The number of users seen in the last 30 days
#[utoipa::path(get, path = "/users/active/count", tag = "Users",
    responses(
        (status = 200, description = "Counted now", body = ActiveUsersCount,
            example = json!({"active_users": 9_120, "days": 30})),
        Always))]
pub async fn active_count(State(app): State<App>) -> Result<Response, Error> {
    let active_users = app.store.active_users_count(ACTIVE_DAYS).await?;
    Ok(uncached(ActiveUsersCount {
        active_users,
        days: ACTIVE_DAYS,
    }))
}

/// The user who joined last
#[utoipa::path(get, path = "/users/latest", tag = "Users",
    responses(
        (status = 200, description = "Looked up now", body = LatestUser,
            example = json!({"user_id": 24_000, "username": "user24000", "full_name": "Ana Rojas",
                "created_at": "2026-03-02T12:00:00Z"})),
        (status = 404, description = "There are no users", body = ProblemBody, content_type = "application/problem+json"),
        Always))]
pub async fn latest(State(app): State<App>) -> Result<Response, Error> {
    let user = app.store.latest_user().await?;
    user.map(uncached).ok_or(Error::NoUsers)
}
