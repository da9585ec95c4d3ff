//! At-least-once queues over Redis Streams: delays, visibility, fenced receipts, dead letters; no state in the process.

mod combiner;
mod config;
mod disk;
mod error;
mod name;
mod rates;
mod routes;
mod session;
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

/// Serves queues until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("queue", &config.common, shutdown)?
        .safeguards(&[kit::safeguards::Safeguard::Fencing])
        .body_limit(BODY_LIMIT);
    let instance = service.instance().clone();
    let servers = kit::redis::servers(&config.redis, kit::messaging::TAG)?;
    kit::vitals::redis(&instance, &servers, STORE);
    let promised = disk::Promised {
        default: config.durability,
        replicas: config.replicas,
    };
    let disk = disk::Disk::start(&instance, servers.clone(), promised, async |connection| {
        store::durable_queue(&servers, connection).await
    })
    .await?;
    let store = store::Store::new(servers.clone(), disk, (&config).into());
    let wakers = wakers::Wakers::default();
    wakers.listen(&instance, servers);
    let rates = rates::refresh(&instance, store.clone());
    let state = AppState {
        instance,
        store,
        wakers,
        rates,
    };
    service.public(router(state)).run(listeners).await
}
