//! Dead letters: what was given up, with its reason and history, and the way back.

use axum::{Extension, Json as Answer, extract::State};
use kit::{extract::Query, messaging::DeadLetters, observe::Quiet, problem::ProblemBody};
use serde::Deserialize;

use super::queues::Count;
use crate::{AppState, Error, QueueName};

/// The most dead letters that one call shows.
const LIST_LIMIT: i64 = 100;
/// The most that one call takes back.
const REDRIVE_LIMIT: i64 = 10_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The most dead letters, 1 to 100; 20 when absent.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[param(value_type = Option<i64>, example = 20)]
    limit: Option<i64>,
    /// The position of the last one seen.
    #[param(example = "1767225600000-0")]
    after: Option<String>,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// The most dead letters to take back, 1 to 10,000; 1,000 when absent.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[schema(value_type = Option<i64>, example = 100)]
    limit: Option<i64>,
}

fn limit(value: Option<i64>, default: i64, most: i64) -> Result<usize, Error> {
    let value = value.unwrap_or(default);
    if (1..=most).contains(&value) {
        Ok(value as usize)
    } else {
        Err(Error::invalid("limit", format!("must be 1 to {most}")))
    }
}

/// The dead letters in the order they died.
#[utoipa::path(
    get, path = "/queues/{queue}/dead", tag = "queue",
    params(("queue" = String, Path, example = "lab"), Page),
    responses(
        (status = 200, description = "Dead letters with reason and history", body = DeadLetters),
        (status = 422, description = "A value cannot be used", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    queue: QueueName,
    Query(page): Query<Page>,
) -> Result<(Option<Extension<Quiet>>, Answer<DeadLetters>), Error> {
    let limit = limit(page.limit, 20, LIST_LIMIT)?;
    if let Some(after) = &page.after {
        let digits = |part: &str| part.parse::<u64>().is_ok();
        if !after
            .split_once('-')
            .is_some_and(|(first, second)| digits(first) && digits(second))
        {
            return Err(Error::invalid("after", "this is not a position"));
        }
    }
    let messages = state
        .store
        .dead_letters(&queue, page.after.as_deref(), limit)
        .await?;
    let quiet = messages.is_empty().then_some(Extension(Quiet));
    Ok((quiet, Answer(DeadLetters { messages })))
}

/// Sends the oldest dead letters again, as if they were new.
#[utoipa::path(
    post, path = "/queues/{queue}/dead/redrive", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    request_body = Redrive,
    responses(
        (status = 200, description = "How many were taken back", body = Count),
        (status = 422, description = "A value cannot be used", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn redrive(
    State(state): State<AppState>,
    queue: QueueName,
    // It may be absent.
    body: axum::body::Bytes,
) -> Result<Answer<Count>, Error> {
    let request = if body.is_empty() {
        Redrive::default()
    } else {
        kit::extract::json(&body)?
    };
    let count = state
        .store
        .redrive(&queue, limit(request.limit, 1_000, REDRIVE_LIMIT)?)
        .await?;
    tracing::info!(queue = %queue, count, "dead letters were sent again");
    Ok(Answer(Count { count }))
}
