//! The way to Redis. Nothing is read over a connection before what an earlier one may have missed was purged.
//!
//! While Redis is away, invalidations fail; and a Redis that was killed may come back from its log with values that
//! were deleted. So a broken link never heals by itself: a new one is made, which first removes all values and leases and
//! has all gateways forget theirs, and only then gives a sign of life and serves. A link that was not proven alive for
//! [`PROOF`](kit::caching::first_level::PROOF) serves nothing, and after [`GAP`](kit::caching::first_level::GAP) it is
//! broken, for by then a writer may have gone on without us. The same holds when the runtime that answers requests stood
//! still for so long. The link has a thread of its own: requests that wait for a processor must not pass for a Redis that
//! is away.

use std::{sync::Arc, time::Instant};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio_util::sync::CancellationToken;

use crate::{error::StoreError, fence::Proof};

/// One standing connection, until anything about it fails.
#[derive(Clone)]
pub struct Link {
    connection: MultiplexedConnection,
    ended: CancellationToken,
    proof: Arc<Proof>,
    serving: Arc<Proof>,
    /// Of several servers: when those who decide last called this one the primary.
    word: Option<Arc<Proof>>,
    /// Until then there may be first levels that hold a lease and are not in the table: Redis may have lost it.
    unknown_until: Instant,
}

impl Link {
    /// A link whose making was the answer to something asked for at `asked`.
    #[must_use]
    pub fn new(
        connection: MultiplexedConnection,
        asked: Instant,
        serving: Arc<Proof>,
        word: Option<Proof>,
        unknown_until: Instant,
    ) -> Self {
        Self {
            connection,
            ended: CancellationToken::new(),
            proof: Arc::new(Proof::new(asked)),
            serving,
            word: word.map(Arc::new),
            unknown_until,
        }
    }

    /// Runs commands over the link, and believes the answer only where no other server can have taken this one's place. Gives
    /// up as soon as the link ends, whoever noticed.
    pub async fn run<T, F>(
        &self,
        commands: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let answer = self.ask(commands).await?;
        if self.is_believed(Instant::now()) {
            Ok(answer)
        } else {
            Err(StoreError::Away)
        }
    }

    /// Runs commands whose answer may come from a server that was replaced.
    pub async fn ask<T, F>(
        &self,
        commands: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let result = tokio::select! {
            biased;
            result = kit::timing::timed("redis", commands(self.connection.clone())) => result,
            () = self.ended.cancelled() => return Err(StoreError::Away),
        };
        result.map_err(|error| {
            if kit::redis::is_unavailable(&error) {
                self.end(&error);
                StoreError::Away
            } else {
                error.into()
            }
        })
    }

    /// Declares the link broken: everybody on it gives up, and the next one begins with a purge.
    pub fn end(&self, cause: &dyn std::error::Error) {
        if !self.ended.is_cancelled() {
            tracing::warn!(error = %cause, "the link to Redis is given up");
            self.ended.cancel();
        }
    }

    /// Until when a deletion must be waited for also when nobody is known to hold copies.
    #[must_use]
    pub fn unknown_until(&self) -> Instant {
        self.unknown_until
    }

    #[must_use]
    pub fn word(&self) -> Option<&Proof> {
        self.word.as_deref()
    }

    /// Whether no other server can have taken this one's place.
    fn is_believed(&self, now: Instant) -> bool {
        self.word.as_ref().is_none_or(|word| word.is_fresh(now))
    }

    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether what is read over it may be served.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let now = Instant::now();
        if self.proof.is_broken(now) || self.serving.is_broken(now) {
            self.end(&Silence);
        }
        self.proof.is_fresh(now) && self.is_believed(now) && !self.ended.is_cancelled()
    }
}

/// Why a link is given up that did not break by itself.
#[derive(Debug, thiserror::Error)]
#[error("it was not proven alive for too long")]
pub struct Silence;

/// The same where there are several servers.
#[derive(Debug, thiserror::Error)]
#[error("another Redis may have taken its place")]
pub struct Replaced;
