//! `/queues`: what there is, how full it is, and its settings.

use axum::{Json as Answer, extract::State};
use kit::{extract::Json, problem::ProblemBody};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{VISIBILITY_LIMIT, seconds};
use crate::{AppState, Error, QueueName, Settings, rates::Rate, store::Figures};

/// The longest window in which dedupe ids are remembered: a week, in seconds.
const DEDUPE_LIMIT: f64 = 7.0 * 86_400.0;
/// The longest age and backoff that can be set: a year and a day, in seconds.
const AGE_LIMIT: f64 = 366.0 * 86_400.0;
const BACKOFF_LIMIT: f64 = 86_400.0;

/// All queues.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Queues {
    pub queues: Vec<QueueFigures>,
}

/// One queue now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueFigures {
    #[schema(example = "tasks")]
    pub name: String,
    /// Messages waiting, delayed ones included.
    pub depth: u64,
    /// Messages received and not yet acknowledged.
    pub in_flight: u64,
    /// Messages that are not due yet.
    pub delayed: u64,
    /// Messages behind another one with the same ordering key.
    pub waiting: u64,
    /// Bytes of the bodies of all messages that did not end.
    pub bytes: u64,
    /// Messages given up and not taken back.
    pub dead: u64,
    /// How long the oldest waiting message has waited, in seconds; 0 without one.
    pub oldest_age_seconds: f64,
    pub sent_total: u64,
    /// Deliveries.
    pub received_total: u64,
    pub acknowledged_total: u64,
    /// Deliveries after the first.
    pub redelivered_total: u64,
    /// Messages ever given up.
    pub died_total: u64,
    /// Over the last few seconds.
    pub sent_per_second: f64,
    pub received_per_second: f64,
    pub acknowledged_per_second: f64,
    /// Whether receivers get nothing until it is resumed.
    pub paused: bool,
    pub settings: Settings,
}

/// How many messages a call touched.
#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    #[schema(example = 3)]
    pub count: u64,
}

impl QueueFigures {
    fn new(queue: &QueueName, figures: Figures, rate: Rate, state: &AppState) -> Self {
        Self {
            name: queue.to_string(),
            depth: figures.depth,
            in_flight: figures.in_flight,
            delayed: figures.delayed,
            waiting: figures.waiting,
            bytes: figures.bytes,
            dead: figures.dead,
            oldest_age_seconds: figures.oldest_age.as_secs_f64(),
            sent_total: figures.sent,
            received_total: figures.received,
            acknowledged_total: figures.acknowledged,
            redelivered_total: figures.redelivered,
            died_total: figures.died,
            sent_per_second: rate.sent,
            received_per_second: rate.received,
            acknowledged_per_second: rate.acknowledged,
            paused: figures.paused,
            settings: figures.settings.or(state.store.defaults()),
        }
    }
}

/// Every queue that was ever sent to, with its figures.
#[utoipa::path(
    get, path = "/queues", tag = "queue",
    responses(
        (status = 200, description = "The queues by name", body = Queues),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn list(State(state): State<AppState>) -> Result<Answer<Queues>, Error> {
    let names = state.store.queues().await?;
    let mut queues = Vec::with_capacity(names.len());
    for name in names {
        let figures = state.store.figures(&name).await?;
        queues.push(QueueFigures::new(
            &name,
            figures,
            state.rates.of(&name),
            &state,
        ));
    }
    Ok(Answer(Queues { queues }))
}

/// One queue's figures and settings.
#[utoipa::path(
    get, path = "/queues/{queue}", tag = "queue",
    params(("queue" = String, Path, example = "tasks")),
    responses(
        (status = 200, description = "The queue now", body = QueueFigures),
        (status = 404, description = "No such queue", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn one(
    State(state): State<AppState>,
    queue: QueueName,
) -> Result<Answer<QueueFigures>, Error> {
    if !state.store.exists(&queue).await? {
        return Err(Error::NoQueue);
    }
    let figures = state.store.figures(&queue).await?;
    Ok(Answer(QueueFigures::new(
        &queue,
        figures,
        state.rates.of(&queue),
        &state,
    )))
}

/// Changes the settings that are given; they hold from the next call on.
#[utoipa::path(
    put, path = "/queues/{queue}", tag = "queue",
    params(("queue" = String, Path, example = "tasks")),
    request_body = Settings,
    responses(
        (status = 200, description = "The queue with its settings", body = QueueFigures),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 429, description = "There are as many queues as there may be", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn configure(
    State(state): State<AppState>,
    queue: QueueName,
    Json(settings): Json<Settings>,
) -> Result<Answer<QueueFigures>, Error> {
    state.instance.levers_allowed()?;
    for (field, value) in [
        ("max_deliveries", settings.max_deliveries),
        ("max_crashes", settings.max_crashes),
    ] {
        if value.is_some_and(|most| !(1..=1_000).contains(&most)) {
            return Err(Error::invalid(field, "must be 1 to 1000"));
        }
    }
    for (field, value, limit) in [
        (
            "visibility_seconds",
            settings.visibility_seconds,
            VISIBILITY_LIMIT,
        ),
        ("dedupe_seconds", settings.dedupe_seconds, DEDUPE_LIMIT),
        ("max_age_seconds", settings.max_age_seconds, AGE_LIMIT),
        ("backoff_seconds", settings.backoff_seconds, BACKOFF_LIMIT),
        (
            "backoff_limit_seconds",
            settings.backoff_limit_seconds,
            BACKOFF_LIMIT,
        ),
    ] {
        value
            .map(|value| seconds(field, value, limit))
            .transpose()?;
    }
    state.store.configure(&queue, &settings).await?;
    tracing::info!(queue = %queue, settings = ?settings, "a queue's settings were changed");
    one(State(state), queue).await
}

/// Lets receivers get nothing; what is sent waits.
#[utoipa::path(
    post, path = "/queues/{queue}/pause", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    responses(
        (status = 200, description = "The queue, paused", body = QueueFigures),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 429, description = "There are as many queues as there may be", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn pause(
    State(state): State<AppState>,
    queue: QueueName,
) -> Result<Answer<QueueFigures>, Error> {
    switch(state, queue, true).await
}

/// Lets receivers get messages again.
#[utoipa::path(
    post, path = "/queues/{queue}/resume", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    responses(
        (status = 200, description = "The queue, at work", body = QueueFigures),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 429, description = "There are as many queues as there may be", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn resume(
    State(state): State<AppState>,
    queue: QueueName,
) -> Result<Answer<QueueFigures>, Error> {
    switch(state, queue, false).await
}

async fn switch(
    state: AppState,
    queue: QueueName,
    paused: bool,
) -> Result<Answer<QueueFigures>, Error> {
    state.instance.levers_allowed()?;
    state.store.pause(&queue, paused).await?;
    tracing::info!(queue = %queue, paused, "a queue was paused or resumed");
    one(State(state), queue).await
}

/// Ends all of a queue's messages but its dead letters.
#[utoipa::path(
    delete, path = "/queues/{queue}/messages", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    responses(
        (status = 200, description = "How many there were", body = Count),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn purge(
    State(state): State<AppState>,
    queue: QueueName,
) -> Result<Answer<Count>, Error> {
    state.instance.levers_allowed()?;
    let count = state.store.purge(&queue).await?;
    tracing::warn!(queue = %queue, count, "a queue was purged");
    Ok(Answer(Count { count }))
}

/// Ends a queue with all it holds, its dead letters and its settings; the next message sent makes it anew.
#[utoipa::path(
    delete, path = "/queues/{queue}", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    responses(
        (status = 200, description = "How many messages there were", body = Count),
        (status = 403, description = "The lab is read-only", body = ProblemBody),
        (status = 404, description = "No such queue", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn drop(State(state): State<AppState>, queue: QueueName) -> Result<Answer<Count>, Error> {
    state.instance.levers_allowed()?;
    if !state.store.exists(&queue).await? {
        return Err(Error::NoQueue);
    }
    let count = state.store.drop(&queue).await?;
    tracing::warn!(queue = %queue, count, "a queue was ended");
    Ok(Answer(Count { count }))
}
