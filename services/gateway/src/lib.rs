//! Lets requests in: who calls, which service answers, and what need not be asked again.
//!
//! It decides by a table of routes and knows no more of the services than their paths. It writes nothing to any store.

mod address;
mod admin;
mod auth;
mod bounded;
mod builtin;
mod cache;
mod config;
pub mod document;
mod file;
mod first_level;
mod flaw;
mod flight;
mod gate;
mod gcra;
mod limit;
mod login;
mod matching;
mod metrics;
mod pattern;
mod read;
mod rule;
mod running;
mod shape;
mod shared;
mod table;
mod token;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use chrono::Utc;
use http::HeaderValue;
use kit::{
    Error, Instance, Listeners, RedisArgs, Service, Shutdown, caching::first_level::TAG,
    discovery::Source, safeguards::Safeguard,
};
use proxy::{Forwarder, ForwarderSettings, Pool, PoolSettings};
use utoipa::OpenApi;

pub use admin::CacheSwitch;
pub use builtin::routes;
pub use config::{AuthMode, Config};
pub use flaw::{Flaw, Flaws};
pub use read::ReadArgs;
pub use table::{CacheInfo, Level, LimitBy, LimitInfo, Period, RouteInfo, Shape, Upstream};

use crate::{
    cache::Cache,
    first_level::FirstLevel,
    gate::Gate,
    limit::{Limits, LoginLimits},
    matching::Table,
    metrics::{Metrics, RouteMetrics},
    read::Reads,
    running::{Origin, Running},
    shared::Shared,
    token::Tokens,
};

/// How often callers that have rested and tokens that have expired are forgotten.
const TIDY: Duration = Duration::from_mins(1);

/// Serves until the shutdown.
pub async fn run(listeners: Listeners, config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let service = Service::new("gateway", &config.common, shutdown.clone())?.safeguards(&[
        Safeguard::Leases,
        Safeguard::Shedding,
        Safeguard::RetryBudget,
    ]);
    service.recorder().time_routes();
    let instance = service.instance().clone();
    let running = first_routes(&instance, &config).await?;
    let name = HeaderValue::from_str(instance.name())
        .map_err(|error| Error::config("RECARGA_INSTANCE (--instance)", error))?;
    if !shape::is_plain_id(instance.id()) {
        return Err(Error::config(
            "RECARGA_INSTANCE (--instance)",
            "after the last dash there must be letters and digits",
        ));
    }
    let pool_metrics = instance.metrics().register(proxy::Metrics::register);
    let mut pools = HashMap::new();
    for upstream in Upstream::POOLS {
        let forwarder = forwarder(
            &instance,
            upstream.name(),
            config.source(upstream),
            &pool_metrics,
        );
        pools.insert(upstream, forwarder.await?);
    }
    let cache = forwarder(&instance, "cache", config.cache.clone(), &pool_metrics).await?;
    let shared = shared(&instance, &config).await?;
    let metrics = instance.metrics().register(Metrics::register);
    let first_level = first_level(&instance, &config, &metrics)?;
    let gate = Arc::new(Gate {
        running,
        routes_file: config.routes,
        mode: config.auth,
        tokens: Tokens::new(&config.signing_key),
        limits: Limits::new(config.limit_callers as usize, shared),
        logins: LoginLimits::new(config.logins_per_user, config.logins_per_address),
        pools,
        cache: Cache::new(cache),
        cache_enabled: AtomicBool::new(true),
        reads: Reads::new(&config.reads, first_level),
        metrics,
        name,
        instance: instance.clone(),
    });
    // Weak, for the gate holds the instance.
    let told = Arc::downgrade(&gate);
    instance.tell_lever("cache_enabled", move || {
        let enabled = |gate: Arc<Gate>| gate.cache_enabled.load(Ordering::Relaxed);
        told.upgrade().map(enabled).into()
    });
    instance.spawn(tidy(gate.clone(), shutdown));
    service
        .public(
            Router::new()
                .fallback(gate::handle)
                .with_state(gate.clone()),
        )
        .admin_open(admin::open(gate.clone()))
        .admin_operator(admin::operator(gate))
        .run(listeners)
        .await
}

/// The calls that the gateway answers itself.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    login::Documentation::openapi()
}

/// The routes to begin with: the built-in ones, or those of a file, which is then followed.
async fn first_routes(instance: &Instance, config: &Config) -> Result<Arc<Running>, Error> {
    let metrics = instance.metrics().register(RouteMetrics::register);
    let now = Utc::now();
    let Some(path) = config.routes.clone() else {
        let routes = routes();
        let table = Table::compile(&routes).map_err(Error::other)?;
        let running = Running::new(routes, table, Origin::BuiltIn, now, metrics);
        return Ok(Arc::new(running));
    };
    let (text, routes, table) = file::load(&path).await.map_err(|flaws| {
        Error::config(
            "RECARGA_ROUTES (--routes)",
            format!("{}: {flaws}", path.display()),
        )
    })?;
    let running = Arc::new(Running::new(routes, table, Origin::File, now, metrics));
    let shutdown = instance.shutdown().clone();
    instance.spawn(file::follow(running.clone(), path, text, shutdown));
    Ok(running)
}

/// The way to the count of all gateways. It is tried before the first request comes; without Redis we begin all the same.
async fn shared(instance: &Instance, config: &Config) -> Result<Option<Shared>, Error> {
    let Some(redis_url) = config.redis_url.clone() else {
        return Ok(None);
    };
    let servers = kit::redis::servers(&RedisArgs { redis_url }, TAG)?;
    let patience = Duration::from_millis(u64::from(config.limit_patience_ms));
    let degraded = instance.metrics().register(metrics::limiter_degraded);
    let shared = Shared::new(servers, patience, degraded);
    shared.open().await;
    instance.spawn(shared.clone().keep(instance.shutdown().clone()));
    Ok(Some(shared))
}

async fn forwarder(
    instance: &Instance,
    name: &str,
    source: Source,
    metrics: &proxy::Metrics,
) -> Result<Forwarder, Error> {
    let settings = PoolSettings::among(name, instance.tiers())?;
    let pool = Pool::new(settings, metrics);
    let shutdown = instance.shutdown();
    let endpoints = instance.discover(source).await;
    instance.spawn(pool.clone().run(endpoints, shutdown.token()));
    let settings = ForwarderSettings::new(instance.name());
    Ok(Forwarder::new(pool, settings))
}

/// The copies that this gateway keeps, if it is to keep any.
fn first_level(
    instance: &Instance,
    config: &Config,
    metrics: &Metrics,
) -> Result<Option<Arc<FirstLevel>>, Error> {
    let bytes = config.reads.first_level_bytes;
    let Some(redis_url) = config.redis_url.clone().filter(|_| bytes > 0) else {
        return Ok(None);
    };
    let servers = kit::redis::servers(&RedisArgs { redis_url }, TAG)?;
    let counts = instance.metrics().register(first_level::Metrics::register);
    let level = Arc::new(FirstLevel::new(bytes, counts));
    instance.spawn(first_level::keeper::keep(
        level.clone(),
        servers,
        instance.name().to_owned(),
        metrics.bypasses.clone(),
        instance.shutdown().clone(),
    ));
    Ok(Some(level))
}

async fn tidy(gate: Arc<Gate>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TIDY) => {
                gate.limits.tidy();
                gate.tokens.tidy(Utc::now());
            }
            () = shutdown.requested() => return,
        }
    }
}
