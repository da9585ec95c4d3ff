//! Tells the cache service what a write changed, and goes on telling until it was heard.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Method;
use tokio::sync::Notify;

use crate::{
    Shutdown,
    client::{CallError, Peer},
};

/// How long a write's answer may wait for the cache service.
const FIRST_TRY: Duration = Duration::from_millis(500);
/// How long a later try may take.
const LATER_TRY: Duration = Duration::from_secs(2);
/// The pauses between later tries double from the first to the second of these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the tries go on after the shutdown was requested.
const LAST_TRIES: Duration = Duration::from_secs(2);
/// The most keys in one call, far below the size limit of a body.
const BATCH: usize = 500;

/// Deletes keys at the cache service; cheap to clone.
///
/// A service that can commit while the cache service cannot be reached would leave old values behind. What could not
/// be delivered is therefore kept and sent again by [`Self::settle`]. Until then no reader sees an old value either:
/// the cache service empties itself at its start and whenever it had lost Redis, before it answers a read.
#[derive(Clone)]
pub struct Invalidator(Arc<Inner>);

struct Inner {
    peer: Peer,
    debt: Mutex<Debt>,
    grew: Notify,
}

/// The keys still to be deleted.
#[derive(Default)]
struct Debt {
    keys: BTreeSet<String>,
    /// Whether the log already says that the cache service does not answer.
    told: bool,
}

impl Invalidator {
    /// Spawn [`Self::settle`] as well: without it, what the first try could not deliver is never delivered.
    #[must_use]
    pub fn new(peer: Peer) -> Self {
        Self(Arc::new(Inner {
            peer,
            debt: Mutex::default(),
            grew: Notify::new(),
        }))
    }

    /// Deletes the keys, with all their variants and leases. Waits at most half a second; true when it is done, false
    /// when it will be done in the background. A caller that stops waiting leaves the keys to the background, too.
    pub async fn invalidate<K: AsRef<str>>(&self, keys: &[K]) -> bool {
        if keys.is_empty() {
            return true;
        }
        let mut owed = Owed {
            inner: &self.0,
            keys: keys.iter().map(|key| key.as_ref().to_owned()).collect(),
        };
        match self.0.send(FIRST_TRY, &owed.keys).await {
            Ok(()) => {
                owed.keys.clear();
                true
            }
            Err(error) => {
                self.0.tell(&error);
                false
            }
        }
    }

    /// How many keys are still to be deleted.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.debt().keys.len()
    }

    /// Delivers what could not be delivered at once; ends soon after the shutdown.
    pub async fn settle(self, shutdown: Shutdown) {
        let inner = &self.0;
        loop {
            tokio::select! {
                () = inner.grew.notified() => {}
                () = shutdown.requested() => break,
            }
            tokio::select! {
                () = inner.pay() => {}
                () = shutdown.requested() => break,
            }
        }
        if tokio::time::timeout(LAST_TRIES, inner.pay()).await.is_err() {
            tracing::warn!(
                keys = self.pending(),
                "stopping with invalidations that the cache service did not take"
            );
        }
    }
}

impl Inner {
    async fn send(&self, limit: Duration, keys: &[String]) -> Result<(), CallError> {
        let body = serde_json::json!({ "keys": keys });
        let response = self
            .peer
            .call_within(limit, Method::POST, "/invalidate", |request| {
                request.json(&body)
            })
            .await?;
        self.peer.success(response).await.map(drop)
    }

    /// Tries until nothing is owed.
    async fn pay(&self) {
        let mut pause = PAUSES.0;
        loop {
            let mut owed = Owed {
                inner: self,
                keys: self.take(),
            };
            if owed.keys.is_empty() {
                break;
            }
            match self.send(LATER_TRY, &owed.keys).await {
                Ok(()) => {
                    owed.keys.clear();
                    pause = PAUSES.0;
                }
                Err(error) => {
                    self.tell(&error);
                    drop(owed);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
        if std::mem::take(&mut self.debt().told) {
            tracing::info!("the cache service took the invalidations that had waited");
        }
    }

    /// Takes a batch out, so that a key owed again while it is being sent is sent again.
    fn take(&self) -> Vec<String> {
        let mut debt = self.debt();
        let mut batch = Vec::with_capacity(debt.keys.len().min(BATCH));
        while batch.len() < BATCH
            && let Some(key) = debt.keys.pop_first()
        {
            batch.push(key);
        }
        batch
    }

    fn tell(&self, error: &CallError) {
        if !std::mem::replace(&mut self.debt().told, true) {
            tracing::warn!(error = %error, "the cache service took no invalidation; trying on in the background");
        }
    }

    fn debt(&self) -> MutexGuard<'_, Debt> {
        self.debt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys on their way; those still here at the end, however it comes, are owed.
struct Owed<'a> {
    inner: &'a Inner,
    keys: Vec<String>,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.inner.debt().keys.extend(self.keys.drain(..));
            self.inner.grew.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Instant};

    use axum::{Router, extract::State, routing::post};
    use http::StatusCode;
    use serde_json::{Value, json};
    use tokio::{net::TcpListener, sync::watch};

    use super::*;
    use crate::{discovery::Source, testing::eventually};

    type Heard = Arc<Mutex<Vec<Value>>>;

    /// Answers with the status that `answer` holds; never while it is `None`.
    async fn listen(
        address: &str,
        answer: watch::Receiver<Option<StatusCode>>,
    ) -> (SocketAddr, Heard) {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let heard = Heard::default();
        let handler =
            |State((mut answer, heard)): State<(watch::Receiver<Option<StatusCode>>, Heard)>,
             axum::Json(body): axum::Json<Value>| async move {
                let status = *answer
                    .wait_for(Option::is_some)
                    .await
                    .expect("the test lives");
                let status = status.expect("waited for");
                if status.is_success() {
                    heard.lock().expect("no panic").push(body["keys"].clone());
                }
                status
            };
        let router = Router::new()
            .route("/invalidate", post(handler))
            .with_state((answer, heard.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, heard)
    }

    async fn unsettled(address: SocketAddr) -> Invalidator {
        let source = Source::List(vec![address.to_string()]);
        Invalidator::new(
            Peer::new(
                "cache",
                source.watch(Shutdown::new()).await,
                Duration::from_secs(5),
            )
            .expect("a client"),
        )
    }

    async fn invalidator(address: SocketAddr) -> Invalidator {
        let invalidator = unsettled(address).await;
        tokio::spawn(invalidator.clone().settle(Shutdown::new()));
        invalidator
    }

    #[tokio::test]
    async fn keys_are_sent_at_once() {
        let (_keep, answer) = watch::channel(Some(StatusCode::OK));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        assert!(
            invalidator
                .invalidate(&["card:1:balance", "card:1:history"])
                .await
        );
        assert!(invalidator.invalidate::<&str>(&[]).await);
        assert_eq!(
            *heard.lock().expect("no panic"),
            [json!(["card:1:balance", "card:1:history"])]
        );
        assert_eq!(invalidator.pending(), 0);
    }

    #[tokio::test]
    async fn an_absent_cache_service_hears_of_it_when_it_is_back() {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let invalidator = invalidator(address).await;
        assert!(!invalidator.invalidate(&["b", "a"]).await);
        assert!(!invalidator.invalidate(&["a", "c"]).await);

        let (_keep, answer) = watch::channel(Some(StatusCode::OK));
        let (_, heard) = listen(&address.to_string(), answer).await;
        eventually("the keys arrive", async || {
            invalidator.pending() == 0 && !heard.lock().expect("no panic").is_empty()
        })
        .await;
        let keys: BTreeSet<String> = heard
            .lock()
            .expect("no panic")
            .iter()
            .flat_map(|keys| keys.as_array().expect("an array").clone())
            .map(|key| key.as_str().expect("text").to_owned())
            .collect();
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_silent_cache_service_holds_a_write_up_for_half_a_second_only() {
        let (change, answer) = watch::channel(None);
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        let started = Instant::now();
        assert!(!invalidator.invalidate(&["a"]).await);
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
        change.send(Some(StatusCode::OK)).expect("the server lives");
        eventually("the key arrives", async || {
            !heard.lock().expect("no panic").is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn a_refusal_is_not_the_end_of_it() {
        let (change, answer) = watch::channel(Some(StatusCode::SERVICE_UNAVAILABLE));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        assert!(!invalidator.invalidate(&["a"]).await);
        change.send(Some(StatusCode::OK)).expect("the server lives");
        eventually("the key arrives", async || {
            !heard.lock().expect("no panic").is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn a_caller_that_leaves_leaves_its_keys_behind() {
        let (change, answer) = watch::channel(None);
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        let leaving = Duration::from_millis(50);
        let waited = tokio::time::timeout(leaving, invalidator.invalidate(&["a"])).await;
        assert!(waited.is_err(), "nobody answers");
        change.send(Some(StatusCode::OK)).expect("the server lives");
        eventually("the key arrives", async || {
            !heard.lock().expect("no panic").is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn a_stop_delivers_what_it_can() {
        let (change, answer) = watch::channel(Some(StatusCode::SERVICE_UNAVAILABLE));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let (shutdown, invalidator) = (Shutdown::new(), unsettled(address).await);
        assert!(!invalidator.invalidate(&["a"]).await);
        change.send(Some(StatusCode::OK)).expect("the server lives");
        shutdown.request();
        invalidator.settle(shutdown).await;
        assert_eq!(*heard.lock().expect("no panic"), [json!(["a"])]);
    }
}
