//! A pool as operators see it, in JSON.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::health::State;

/// A whole pool at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// The role it balances over, such as `gateway`.
    pub pool: String,
    /// The policy in force, such as `round_robin`.
    pub policy: String,
    /// Requests sent again to another upstream since the start.
    pub retries: u64,
    pub upstreams: Vec<UpstreamSnapshot>,
}

/// One upstream at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamSnapshot {
    /// Its instance name, or its address until the name is known.
    pub name: String,
    pub address: SocketAddr,
    pub state: State,
    /// Why it is in that state.
    pub reason: String,
    /// How long it has been in that state, in seconds.
    pub since_seconds: f64,
    pub in_flight: usize,
    pub weight: u32,
    /// The part of new requests it should get now, 0 to 1.
    pub expected_share: f64,
    /// Requests sent to it since it was discovered.
    pub requests: u64,
    pub failures: Failures,
    /// How long the last active check took, in milliseconds.
    pub last_check_ms: Option<f64>,
}

/// Failed attempts, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    pub connect: u64,
    pub timeout: u64,
    pub reset: u64,
    pub status: u64,
}
