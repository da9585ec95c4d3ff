//! A pool as operators see it, in JSON.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    admission::AdmissionSnapshot, breaker::BreakerState, health::State, policy::PolicyKind,
};

/// A whole pool at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// The role it balances over, such as `gateway`.
    pub pool: String,
    /// The policy in force, such as `round_robin`.
    pub policy: PolicyKind,
    /// Whether clients go back to the upstream that served them first.
    pub sticky: bool,
    /// Whether ejections are ignored because too few upstreams would be left.
    pub panic: bool,
    /// Requests sent again to another upstream since the start.
    pub retries: u64,
    /// Requests not sent again because the retry budget was spent, since the start.
    pub retries_denied: u64,
    pub admission: AdmissionSnapshot,
    pub upstreams: Vec<UpstreamSnapshot>,
}

/// One upstream at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamSnapshot {
    /// Its instance name, or its address until the name is known.
    pub name: String,
    pub address: SocketAddr,
    /// `draining` also when the operator drained it.
    pub state: State,
    /// Why it is in that state.
    pub reason: String,
    /// How long it has been in that state, in seconds.
    pub since_seconds: f64,
    pub in_flight: usize,
    /// As configured.
    pub weight: u32,
    /// What the policy sees: less than `weight` while it starts slowly.
    pub effective_weight: f64,
    /// The part of new requests it should get now, 0 to 1; null under policies that decide by what happens.
    pub expected_share: Option<f64>,
    /// Whether it is left out because it failed more than the others.
    pub ejected: bool,
    /// For how much longer, in seconds.
    pub ejected_for_seconds: Option<f64>,
    pub breaker: BreakerState,
    /// The part of its weight it has while it starts slowly, 0 to 1; null once it has started.
    pub slow_start: Option<f64>,
    /// The latency expected of it, in milliseconds (peak EWMA); null before its first answer.
    pub ewma_ms: Option<f64>,
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

/// Numbers for people: six digits after the point.
pub(crate) trait Rounded {
    #[must_use]
    fn rounded(self) -> Self;
}

impl Rounded for f64 {
    fn rounded(self) -> Self {
        (self * 1e6).round() / 1e6
    }
}
