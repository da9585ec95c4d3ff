//! How slow the classics are, and how many are done at a time: a lever for the operator, live.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json as Answer, Router, extract::State, routing::get};
use kit::{Instance, Problem, extract::Json};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::capacity::{Capacity, MOST};

/// The longest delay: a minute.
pub const LIMIT_MS: u64 = 60_000;

/// Both delays and the places of work, shared by all requests.
#[derive(Clone, Debug)]
pub struct Delays(Arc<(AtomicU64, AtomicU64)>, Capacity);

/// `PUT /admin/delays`: what is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    data_ms: Option<u64>,
    process_ms: Option<u64>,
    /// How many are worked on at a time; 0 for any number.
    process_places: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Now {
    data_ms: u64,
    process_ms: u64,
    process_places: u64,
}

/// What is in force now, and what was before.
#[derive(Debug, Serialize)]
struct Changed {
    #[serde(flatten)]
    now: Now,
    previous: Now,
}

impl Delays {
    #[must_use]
    pub fn new(data_ms: u64, process_ms: u64, capacity: Capacity) -> Self {
        Self(Arc::new((data_ms.into(), process_ms.into())), capacity)
    }

    #[must_use]
    pub fn capacity(&self) -> &Capacity {
        &self.1
    }

    #[must_use]
    pub fn data(&self) -> Duration {
        Duration::from_millis(self.0.0.load(Ordering::Relaxed))
    }

    #[must_use]
    pub fn process(&self) -> Duration {
        Duration::from_millis(self.0.1.load(Ordering::Relaxed))
    }

    fn now(&self) -> Now {
        Now {
            data_ms: self.0.0.load(Ordering::Relaxed),
            process_ms: self.0.1.load(Ordering::Relaxed),
            process_places: self.1.places(),
        }
    }

    /// Has `/admin/info` tell what is in force.
    pub fn tell(&self, instance: &Instance) {
        let delays = self.clone();
        instance.tell_lever("delays", move || json!(delays.now()));
    }

    /// The lever, for the operator's part of the admin surface.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/admin/delays", get(show).put(change))
            .with_state(self.clone())
    }
}

async fn show(State(delays): State<Delays>) -> Answer<Now> {
    Answer(delays.now())
}

async fn change(
    State(delays): State<Delays>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<Changed>, Problem> {
    let changes = [
        ("data_ms", wanted.data_ms, &delays.0.0),
        ("process_ms", wanted.process_ms, &delays.0.1),
    ];
    // All are looked at before any is set.
    for (field, value, _) in changes {
        if value.is_some_and(|value| value > LIMIT_MS) {
            return Err(Problem::invalid(field, format!("must be 0 to {LIMIT_MS}")));
        }
    }
    if wanted.process_places.is_some_and(|places| places > MOST) {
        let reason = format!("must be 0 to {MOST}");
        return Err(Problem::invalid("process_places", reason));
    }
    let previous = delays.now();
    if let Some(places) = wanted.process_places {
        delays.1.set(places);
        tracing::info!(places, "the places of work were changed");
    }
    for (field, value, delay) in changes {
        if let Some(value) = value {
            delay.store(value, Ordering::Relaxed);
            tracing::info!(delay = field, milliseconds = value, "a delay was changed");
        }
    }
    Ok(Answer(Changed {
        now: delays.now(),
        previous,
    }))
}
