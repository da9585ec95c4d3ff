//! Takes bookings and recharges off their queues and notifies about each once, however often it is delivered.

mod channel;
mod config;
mod consumer;
mod dead;
mod error;
mod event;
mod list;
mod outward;
mod store;

use std::time::Duration;

use axum::{Router, routing::get};
use kit::messaging::{Client, Gate, Intake};
use utoipa::OpenApi;

use self::{channel::Channel, consumer::Consumer, outward::Courier};

pub use config::Config;
pub use error::Error;
pub use list::{Delivery, Notification, Notifications, Story};
pub use store::Store;

/// The queues that are listened to.
const QUEUES: [&str; 2] = ["bookings", "recharges"];

/// What the loops do with what they take.
enum Work {
    Log(Consumer),
    Outward(Courier),
}

/// The calls of the service's own port.
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/notifications", get(list::list))
        .route("/notifications/{id}", get(list::one))
        .fallback(async || kit::Problem::not_found("The notification service has no such path"))
        .with_state(store)
}

/// Consumes and serves until the shutdown.
pub async fn run(
    listeners: kit::Listeners,
    config: Config,
    shutdown: kit::Shutdown,
) -> Result<(), kit::Error> {
    let service = kit::Service::new("notification", &config.common, shutdown)?
        .safeguards(&[kit::safeguards::Safeguard::Inbox]);
    let instance = service.instance().clone();
    let pool = kit::postgres::connect(&instance, &config.database)?;
    let store = Store::new(&instance, pool);
    let channel = Channel::new(&config)?;
    let queue = Client::connect(instance.discover(config.queue).await, instance.tiers())?;
    let gate = Gate::default();
    gate.tell(&instance);
    let work = match channel {
        Channel::Log(channel) => Work::Log(Consumer::new(&instance, store.clone(), channel)),
        Channel::Outward(channel) => {
            instance.spawn(dead::follow(instance.clone(), queue.clone(), store.clone()));
            let store = store.clone();
            Work::Outward(Courier::new(&instance, store, channel, config.attempts))
        }
    };
    let visibility = Duration::from_secs(config.visibility_seconds.into());
    for name in QUEUES {
        for _ in 0..config.concurrency {
            let intake = Intake::new(
                instance.clone(),
                queue.clone(),
                name,
                visibility,
                gate.clone(),
            );
            match &work {
                Work::Log(consumer) => instance.spawn(consumer.clone().run(intake)),
                Work::Outward(courier) => instance.spawn(courier.clone().run(intake)),
            }
        }
    }
    service
        .public(router(store))
        .admin_operator(gate.router())
        .run(listeners)
        .await
}

#[derive(OpenApi)]
#[openapi(
    paths(list::list, list::one),
    components(schemas(kit::problem::ProblemBody))
)]
struct Documentation;

/// The description of the service's own calls; they are not public.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Documentation::openapi()
}
