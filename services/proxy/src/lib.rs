//! The forwarding engine that the balancer and the gateway stand on.
//!
//! ```text
//!  discovery ──► Pool ◄── check (GET /health)          policy, health, retry, headers: pure, no I/O, no clock
//!                 │ pick: policy over those that are up
//!  request ──► Forwarder ──► upstream ──► answer        engine, check, body: the sockets
//! ```
//!
//! A service makes one [`Metrics`] (it registers the families), one [`Pool`] per role behind it, and one [`Forwarder`] per pool:
//!
//! ```no_run
//! # use proxy::*;
//! # async fn serve(instance: kit::Instance, travel: kit::discovery::Source, shutdown: kit::Shutdown,
//! #     context: kit::RequestContext, request: axum::extract::Request) -> Result<axum::response::Response, kit::Problem> {
//! let metrics = instance.metrics().register(Metrics::register);
//! let pool = Pool::new(PoolSettings::new("travel"), &metrics);
//! let endpoints = travel.watch(shutdown.clone()).await;
//! instance.spawn(pool.clone().run(endpoints, shutdown.token()));
//! let forwarder = Forwarder::new(pool, ForwarderSettings::new(instance.name()));
//!
//! let options = ForwardOptions { deadline: context.deadline, client: None, forwarded: Forwarded::Append };
//! let response = forwarder.forward(request, options).await?;
//! Ok(response.map(axum::body::Body::new))
//! # }
//! ```
//!
//! What it does to a request: hop-by-hop headers go, `X-Forwarded-For`, `-Proto` and `-Host` come, `Host` becomes the upstream's,
//! `x-recarga-deadline-ms` says what is left of the time. It does *not* remove `x-recarga-*` from requests: the edge calls
//! [`headers::strip_internal`]; the gateway calls [`headers::strip_claims`] and then sets what it has verified. Answers lose theirs here.
//!
//! What it repeats: see [`retry`]. A request that was never sent may go to up to three instances; one that was sent, only when it is safe
//! and its body is at hand (empty, or of known length up to 64 KiB), once, and only if no hop in front is repeating it already.
//! A refused connection takes the upstream out at once; its next passed check brings it back.

pub mod admin;
pub mod admission;
pub mod body;
pub mod breaker;
pub mod budget;
pub mod chance;
pub mod check;
pub mod edge;
mod engine;
mod error;
pub mod explain;
pub mod gate;
mod gauges;
pub mod hash;
pub mod headers;
pub mod health;
mod host;
pub mod http1;
pub mod latency;
mod lease;
pub mod limit;
mod metrics;
pub mod outlier;
pub mod policy;
mod pool;
pub mod retry;
mod roster;
pub mod samples;
mod selection;
pub mod settings;
pub mod slow_start;
mod snapshot;
pub mod sticky;
mod upstream;

pub use admission::{
    Admission, AdmissionSettings, AdmissionSnapshot, Outcome, Priority, Shed, ShedReason, Ticket,
};
pub use body::{BoxError, ResponseBody};
pub use breaker::BreakerState;
pub use check::CheckSettings;
pub use engine::{ForwardOptions, Forwarder, ForwarderSettings, Served};
pub use error::ForwardError;
pub use headers::Forwarded;
pub use health::{State, Thresholds};
pub use lease::Lease;
pub use metrics::{FailureReason, Metrics};
pub use policy::PolicyKind;
pub use pool::{Pool, PoolSettings};
pub use selection::{HashOn, Selection, Unavailable};
pub use settings::{Balancing, Invalid};
pub use snapshot::{Failures, PoolSnapshot, UpstreamSnapshot};
pub use sticky::STICKY_COOKIE;
