//! What every service stands on; it knows no service.
//!
//! A service gives [`Service`] a router and its background tasks, and gets a public port with request ids, timings,
//! metrics, faults, limits and graceful shutdown, and an admin port that shows and steers all of it.

mod admin;
pub mod caching;
pub mod client;
pub mod committer;
pub mod config;
pub mod context;
pub mod description;
pub mod discovery;
pub mod extract;
pub mod faults;
pub mod instance;
pub mod lenient;
pub mod lifecycle;
pub mod messaging;
pub mod metrics;
pub mod observe;
pub mod outage;
pub mod outbox;
pub mod postgres;
pub mod problem;
pub mod process;
pub mod record;
pub mod redis;
pub mod retention;
mod route_latency;
pub mod safeguards;
mod server;
pub mod service;
pub mod telemetry;
pub mod testing;
pub mod timing;
pub mod tls;
pub mod topology;
pub mod traces;
pub mod vitals;

pub use config::{Common, DatabaseArgs, RedisArgs};
pub use context::RequestContext;
pub use instance::Instance;
pub use lifecycle::Shutdown;
pub use problem::Problem;
pub use server::Abort;
pub use service::{Error, Front, Listeners, Service};
pub use topology::Topology;

/// The version of this build, as `/admin/info` and `recarga --version` print it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
