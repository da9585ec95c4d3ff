//! The one front door: picks a gateway for every request, keeps what is internal inside, and serves the web page and the API pages.
//!
//! It decides who answers (see `proxy`), never what the answer is: it knows no route of the services, no token and no store.

mod api;
mod config;
mod cors;
mod description;
mod documents;
mod door;
mod examples;
mod front;
mod health;
mod host;
mod metrics;
mod page;
mod routes;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, handler::Handler, middleware, routing::get};
use kit::{Listeners, Service, Shutdown, safeguards::Safeguard};
use proxy::{
    Forwarder, ForwarderSettings, Metrics, Pool, PoolSettings,
    edge::{self, Edge, EdgeMetrics},
    samples::{self, Samples},
};

pub use api::openapi;
pub use config::Config;

/// Serves until the shutdown. `document` describes every public call, those of the services included; `/docs`, `/redoc` and
/// `/openapi.json` show it, and metrics name routes by its paths.
pub async fn run(
    listeners: Listeners,
    config: Config,
    document: utoipa::openapi::OpenApi,
    shutdown: Shutdown,
) -> Result<(), kit::Error> {
    let service = Service::new("balancer", &config.common, shutdown.clone())?
        .safeguards(&[Safeguard::Shedding, Safeguard::RetryBudget]);
    service.recorder().time_routes();
    let instance = service.instance().clone();

    let metrics = instance.metrics().register(Metrics::register);
    let settings = PoolSettings {
        thresholds: config.thresholds(),
        check: config.check(),
        balancing: config.balancing()?,
        ..PoolSettings::among("gateway", instance.tiers())?
    };
    let pool = Pool::new(settings, &metrics);
    let endpoints = instance.discover(config.gateways.clone()).await;
    instance.spawn(pool.clone().run(endpoints, shutdown.token()));
    host::watch(&instance, shutdown);

    let recorder = Arc::clone(service.recorder());
    let samples = Samples::new(config.samples(), Instant::now());
    let routes = routes::Routes::new(document.paths.paths.keys(), &recorder);
    let front = front::Front {
        forwarder: Forwarder::new(
            pool.clone(),
            ForwarderSettings {
                http2: config.upstream_http2,
                ..ForwarderSettings::new(instance.name())
            },
        ),
        routes: routes.clone(),
        samples: samples.clone(),
        timeout: config.forward_timeout(),
        body_limit: config.body_limit_bytes,
    };
    let state = health::Health {
        instance: instance.clone(),
        pool: pool.clone(),
    };
    let cors = cors::Cors::new(&config.cors_origins);
    let public = Router::new()
        .route("/", get(page::index))
        .route("/health", get(health::health))
        .with_state(state)
        .route(
            "/metrics",
            get(metrics::metrics).with_state(instance.clone()),
        )
        .route("/assets/{*path}", get(page::asset))
        .merge(documents::router(&document)?)
        .fallback_service(front::forward.with_state(front))
        .layer(middleware::from_fn_with_state(
            cors.clone(),
            cors::answer_preflight,
        ));
    let admin_open = proxy::admin::open(vec![pool.clone()]).merge(samples::router(samples.clone()));
    let admin_operator = proxy::admin::operator(vec![pool.clone()]);
    let mut settings = config.edge();
    if let Some(certificates) = config.certificates()? {
        settings.tls = Some(certificates.server()?);
        instance.spawn(certificates.follow(instance.clone()));
    }
    let metrics = instance.metrics().register(EdgeMetrics::register);
    let hooks = door::Door {
        routes,
        cors: cors.clone(),
        // The front door itself speaks HTTP/1.1 to upstreams; the router's forwarder speaks both.
        by_router: config.upstream_http2,
    };
    let serve = move |front: kit::Front| {
        let edge = Edge {
            instance,
            recorder,
            pool,
            settings,
            metrics,
            samples,
            hooks,
            router: front.router,
        };
        edge::serve(edge, front.listener, front.stop, front.deadline)
    };

    service
        .own_health()
        .server(serve)
        .public(public)
        .outermost(move |router| router.layer(middleware::from_fn_with_state(cors, cors::mark)))
        .admin_open(admin_open)
        .admin_operator(admin_operator)
        .body_limit(config.body_limit_bytes)
        // A little longer than the wait for a gateway, so that a slow one is named as such.
        .request_limit(config.forward_timeout() + Duration::from_secs(1))
        .run(listeners)
        .await
}
