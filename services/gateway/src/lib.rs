//! Lets requests in: who calls, which service answers, and what need not be asked again.
//!
//! It decides by a table of routes and knows no more of the services than their paths. It writes nothing to any store.

mod admin;
mod auth;
mod cache;
mod config;
mod first_level;
mod flight;
mod gate;
mod limit;
mod login;
mod matching;
mod metrics;
mod read;
mod rule;
mod shape;
mod table;
mod token;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::Router;
use governor::clock::DefaultClock;
use http::HeaderValue;
use kit::{Error, Instance, Listeners, RedisArgs, Service, Shutdown, discovery::Source};
use proxy::{Forwarder, ForwarderSettings, Pool, PoolSettings};
use utoipa::OpenApi;

pub use admin::CacheSwitch;
pub use config::{AuthMode, Config};
pub use matching::InvalidRoute;
pub use read::ReadArgs;
pub use table::{CacheInfo, Level, RouteInfo, Shape, Upstream, routes};

use crate::{
    cache::Cache, first_level::FirstLevel, gate::Gate, limit::LoginLimits, matching::Table,
    metrics::Metrics, read::Reads, token::Tokens,
};

/// How often those who have not tried to log in for long are forgotten.
const TIDY: Duration = Duration::from_mins(1);

/// Serves until the shutdown.
pub async fn run(listeners: Listeners, config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let service = Service::new("gateway", &config.common, shutdown.clone());
    let instance = service.instance().clone();
    let table = Table::compile(&routes()).map_err(Error::other)?;
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
        pools.insert(upstream, forwarder.await);
    }
    let cache = forwarder(&instance, "cache", config.cache.clone(), &pool_metrics).await;
    let metrics = instance.metrics().register(Metrics::register);
    let first_level = first_level(&instance, &config.reads, &metrics)?;
    let number = |value| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
    let gate = Arc::new(Gate {
        table,
        mode: config.auth,
        tokens: Tokens::new(&config.signing_key),
        limits: LoginLimits::new(
            number(config.logins_per_user),
            number(config.logins_per_address),
            DefaultClock::default(),
        ),
        pools,
        cache: Cache::new(cache),
        cache_enabled: AtomicBool::new(true),
        reads: Reads::new(&config.reads, first_level),
        metrics,
        name,
        instance: instance.clone(),
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

async fn forwarder(
    instance: &Instance,
    name: &str,
    source: Source,
    metrics: &proxy::Metrics,
) -> Forwarder {
    let pool = Pool::new(PoolSettings::new(name), metrics);
    let shutdown = instance.shutdown();
    let endpoints = source.watch(shutdown.clone()).await;
    instance.spawn(pool.clone().run(endpoints, shutdown.token()));
    Forwarder::new(pool, ForwarderSettings::new(instance.name()))
}

/// The copies that this gateway keeps, if it is to keep any.
fn first_level(
    instance: &Instance,
    args: &ReadArgs,
    metrics: &Metrics,
) -> Result<Option<Arc<FirstLevel>>, Error> {
    let Some(redis_url) = args
        .redis_url
        .clone()
        .filter(|_| args.first_level_bytes > 0)
    else {
        return Ok(None);
    };
    let client = kit::redis::client(&RedisArgs { redis_url })?;
    let counts = instance.metrics().register(first_level::Metrics::register);
    let level = Arc::new(FirstLevel::new(args.first_level_bytes, counts));
    instance.spawn(first_level::keeper::keep(
        level.clone(),
        client,
        instance.name().to_owned(),
        metrics.bypasses.clone(),
        instance.shutdown().clone(),
    ));
    Ok(Some(level))
}

async fn tidy(gate: Arc<Gate>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TIDY) => gate.limits.tidy(),
            () = shutdown.requested() => return,
        }
    }
}
