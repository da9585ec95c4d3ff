//! Dead letters: what was given up, with its reason and history, and the way back.

use std::{collections::HashSet, time::Duration};

use axum::{Extension, Json as Answer, extract::State};
use kit::{extract::Query, messaging::DeadLetters, observe::Quiet, problem::ProblemBody};
use serde::{Deserialize, Serialize};

use super::queues::Count;
use crate::{AppState, Error, QueueName};

/// The most dead letters that one call shows.
const LIST_LIMIT: i64 = 100;
/// The most positions that one call names.
const CHOSEN_LIMIT: usize = 1_000;
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
    /// The positions of those that are meant, 1 to 1,000, instead of the oldest; not together with `limit`.
    #[schema(example = json!(["1767225600000-0"]))]
    positions: Option<Vec<String>>,
    /// How many become ready each second, 0.001 to 100,000; all at once when absent.
    #[schema(example = 50.0)]
    per_second: Option<f64>,
    /// Only tell what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// What was taken back, or would be.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Redriven {
    #[schema(example = 100)]
    count: u64,
    /// Dead letters that stay.
    #[schema(example = 0)]
    remaining: u64,
    /// Of the positions that were given, those at which there was nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    missing: Option<u64>,
    /// Seconds until the last of them is ready.
    #[schema(example = 1.98)]
    takes_seconds: f64,
    dry_run: bool,
}

fn limit(value: Option<i64>, default: i64, most: i64) -> Result<usize, Error> {
    let value = value.unwrap_or(default);
    if (1..=most).contains(&value) {
        Ok(value as usize)
    } else {
        Err(Error::invalid("limit", format!("must be 1 to {most}")))
    }
}

fn is_position(text: &str) -> bool {
    // Signs are no digits, whatever a number may have.
    let digits =
        |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u64>().is_ok();
    text.split_once('-')
        .is_some_and(|(first, second)| digits(first) && digits(second))
}

/// Checks which dead letters are meant: each once, in the order given.
fn chosen(positions: Vec<String>) -> Result<Vec<String>, Error> {
    if !(1..=CHOSEN_LIMIT).contains(&positions.len()) {
        return Err(Error::invalid(
            "positions",
            format!("must be 1 to {CHOSEN_LIMIT} positions; leave it out to mean all"),
        ));
    }
    if let Some(odd) = positions.iter().find(|position| !is_position(position)) {
        let shown: String = odd.chars().take(40).collect();
        return Err(Error::invalid(
            "positions",
            format!("{shown:?} is not a position"),
        ));
    }
    let mut seen = HashSet::new();
    Ok(positions
        .into_iter()
        .filter(|position| seen.insert(position.clone()))
        .collect())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// The positions of those that are meant, 1 to 1,000 of them with commas between; all dead letters without it.
    #[param(example = "1767225600000-0,1767225600000-1")]
    positions: Option<String>,
}

/// The dead letters in the order they died.
#[utoipa::path(
    get, path = "/queues/{queue}/dead", tag = "queue",
    params(("queue" = String, Path, example = "lab"), Page),
    responses(
        (status = 200, description = "Dead letters with reason and history", body = DeadLetters),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    queue: QueueName,
    Query(page): Query<Page>,
) -> Result<(Option<Extension<Quiet>>, Answer<DeadLetters>), Error> {
    let limit = limit(page.limit, 20, LIST_LIMIT)?;
    if page
        .after
        .as_deref()
        .is_some_and(|after| !is_position(after))
    {
        return Err(Error::invalid("after", "this is not a position"));
    }
    let messages = state
        .store
        .dead_letters(&queue, page.after.as_deref(), limit)
        .await?;
    let quiet = messages.is_empty().then_some(Extension(Quiet));
    Ok((quiet, Answer(DeadLetters { messages })))
}

/// Ends the dead letters at some positions, or all.
#[utoipa::path(
    delete, path = "/queues/{queue}/dead", tag = "queue",
    params(("queue" = String, Path, example = "lab"), Purge),
    responses(
        (status = 200, description = "How many there were", body = Count),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn purge(
    State(state): State<AppState>,
    queue: QueueName,
    Query(purge): Query<Purge>,
) -> Result<Answer<Count>, Error> {
    state.instance.levers_allowed()?;
    let count = match purge.positions {
        Some(positions) => {
            let positions = chosen(positions.split(',').map(str::to_owned).collect())?;
            state.store.forget_chosen(&queue, &positions).await?
        }
        None => state.store.forget(&queue).await?,
    };
    tracing::warn!(queue = %queue, count, "the dead letters of a queue were ended");
    Ok(Answer(Count { count }))
}

/// Sends the oldest dead letters again, or those at some positions, as if they were new: all at once, or so many a second.
#[utoipa::path(
    post, path = "/queues/{queue}/dead/redrive", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    request_body = Redrive,
    responses(
        (status = 200, description = "How many were taken back, or would be", body = Redriven),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn redrive(
    State(state): State<AppState>,
    queue: QueueName,
    // It may be absent.
    body: axum::body::Bytes,
) -> Result<Answer<Redriven>, Error> {
    let request = if body.is_empty() {
        Redrive::default()
    } else {
        kit::extract::json(&body)?
    };
    if !request.dry_run {
        state.instance.levers_allowed()?;
    }
    if request.limit.is_some() && request.positions.is_some() {
        return Err(Error::invalid("limit", "must not come with positions"));
    }
    let positions = request.positions.map(chosen).transpose()?;
    let limit = limit(request.limit, 1_000, REDRIVE_LIMIT)?;
    let spacing = match request.per_second {
        None => Duration::ZERO,
        Some(rate) if (0.001..=100_000.0).contains(&rate) => Duration::from_secs_f64(1.0 / rate),
        Some(_) => {
            return Err(Error::invalid("per_second", "must be from 0.001 to 100000"));
        }
    };
    let store = &state.store;
    let count = match (&positions, request.dry_run) {
        (None, true) => store.dead(&queue).await?.min(limit as u64),
        (None, false) => store.redrive(&queue, limit, spacing).await?,
        (Some(positions), true) => store.present(&queue, positions).await?,
        (Some(positions), false) => store.redrive_chosen(&queue, positions, spacing).await?,
    };
    let missing = positions.map(|positions| (positions.len() as u64).saturating_sub(count));
    let dead = state.store.dead(&queue).await?;
    if !request.dry_run {
        tracing::info!(queue = %queue, count, "dead letters were sent again");
    }
    let pauses = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    Ok(Answer(Redriven {
        count,
        remaining: if request.dry_run {
            dead - count.min(dead)
        } else {
            dead
        },
        missing,
        takes_seconds: (spacing * pauses).as_secs_f64(),
        dry_run: request.dry_run,
    }))
}
