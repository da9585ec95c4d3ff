//! The classic slow read and the classic piece of business logic, with delays that an operator sets.

mod capacity;
mod config;
mod delays;
mod error;
mod handlers;

use axum::{Router, routing::get};
use sqlx::PgPool;
use utoipa::OpenApi;

pub use capacity::Capacity;
pub use config::Config;
pub use delays::Delays;
pub use error::Error;
pub use handlers::{data::Data, process::Processed};

/// What the handlers share.
#[derive(Clone)]
pub struct AppState {
    pub instance: kit::Instance,
    pub pool: PgPool,
    pub delays: Delays,
}

/// All public calls.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/data", get(handlers::data::data))
        .route("/process", get(handlers::process::process))
        .fallback(async || kit::Problem::not_found("The exercise service has no such path"))
        .with_state(state)
}

/// Serves until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("exercise", &config.common, shutdown)?
        // A delay of a minute must be seen to its end.
        .request_limit(std::time::Duration::from_secs(90));
    let instance = service.instance().clone();
    let capacity = Capacity::new(config.process_places);
    capacity.register(&instance);
    let delays = Delays::new(config.data_delay_ms, config.process_delay_ms, capacity);
    delays.tell(&instance);
    let state = AppState {
        pool: kit::postgres::connect(&instance, &config.database)?,
        instance,
        delays: delays.clone(),
    };
    service
        .public(router(state))
        .admin_operator(delays.router())
        .run(listeners)
        .await
}

#[derive(OpenApi)]
#[openapi(
    paths(handlers::data::data, handlers::process::process),
    components(schemas(kit::problem::ProblemBody)),
    tags((name = "Exercise", description = "The classics: a slow read and a piece of business logic"))
)]
struct Documentation;

/// The description of all public calls.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}
