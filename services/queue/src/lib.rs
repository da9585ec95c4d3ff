//! At-least-once queues over Redis Streams: delays, visibility, fenced receipts, dead letters; no state in the process.

mod combiner;
mod config;
mod disk;
mod error;
mod name;
mod rates;
mod routes;
mod state;
mod store;
mod wakers;

pub use config::Config;
pub use error::Error;
pub use name::QueueName;
pub use routes::{QueueFigures, Queues, openapi, router};
pub use state::AppState;
pub use store::Settings;

/// The largest request: a batch of large messages.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// What a topology calls the Redis that holds the queues; readiness and metrics call it the same.
const STORE: &str = "queue";

/// Connections to Redis that all calls share.
const CONNECTIONS: usize = 8;

/// Serves queues until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("queue", &config.common, shutdown)
        .safeguards(&[kit::safeguards::Safeguard::Fencing])
        .body_limit(BODY_LIMIT);
    let instance = service.instance().clone();
    let connections = kit::redis::connect_many(&instance, &config.redis, STORE, CONNECTIONS)?;
    kit::vitals::redis(&instance, &config.redis, STORE)?;
    let client = kit::redis::client(&config.redis)?;
    let disk = disk::Disk::start(&instance, client.clone(), config.durability, async || {
        store::durable_queue(&client).await
    })
    .await?;
    let store = store::Store::new(&instance, connections, disk, (&config).into());
    let wakers = wakers::Wakers::default();
    wakers.listen(&instance, client.clone());
    let rates = rates::refresh(&instance, store.clone());
    let state = AppState {
        instance,
        store,
        wakers,
        rates,
    };
    service.public(router(state)).run(listeners).await
}
