//! Sessions with tutors, and the outbox that announces them.

mod config;
mod error;
mod handlers;
mod store;

use axum::{
    Router,
    routing::{get, post},
};
use kit::{messaging::Client, outbox::Relay};
use utoipa::OpenApi;

pub use config::Config;
pub use error::Error;
pub use handlers::{book::Booked, read::Booking};
pub use store::Store;

/// What the handlers share.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub relay: Relay,
}

/// All public calls.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/book", post(handlers::book::book))
        .route("/bookings/{id}", get(handlers::read::read))
        .fallback(async || kit::Problem::not_found("The booking service has no such path"))
        .with_state(state)
}

/// Serves bookings until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("booking", &config.common, shutdown)?;
    let instance = service.instance().clone();
    let pool = kit::postgres::connect(&instance, &config.database)?;
    let direct = kit::postgres::direct(&instance, &config.database, &pool)?;
    let queue = Client::connect(instance.discover(config.queue).await, instance.tiers())?;
    kit::retention::keep(&instance, &pool, "tutoring", config.retention);
    let state = AppState {
        relay: Relay::new(&instance, direct, "tutoring", queue),
        store: Store::new(&instance, pool),
    };
    service.public(router(state)).run(listeners).await
}

#[derive(OpenApi)]
#[openapi(
    paths(handlers::book::book, handlers::read::read),
    components(schemas(kit::problem::ProblemBody))
)]
struct Documentation;

/// The description of all public calls.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}
