//! `GET /task/{id}`: how far a task is.

use axum::{Json as Answer, extract::State};
use chrono::{DateTime, Utc};
use kit::{extract::Id, problem::ProblemBody};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{AppState, Error};

/// A task as it is now.
#[derive(Debug, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct Task {
    #[schema(example = 1)]
    pub task_id: i64,
    /// `queued`, `processing`, `completed` or `failed`.
    #[schema(example = "completed")]
    pub status: String,
    /// What came of it, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// How often it was begun.
    #[schema(example = 1)]
    pub attempts: i32,
    /// How far the present attempt is, from 0 to 1.
    #[schema(example = 1.0)]
    pub progress: f32,
    /// Why the latest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// How far a task is.
#[utoipa::path(
    get, path = "/task/{id}", tag = "Tasks",
    params(("id" = i64, Path, example = 1, minimum = 1)),
    responses(
        (status = 200, description = "The task", body = Task),
        (status = 401, description = "The token that was sent is not valid", body = ProblemBody),
        (status = 404, description = "No such task; `status` is `not_found`", body = Value, content_type = "application/problem+json", example = json!({"status": "not_found", "title": "Not Found", "detail": "There is no task with this id"})),
        (status = 422, description = "Not an id", body = ProblemBody),
        (status = 429, description = "Too many requests", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    ),
    security((), ("bearer" = []))
)]
pub async fn status(State(state): State<AppState>, Id(id): Id) -> Result<Answer<Task>, Error> {
    let task = state.store.task(id).await?;
    task.map(Answer).ok_or(Error::NotFound)
}
