//! `POST /task` (`POST /longtask` on the public port): accepts a task, and answers before it is worked on.

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use kit::{
    extract::{Caller, IdempotencyKey, Json, replayed},
    problem::ProblemBody,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{AppState, Error};

/// The largest task in bytes: with what the queue's message adds, it must fit one.
const TASK_LIMIT: usize = 192 * 1024;

#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"task": {"name": "monthly report"}}))]
pub struct Submission {
    /// Any JSON. An object with `"fail": true` fails at every attempt, to show what becomes of such a task.
    task: Value,
}

/// A task that was accepted. The gateway adds `gateway_id`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Started {
    #[schema(example = "Started")]
    pub status: String,
    #[schema(example = 1)]
    pub task_id: i64,
    /// The gateway that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1")]
    pub gateway_id: Option<String>,
}

/// Starts a long task: about 5 s of pretended work (an operator may change it).
#[utoipa::path(
    post, path = "/longtask", tag = "Tasks",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key and body get the first answer again")),
    request_body = Submission,
    responses(
        (status = 202, description = "Accepted; `Location` says where to follow it", body = Started,
            headers(("Location" = String, description = "`/task/{id}`"))),
        (status = 400, description = "Not JSON", body = ProblemBody),
        (status = 401, description = "The token that was sent is not valid", body = ProblemBody),
        (status = 409, description = "The same key is being worked on", body = ProblemBody),
        (status = 413, description = "The task is larger than 192 KiB", body = ProblemBody),
        (status = 422, description = "The task is missing, or the key was used for another body", body = ProblemBody),
        (status = 429, description = "Too many requests", body = ProblemBody),
        (status = 503, description = "The database is away", body = ProblemBody),
    ),
    security((), ("bearer" = []))
)]
pub async fn submit(
    State(state): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(submission): Json<Submission>,
) -> Result<Response, Error> {
    let task = submission.task;
    let text = task.to_string();
    if text.len() > TASK_LIMIT {
        return Err(Error::TooLarge);
    }
    if holds_zero(&task) {
        return Err(Error::ZeroCharacter);
    }
    let (task_id, repeated) = state
        .store
        .submit(caller.scope(), key.as_deref(), &task, text.as_bytes())
        .await?;
    if !repeated {
        state.relay.wake();
    }
    let started = Started {
        status: "Started".to_owned(),
        task_id,
        gateway_id: None,
    };
    let mut response = (StatusCode::ACCEPTED, Answer(started)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/task/{task_id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(if repeated {
        replayed(response)
    } else {
        response
    })
}

/// PostgreSQL's JSON cannot hold it.
fn holds_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_zero),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_zero(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
