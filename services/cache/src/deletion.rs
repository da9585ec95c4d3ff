//! Deletions: those that arrive together go to Redis together, and each is confirmed when no gateway serves a copy.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use kit::{caching::first_level::LEASE, safeguards::Safeguard};
use tokio::sync::{mpsc, oneshot};

use crate::{
    acknowledgements::Announcement, error::StoreError, keeper::Keeper, key::Key, link::Link,
    store::now, waiters::Waiters,
};

/// Keys that one script call deletes: more would keep others waiting.
const BATCH: usize = 50;
/// The most requests that are taken together.
const JOBS: usize = 256;

announcing!(DELETE, "delete.lua");
script!(DISMISS, "dismiss.lua");

/// One request to delete keys.
struct Job {
    keys: Vec<Key>,
    done: oneshot::Sender<Result<Vec<Key>, StoreError>>,
}

/// Where deletions are handed in; cheap to clone.
#[derive(Clone)]
pub struct Deletions(mpsc::UnboundedSender<Job>);

/// Carries deletions out.
pub struct Deleter {
    jobs: mpsc::UnboundedReceiver<Job>,
    keeper: Arc<Keeper>,
    waiters: Arc<Waiters>,
}

/// The two ends.
#[must_use]
pub fn deletions(keeper: Arc<Keeper>, waiters: Arc<Waiters>) -> (Deletions, Deleter) {
    // Bounded by the requests that wait for their answers.
    let (sender, jobs) = mpsc::unbounded_channel();
    let deleter = Deleter {
        jobs,
        keeper,
        waiters,
    };
    (Deletions(sender), deleter)
}

impl Deletions {
    /// Deletes keys and waits until no gateway serves a copy; to the end also when the caller leaves. Those that had a
    /// fresh value.
    pub async fn delete(&self, keys: Vec<Key>) -> Result<Vec<Key>, StoreError> {
        let (done, outcome) = oneshot::channel();
        let handed_in = self.0.send(Job { keys, done });
        handed_in.map_err(|_| StoreError::Away)?;
        outcome.await.unwrap_or(Err(StoreError::Away))
    }
}

impl Deleter {
    /// Works until every [`Deletions`] is gone.
    pub async fn run(mut self) {
        let mut settling = FuturesUnordered::new();
        let mut jobs = Vec::new();
        loop {
            tokio::select! {
                taken = self.jobs.recv_many(&mut jobs, JOBS) => {
                    if taken == 0 {
                        break;
                    }
                    // While this runs, the next ones gather.
                    let outcome = self.delete(&jobs).await;
                    settling.push(confirm(std::mem::take(&mut jobs), outcome));
                }
                Some(()) = settling.next() => {}
            }
        }
        while settling.next().await.is_some() {}
    }

    /// Deletes the keys of all jobs; the keys that had a fresh value, and what is left to be waited for.
    async fn delete(&self, jobs: &[Job]) -> Result<(HashSet<Key>, Vec<Everywhere>), StoreError> {
        let link = self.keeper.link()?;
        let mut keys: HashMap<&str, &Key> = HashMap::new();
        for job in jobs {
            keys.extend(job.keys.iter().map(|key| (key.as_str(), key)));
        }
        let keys: Vec<&Key> = keys.into_values().collect();
        let (mut found, mut everywhere) = (HashSet::new(), Vec::new());
        for batch in keys.chunks(BATCH) {
            let names = self.keeper.names();
            let mut call = DELETE.key(&names.holders);
            call.arg(now()).arg(self.keeper.deletions());
            for key in batch {
                let leases = if Safeguard::LeaseVoid.is_on() {
                    names.leases_of(key)
                } else {
                    names.values_of(key)
                };
                call.key(names.values_of(key)).key(leases).arg(key.as_str());
            }
            let (announced, numbers): (Vec<String>, Vec<usize>) = link
                .run(|mut connection| async move { call.invoke_async(&mut connection).await })
                .await
                .inspect_err(|error| link.end(error))?;
            for key in batch {
                self.waiters.wake(key.as_str());
            }
            let fresh = numbers
                .into_iter()
                .filter_map(|number| batch.get(number.checked_sub(1)?));
            found.extend(fresh.map(|&key| key.clone()));
            let announcement = Announcement::read(&announced).ok_or(StoreError::Away)?;
            everywhere.push(Everywhere::new(
                self.keeper.clone(),
                announcement,
                link.clone(),
            ));
        }
        Ok((found, everywhere))
    }
}

async fn confirm(jobs: Vec<Job>, outcome: Result<(HashSet<Key>, Vec<Everywhere>), StoreError>) {
    let outcome = match outcome {
        Ok((found, everywhere)) => {
            join_all(everywhere.into_iter().map(Everywhere::settle)).await;
            Ok(found)
        }
        Err(error) => Err(error),
    };
    for Job { keys, done } in jobs {
        // Nobody listens any more when the client left.
        let _ = done.send(match &outcome {
            Ok(found) => Ok(keys.into_iter().filter(|key| found.contains(key)).collect()),
            Err(error) => Err(error.clone()),
        });
    }
}

/// A deletion that Redis has carried out and the gateways may not have heard of.
pub struct Everywhere {
    keeper: Arc<Keeper>,
    announcement: Announcement,
    link: Link,
    at: Instant,
}

impl Everywhere {
    /// One that was carried out before now.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, announcement: Announcement, link: Link) -> Self {
        Self {
            keeper,
            announcement,
            link,
            at: Instant::now(),
        }
    }

    /// Waits until no gateway serves a copy: each holder has acknowledged, or holds no lease any more.
    pub async fn settle(self) {
        // Whoever has not acknowledged by then has had no renewal confirmed since the deletion.
        let end = self.at + LEASE;
        // Holders that Redis forgot cannot be asked, but their leases end as well.
        let unknown_until = if self.announcement.lost {
            end
        } else {
            self.link.unknown_until()
        };
        let acknowledgements = self.keeper.acknowledgements();
        let (missing, ()) = tokio::join!(
            acknowledgements.wait(&self.announcement, end),
            tokio::time::sleep_until(unknown_until.into()),
        );
        if missing.is_empty() {
            return;
        }
        tracing::warn!(
            holders = ?missing.iter().map(|holder| &holder.name).collect::<Vec<_>>(),
            "a first level did not acknowledge a deletion and lost its lease"
        );
        let mut call = DISMISS.key(&self.keeper.names().holders);
        for holder in &missing {
            call.arg(&holder.name).arg(&holder.renewal);
        }
        let dismissed: Result<u64, _> = self
            .link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await;
        if let Err(error) = dismissed {
            tracing::debug!(error = %error, "a holder could not be taken out of the table");
        }
    }
}
