//! One attempt's hold on an upstream, and the way to say how it went.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Authority;

use crate::{
    metrics::FailureReason,
    pool::Pool,
    roster::{Attempt, Picked},
    upstream::Upstream,
};

/// One attempt: counted as in flight at its upstream until it is dropped.
///
/// Say how it went with [`answered`](Self::answered) or [`failed`](Self::failed); dropping it without a word is the same as
/// [`abandoned`](Self::abandoned).
#[derive(Debug)]
pub struct Lease {
    pool: Pool,
    upstream: Arc<Upstream>,
    attempt: Attempt,
    sticky: u64,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    None,
    Answered,
    Final,
}

impl Lease {
    pub(crate) fn new(pool: Pool, picked: Picked, now: Instant) -> Self {
        Self {
            pool,
            attempt: Attempt {
                upstream: picked.upstream.id,
                started: now,
                probe: picked.probe,
            },
            upstream: picked.upstream,
            sticky: picked.sticky,
            verdict: Verdict::None,
        }
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
        self.sticky
    }

    /// The head of the answer arrived, `now`. A 5xx counts as a failure of the upstream, and so does a 429 for `p2c`, which also
    /// honours `retry_after`. Only the first verdict counts, but an answer may still [fail](Self::failed) later.
    pub fn answered(&mut self, status: u16, retry_after: Option<Duration>, now: Instant) {
        if self.verdict == Verdict::None {
            self.verdict = Verdict::Answered;
            self.pool.answered(self.attempt, status, retry_after, now);
        }
    }

    /// There was no answer, or it broke off. [`FailureReason::Connect`] takes the upstream out of the rotation until its next
    /// passed check.
    pub fn failed(&mut self, reason: FailureReason, cause: &dyn fmt::Display) {
        let was_answered = match self.verdict {
            Verdict::None => false,
            Verdict::Answered => true,
            Verdict::Final => return,
        };
        self.verdict = Verdict::Final;
        self.pool.failed(self.attempt, reason, cause, was_answered);
    }

    /// The client left, or the failure was its own: this says nothing about the upstream.
    pub fn abandoned(&mut self) {
        if self.verdict == Verdict::None && self.attempt.probe.is_some() {
            self.pool.abandoned(self.attempt);
        }
        self.verdict = Verdict::Final;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.end();
        self.abandoned();
    }
}
