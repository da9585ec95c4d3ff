//! What a receiver does with a message: end it, keep it longer, give it back, or give it up. A late receipt is 409.

use std::time::Duration;

use axum::{Json as Answer, extract::FromRequestParts, extract::State};
use http::{StatusCode, request::Parts};
use kit::{
    Problem,
    extract::{Json, Path},
    messaging::{
        Acknowledge, Acknowledged, BATCH_LIMIT, Extend, Reason, Receipt, Release, ReleaseBatch,
        Released,
    },
    problem::ProblemBody,
};

use super::{DELAY_LIMIT, VISIBILITY_LIMIT, reason, seconds};
use crate::{AppState, Error, QueueName, store::Ended};

/// `/queues/{queue}/messages/{receipt}`.
pub struct Delivery {
    queue: QueueName,
    receipt: Receipt,
}

#[derive(serde::Deserialize)]
struct Segments {
    queue: String,
    receipt: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Delivery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(segments) = Path::<Segments>::from_request_parts(parts, state).await?;
        let receipt = Receipt(segments.receipt);
        check(&receipt, "receipt")?;
        Ok(Self {
            queue: QueueName::parse(&segments.queue)?,
            receipt,
        })
    }
}

/// A receipt is `TIME-SEQUENCE.DELIVERY`, or `TIME-SEQUENCE-PLACE.DELIVERY` of a message that was sent with others; only
/// its form is looked at here.
fn check(receipt: &Receipt, field: &str) -> Result<(), Error> {
    let digits =
        |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let good = receipt.0.split_once('.').is_some_and(|(entry, delivery)| {
        digits(delivery)
            && (1..=2).contains(&entry.bytes().filter(|b| *b == b'-').count())
            && entry.split('-').all(digits)
    });
    if good {
        Ok(())
    } else {
        Err(Error::invalid(field, "this is not a receipt"))
    }
}

/// Ends a message for good.
#[utoipa::path(
    delete, path = "/queues/{queue}/messages/{receipt}", tag = "queue",
    params(("queue" = String, Path, example = "lab"), ("receipt" = String, Path, example = "1767225600000-0.1")),
    responses(
        (status = 204, description = "Ended"),
        (status = 409, description = "The receipt came too late", body = ProblemBody),
        (status = 422, description = "Not a receipt", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn acknowledge(
    State(state): State<AppState>,
    delivery: Delivery,
) -> Result<StatusCode, Error> {
    let ended = state
        .store
        .acknowledge(&delivery.queue, &[delivery.receipt])
        .await?;
    one(&ended)
}

/// A call about one receipt either does what it says or comes too late.
fn one(ended: &Ended) -> Result<StatusCode, Error> {
    if ended.late.is_empty() {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::Late)
    }
}

fn check_batch(receipts: &[Receipt]) -> Result<(), Error> {
    if !(1..=BATCH_LIMIT).contains(&receipts.len()) {
        return Err(Error::invalid(
            "receipts",
            format!("a batch has 1 to {BATCH_LIMIT} receipts"),
        ));
    }
    for (index, receipt) in receipts.iter().enumerate() {
        check(receipt, &format!("receipts[{index}]"))?;
    }
    Ok(())
}

/// Ends a batch of messages; late receipts are named and harm no other.
#[utoipa::path(
    post, path = "/queues/{queue}/acknowledge", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    request_body = Acknowledge,
    responses(
        (status = 200, description = "How many ended, and which receipts came too late", body = Acknowledged),
        (status = 422, description = "Not a receipt, or too many", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn acknowledge_batch(
    State(state): State<AppState>,
    queue: QueueName,
    Json(request): Json<Acknowledge>,
) -> Result<Answer<Acknowledged>, Error> {
    let receipts = request.receipts;
    check_batch(&receipts)?;
    let ended = state.store.acknowledge(&queue, &receipts).await?;
    Ok(Answer(Acknowledged {
        acknowledged: (receipts.len() - ended.late.len()) as u64,
        late: ended.late,
        durability: ended.durability,
    }))
}

/// Keeps a message for longer, counted from now.
#[utoipa::path(
    post, path = "/queues/{queue}/messages/{receipt}/extend", tag = "queue",
    params(("queue" = String, Path, example = "lab"), ("receipt" = String, Path, example = "1767225600000-0.1")),
    request_body = Extend,
    responses(
        (status = 204, description = "Kept"),
        (status = 409, description = "The receipt came too late", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn extend(
    State(state): State<AppState>,
    delivery: Delivery,
    Json(request): Json<Extend>,
) -> Result<StatusCode, Error> {
    let visibility = seconds(
        "visibility_seconds",
        request.visibility_seconds,
        VISIBILITY_LIMIT,
    )?;
    state
        .store
        .extend(&delivery.queue, &delivery.receipt, visibility)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a message back, after a delay or the queue's backoff; at its last failure it goes to the dead letters.
#[utoipa::path(
    post, path = "/queues/{queue}/messages/{receipt}/release", tag = "queue",
    params(("queue" = String, Path, example = "lab"), ("receipt" = String, Path, example = "1767225600000-0.1")),
    request_body = Release,
    responses(
        (status = 204, description = "Given back"),
        (status = 409, description = "The receipt came too late", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn release(
    State(state): State<AppState>,
    delivery: Delivery,
    Json(request): Json<Release>,
) -> Result<StatusCode, Error> {
    let delay = check_release(&request)?;
    let ended = state
        .store
        .release(&delivery.queue, &[delivery.receipt], delay, &request)
        .await?;
    one(&ended)
}

/// Gives a batch of messages back, all in the same way; late receipts are named and harm no other.
#[utoipa::path(
    post, path = "/queues/{queue}/release", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    request_body = ReleaseBatch,
    responses(
        (status = 200, description = "How many were given back, and which receipts came too late", body = Released),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn release_batch(
    State(state): State<AppState>,
    queue: QueueName,
    Json(request): Json<ReleaseBatch>,
) -> Result<Answer<Released>, Error> {
    let receipts = request.receipts;
    check_batch(&receipts)?;
    let delay = check_release(&request.release)?;
    let ended = state
        .store
        .release(&queue, &receipts, delay, &request.release)
        .await?;
    Ok(Answer(Released {
        released: (receipts.len() - ended.late.len()) as u64,
        late: ended.late,
        durability: ended.durability,
    }))
}

fn check_release(request: &Release) -> Result<Option<Duration>, Error> {
    if let Some(text) = &request.reason {
        reason("reason", text)?;
    }
    request
        .delay_seconds
        .map(|value| seconds("delay_seconds", value, DELAY_LIMIT))
        .transpose()
}

/// Gives a message up: it goes to the dead letters with the reason.
#[utoipa::path(
    post, path = "/queues/{queue}/messages/{receipt}/dead", tag = "queue",
    params(("queue" = String, Path, example = "lab"), ("receipt" = String, Path, example = "1767225600000-0.1")),
    request_body = Reason,
    responses(
        (status = 204, description = "Given up"),
        (status = 409, description = "The receipt came too late", body = ProblemBody),
        (status = 503, description = "Redis is away", body = ProblemBody),
    )
)]
pub async fn dead(
    State(state): State<AppState>,
    delivery: Delivery,
    Json(request): Json<Reason>,
) -> Result<StatusCode, Error> {
    reason("reason", &request.reason)?;
    state
        .store
        .bury(&delivery.queue, &delivery.receipt, &request.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
