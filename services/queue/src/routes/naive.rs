//! `/enqueue` and `/dequeue`: the pair that older clients use. What is dequeued is gone, whatever happens to its taker;
//! the queues beside it show what it takes to do better.

use std::time::Duration;

use axum::{Json as Answer, extract::State};
use kit::{extract::Json, messaging::Durability, problem::ProblemBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::send::MESSAGE_LIMIT;
use crate::{AppState, Error, QueueName, store::Checked};

#[derive(Deserialize, Serialize, ToSchema)]
pub struct Task {
    #[schema(example = "send_email")]
    task_type: String,
    /// Any JSON.
    #[schema(example = json!({"to": "student1"}))]
    payload: Value,
}

#[derive(Serialize, ToSchema)]
pub struct Enqueued {
    #[schema(example = "task enqueued")]
    status: &'static str,
    id: String,
    durability: Durability,
}

/// Puts a task into the queue `default`.
#[utoipa::path(
    post, path = "/enqueue", tag = "queue",
    request_body = Task,
    responses(
        (status = 200, description = "Enqueued", body = Enqueued),
        (status = 413, description = "The task is larger than 256 KiB", body = ProblemBody),
        (status = 429, description = "The queue holds its most", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn enqueue(
    State(state): State<AppState>,
    Json(task): Json<Task>,
) -> Result<Answer<Enqueued>, Error> {
    let body = serde_json::value::to_raw_value(&task)
        .map_err(|_| Error::Unexpected("a task that cannot be written"))?;
    if body.get().len() > MESSAGE_LIMIT {
        return Err(Error::TooLarge);
    }
    let message = Checked {
        body,
        delay: Duration::ZERO,
        dedupe_id: None,
        ordering_key: None,
    };
    let (ids, durability) = state
        .store
        .send(&QueueName::of_older_clients(), vec![message])
        .await?;
    let id = ids
        .into_iter()
        .next()
        .ok_or(Error::Unexpected("a send without an id"))?;
    Ok(Answer(Enqueued {
        status: "task enqueued",
        id,
        durability,
    }))
}

/// Takes the next task off the queue `default`, for good.
#[utoipa::path(
    get, path = "/dequeue", tag = "queue",
    responses(
        (status = 200, description = "The task, with its id", body = Value, example = json!({"id": "7c0e5a2e-6d0b-4a53-a7fc-5b0c2a1d9e44", "task_type": "send_email", "payload": {"to": "student1"}})),
        (status = 404, description = "No tasks in the queue", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn dequeue(State(state): State<AppState>) -> Result<Answer<Value>, Error> {
    let taken = state
        .store
        .receive(&QueueName::of_older_clients(), 1, None, true)
        .await?;
    let message = taken.messages.into_iter().next().ok_or(Error::Empty)?;
    let task = message.read().unwrap_or(Value::Null);
    Ok(Answer(match task {
        Value::Object(mut task) => {
            task.insert("id".to_owned(), message.id.into());
            Value::Object(task)
        }
        // Sent through the other calls, where a body may be anything.
        other => json!({"id": message.id, "payload": other}),
    }))
}
