//! What an operator may change while the worker runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use axum::{Json as Answer, Router, extract::State, routing::get};
use kit::{Instance, Problem, extract::Json};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::TASK_SECONDS_LIMIT;

/// How long a task takes, in milliseconds; cheap to clone.
#[derive(Clone, Debug)]
pub struct Settings(Arc<AtomicU64>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    task_seconds: f64,
}

/// What is in force now, and what was before.
#[derive(Debug, Serialize)]
struct Changed {
    task_seconds: f64,
    previous: Values,
}

impl Settings {
    #[must_use]
    pub fn new(task_seconds: f64) -> Self {
        Self(Arc::new(AtomicU64::new((task_seconds * 1000.0) as u64)))
    }

    #[must_use]
    pub fn task_time(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Has `/admin/info` tell what is in force.
    pub fn tell(&self, instance: &Instance) {
        let settings = self.clone();
        instance.tell_lever("task_seconds", move || {
            json!(settings.task_time().as_secs_f64())
        });
    }

    /// `GET` and `PUT /admin/settings`, for the operator's part of the admin surface.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/admin/settings", get(show).put(change))
            .with_state(self.clone())
    }
}

async fn show(State(settings): State<Settings>) -> Answer<Values> {
    Answer(Values {
        task_seconds: settings.task_time().as_secs_f64(),
    })
}

async fn change(
    State(settings): State<Settings>,
    Json(values): Json<Values>,
) -> Result<Answer<Changed>, Problem> {
    if !(0.0..=TASK_SECONDS_LIMIT).contains(&values.task_seconds) {
        return Err(Problem::invalid(
            "task_seconds",
            format!("must be 0 to {TASK_SECONDS_LIMIT}"),
        ));
    }
    let previous = settings.task_time();
    let milliseconds = (values.task_seconds * 1000.0) as u64;
    settings.0.store(milliseconds, Ordering::Relaxed);
    tracing::info!(
        task_seconds = values.task_seconds,
        "the tasks' length was changed"
    );
    Ok(Answer(Changed {
        task_seconds: settings.task_time().as_secs_f64(),
        previous: Values {
            task_seconds: previous.as_secs_f64(),
        },
    }))
}
