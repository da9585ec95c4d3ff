//! A consumer's side of a queue: receives while it may, waits while it may not, and loses nothing when it stops.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, routing::post};
use rand::RngExt;
use serde_json::json;
use tokio::sync::watch;

use super::{BATCH_LIMIT, Client, Message, Receipt, Release};
use crate::{Instance, outage::Outage, traces::unrecorded};

/// How long one poll waits. Messages wake it at once; a short wait only bounds how long a pause or a stop takes.
const WAIT: Duration = Duration::from_secs(2);
/// How often a need that is not met (a database that is away) is looked at again.
const RECHECK: Duration = Duration::from_millis(200);
/// The longest pause between two attempts at a queue that does not answer.
const BACKOFF_LIMIT: Duration = Duration::from_secs(2);

/// An operator's switch between taking work and not, shared by all consumers of an instance.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl Gate {
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Opens or closes it; whether it was open before.
    pub fn set_open(&self, open: bool) -> bool {
        let was = self.0.send_replace(open);
        if was != open {
            tracing::info!(paused = !open, "taking work off the queue was switched");
        }
        was
    }

    /// Has `/admin/info` tell whether it is closed.
    pub fn tell(&self, instance: &Instance) {
        let gate = self.clone();
        instance.tell_lever("paused", move || json!(!gate.is_open()));
    }

    /// `POST /admin/pause` and `POST /admin/resume`, for the operator's part of the admin surface; `GET /admin/pause` tells.
    pub fn router(&self) -> Router {
        let switch = |open: bool| {
            let gate = self.clone();
            post(async move || {
                let was_open = gate.set_open(open);
                Json(json!({"paused": !gate.is_open(), "previous": !was_open}))
            })
        };
        let gate = self.clone();
        let show = async move || Json(json!({"paused": !gate.is_open()}));
        Router::new()
            .route("/admin/pause", switch(false).get(show))
            .route("/admin/resume", switch(true))
    }

    async fn opened(&self) {
        // Cannot fail: this gate holds the sender.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// One loop's view of one queue.
pub struct Intake {
    instance: Instance,
    client: Client,
    queue: &'static str,
    visibility: Duration,
    gate: Gate,
    outage: Outage,
    backoff: Duration,
}

impl Intake {
    #[must_use]
    pub fn new(
        instance: Instance,
        client: Client,
        queue: &'static str,
        visibility: Duration,
        gate: Gate,
    ) -> Self {
        Self {
            instance,
            client,
            queue,
            visibility,
            gate,
            outage: Outage::new("receiving from the queue"),
            backoff: Duration::ZERO,
        }
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    #[must_use]
    pub fn queue(&self) -> &'static str {
        self.queue
    }

    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Does some work on a message and keeps the message meanwhile; None when the queue gave it to somebody else.
    pub async fn hold<T>(&self, message: &Message, work: impl Future<Output = T>) -> Option<T> {
        self.client
            .hold(self.queue, &message.receipt, self.visibility, work)
            .await
    }

    /// The next messages, at least one; none at all once the shutdown was requested. What a poll brings after a pause
    /// or a stop began is given back, and does not count as delivered.
    pub async fn next(&mut self, max: usize) -> Option<Vec<Message>> {
        loop {
            let shutdown = self.instance.shutdown().clone();
            if shutdown.is_requested() {
                return None;
            }
            tokio::select! {
                () = self.gate.opened() => {}
                () = shutdown.requested() => return None,
            }
            if !self.instance.check("postgres") {
                tokio::time::sleep(RECHECK).await;
                continue;
            }
            let receive = self
                .client
                .receive(self.queue, max, WAIT, Some(self.visibility));
            match unrecorded(self.instance.tracer(), receive).await {
                Ok(messages) => {
                    self.outage.over();
                    self.backoff = Duration::ZERO;
                    if shutdown.is_requested() || !self.gate.is_open() {
                        self.give_back(&messages, "the consumer stopped taking work")
                            .await;
                    } else if !messages.is_empty() {
                        return Some(messages);
                    }
                }
                Err(error) => {
                    self.outage.failed(&error);
                    self.backoff =
                        (self.backoff * 2).clamp(Duration::from_millis(100), BACKOFF_LIMIT);
                    let pause = self.backoff.mul_f64(rand::rng().random_range(0.5..1.0));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shutdown.requested() => {}
                    }
                }
            }
        }
    }

    /// Gives messages back at once, uncounted. One that cannot be given back comes back when its visibility ends.
    pub async fn give_back(&self, messages: &[Message], reason: &str) {
        let release = Release {
            delay_seconds: None,
            reason: Some(reason.to_owned()),
            uncounted: true,
        };
        for batch in messages.chunks(BATCH_LIMIT) {
            let receipts: Vec<Receipt> = batch.iter().map(|m| m.receipt.clone()).collect();
            let release = self.client.release_batch(self.queue, &receipts, &release);
            let released = unrecorded(self.instance.tracer(), release).await;
            if let Err(error) = released {
                tracing::debug!(error = %error, messages = batch.len(), "messages could not be given back");
            }
        }
    }
}
