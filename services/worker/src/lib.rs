//! Long tasks: accepted at once, announced through an outbox, worked on off the queue, each completed once.

mod config;
mod consumer;
mod dead;
mod error;
mod handlers;
mod settings;
mod store;

use std::time::Duration;

use axum::{
    Router,
    routing::{get, post},
};
use kit::{
    messaging::{Client, Gate, Intake},
    outbox::Relay,
};
use utoipa::OpenApi;

pub use config::Config;
pub use error::Error;
pub use handlers::{status::Task, submit::Started, tasks::Tasks};
pub use store::Store;

/// The queue that tasks go through.
const QUEUE: &str = "tasks";

/// What the handlers share.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub relay: Relay,
}

/// All calls of the worker's own port.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/task", post(handlers::submit::submit))
        .route("/task/{id}", get(handlers::status::status))
        .route("/tasks/{id}", get(handlers::status::status))
        .route("/tasks", get(handlers::tasks::tasks))
        .fallback(async || kit::Problem::not_found("The worker has no such path"))
        .with_state(state)
}

/// Takes tasks and works on them until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("worker", &config.common, shutdown)?;
    let instance = service.instance().clone();
    let pool = kit::postgres::connect(&instance, &config.database)?;
    let direct = kit::postgres::direct(&instance, &config.database, &pool)?;
    let store = Store::new(&instance, pool.clone());
    let queue = Client::connect(instance.discover(config.queue).await, instance.tiers())?;
    let gate = Gate::default();
    let settings = settings::Settings::new(config.task_seconds);
    gate.tell(&instance);
    settings.tell(&instance);
    let visibility = Duration::from_secs_f64(config.visibility_seconds);
    let intake = Intake::new(
        instance.clone(),
        queue.clone(),
        QUEUE,
        visibility,
        gate.clone(),
    );
    let consumer = consumer::Consumer::new(
        &instance,
        store.clone(),
        queue.clone(),
        settings.clone(),
        consumer::Limits {
            concurrency: config.concurrency.into(),
            attempts: config.attempts,
            visibility,
            finish: Duration::from_secs_f64(config.finish_seconds),
        },
    );
    instance.spawn(consumer.run(intake));
    instance.spawn(dead::follow(instance.clone(), queue.clone(), store.clone()));
    kit::retention::keep(&instance, &pool, "worker", config.retention);
    let state = AppState {
        store,
        relay: Relay::new(&instance, direct, "worker", queue),
    };
    service
        .public(router(state))
        .admin_operator(gate.router().merge(settings.router()))
        .run(listeners)
        .await
}

#[derive(OpenApi)]
#[openapi(
    paths(handlers::submit::submit, handlers::status::status),
    components(schemas(kit::problem::ProblemBody)),
    tags((name = "Tasks", description = "Long tasks, off the queue"))
)]
struct Documentation;

/// The description of the calls that are public, under their public paths.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}
