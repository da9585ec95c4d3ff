//! Sends and ends of one message at a time, and receives: those that come while an earlier call is on its way share the next
//! one.

use std::time::{Duration, Instant};

use kit::{
    RequestContext,
    messaging::{Durability, Receipt},
    timing::visited,
};
use tokio::sync::oneshot;

use super::{Checked, Ended, Promise, RECEIVE_BYTES, Store, Taken, add};
use crate::{
    Error, QueueName,
    combiner::{Combiner, Lead},
};

/// The most that share a call.
const GROUP: usize = 100;
const GROUP_BYTES: usize = 1024 * 1024;

/// What waits for its turn.
#[derive(Clone, Default)]
pub(super) struct Singles {
    sends: Combiner<One<Checked, String>>,
    ends: Combiner<One<Receipt, bool>>,
    receives: Combiner<One<Wish, Taken>>,
}

/// What a receive asks for.
#[derive(Clone, Copy)]
struct Wish {
    max: usize,
    visibility: Option<Duration>,
}

/// One call, and who waits for what it comes to.
struct One<T, A> {
    what: T,
    answer: oneshot::Sender<Result<Done<A>, Error>>,
}

struct Done<A> {
    outcome: A,
    durability: Durability,
    /// Since when it waited for the disk, if it had to.
    disk: Option<Instant>,
}

impl Store {
    pub(super) async fn send_one(
        &self,
        queue: &QueueName,
        message: Checked,
    ) -> Result<(String, Durability), Error> {
        let done = wait(|answer| {
            let one = One {
                what: message,
                answer,
            };
            if let Some(lead) = self.singles.sends.join(queue, one) {
                tokio::spawn(self.clone().send_singles(lead));
            }
        })
        .await?;
        Ok((done.outcome, done.durability))
    }

    pub(super) async fn end_one(
        &self,
        queue: &QueueName,
        receipt: Receipt,
    ) -> Result<Ended, Error> {
        let done = wait(|answer| {
            let one = One {
                what: receipt.clone(),
                answer,
            };
            if let Some(lead) = self.singles.ends.join(queue, one) {
                tokio::spawn(self.clone().end_singles(lead));
            }
        })
        .await?;
        Ok(Ended {
            late: if done.outcome {
                Vec::new()
            } else {
                vec![receipt]
            },
            durability: done.durability,
        })
    }

    pub(super) async fn receive_one(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Option<Duration>,
    ) -> Result<Taken, Error> {
        let done = wait(|answer| {
            let one = One {
                what: Wish { max, visibility },
                answer,
            };
            if let Some(lead) = self.singles.receives.join(queue, one) {
                tokio::spawn(self.clone().receive_singles(lead));
            }
        })
        .await?;
        Ok(done.outcome)
    }

    async fn send_singles(self, mut lead: Lead<One<Checked, String>>) {
        loop {
            let group = lead.next(GROUP, GROUP_BYTES, |one| one.what.body.get().len());
            if group.is_empty() {
                break;
            }
            let group = wanted(group);
            if group.is_empty() {
                continue;
            }
            match self.submit(lead.queue(), &group).await {
                Ok((ids, reply)) => self.settle(group, ids, reply.promise),
                // Some of them may still find room.
                Err(Error::Full { .. }) if group.len() > 1 => {
                    for one in group {
                        match self.submit(lead.queue(), std::slice::from_ref(&one)).await {
                            Ok((ids, reply)) => self.settle(vec![one], ids, reply.promise),
                            Err(error) => refuse(vec![one], &error),
                        }
                    }
                }
                Err(error) => refuse(group, &error),
            }
        }
    }

    async fn end_singles(self, mut lead: Lead<One<Receipt, bool>>) {
        loop {
            let group = lead.next(GROUP, GROUP_BYTES, |_| 0);
            if group.is_empty() {
                break;
            }
            let (ticket, mut call) = self.call(&self.scripts.now().acknowledge, lead.queue());
            add(&mut call, group.iter().map(|one| &one.what));
            match self.answer(ticket, &call).await {
                Ok(mut reply) => {
                    let mut ended = vec![true; group.len()];
                    let late = reply.places().map(|places| {
                        for place in places {
                            if let Some(ended) = ended.get_mut(place) {
                                *ended = false;
                            }
                        }
                    });
                    match late {
                        Ok(()) => self.settle(group, ended, reply.promise),
                        Err(error) => refuse(group, &error),
                    }
                }
                Err(error) => refuse(group, &error),
            }
        }
    }

    async fn receive_singles(self, mut lead: Lead<One<Wish, Taken>>) {
        loop {
            let mut group = lead.next(GROUP, GROUP, |one| one.what.max);
            if group.is_empty() {
                break;
            }
            while let Some(first) = group.first() {
                let visibility = first.what.visibility;
                let (alike, others) = group
                    .into_iter()
                    .partition(|one| one.what.visibility == visibility);
                group = others;
                self.receive_alike(lead.queue(), wanted(alike)).await;
            }
        }
    }

    /// Receives with one visibility: the first messages are the first one's, and so on.
    async fn receive_alike(&self, queue: &QueueName, mut group: Vec<One<Wish, Taken>>) {
        while let Some(first) = group.first() {
            let max = group.iter().map(|one| one.what.max).sum();
            let taken = self.take(queue, max, first.what.visibility, false).await;
            let (taken, promise) = match taken {
                Ok(taken) => taken,
                Err(error) => return refuse(group, &error),
            };
            let bytes: usize = taken.messages.iter().map(|m| m.body.get().len()).sum();
            let mut messages = taken.messages.into_iter().peekable();
            let (mut served, mut shares, mut left) = (Vec::new(), Vec::new(), Vec::new());
            for one in group {
                // There may be more than one call gives.
                if messages.peek().is_none() && bytes >= RECEIVE_BYTES {
                    left.push(one);
                    continue;
                }
                shares.push(Taken {
                    messages: messages.by_ref().take(one.what.max).collect(),
                    durability: taken.durability,
                    next: taken.next,
                });
                served.push(one);
            }
            if bytes > 0 {
                self.settle(served, shares, promise);
            } else {
                answer(served, shares, promise.durability, None);
            }
            group = left;
        }
    }

    /// Answers when the disk has it, where that is promised; whoever waits in line does not wait for that.
    fn settle<T: Send + 'static, A: Send + 'static>(
        &self,
        group: Vec<One<T, A>>,
        outcomes: Vec<A>,
        promise: Promise,
    ) {
        if promise.durability == Durability::Fast {
            answer(group, outcomes, Durability::Fast, None);
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            let asked = Instant::now();
            match store.confirm_many(promise, group.len()).await {
                Ok(()) => answer(group, outcomes, promise.durability, Some(asked)),
                Err(error) => refuse(group, &error),
            }
        });
    }
}

/// Waits for the answer, and says where the time went.
async fn wait<A>(
    begin: impl FnOnce(oneshot::Sender<Result<Done<A>, Error>>),
) -> Result<Done<A>, Error> {
    let asked = Instant::now();
    let (answer, answered) = oneshot::channel();
    begin(answer);
    let done = answered
        .await
        .map_err(|_| Error::Unexpected("a call ended without an answer"))??;
    if let Some(context) = RequestContext::current() {
        let now = Instant::now();
        visited(&context, "redis", asked, done.disk.unwrap_or(now));
        if let Some(disk) = done.disk {
            visited(&context, "disk", disk, now);
        }
    }
    Ok(done)
}

/// Those whose callers have not left.
fn wanted<T, A>(mut group: Vec<One<T, A>>) -> Vec<One<T, A>> {
    group.retain(|one| !one.answer.is_closed());
    group
}

fn answer<T, A>(
    group: Vec<One<T, A>>,
    outcomes: Vec<A>,
    durability: Durability,
    disk: Option<Instant>,
) {
    for (one, outcome) in group.into_iter().zip(outcomes) {
        // Nobody listens when the caller has left.
        let _ = one.answer.send(Ok(Done {
            outcome,
            durability,
            disk,
        }));
    }
}

fn refuse<T, A>(group: Vec<One<T, A>>, error: &Error) {
    for one in group {
        let _ = one.answer.send(Err(error.clone()));
    }
}

impl std::borrow::Borrow<Checked> for One<Checked, String> {
    fn borrow(&self) -> &Checked {
        &self.what
    }
}
