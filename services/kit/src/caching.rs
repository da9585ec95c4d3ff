//! Tells the cache service what a write changed, and goes on telling until it was heard.

pub mod first_level;
mod verdict;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Method;
use tokio::sync::Notify;

use crate::{
    Problem, RequestContext, Shutdown,
    caching::{
        first_level::{FENCED, OVER},
        verdict::Verdict,
    },
    client::{CallError, Peer},
};

/// How long the first instance may take before the others are asked as well.
const HEDGE: Duration = Duration::from_millis(300);
/// How long a write's answer may wait when its caller set no deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much earlier than its caller's deadline a write gives up, so that its answer still arrives.
pub const MARGIN: Duration = Duration::from_millis(150);
/// How long a later try may take.
const LATER_TRY: Duration = Duration::from_secs(2);
/// The pauses between later tries double from the first to the second of these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The same for the tries that a write's answer waits for.
const ROUNDS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// How long the tries go on after the shutdown was requested.
const LAST_TRIES: Duration = Duration::from_secs(2);
/// The longest that a value may be asked to stay fresh, and to stand in after that, in seconds. Nothing is served for longer
/// than the two together; the travel service relies on it.
pub const LONGEST_WINDOW: u32 = 86_400;
/// The most keys in one call, far below the size limit of a body.
const BATCH: usize = 500;

/// Deletes keys at the cache service; cheap to clone.
///
/// A service that can commit while the cache service cannot be reached would leave old values behind. What could not
/// be delivered is therefore kept and sent again by [`Self::settle`]. Until then no reader sees an old value either:
/// the cache service empties itself at its start and whenever it had lost Redis, before it answers a read.
#[derive(Clone)]
pub struct Invalidator(Arc<Inner>);

/// Why no reader sees an old value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// The cache service deleted it, and every gateway forgot its copy.
    Deleted,
    /// There is no cache service that could serve it, and none will before it has emptied itself; the keys are deleted in
    /// the background as well.
    Unserved,
}

/// The change is committed, and an old value may still be served for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache service did not confirm that it forgot the old values")]
pub struct Unconfirmed;

impl From<Unconfirmed> for Problem {
    fn from(_: Unconfirmed) -> Self {
        Self::unavailable(
            "The change is committed, but the cache did not confirm that it forgot the values from before it. Send the \
             same request with the same Idempotency-Key again: it is not carried out twice. Do not repeat it without a key",
        )
        .with("committed", true)
    }
}

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

/// What an instance made of an invalidation.
#[derive(Debug)]
enum Answer {
    Deleted,
    Fenced,
    Refused(CallError),
    None(CallError),
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

    /// Deletes the keys, with all their variants and leases, and returns when no reader sees an old value any more.
    ///
    /// One confirmation is enough, for all cache instances share one store. Without one, each instance must have said
    /// that it is fenced, or have given no sign of life for [`OVER`]: then whatever wakes up or starts there empties
    /// itself before it serves. An instance that answers and does not delete is asked again until the request's deadline.
    ///
    /// # Errors
    /// When that deadline comes first. The keys are then deleted in the background, as they are for a caller that stops
    /// waiting.
    pub async fn invalidate<K: AsRef<str>>(&self, keys: &[K]) -> Result<Forgotten, Unconfirmed> {
        if keys.is_empty() {
            return Ok(Forgotten::Deleted);
        }
        let mut owed = Owed {
            inner: &self.0,
            keys: keys.iter().map(|key| key.as_ref().to_owned()).collect(),
        };
        let outcome = self.0.insist(&owed.keys).await;
        if outcome == Ok(Forgotten::Deleted) {
            owed.keys.clear();
        }
        outcome
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
    /// Asks one instance, then all of them, until the keys are gone or nothing old can be served, or time is up.
    async fn insist(&self, keys: &[String]) -> Result<Forgotten, Unconfirmed> {
        let asked = Instant::now();
        let end = RequestContext::current().map_or(asked + PATIENCE, |context| {
            context
                .deadline
                .checked_sub(MARGIN)
                .unwrap_or(context.deadline)
        });
        let body = serde_json::json!({ "keys": keys });
        let mut verdict = Verdict::new(OVER, asked);
        let mut round = self.peer.rotation();
        for instance in &round {
            verdict.knows(*instance, asked);
        }
        round.truncate(1);
        let mut asking: FuturesUnordered<BoxFuture<'_, (SocketAddr, Instant, Answer)>> =
            FuturesUnordered::new();
        let mut busy = BTreeSet::new();
        let mut next_round = asked + HEDGE;
        let mut pause = ROUNDS.0;
        loop {
            for instance in round.drain(..) {
                if verdict.is_open(instance) && busy.insert(instance) {
                    asking.push(Box::pin(self.ask(instance, &body)));
                }
            }
            // An instance that lives could not be asked before the next round; silence counts meanwhile.
            let certain = verdict.certain_at();
            tokio::select! {
                biased;
                Some((instance, since, answer)) = asking.next() => {
                    busy.remove(&instance);
                    match answer {
                        Answer::Deleted => return Ok(Forgotten::Deleted),
                        Answer::Fenced => verdict.fenced(instance),
                        Answer::Refused(error) => {
                            self.tell(&error);
                            verdict.refused(instance);
                        }
                        Answer::None(error) => {
                            self.tell(&error);
                            verdict.silent(instance, since);
                        }
                    }
                    next_round = next_round.min(Instant::now() + pause);
                }
                () = tokio::time::sleep_until(certain.unwrap_or(end).into()), if certain.is_some() => {
                    return Ok(Forgotten::Unserved);
                }
                () = tokio::time::sleep_until(next_round.into()) => {
                    round = self.peer.rotation();
                    let now = Instant::now();
                    for instance in &round {
                        verdict.knows(*instance, now);
                    }
                    next_round = now + pause;
                    pause = (pause * 2).min(ROUNDS.1);
                }
                () = tokio::time::sleep_until(end.into()) => return Err(Unconfirmed),
            }
        }
    }

    async fn ask(
        &self,
        instance: SocketAddr,
        body: &serde_json::Value,
    ) -> (SocketAddr, Instant, Answer) {
        let since = Instant::now();
        let answered = self
            .peer
            .call_at(instance, OVER, Method::POST, "/invalidate", |request| {
                request.json(body)
            })
            .await;
        let answer = match answered {
            Ok(response) if response.headers().contains_key(FENCED) => Answer::Fenced,
            Ok(response) => match self.peer.success(response).await {
                Ok(_) => Answer::Deleted,
                Err(error) => Answer::Refused(error),
            },
            Err(error) => Answer::None(error),
        };
        (instance, since, answer)
    }

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
    use axum::{Router, extract::State, response::IntoResponse, routing::post};
    use http::{HeaderMap, StatusCode};
    use serde_json::{Value, json};
    use tokio::{net::TcpListener, sync::watch};

    use super::*;
    use crate::{discovery::Source, testing::eventually, tls::Tiers};

    type Heard = Arc<Mutex<Vec<Value>>>;

    /// How a pretended cache service answers; never while there is none.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Manner {
        Status(StatusCode),
        Fenced,
    }

    const OK: Manner = Manner::Status(StatusCode::OK);
    const REFUSAL: Manner = Manner::Status(StatusCode::SERVICE_UNAVAILABLE);

    async fn listen(address: &str, answer: watch::Receiver<Option<Manner>>) -> (SocketAddr, Heard) {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let heard = Heard::default();
        let handler =
            |State((mut answer, heard)): State<(watch::Receiver<Option<Manner>>, Heard)>,
             axum::Json(body): axum::Json<Value>| async move {
                let manner = *answer
                    .wait_for(Option::is_some)
                    .await
                    .expect("the test lives");
                match manner.expect("waited for") {
                    Manner::Fenced => {
                        (StatusCode::SERVICE_UNAVAILABLE, [(FENCED, "true")]).into_response()
                    }
                    Manner::Status(status) => {
                        if status.is_success() {
                            heard.lock().expect("no panic").push(body["keys"].clone());
                        }
                        status.into_response()
                    }
                }
            };
        let router = Router::new()
            .route("/invalidate", post(handler))
            .with_state((answer, heard.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, heard)
    }

    async fn unsettled(addresses: &[SocketAddr]) -> Invalidator {
        let source = Source::List(addresses.iter().map(ToString::to_string).collect());
        Invalidator::new(
            Peer::new(
                "cache",
                source.watch(Shutdown::new()).await,
                Duration::from_secs(5),
                &Tiers::default(),
            )
            .expect("a client"),
        )
    }

    async fn invalidator(address: SocketAddr) -> Invalidator {
        let invalidator = unsettled(&[address]).await;
        tokio::spawn(invalidator.clone().settle(Shutdown::new()));
        invalidator
    }

    /// For a caller with so much patience.
    async fn within<F: Future>(patience: Duration, future: F) -> F::Output {
        RequestContext::from_headers(&HeaderMap::new(), patience)
            .scope(future)
            .await
    }

    fn took(started: Instant) -> Duration {
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        took
    }

    #[tokio::test]
    async fn keys_are_sent_at_once() {
        let (_keep, answer) = watch::channel(Some(OK));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        assert_eq!(
            invalidator
                .invalidate(&["card:1:balance", "card:1:history"])
                .await,
            Ok(Forgotten::Deleted)
        );
        assert_eq!(
            invalidator.invalidate::<&str>(&[]).await,
            Ok(Forgotten::Deleted)
        );
        assert_eq!(
            *heard.lock().expect("no panic"),
            [json!(["card:1:balance", "card:1:history"])]
        );
        assert_eq!(invalidator.pending(), 0);
    }

    #[tokio::test]
    async fn an_absent_cache_service_is_waited_out_and_hears_of_it_when_it_is_back() {
        let address = crate::testing::free_address();
        let invalidator = invalidator(address).await;
        let started = Instant::now();
        let (first, second) = tokio::join!(
            invalidator.invalidate(&["b", "a"]),
            invalidator.invalidate(&["a", "c"])
        );
        assert_eq!(first, Ok(Forgotten::Unserved));
        assert_eq!(second, Ok(Forgotten::Unserved));
        // First levels hold their leases a while after the death of the cache service.
        assert!(took(started) >= OVER);

        let (_keep, answer) = watch::channel(Some(OK));
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
    async fn a_silent_cache_service_is_waited_out() {
        let (change, answer) = watch::channel(None);
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        let started = Instant::now();
        assert_eq!(
            invalidator.invalidate(&["a"]).await,
            Ok(Forgotten::Unserved)
        );
        assert!(took(started) >= OVER);
        change.send(Some(OK)).expect("the server lives");
        eventually("the key arrives", async || {
            !heard.lock().expect("no panic").is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn a_fenced_cache_service_holds_nobody_up() {
        let (change, answer) = watch::channel(Some(Manner::Fenced));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        let started = Instant::now();
        assert_eq!(
            invalidator.invalidate(&["a"]).await,
            Ok(Forgotten::Unserved)
        );
        assert!(started.elapsed() < OVER, "{:?}", started.elapsed());
        change.send(Some(OK)).expect("the server lives");
        eventually("the key arrives", async || {
            !heard.lock().expect("no panic").is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn one_instance_that_confirms_is_enough_and_one_that_is_fenced_is_not() {
        let (_fence, fenced) = watch::channel(Some(Manner::Fenced));
        let (fenced, _) = listen("127.0.0.1:0", fenced).await;
        let (change, other) = watch::channel(Some(REFUSAL));
        let (other, heard) = listen("127.0.0.1:0", other).await;
        let invalidator = unsettled(&[fenced, other]).await;
        let patience = Duration::from_millis(900);
        assert_eq!(
            within(patience, invalidator.invalidate(&["a"])).await,
            Err(Unconfirmed)
        );
        change.send(Some(OK)).expect("the server lives");
        // Whichever is asked first.
        for _ in 0..2 {
            assert_eq!(invalidator.invalidate(&["a"]).await, Ok(Forgotten::Deleted));
        }
        assert_eq!(heard.lock().expect("no panic").len(), 2);
    }

    #[tokio::test]
    async fn a_refusal_is_repeated_until_the_deadline_and_later() {
        let (change, answer) = watch::channel(Some(REFUSAL));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        let started = Instant::now();
        let patience = Duration::from_secs(2);
        let refused = within(patience, invalidator.invalidate(&["a"])).await;
        assert_eq!(refused, Err(Unconfirmed));
        // Longer than silence is waited out: this one lives.
        assert!((OVER..patience).contains(&took(started)));
        let both = async {
            let waits = invalidator.invalidate(&["b"]);
            let gives_in = async {
                tokio::task::yield_now().await;
                change.send(Some(OK)).expect("the server lives");
            };
            tokio::join!(waits, gives_in).0
        };
        assert_eq!(within(patience, both).await, Ok(Forgotten::Deleted));
        eventually("the first key arrives", async || {
            let heard = heard.lock().expect("no panic");
            invalidator.pending() == 0 && heard.contains(&json!(["a"]))
        })
        .await;
    }

    #[test]
    fn the_client_is_told_what_to_do() {
        let problem = Problem::from(Unconfirmed);
        assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
        let detail = problem.detail();
        assert!(detail.contains("is committed") && detail.contains("same Idempotency-Key"));
    }

    #[tokio::test]
    async fn a_caller_that_leaves_leaves_its_keys_behind() {
        let (change, answer) = watch::channel(None);
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let invalidator = invalidator(address).await;
        let leaving = Duration::from_millis(50);
        let waited = tokio::time::timeout(leaving, invalidator.invalidate(&["a"])).await;
        assert!(waited.is_err(), "nobody answers");
        change.send(Some(OK)).expect("the server lives");
        eventually("the key arrives", async || {
            !heard.lock().expect("no panic").is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn a_stop_delivers_what_it_can() {
        let (change, answer) = watch::channel(Some(Manner::Fenced));
        let (address, heard) = listen("127.0.0.1:0", answer).await;
        let (shutdown, invalidator) = (Shutdown::new(), unsettled(&[address]).await);
        assert_eq!(
            invalidator.invalidate(&["a"]).await,
            Ok(Forgotten::Unserved)
        );
        change.send(Some(OK)).expect("the server lives");
        shutdown.request();
        invalidator.settle(shutdown).await;
        assert_eq!(*heard.lock().expect("no panic"), [json!(["a"])]);
    }
}
