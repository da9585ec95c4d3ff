//! Cards and what happens on them: recharges, trips, the money, the users, and the city's stations.
//!
//! Every write is one stored function that claims the caller's idempotency key, has its effect and leaves its event in
//! the outbox; afterwards the cache is told what changed, and only then the caller. It knows nothing of tokens: the
//! gateway says who calls.

mod config;
mod error;
mod group;
mod handlers;
mod keys;
mod page;
mod passwords;
mod register;
mod responses;
mod store;
mod values;
mod write;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use kit::{
    Instance, Listeners, Service, Shutdown,
    caching::Invalidator,
    client::Peer,
    committer::{Committer, Limits},
    messaging::Client,
    outbox::Relay,
    postgres::Replica,
    retention::Aged,
    safeguards::Safeguard,
};
use sqlx::PgPool;
use utoipa::OpenApi;

pub use config::Config;
use error::Error;
use group::CardWork;
use passwords::Passwords;
use register::Register;
use store::Store;

/// The longest a call of the cache service may take.
const CACHE_LIMIT: Duration = Duration::from_secs(5);

/// What the handlers share; cheap to clone.
#[derive(Clone)]
pub struct App {
    store: Store,
    cache: Invalidator,
    committer: Committer<CardWork>,
    relay: Arc<OnceLock<Relay>>,
    passwords: Passwords,
    instance: Instance,
    now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
}

impl App {
    #[must_use]
    pub fn new(
        instance: &Instance,
        pool: PgPool,
        cache: Invalidator,
        password_checks: u16,
    ) -> Self {
        let store = Store::new(instance.clone(), pool.clone());
        Self::limited(
            instance,
            store,
            pool,
            cache,
            password_checks,
            Limits::default(),
        )
    }

    /// With other limits on how writes are committed together, over connections to where `lanes` goes.
    fn limited(
        instance: &Instance,
        store: Store,
        lanes: PgPool,
        cache: Invalidator,
        password_checks: u16,
        limits: Limits,
    ) -> Self {
        let relay = Arc::new(OnceLock::new());
        let work = CardWork {
            register: Register::keep(instance, store.clone()),
            cache: cache.clone(),
            relay: relay.clone(),
        };
        Self {
            committer: Committer::new(instance, lanes, limits, work),
            store,
            cache,
            relay,
            passwords: Passwords::new(password_checks),
            instance: instance.clone(),
            now: Arc::new(Utc::now),
        }
    }

    /// Has this relay woken after every commit.
    #[must_use]
    pub fn relay(self, relay: Relay) -> Self {
        let _ = self.relay.set(relay);
        self
    }

    /// Another clock, for the timetable.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    fn wake_relay(&self) {
        if let Some(relay) = self.relay.get() {
            relay.wake();
        }
    }
}

/// The routes, with the paths they have on the public port.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/recharges", post(handlers::recharge::recharge))
        .route("/recharges/{id}", get(handlers::recharge::read))
        .route("/cards/{id}/balance", get(handlers::balance::balance))
        .route("/cards/{id}/history", get(handlers::history::history))
        .route("/users/count", get(handlers::users::count))
        .route("/users/active/count", get(handlers::users::active_count))
        .route("/users/latest", get(handlers::users::latest))
        .route(
            "/users/{id}/recharges",
            get(handlers::user_recharges::user_recharges),
        )
        .route("/trips", post(handlers::board::board))
        .route("/trips/total", get(handlers::trip_totals::total))
        .route(
            "/trips/total/localities",
            get(handlers::trip_totals::by_locality),
        )
        .route(
            "/trips/finance/revenue",
            get(handlers::revenue::total_by_older_name),
        )
        .route("/trips/{id}", get(handlers::trip::trip))
        .route("/trips/{id}/end", post(handlers::end_trip::end_trip))
        .route("/finance/revenue", get(handlers::revenue::total))
        .route(
            "/finance/revenue/localities",
            get(handlers::revenue::by_locality),
        )
        .route("/stations", get(handlers::stations::stations))
        .route("/stations/{id}/arrivals", get(handlers::arrivals::arrivals))
        .route("/internal/login", post(handlers::login::login))
        .fallback(|| async { Error::PathNotFound })
        .with_state(app)
}

/// Serves until the shutdown.
pub async fn run(
    listeners: Listeners,
    config: Config,
    shutdown: Shutdown,
) -> Result<(), kit::Error> {
    let service = Service::new("travel", &config.common, shutdown.clone())?
        .safeguards(&[Safeguard::Claim, Safeguard::SingleCall]);
    let instance = service.instance();
    let pool = kit::postgres::connect(instance, &config.database)?;
    let direct = kit::postgres::direct(instance, &config.database, &pool)?;
    let mut store = Store::new(instance.clone(), pool.clone());
    if let Some(url) = &config.database_replica_url {
        let connections = config.database.database_connections;
        store = store.reading_from(Replica::connect(instance, url, connections)?);
    }
    kit::vitals::postgres(instance, &pool);
    let cache = Peer::new(
        "cache",
        instance.discover(config.cache).await,
        CACHE_LIMIT,
        instance.tiers(),
    )?;
    let queue = Client::connect(instance.discover(config.queue).await, instance.tiers())?;
    let cache = Invalidator::new(cache);
    instance.spawn(cache.clone().settle(shutdown));
    let relay = Relay::new(instance, direct.clone(), "travel", queue);
    kit::retention::keep(instance, &pool, "travel", config.retention);
    kit::retention::keep_also(
        instance,
        &pool,
        Aged {
            name: "travel.cached_keys",
            column: "registered_at",
            age: register::KEPT,
            metric: "recarga_retention_cached_keys",
            help: "Registrations this instance deleted because no cache can hold their keys any more",
        },
    );
    let limits = Limits {
        lanes: config.commit_lanes,
        group: usize::from(config.commit_group),
        waiting: usize::from(config.commit_waiting),
        ..Limits::default()
    };
    let checks = config.password_checks;
    let app = App::limited(instance, store, direct, cache, checks, limits).relay(relay);
    service.public(router(app)).run(listeners).await
}

/// The public calls this service answers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    ApiDoc::openapi()
}

#[derive(OpenApi)]
#[openapi(
    paths(
        handlers::recharge::recharge,
        handlers::recharge::read,
        handlers::balance::balance,
        handlers::history::history,
        handlers::users::count,
        handlers::users::active_count,
        handlers::users::latest,
        handlers::user_recharges::user_recharges,
        handlers::board::board,
        handlers::trip_totals::total,
        handlers::trip_totals::by_locality,
        handlers::trip::trip,
        handlers::end_trip::end_trip,
        handlers::revenue::total,
        handlers::revenue::total_by_older_name,
        handlers::revenue::by_locality,
        handlers::stations::stations,
        handlers::arrivals::arrivals,
    ),
    components(schemas(kit::problem::ProblemBody)),
    tags(
        (name = "Cards", description = "Balances, recharges and what happened on a card"),
        (name = "Trips", description = "Boarding and alighting"),
        (name = "Users", description = "People; the counts are never cached"),
        (name = "Totals", description = "Sums over everything; slow to make, so they are cached"),
        (name = "Stations", description = "The city's stations and the next vehicles there"),
    )
)]
struct ApiDoc;
