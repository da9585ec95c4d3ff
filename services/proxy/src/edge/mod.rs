//! The front door: an HTTP/1.1 server that forwards to a pool with as little work per request as possible.
//!
//! ```text
//!  accept ──► worker (a thread with a runtime of its own)         http1: bytes in, decisions out
//!               └─ connection: head ─► Hooks::decide ─┬─► exchange ─► relay ─► upstream (idle pool of the worker)
//!                                                     └─► local: the service's own axum router
//! ```
//!
//! A connection lives on one worker from its first byte to its last, and so do the upstream connections it uses: nothing of a
//! request crosses a thread. HTTP/2 and TLS arrive at the same port; HTTP/2 goes to the router (see [`http2`]).

mod accept;
mod body;
mod connection;
mod exchange;
mod facts;
mod http2;
mod io;
mod local;
mod metrics;
mod refuse;
mod relay;
mod reply;
mod timer;
mod trace;
mod tunnel;
mod upstreams;
mod worker;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use ipnet::IpNet;
use kit::{
    Instance,
    record::{Recorder, Route},
};

pub use accept::serve;
pub use metrics::EdgeMetrics;

use crate::{
    Pool,
    http1::{Limits, RequestHead},
    samples::Samples,
};

/// How the front door behaves.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Threads that serve connections.
    pub workers: usize,
    /// Clients' connections at a time; more are turned away with 503.
    pub connections: usize,
    /// What a head may be.
    pub limits: Limits,
    /// From a head's first byte to its last.
    pub head_timeout: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// The longest pause in the middle of a request's body.
    pub body_stall: Duration,
    /// The longest pause in the middle of an answer, whoever causes it.
    pub stall_limit: Duration,
    /// The largest request body, in bytes.
    pub body_limit: u64,
    /// The largest request body, in bytes, that is kept so that it can be sent again.
    pub replay_limit: u64,
    /// Within this the upstream must begin to answer.
    pub forward_timeout: Duration,
    /// The longest a connection to an upstream may take to be made.
    pub connect_timeout: Duration,
    /// Unused connections to upstreams are closed after this; keep it below the upstreams' own limit.
    pub idle_timeout: Duration,
    /// Unused connections kept for each upstream by each worker.
    pub idle_connections: usize,
    /// Peers whose `Forwarded` and `X-Forwarded-*` headers are believed.
    pub trusted: Vec<IpNet>,
    /// Given: the port speaks TLS, with ALPN for HTTP/1.1 and HTTP/2.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4)),
            connections: 20_000,
            // Room for what is added: the upstreams' own limit is a hundred fields.
            limits: Limits {
                fields: 94,
                ..Limits::default()
            },
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_stall: Duration::from_secs(15),
            stall_limit: Duration::from_secs(30),
            body_limit: 1024 * 1024,
            replay_limit: 64 * 1024,
            forward_timeout: Duration::from_secs(29),
            connect_timeout: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(20),
            idle_connections: 2048,
            trusted: Vec::new(),
            tls: None,
        }
    }
}

/// What the front door asks its service about each request.
pub trait Hooks: Send + Sync + 'static {
    /// Who answers; called once for a request, when its head is complete.
    fn decide(&self, head: &RequestHead, bytes: &[u8]) -> Decision;

    /// Adds header lines to an answer that came from an upstream, for a request from the page of `origin`.
    fn decorate(&self, origin: Option<&[u8]>, out: &mut Vec<u8>);
}

/// Who answers a request.
#[derive(Debug)]
pub enum Decision {
    /// An upstream of the pool; the answer is counted for this route.
    Forward(Arc<Route>),
    /// The service's own router.
    Local,
}

/// In the extensions of a request that reaches the router: how it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// From a proxy whose word for the client is taken.
    pub is_trusted: bool,
    /// Over TLS.
    pub is_encrypted: bool,
}

/// Everything the front door stands on.
pub struct Edge<H> {
    pub instance: Instance,
    pub recorder: Arc<Recorder>,
    pub pool: Pool,
    pub settings: EdgeSettings,
    pub metrics: EdgeMetrics,
    pub samples: Samples,
    pub hooks: H,
    /// The service's own routes, with all layers around them; it also takes whatever comes by HTTP/2.
    pub router: Router,
}

impl<H> std::fmt::Debug for Edge<H> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Edge")
            .field("pool", &self.pool.name())
            .finish_non_exhaustive()
    }
}

impl<H> Edge<H> {
    fn trusts(&self, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        self.settings
            .trusted
            .iter()
            .any(|network| network.contains(&address))
    }
}
