//! How recharges and boardings run: in groups with those of others, then the cache is told once for all of them, unless it
//! can hold nothing of what they changed, then each gets its answer.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
    time::Instant,
};

use kit::{
    RequestContext,
    caching::{Forgotten, Invalidator, MARGIN, Unconfirmed},
    committer::{Failure, Job, Place, Work},
    extract::{Caller, IdempotencyKey},
    outbox::Relay,
    timing::visited,
    traces::Created,
};
use sqlx::PgConnection;
use tokio::sync::oneshot;

use crate::{
    App,
    error::Error,
    register::Register,
    store::{CardWrite, Claim, Registered, Registration, Written},
    write::{Answer, Write, announced, claim, judge},
};

/// A write on a card.
pub trait Grouped: Write {
    fn card_write(&self) -> CardWrite;
}

/// Hands a write to the committer and waits for its answer. A caller that leaves before its group begins leaves nothing
/// behind; after that the write runs to its end, because what was committed must also be invalidated.
pub async fn execute<W: Grouped>(
    app: &App,
    caller: &Caller,
    key: IdempotencyKey,
    write: W,
) -> Result<Answer<W::Reply>, Error> {
    let mut claim = claim(caller, key, &write);
    let event = announced::<W>();
    claim.traceparent = event.as_ref().map(|event| event.traceparent().to_owned());
    let (answer, answered) = oneshot::channel();
    let job = CardJob {
        write: write.card_write(),
        waiter: Box::new(Waiting {
            keyed: claim.key.is_some(),
            write,
            context: RequestContext::current(),
            since: Instant::now(),
            came_to: None,
            event,
            answer,
        }),
        claim,
    };
    app.committer
        .submit(job)
        .map_err(|_| Error::TooManyWrites)?;
    answered.await.unwrap_or(Err(Error::Interrupted))
}

/// One write of a group, and who waits for it.
pub struct CardJob {
    claim: Claim,
    write: CardWrite,
    waiter: Box<dyn Waiter>,
}

impl Place for CardJob {
    fn kind(&self) -> u8 {
        match self.write {
            CardWrite::Recharge { .. } => 0,
            CardWrite::Board { .. } => 1,
        }
    }

    fn lock(&self) -> i64 {
        self.write.card().0
    }
}

impl Job for CardJob {
    fn is_wanted(&self) -> bool {
        self.waiter.is_wanted()
    }
}

/// Whoever waits for one write, whatever its kind.
trait Waiter: Send + Sync {
    fn is_wanted(&self) -> bool;

    /// Takes in what the write came to, and gives the cache keys it made stale.
    fn settle(&mut self, result: Result<Written, Failure>) -> Settled;

    fn context(&self) -> Option<&RequestContext>;

    /// Answers; `Err` when the cache did not confirm that it forgot those keys.
    fn answer(self: Box<Self>, forgotten: Result<(), Unconfirmed>);
}

/// What is to be done before the answer.
#[derive(Default)]
struct Settled {
    stale: Vec<String>,
    /// Those of them that are known to be on the register.
    registrations: Vec<Registration>,
    /// There is a new event in the outbox.
    announced: bool,
}

struct Waiting<W: Write> {
    write: W,
    keyed: bool,
    context: Option<RequestContext>,
    /// Since when the current stage lasts.
    since: Instant,
    came_to: Option<Result<Answer<W::Reply>, Error>>,
    event: Option<Created>,
    answer: oneshot::Sender<Result<Answer<W::Reply>, Error>>,
}

impl<W: Write> Waiting<W> {
    fn record(&mut self, stage: &'static str) {
        let now = Instant::now();
        let since = std::mem::replace(&mut self.since, now);
        if let Some(context) = &self.context {
            visited(context, stage, since, now);
        }
    }
}

impl<W: Write> Waiter for Waiting<W> {
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn settle(&mut self, result: Result<Written, Failure>) -> Settled {
        self.record("pg");
        let (came_to, settled) = match result {
            Ok(written) => {
                let result = judge(&self.write, &written);
                let stale = result.as_ref().map(|reply| self.write.stale(reply));
                let replayed = written.replayed;
                // Not of a replay: the first run may have died between its commit and this.
                let registered = written.registered.filter(|_| !replayed);
                let (stale, registrations) = kept(stale.unwrap_or_default(), &registered);
                let settled = Settled {
                    stale,
                    registrations,
                    announced: W::ANNOUNCED && result.is_ok() && !replayed,
                };
                (Ok(Answer { result, replayed }), settled)
            }
            Err(failure) => {
                let keyed = self.keyed;
                let settled = Settled {
                    stale: self.write.perhaps_stale(),
                    ..Settled::default()
                };
                (Err(Error::Uncommitted { failure, keyed }), settled)
            }
        };
        if let Some(event) = self.event.take() {
            event.end(settled.announced);
        }
        self.came_to = Some(came_to);
        settled
    }

    fn context(&self) -> Option<&RequestContext> {
        self.context.as_ref()
    }

    fn answer(mut self: Box<Self>, forgotten: Result<(), Unconfirmed>) {
        self.record("cache");
        let came_to = self.came_to.take().unwrap_or(Err(Error::Interrupted));
        let answer = match (came_to, forgotten) {
            (Ok(_), Err(unconfirmed)) => Err(unconfirmed.into()),
            (came_to, _) => came_to,
        };
        // Nobody listens when the caller has left.
        let _ = self.answer.send(answer);
    }
}

/// The stale keys that a cache may hold, and where they are on the register if that is known.
fn kept(mut stale: Vec<String>, registered: &Registered) -> (Vec<String>, Vec<Registration>) {
    let Some(registered) = registered else {
        return (stale, Vec::new());
    };
    let of = |key: &String| {
        let place = registered.binary_search_by(|found| found.key.cmp(key));
        place.ok().map(|place| &registered[place])
    };
    let registrations = stale.iter().filter_map(of).cloned().collect();
    stale.retain(|key| of(key).is_some());
    (stale, registrations)
}

/// Commits groups of writes on cards.
pub struct CardWork {
    pub register: Register,
    pub cache: Invalidator,
    pub relay: Arc<OnceLock<Relay>>,
}

impl Work for CardWork {
    type Job = CardJob;
    type Outcome = Written;

    async fn commit(
        &self,
        connection: &mut PgConnection,
        jobs: &[CardJob],
        wait: bool,
    ) -> Result<Vec<Option<Written>>, sqlx::Error> {
        let writes: Vec<_> = jobs.iter().map(|job| (&job.claim, job.write)).collect();
        Written::group(connection, &writes, wait).await
    }

    async fn finish(&self, done: Vec<(CardJob, Result<Written, Failure>)>) {
        let mut stale = BTreeSet::new();
        let mut registrations = BTreeSet::new();
        let mut announced = false;
        let mut waiting = Vec::with_capacity(done.len());
        for (mut job, result) in done {
            let settled = job.waiter.settle(result);
            announced |= settled.announced;
            if settled.stale.is_empty() {
                job.waiter.answer(Ok(()));
            } else {
                stale.extend(settled.stale);
                registrations.extend(settled.registrations);
                waiting.push(job.waiter);
            }
        }
        if !waiting.is_empty() {
            let stale = stale.into_iter().collect();
            if self.forget(stale, waiting).await == Ok(Forgotten::Deleted) {
                self.register.unregister(registrations);
            }
        }
        // After the answers, which are waited for: the relay looks by itself soon, whatever becomes of this.
        if announced && let Some(relay) = self.relay.get() {
            relay.wake();
        }
    }
}

impl CardWork {
    /// Has the cache forget the keys, and answers everybody then, or when somebody cannot wait any longer.
    async fn forget(
        &self,
        stale: Vec<String>,
        mut waiting: Vec<Box<dyn Waiter>>,
    ) -> Result<Forgotten, Unconfirmed> {
        let give_up = |waiter: &dyn Waiter| {
            waiter
                .context()
                .and_then(|context| context.deadline.checked_sub(MARGIN))
        };
        waiting.sort_by_key(|waiter| give_up(&**waiter));
        let mut waiting = VecDeque::from(waiting);
        // As long as the most patient of them waits.
        let context = waiting.back().and_then(|waiter| waiter.context()).cloned();
        let forget = async {
            match context {
                Some(context) => context.scope(self.cache.invalidate(&stale)).await,
                None => self.cache.invalidate(&stale).await,
            }
        };
        let mut forget = std::pin::pin!(forget);
        loop {
            let end = waiting.front().and_then(|first| give_up(&**first));
            let too_late = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end.into()).await,
                    None => std::future::pending().await,
                }
            };
            let forgotten = tokio::select! {
                biased;
                forgotten = &mut forget => forgotten,
                () = too_late, if waiting.len() > 1 => {
                    if let Some(waiter) = waiting.pop_front() {
                        waiter.answer(Err(Unconfirmed));
                    }
                    continue;
                }
            };
            for waiter in waiting.drain(..) {
                waiter.answer(forgotten.map(drop));
            }
            return forgotten;
        }
    }
}
