//! The register of the keys that caches may hold: a recharge that finds none of its keys there need not tell the cache.
//!
//! After a write's 2xx no read shows the value from before it. So either no cache holds the value, or the write has it
//! forgotten before it answers. Who reads what a recharge changes (a balance, a history, a user's recharges) registers the
//! key of his answer before it leaves this service, and a recharge looks, before its commit, which of its keys are registered
//! (`migrations/0014_cached_keys.sql`, `0017_leaner_recharges.sql`). Every other write, and a recharge that does not know, has
//! everything forgotten.
//!
//! Why that is enough, race by race. The lock is one per user: readers share it, a recharge has it alone from its look until
//! its commit.
//!
//! - *The reader is first.* The recharge does not get the lock while the reader has it: it does not know, and has everything
//!   forgotten. Later it gets the lock, and its look, a later statement, sees the registration.
//! - *The recharge is first.* The reader waits for its commit, and reads in a later statement: what he registers is the new
//!   value. When he would have to wait long he reads at once, and his answer says `no-store`: gateways keep no copy, and whoever
//!   shared the flight asks for himself.
//! - *A reader joins a flight of his gateway.* He may only while no deletion was heard of since it began. If its answer is
//!   from before a recharge and could be shared, its key was registered, and the recharge had it forgotten.
//! - *This process dies after the commit.* The transaction takes nothing off the register. The next recharge finds the key
//!   there, and the same recharge again, with its idempotency key, has everything forgotten as every replay has.
//! - *A key is taken off while somebody registers it.* It is taken off only after the cache has confirmed that it is gone,
//!   and only in the version that the recharge found. Every registration has a version of its own; those before the one that
//!   was found had the lock before the look, and what they read was forgotten with it.
//! - *The cache did not confirm.* The key stays, and the next recharge tells the cache again, needed or not.
//! - *Deadlocks.* A recharge never waits here: it tries the lock. A reader has one lock, and one row of the register at the
//!   end. Rows that somebody else holds are not taken off.
//! - *Several instances.* All this is in the database; an instance keeps nothing but keys yet to be taken off, and to lose
//!   them costs a call of the cache.
//! - *PostgreSQL crashes, or a standby takes over.* The register is empty, and its mark that it is complete is gone. Somebody
//!   makes a new mark, and until it is older than anything in a cache can be ([`KEPT`]) every recharge has everything
//!   forgotten. The migration makes such a mark in a database that is not new.
//! - *An older version of this service reads and registers nothing.* That is the same: it must have stopped within the hour
//!   that [`KEPT`] has to spare after the migration.
//!
//! An absence (404) is not registered: cards and users are made before anybody can recharge them, not by this service.

use std::time::Duration;

use kit::{Instance, caching::LONGEST_WINDOW, outage::Outage};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::store::{Registration, Store};

/// Longer than any cache serves a value: its freshness, a window past it, and an hour for clocks that disagree. The same is
/// in PostgreSQL, as `travel.longest_cached()`.
pub const KEPT: Duration = Duration::from_secs(2 * LONGEST_WINDOW as u64 + 3600);
/// The most keys that wait to be taken off; the others stay on, which costs a call of the cache.
const WAITING: usize = 8192;
/// The most that are taken off in one call.
const BATCH: usize = 512;
/// The pause after a call, in which others gather.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked whether the register was lost.
const LOOK: Duration = Duration::from_secs(30);

/// Takes keys off the register that no cache holds any more; cheap to clone.
#[derive(Clone)]
pub struct Register(mpsc::Sender<Registration>);

impl Register {
    /// Keeps the register until the shutdown.
    #[must_use]
    pub fn keep(instance: &Instance, store: Store) -> Self {
        let (sender, gone) = mpsc::channel(WAITING);
        instance.spawn(keep(instance.clone(), store, gone));
        Self(sender)
    }

    /// The cache has confirmed that these are gone.
    pub fn unregister(&self, gone: impl IntoIterator<Item = Registration>) {
        for registration in gone {
            if self.0.try_send(registration).is_err() {
                break;
            }
        }
    }
}

async fn keep(instance: Instance, store: Store, mut gone: mpsc::Receiver<Registration>) {
    let shutdown = instance.shutdown();
    let mut outage = Outage::new("keeping the register of cached keys");
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        let result = tokio::select! {
            () = shutdown.requested() => return,
            _ = look.tick() => store.begin_register().await,
            count = gone.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                let done = store.unregister(&batch).await.map(drop);
                batch.clear();
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
                done
            }
        };
        match result {
            Ok(()) => outage.over(),
            Err(error) => outage.failed(&error),
        }
    }
}
