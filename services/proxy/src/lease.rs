//! One attempt's hold on an upstream, and the way to say how it went.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;

use crate::{health::Observation, metrics::FailureReason, pool::Pool, upstream::Upstream};

/// One attempt: counted as in flight at its upstream until it is dropped.
///
/// Say how it went with [`answered`](Self::answered) or [`failed`](Self::failed); dropping it without a word is the same as
/// [`abandoned`](Self::abandoned).
#[derive(Debug)]
pub struct Lease {
    pool: Pool,
    upstream: Arc<Upstream>,
}

impl Lease {
    pub(crate) fn new(pool: Pool, upstream: Arc<Upstream>) -> Self {
        upstream.begin();
        Self { pool, upstream }
    }

    /// The upstream's number inside its pool, for [`Selection::avoid`](crate::Selection::avoid).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.upstream.id
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    /// Its instance name, or its address until the name is known.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.upstream.name()
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.upstream.authority
    }

    /// What the sticky cookie holds for a client that was served here: a number that depends on the upstream's name only.
    #[must_use]
    pub fn sticky_value(&self) -> u64 {
        0
    }

    /// The head of the answer arrived now. A 5xx counts as a failure of the upstream, and so does a 429 for the policy.
    pub fn answered(&mut self, status: u16, retry_after: Option<Duration>) {
        let _ = retry_after;
        if status >= 500 {
            self.upstream.failed(FailureReason::Status);
        }
    }

    /// There was no answer, or it broke off. [`FailureReason::Connect`] takes the upstream out of the rotation until its next
    /// passed check.
    pub fn failed(&mut self, reason: FailureReason, cause: &dyn fmt::Display) {
        self.upstream.failed(reason);
        if reason == FailureReason::Connect {
            self.pool
                .observe(&self.upstream, Observation::Unreachable(cause.to_string()));
        }
    }

    /// The client left, or the failure was its own: this says nothing about the upstream.
    pub fn abandoned(&mut self) {}
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.end();
    }
}
