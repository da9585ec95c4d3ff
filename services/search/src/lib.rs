//! Finds tutors by subject.

mod config;
mod tutors;

use axum::{Router, routing::get};
use kit::{Instance, Listeners, Problem, Service, Shutdown};
use sqlx::PgPool;
use utoipa::OpenApi;

pub use config::Config;
pub use tutors::{Found, Tutor};

/// What the handlers share; cheap to clone.
#[derive(Clone)]
pub struct App {
    instance: Instance,
    pool: PgPool,
}

impl App {
    #[must_use]
    pub fn new(instance: &Instance, pool: PgPool) -> Self {
        Self {
            instance: instance.clone(),
            pool,
        }
    }
}

/// The routes, with the paths they have on the public port.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/search", get(tutors::search))
        .fallback(|| async { Problem::not_found("No such path") })
        .with_state(app)
}

/// Serves until the shutdown.
pub async fn run(
    listeners: Listeners,
    config: Config,
    shutdown: Shutdown,
) -> Result<(), kit::Error> {
    let service = Service::new("search", &config.common, shutdown)?;
    let pool = kit::postgres::connect(service.instance(), &config.database)?;
    let app = App::new(service.instance(), pool);
    service.public(router(app)).run(listeners).await
}

/// The public calls this service answers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    ApiDoc::openapi()
}

#[derive(OpenApi)]
#[openapi(
    paths(tutors::search),
    components(schemas(kit::problem::ProblemBody)),
    tags((name = "Tutors", description = "Who teaches what"))
)]
struct ApiDoc;
