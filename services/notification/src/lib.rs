//! Takes bookings and recharges off their queues and notifies about each once, however often it is delivered.

mod channel;
mod config;
mod consumer;
mod error;
mod event;
mod list;
mod store;

use std::time::Duration;

use axum::{Router, routing::get};
use kit::messaging::{Client, Gate, Intake};
use utoipa::OpenApi;

pub use config::Config;
pub use error::Error;
pub use list::{Notification, Notifications};
pub use store::Store;

/// The queues that are listened to.
const QUEUES: [&str; 2] = ["bookings", "recharges"];

/// The calls of the service's own port.
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/notifications", get(list::list))
        .fallback(async || kit::Problem::not_found("The notification service has no such path"))
        .with_state(store)
}

/// Consumes and serves until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("notification", &config.common, shutdown);
    let instance = service.instance().clone();
    let pool = kit::postgres::connect(&instance, &config.database)?;
    let store = Store::new(&instance, pool);
    let queue = Client::connect(instance.discover(config.queue).await)?;
    let gate = Gate::default();
    let consumer = consumer::Consumer::new(&instance, store.clone());
    for name in QUEUES {
        for _ in 0..config.concurrency {
            let visibility = Duration::from_secs(config.visibility_seconds.into());
            let intake = Intake::new(
                instance.clone(),
                queue.clone(),
                name,
                visibility,
                gate.clone(),
            );
            instance.spawn(consumer.clone().run(intake));
        }
    }
    service
        .public(router(store))
        .admin_operator(gate.router())
        .run(listeners)
        .await
}

#[derive(OpenApi)]
#[openapi(paths(list::list), components(schemas(kit::problem::ProblemBody)))]
struct Documentation;

/// The description of the service's own calls; they are not public.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}
