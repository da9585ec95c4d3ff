//! The queue service's wire types, and the client that relays and consumers call it with.

pub mod disk;
mod intake;
mod wire;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::{
    Error, Instance,
    client::{CallError, Peer},
    discovery::Endpoint,
    tls::Tiers,
    traces::{Operation, Together},
};

pub(crate) use wire::traceparent;

pub use intake::{Gate, Intake};
pub use wire::{
    Acknowledge, Acknowledged, DeadLetter, DeadLetters, Durability, Episode, Event, Extend,
    Message, Messages, Outgoing, Reason, Receipt, Release, ReleaseBatch, Released, Send, Sent,
};

/// What keeps the keys of the queues together on a cluster of Redis servers.
pub const TAG: &str = "queue";

/// The most messages one call may send, receive or acknowledge.
pub const BATCH_LIMIT: usize = 100;
/// The longest a receive may wait for a message.
pub const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// How long a call other than a receive may take.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(3);

/// A caller of the queue service, cheap to clone. Names of queues are letters, digits, dashes and underscores.
#[derive(Clone)]
pub struct Client {
    peer: Arc<Peer>,
}

impl Client {
    /// Calls the instances of the queue service that are known at the time.
    pub fn connect(
        endpoints: watch::Receiver<Vec<Endpoint>>,
        tiers: &Tiers,
    ) -> Result<Self, Error> {
        let peer = Peer::new("queue", endpoints, CALL_LIMIT, tiers)?;
        Ok(Self::new(Arc::new(peer)))
    }

    #[must_use]
    pub fn new(peer: Arc<Peer>) -> Self {
        Self { peer }
    }

    /// Sends one message and gives its id. To send many, [`Self::send_batch`] is far quicker.
    pub async fn send(&self, queue: &str, message: &Outgoing) -> Result<String, CallError> {
        let ids = self
            .send_batch(queue, std::slice::from_ref(message))
            .await?;
        Ok(ids.into_iter().next().unwrap_or_default())
    }

    /// Sends up to [`BATCH_LIMIT`] messages, all or none, and gives their ids in order. A message whose `dedupe_id` was
    /// seen before is not sent again: its first id is given.
    pub async fn send_batch(
        &self,
        queue: &str,
        messages: &[Outgoing],
    ) -> Result<Vec<String>, CallError> {
        let sent: Sent = self
            .post(
                &format!("/queues/{queue}/messages"),
                &Send {
                    messages: Cow::Borrowed(messages),
                },
            )
            .await?;
        Ok(sent.ids)
    }

    /// Takes up to `max` messages, waiting up to `wait` for the first. Each comes back by itself when it is neither
    /// acknowledged nor extended within `visibility` (the queue's own setting when none is given).
    pub async fn receive(
        &self,
        queue: &str,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Message>, CallError> {
        let mut query = vec![
            ("max", max.to_string()),
            ("wait_seconds", wait.as_secs_f64().to_string()),
        ];
        if let Some(visibility) = visibility {
            query.push(("visibility_seconds", visibility.as_secs_f64().to_string()));
        }
        let response = self
            .peer
            .call_within(
                wait + CALL_LIMIT,
                Method::GET,
                &format!("/queues/{queue}/messages"),
                |request| request.query(&query),
            )
            .await?;
        let response = self.peer.success(response).await?;
        let received: Messages = self.peer.json(response).await?;
        Ok(received.messages)
    }

    /// Ends messages for good; those whose receipts came too late are named in the answer.
    pub async fn acknowledge(
        &self,
        queue: &str,
        receipts: &[Receipt],
    ) -> Result<Acknowledged, CallError> {
        self.post(
            &format!("/queues/{queue}/acknowledge"),
            &Acknowledge {
                receipts: receipts.to_vec(),
            },
        )
        .await
    }

    /// Keeps a message for that long from now on; false when the receipt came too late.
    pub async fn extend(
        &self,
        queue: &str,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<bool, CallError> {
        let body = Extend {
            visibility_seconds: visibility.as_secs_f64(),
        };
        self.fenced(queue, receipt, "extend", &body).await
    }

    /// Does some work on a message and keeps the message meanwhile, by extending its visibility whenever a third of it is
    /// over. None when the queue gave the message to somebody else: then the work was dropped.
    pub async fn hold<T>(
        &self,
        queue: &str,
        receipt: &Receipt,
        visibility: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut keep = tokio::time::interval(visibility / 3);
        keep.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                _ = keep.tick() => match self.extend(queue, receipt, visibility).await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    // The work goes on: whatever ends it is fenced all the same.
                    Err(error) => tracing::debug!(error = %error, "a message could not be extended"),
                },
            }
        }
    }

    /// Gives a message back; false when the receipt came too late.
    pub async fn release(
        &self,
        queue: &str,
        receipt: &Receipt,
        release: &Release,
    ) -> Result<bool, CallError> {
        self.fenced(queue, receipt, "release", release).await
    }

    /// Gives up to [`BATCH_LIMIT`] messages back in the same way; those whose receipts came too late are named in the
    /// answer.
    pub async fn release_batch(
        &self,
        queue: &str,
        receipts: &[Receipt],
        release: &Release,
    ) -> Result<Released, CallError> {
        self.post(
            &format!("/queues/{queue}/release"),
            &ReleaseBatch {
                receipts: receipts.to_vec(),
                release: release.clone(),
            },
        )
        .await
    }

    /// Puts a message among the dead letters; false when the receipt came too late.
    pub async fn dead(
        &self,
        queue: &str,
        receipt: &Receipt,
        reason: &str,
    ) -> Result<bool, CallError> {
        let body = Reason {
            reason: reason.to_owned(),
        };
        self.fenced(queue, receipt, "dead", &body).await
    }

    /// Dead letters in the order they died, from behind `after` on.
    pub async fn dead_letters(
        &self,
        queue: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, CallError> {
        let mut query = vec![("limit", limit.to_string())];
        if let Some(after) = after {
            query.push(("after", after.to_owned()));
        }
        let response = self
            .peer
            .call(Method::GET, &format!("/queues/{queue}/dead"), |request| {
                request.query(&query)
            })
            .await?;
        let response = self.peer.success(response).await?;
        let dead: DeadLetters = self.peer.json(response).await?;
        Ok(dead.messages)
    }

    async fn fenced<B: Serialize + Sync>(
        &self,
        queue: &str,
        receipt: &Receipt,
        action: &str,
        body: &B,
    ) -> Result<bool, CallError> {
        let path = format!("/queues/{queue}/messages/{receipt}/{action}");
        let response = self
            .peer
            .call(Method::POST, &path, |request| request.json(body))
            .await?;
        if response.status() == http::StatusCode::CONFLICT {
            return Ok(false);
        }
        self.peer.success(response).await.map(|_| true)
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, CallError> {
        let response = self
            .peer
            .call(Method::POST, path, |request| request.json(body))
            .await?;
        let response = self.peer.success(response).await?;
        self.peer.json(response).await
    }
}

/// Begins the spans of messages that are worked on, each in the trace that it was made in; nothing without traces.
#[must_use]
pub fn process<'a>(
    instance: &Instance,
    queue: &str,
    messages: impl Iterator<Item = &'a Message>,
) -> Together {
    let messages = messages.map(|message| {
        let id = Cow::Borrowed(message.id.as_str());
        (id, traceparent(&message.body))
    });
    Together::begin(instance.tracer(), Operation::Process, queue, messages)
}

/// Whether the queue refused the message itself, so that sending it again as it is cannot help.
#[must_use]
pub fn is_permanent(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Refused {
            status: 400 | 404 | 409 | 413 | 422,
            ..
        }
    )
}
