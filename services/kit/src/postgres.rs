//! PostgreSQL: a lazy pool that survives the server's absence, and the check that reports it.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{
    Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

use crate::{DatabaseArgs, Error, Instance};

/// How long a request waits for a connection: a full or absent database is told soon.
const ACQUIRE: Duration = Duration::from_secs(2);
/// How long it waits when the last check found the server away.
const ACQUIRE_WHEN_AWAY: Duration = Duration::from_millis(100);
/// How often the server is asked whether it is there.
const CHECK: Duration = Duration::from_millis(500);

/// A pool that connects when first used, with a background check named `postgres`.
pub fn connect(instance: &Instance, args: &DatabaseArgs) -> Result<PgPool, Error> {
    let options = PgConnectOptions::from_str(&args.database_url.0)
        .map_err(|error| Error::config("RECARGA_DATABASE_URL (--database-url)", error))?
        .application_name(instance.name())
        .options([
            ("statement_timeout", "10000"),
            ("idle_in_transaction_session_timeout", "5000"),
        ]);
    // Its own connection: a busy pool is not an absent server, and one that broke tells of a restart.
    let checked = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .connect_lazy_with(options.clone());
    let outage = Outage::default();
    watch_outages(instance, checked, outage.clone());
    Ok(PgPoolOptions::new()
        .max_connections(args.database_connections)
        .acquire_timeout(ACQUIRE)
        // A round trip per request otherwise; connections from before an outage are known to be broken without it.
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let sound = !outage.came_after(Instant::now().checked_sub(connection.age));
            Box::pin(async move { Ok(sound) })
        })
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options))
}

/// When the server was last seen away.
#[derive(Clone, Debug, Default)]
struct Outage(Arc<Mutex<Option<Instant>>>);

impl Outage {
    fn seen(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether the server was away after that moment; `None` is before everything.
    fn came_after(&self, moment: Option<Instant>) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| moment.is_none_or(|moment| moment < last))
    }
}

/// Reports the `postgres` check through a pool until the shutdown.
pub fn watch(instance: &Instance, pool: PgPool) {
    watch_outages(instance, pool, Outage::default());
}

fn watch_outages(instance: &Instance, pool: PgPool, outage: Outage) {
    let watched = instance.clone();
    instance.spawn(async move {
        loop {
            let answer = tokio::time::timeout(
                Duration::from_secs(2),
                sqlx::query("SELECT 1").execute(&pool),
            )
            .await;
            let up = matches!(answer, Ok(Ok(_)));
            if !up {
                outage.seen(Instant::now());
            }
            watched.set_check("postgres", up);
            tokio::select! {
                () = tokio::time::sleep(CHECK) => {}
                () = watched.shutdown().requested() => break,
            }
        }
    });
}

/// A connection of the pool. While the server is known to be away the wait is short: it fails fast, yet notices the
/// server's return before the next check does.
pub async fn acquire(
    instance: &Instance,
    pool: &PgPool,
) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    if instance.check("postgres") {
        return pool.acquire().await;
    }
    tokio::time::timeout(ACQUIRE_WHEN_AWAY, pool.acquire())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Whether an error means that the server is away, overloaded or going, rather than that the query is wrong.
#[must_use]
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // 08 connection, 53 resources, 57P operator intervention (shutdown, crash, cannot connect now); a statement or
        // lock that took too long, and a transaction that had to yield to another.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || matches!(&*code, "57014" | "55P03" | "40001" | "40P01")
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_an_outage_are_known() {
        let outage = Outage::default();
        let start = Instant::now();
        assert!(!outage.came_after(Some(start)));
        outage.seen(start + Duration::from_secs(5));
        assert!(outage.came_after(Some(start)));
        assert!(outage.came_after(None));
        assert!(!outage.came_after(Some(start + Duration::from_secs(6))));
    }
}
