//! Single calls and short bursts, for a key press or a script.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;

use crate::token::Tokens;
use crate::wire::Wire;
use crate::{Call, Credentials, Error, Target};

/// Connections kept for later calls.
const KEPT: usize = 16;

/// Sends single calls, with a token that it fetches when first needed and keeps.
#[derive(Debug)]
pub struct Client {
    target: Target,
    tokens: Tokens,
    timeout: Duration,
    run: u64,
    calls: AtomicU64,
    idle: Mutex<Vec<Wire>>,
    /// When the token was last fetched, so that a refused one is replaced, but not in a loop.
    token: tokio::sync::Mutex<Option<Instant>>,
}

/// The answer to a single call.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub elapsed: Duration,
    /// The key it was sent under, for a write.
    pub idempotency_key: Option<String>,
    pub request_id: Option<String>,
    pub gateway: Option<String>,
    /// `X-Cache`.
    pub cache: Option<String>,
    pub server_timing: Option<String>,
    /// Null when the body is not JSON.
    pub body: serde_json::Value,
}

impl Answer {
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What became of a burst.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    pub sent: u32,
    pub succeeded: u32,
    /// Answered with another status than success.
    pub refused: u32,
    /// Not answered.
    pub failed: u32,
    pub elapsed: Duration,
    /// Service times, in microseconds.
    pub latency: crate::Latency,
    /// Why the last one that failed or was refused was.
    pub last_error: Option<String>,
}

impl Client {
    /// `run` must differ from client to client (the time of day will do): it goes into the idempotency keys.
    ///
    /// # Errors
    /// When the target is no address, or leads off this machine without leave.
    pub fn new(
        target: &str,
        allow_remote: bool,
        credentials: Credentials,
        timeout: Duration,
        run: u64,
    ) -> Result<Self, Error> {
        let target = Target::parse(target, allow_remote)?;
        let tokens = Tokens::new(target.clone(), credentials, timeout)?;
        let (calls, idle, token) = (
            AtomicU64::new(0),
            Mutex::default(),
            tokio::sync::Mutex::default(),
        );
        Ok(Self {
            target,
            tokens,
            timeout,
            run,
            calls,
            idle,
            token,
        })
    }

    /// One call; a write carries an idempotency key of its own.
    ///
    /// # Errors
    /// When there is no token to be had or no answer. A refusal is an answer.
    pub async fn once(&self, call: &Call) -> Result<Answer, Error> {
        self.ensure_token(Duration::MAX).await?;
        let answer = self.send(call).await?;
        if answer.status != 401 || !self.tokens.fetches() {
            return Ok(answer);
        }
        // The lab may have been started anew with another key.
        self.ensure_token(Duration::from_secs(5)).await?;
        self.send(call).await
    }

    /// Many calls at once over at most `connections` connections. Returns when all are over.
    ///
    /// # Errors
    /// When there is no token to be had.
    pub async fn burst(&self, calls: Vec<Call>, connections: usize) -> Result<Burst, Error> {
        self.ensure_token(Duration::MAX).await?;
        let started = Instant::now();
        let mut burst = Burst {
            sent: calls.len() as u32,
            ..Burst::default()
        };
        let mut histogram = crate::histogram::Histogram::fine();
        let mut answers = futures::stream::iter(calls)
            .map(|call| async move { self.send(&call).await })
            .buffer_unordered(connections.max(1));
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => {
                    histogram.record(answer.elapsed);
                    if answer.is_success() {
                        burst.succeeded += 1;
                    } else {
                        burst.refused += 1;
                        burst.last_error = Some(explain(&answer));
                    }
                }
                Err(error) => {
                    burst.failed += 1;
                    burst.last_error = Some(error.to_string());
                }
            }
        }
        burst.elapsed = started.elapsed();
        burst.latency = histogram.summary();
        Ok(burst)
    }

    /// Fetches a token when there is none, or when the one there is older than `older_than`.
    async fn ensure_token(&self, older_than: Duration) -> Result<(), Error> {
        if !self.tokens.fetches() {
            return Ok(());
        }
        let mut fetched = self.token.lock().await;
        // Five minutes before the contract's half hour is over.
        let limit = older_than.min(Duration::from_mins(25));
        if fetched.is_none_or(|at| at.elapsed() > limit) {
            self.tokens.fetch().await?;
            *fetched = Some(Instant::now());
        }
        Ok(())
    }

    async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let key = call.kind().is_write().then(|| {
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            format!("once-{:x}-{number}", self.run)
        });
        let token = self.tokens.current();
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut wire = idle.unwrap_or_else(|| Wire::new(self.target.clone()));
        let no_answer = |reason: String| Error::NoAnswer {
            target: self.target.to_string(),
            reason,
        };
        let started = Instant::now();
        let reply = tokio::time::timeout(
            self.timeout,
            wire.call(call, token.as_ref(), key.as_deref(), true),
        )
        .await
        .map_err(|_| no_answer(format!("nothing within {:?}", self.timeout)))?
        .map_err(|failure| no_answer(failure.to_string()))?;
        let elapsed = started.elapsed();
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push(wire);
            }
        }
        let header = |name| reply.header(name).map(str::to_owned);
        Ok(Answer {
            status: reply.status,
            elapsed,
            idempotency_key: key,
            request_id: header("x-request-id"),
            gateway: header("x-gateway"),
            cache: header("x-cache"),
            server_timing: header("server-timing"),
            body: serde_json::from_slice(&reply.body).unwrap_or_default(),
        })
    }
}

fn explain(answer: &Answer) -> String {
    match answer
        .body
        .get("detail")
        .and_then(serde_json::Value::as_str)
    {
        Some(detail) => format!("{}: {detail}", answer.status),
        None => answer.status.to_string(),
    }
}
