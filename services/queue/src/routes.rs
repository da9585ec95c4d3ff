//! The calls of the queue service.

mod dead;
mod naive;
mod queues;
mod receipts;
mod receive;
mod send;

use std::time::Duration;

use axum::{
    Router,
    routing::{delete, get, post},
};
use utoipa::OpenApi;

use crate::{AppState, Error};

pub use queues::{QueueFigures, Queues};

/// The longest delay and the longest visibility make sense of times far away, and keep them printable.
const DELAY_LIMIT: f64 = 100.0 * 366.0 * 86_400.0;
const VISIBILITY_LIMIT: f64 = 12.0 * 3_600.0;
/// The longest reason that is kept, in characters.
const REASON_LIMIT: usize = 1_000;

/// All public calls.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/enqueue", post(naive::enqueue))
        .route("/dequeue", get(naive::dequeue))
        .route("/queues", get(queues::list))
        .route(
            "/queues/{queue}",
            get(queues::one).put(queues::configure).delete(queues::drop),
        )
        .route(
            "/queues/{queue}/messages",
            post(send::send).get(receive::receive).delete(queues::purge),
        )
        .route("/queues/{queue}/pause", post(queues::pause))
        .route("/queues/{queue}/resume", post(queues::resume))
        .route(
            "/queues/{queue}/acknowledge",
            post(receipts::acknowledge_batch),
        )
        .route("/queues/{queue}/release", post(receipts::release_batch))
        .route(
            "/queues/{queue}/messages/{receipt}",
            delete(receipts::acknowledge),
        )
        .route(
            "/queues/{queue}/messages/{receipt}/extend",
            post(receipts::extend),
        )
        .route(
            "/queues/{queue}/messages/{receipt}/release",
            post(receipts::release),
        )
        .route(
            "/queues/{queue}/messages/{receipt}/dead",
            post(receipts::dead),
        )
        .route("/queues/{queue}/dead", get(dead::list).delete(dead::purge))
        .route("/queues/{queue}/dead/redrive", post(dead::redrive))
        .merge(kit::description::router(&openapi()))
        .fallback(async || kit::Problem::not_found("The queue service has no such path"))
        .with_state(state)
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Recarga: the queue", description = "At-least-once queues: durable or fast by choice, delays, order per key, visibility, fenced receipts, dead letters."),
    paths(
        naive::enqueue,
        naive::dequeue,
        queues::list,
        queues::one,
        queues::configure,
        queues::pause,
        queues::resume,
        queues::purge,
        queues::drop,
        send::send,
        receive::receive,
        receipts::acknowledge,
        receipts::acknowledge_batch,
        receipts::extend,
        receipts::release,
        receipts::release_batch,
        receipts::dead,
        dead::list,
        dead::purge,
        dead::redrive,
    ),
    components(schemas(kit::problem::ProblemBody)),
    tags((name = "queue", description = "At-least-once queues (port 5006, loopback only)"))
)]
struct Documentation;

/// The description of the calls, which the service serves itself.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}

/// Seconds from a call as a duration, in whole milliseconds.
fn seconds(field: &str, value: f64, limit: f64) -> Result<Duration, Error> {
    if (0.0..=limit).contains(&value) {
        Ok(Duration::from_millis((value * 1000.0).round() as u64))
    } else {
        Err(Error::invalid(
            field,
            format!("must be from 0 to {limit} seconds"),
        ))
    }
}

fn reason(field: &str, text: &str) -> Result<(), Error> {
    if (1..=REASON_LIMIT).contains(&text.chars().count()) {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            format!("must have 1 to {REASON_LIMIT} characters"),
        ))
    }
}
