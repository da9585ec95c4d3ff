//! `GET /queues/{queue}/messages`: takes messages, waiting for the first without holding a connection to Redis.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use axum::{Extension, Json as Answer, extract::State};
use kit::{
    RequestContext,
    extract::Query,
    messaging::{BATCH_LIMIT, Message, Messages, Receipt, Release, WAIT_LIMIT},
    observe::Quiet,
    problem::ProblemBody,
};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{VISIBILITY_LIMIT, seconds};
use crate::{AppState, Error, QueueName};

/// How often a waiting receive looks although nothing woke it: a wake may have been missed while Redis was away.
const RECHECK: Duration = Duration::from_secs(1);
/// How much earlier than its caller's deadline a waiting receive answers.
const MARGIN: Duration = Duration::from_millis(250);

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Receive {
    /// The most messages, 1 to 100; 1 when absent.
    #[serde(default, deserialize_with = "kit::lenient::optional_int")]
    #[param(value_type = Option<i64>, example = 10)]
    max: Option<i64>,
    /// Seconds to wait for the first message, 0 to 20; 0 when absent.
    #[param(example = 5.0)]
    wait_seconds: Option<f64>,
    /// Seconds until a message comes back unless it is acknowledged; the queue's setting when absent.
    #[param(example = 30.0)]
    visibility_seconds: Option<f64>,
}

/// Takes up to `max` messages; each is this caller's until its visibility ends.
#[utoipa::path(
    get, path = "/queues/{queue}/messages", tag = "queue",
    params(("queue" = String, Path, example = "lab"), Receive),
    responses(
        (status = 200, description = "The messages, none when none came in time", body = Messages),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn receive(
    State(state): State<AppState>,
    queue: QueueName,
    Query(request): Query<Receive>,
) -> Result<(Option<Extension<Quiet>>, Answer<Messages>), Error> {
    let max = request.max.unwrap_or(1);
    let max = usize::try_from(max)
        .ok()
        .filter(|max| (1..=BATCH_LIMIT).contains(max))
        .ok_or_else(|| Error::invalid("max", format!("must be 1 to {BATCH_LIMIT}")))?;
    let wait = seconds(
        "wait_seconds",
        request.wait_seconds.unwrap_or(0.0),
        WAIT_LIMIT.as_secs_f64(),
    )?;
    let visibility = request
        .visibility_seconds
        .map(|value| seconds("visibility_seconds", value, VISIBILITY_LIMIT))
        .transpose()?;

    // In a task of its own: when the caller leaves, what was taken meanwhile is given back instead of staying invisible.
    let (answer, answered) = oneshot::channel();
    let poll = poll(state.clone(), queue.clone(), max, wait, visibility, answer);
    let context = RequestContext::current();
    tokio::spawn(async move {
        let unclaimed = match context {
            Some(context) => context.scope(poll).await,
            None => poll.await,
        };
        give_back(&state, &queue, unclaimed).await;
    });
    let received = answered
        .await
        .map_err(|_| Error::Unexpected("a receive ended without an answer"))??;
    let quiet = received.messages.is_empty().then_some(Extension(Quiet));
    Ok((quiet, Answer(received)))
}

/// Sends the messages to `answer`; gives those that nobody was there to take.
async fn poll(
    state: AppState,
    queue: QueueName,
    max: usize,
    wait: Duration,
    visibility: Option<Duration>,
    mut answer: oneshot::Sender<Result<Messages, Error>>,
) -> Vec<Message> {
    let patience = RequestContext::current().map_or(wait, |context| {
        wait.min(context.remaining().saturating_sub(MARGIN))
    });
    let deadline = Instant::now() + patience;
    let wakeup = state.wakers.of(queue.as_str());
    let shutdown = state.instance.shutdown();
    let outcome = loop {
        // Registered before the look, so that nothing sent in between goes unnoticed.
        let mut woken = pin!(wakeup.notified());
        woken.as_mut().enable();
        let taken = match state.store.receive(&queue, max, visibility, false).await {
            Ok(taken) => taken,
            Err(error) => break Err(error),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if !taken.messages.is_empty() || left.is_zero() || state.instance.is_draining() {
            break Ok(taken);
        }
        let pause = left.min(RECHECK).min(taken.next.unwrap_or(RECHECK));
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => break Ok(taken),
            () = answer.closed() => return Vec::new(),
        }
    };
    let outcome = outcome.map(|taken| Messages {
        messages: taken.messages,
        durability: taken.durability,
    });
    match answer.send(outcome) {
        Err(Ok(unclaimed)) => unclaimed.messages,
        Ok(()) | Err(Err(_)) => Vec::new(),
    }
}

async fn give_back(state: &AppState, queue: &QueueName, unclaimed: Vec<Message>) {
    if unclaimed.is_empty() {
        return;
    }
    let release = Release {
        delay_seconds: None,
        reason: Some("the receiver left before the answer".to_owned()),
        uncounted: true,
    };
    let receipts: Vec<Receipt> = unclaimed.into_iter().map(|m| m.receipt).collect();
    if let Err(error) = state.store.release(queue, &receipts, None, &release).await {
        tracing::debug!(error = %error, "messages could not be given back; they come back by themselves");
    }
}
