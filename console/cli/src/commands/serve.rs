//! `recarga serve ROLE`: one service in the foreground, which is what the lab and containers run.

use anyhow::Result;
use clap::Subcommand;
use kit::{Common, Listeners, Shutdown, telemetry, tls::Tiers};

use crate::{documents, exit};

/// The services, each with its own settings.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// The front door: picks a gateway for each request.
    Balancer(Box<balancer::Config>),
    /// Authentication, routing, limits, and the response cache.
    Gateway(Box<gateway::Config>),
    /// Cards, recharges, trips, finance, users, stations.
    Travel(Box<travel::Config>),
    /// Tutors by subject.
    Search(Box<search::Config>),
    /// Sessions with tutors.
    Booking(Box<booking::Config>),
    /// The classic slow read and piece of business logic.
    Exercise(Box<exercise::Config>),
    /// Long tasks off the queue, and their status.
    Worker(Box<worker::Config>),
    /// Takes bookings off the queue and notifies, once each.
    Notification(Box<notification::Config>),
    /// Values with a time to live, leases, statistics.
    Cache(Box<cache::Config>),
    /// At-least-once queues.
    Queue(Box<queue::Config>),
}

/// Serves until a signal or the end of the supervisor.
pub async fn run(service: Service) -> Result<u8> {
    // One arm per service: only the types differ.
    macro_rules! serve {
        ($role:literal, $config:ident, $run:expr) => {{
            let (_telemetry, listeners, shutdown) = prepare($role, &$config.common).await?;
            $run(listeners, *$config, shutdown).await?;
        }};
    }
    match service {
        Service::Balancer(config) => serve!("balancer", config, |listeners, config, shutdown| {
            balancer::run(listeners, config, documents::merged(), shutdown)
        }),
        Service::Gateway(config) => serve!("gateway", config, gateway::run),
        Service::Travel(config) => serve!("travel", config, travel::run),
        Service::Search(config) => serve!("search", config, search::run),
        Service::Booking(config) => serve!("booking", config, booking::run),
        Service::Exercise(config) => serve!("exercise", config, exercise::run),
        Service::Worker(config) => serve!("worker", config, worker::run),
        Service::Notification(config) => serve!("notification", config, notification::run),
        Service::Cache(config) => serve!("cache", config, cache::run),
        Service::Queue(config) => serve!("queue", config, queue::run),
    }
    Ok(exit::SUCCESS)
}

/// What every service needs before it runs, in the order in which a wrong setting is told.
async fn prepare(role: &str, common: &Common) -> Result<(telemetry::Guard, Listeners, Shutdown)> {
    // The service reads both again, with its ports bound already.
    common.traces.settings()?;
    Tiers::load(&common.mtls)?;
    let listeners = Listeners::bind(common).await?;
    let telemetry = telemetry::init(role, common)?;
    let shutdown = Shutdown::on_signals()?;
    Ok((telemetry, listeners, shutdown))
}
