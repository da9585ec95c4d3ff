//! Values with a time to live, leases against stampedes, and statistics, over Redis.
//!
//! A reader that finds nothing fresh gets the *lease* to rebuild the value; others wait for it to be filled. Deleting a
//! key voids its leases, so that a reader which asked the source before a write cannot store the old answer after it. A
//! deletion is confirmed when no gateway serves a copy of the value either; how, [`kit::caching::first_level`] says.

#[macro_use]
mod scripts;

mod acknowledgements;
mod causes;
mod config;
mod deletion;
mod envelope;
mod error;
mod fence;
mod keeper;
mod key;
mod link;
mod purge;
mod routes;
mod statistics;
mod store;
mod waiters;

use std::sync::Arc;

use kit::{Error, Listeners, Service, Shutdown, caching::first_level::TAG, safeguards::Safeguard};
use tokio_util::task::AbortOnDropHandle;

pub use config::Config;
pub use routes::openapi;

use crate::{
    causes::Causes, keeper::Keeper, routes::App, statistics::Statistics, store::Store,
    waiters::Waiters,
};

/// Beyond a value's limit, for what is around it in a body.
const BODY_LIMIT: usize = error::VALUE_LIMIT + 64 * 1024;

/// Serves until the shutdown.
pub async fn run(listeners: Listeners, config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let service = Service::new("cache", &config.common, shutdown)?
        .safeguards(&[Safeguard::LeaseVoid, Safeguard::Leases]);
    let instance = service.instance().clone();
    // Not ready before the first purge.
    instance.set_check("redis", false);
    let waiters = Arc::new(Waiters::new(config.waiters_per_key as usize));
    let causes = Arc::new(Causes::default());
    let servers = kit::redis::servers(&config.redis, TAG)?;
    kit::vitals::redis(&instance, &servers, "redis");
    let keeper = Arc::new(Keeper::new(servers, waiters.clone(), causes.clone()));
    let (deletions, deleter) = deletion::deletions(keeper.clone(), waiters.clone());
    let store = Arc::new(Store::new(
        keeper.clone(),
        waiters,
        causes,
        deletions,
        &config,
    ));
    let statistics = Arc::new(instance.metrics().register(Statistics::new));
    // Not among the instance's tasks, which end before the last requests do: these need the link to Redis.
    let _keeper = keeper.start(&instance)?;
    let _deleter = AbortOnDropHandle::new(tokio::spawn(deleter.run()));
    let _sums = AbortOnDropHandle::new(tokio::spawn(statistics.clone().run(store.clone())));
    let app = Arc::new(App {
        store: store.clone(),
        statistics: statistics.clone(),
        instance,
    });
    let served = service
        .body_limit(BODY_LIMIT)
        // A write's promise rests on it: injected faults would break the promise and not the write.
        .faultless(["/invalidate"])
        .public(routes::router(app))
        .run(listeners)
        .await;
    statistics.flush(&store).await;
    served
}
