//! A standby that takes long reads off the primary, and is never asked before it has what a reader may expect.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
};
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

use crate::{Error, Instance, config::Secret};

/// How long a reader waits for the standby to catch up, before it asks the primary after all.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long nobody waits for it again after that.
const REST: Duration = Duration::from_millis(500);
/// How long it waits between two looks, at first.
const LOOK: Duration = Duration::from_millis(1);

/// The way to a standby; cheap to clone.
#[derive(Clone)]
pub struct Replica {
    pool: PgPool,
    is_up: Arc<AtomicBool>,
    /// Until when it is taken to be behind.
    behind_until: Arc<Mutex<Option<Instant>>>,
    reads: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    answer: Answer,
}

/// Who answered a read that a standby may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
enum Answer {
    replica,
    primary_behind,
    primary_away,
}

impl Replica {
    /// Connects when first used. Its absence is no reason to be unready.
    pub fn connect(instance: &Instance, url: &Secret, connections: u32) -> Result<Self, Error> {
        let setting = "RECARGA_DATABASE_REPLICA_URL (--database-replica-url)";
        let (pool, watch) = super::watched(instance, None, setting, &url.0, connections)?;
        let is_up = watch.is_up.clone();
        instance.spawn(watch.keep(instance.clone()));
        let reads = Family::default();
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_database_replica_reads",
                "Reads that the standby may answer, by who did: the replica, or the primary because the replica was behind or away",
                reads.clone(),
            );
        });
        Ok(Self {
            pool,
            is_up,
            behind_until: Arc::default(),
            reads,
        })
    }

    /// Whether it may be of use now: it is there, and was not behind a moment ago.
    #[must_use]
    pub fn may_answer(&self) -> bool {
        let why_not = if !self.is_up.load(Ordering::Acquire) {
            Answer::primary_away
        } else if self.behind().is_some_and(|until| Instant::now() < until) {
            Answer::primary_behind
        } else {
            return true;
        };
        self.count(why_not);
        false
    }

    /// A point of the primary's log after everything that was answered by now: that is on the primary's disk.
    pub async fn point(primary: &mut PgConnection) -> Result<String, sqlx::Error> {
        sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
            .fetch_one(primary)
            .await
    }

    /// A connection to the standby that sees everything before a point; none when it does not get there soon.
    pub async fn caught_up(&self, point: &str) -> Option<PoolConnection<Postgres>> {
        let found = tokio::time::timeout(PATIENCE, self.at(point)).await;
        match found {
            Ok(Ok(connection)) => {
                self.count(Answer::replica);
                Some(connection)
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the replica cannot be asked");
                self.count(Answer::primary_away);
                None
            }
            Err(_) => {
                *self.behind() = Some(Instant::now() + REST);
                self.count(Answer::primary_behind);
                None
            }
        }
    }

    fn behind(&self) -> MutexGuard<'_, Option<Instant>> {
        self.behind_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn at(&self, point: &str) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let mut pause = LOOK;
        loop {
            // Nothing where there is no recovery: it is a primary by now, and not of ours.
            let there: Option<bool> =
                sqlx::query_scalar("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn")
                    .bind(point)
                    .fetch_one(&mut *connection)
                    .await?;
            match there {
                Some(true) => return Ok(connection),
                Some(false) => tokio::time::sleep(pause).await,
                None => return Err(sqlx::Error::PoolClosed),
            }
            pause = (pause * 2).min(LOOK * 16);
        }
    }

    fn count(&self, answer: Answer) {
        self.reads.get_or_create(&Labels { answer }).inc();
    }
}
