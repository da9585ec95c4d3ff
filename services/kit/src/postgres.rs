//! PostgreSQL: a lazy pool that survives the server's absence, and the check that reports it.

use std::{str::FromStr, time::Duration};

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
const CHECK: Duration = Duration::from_secs(1);

/// A pool that connects when first used, with a background check named `postgres`.
pub fn connect(instance: &Instance, args: &DatabaseArgs) -> Result<PgPool, Error> {
    let options = PgConnectOptions::from_str(&args.database_url.0)
        .map_err(|error| Error::config("RECARGA_DATABASE_URL (--database-url)", error))?
        .application_name(instance.name())
        .options([
            ("statement_timeout", "10000"),
            ("idle_in_transaction_session_timeout", "10000"),
        ]);
    let pool = PgPoolOptions::new()
        .max_connections(args.database_connections)
        .acquire_timeout(ACQUIRE)
        // A round trip per request otherwise; a broken connection is dropped when it fails.
        .test_before_acquire(false)
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options);
    watch(instance, pool.clone());
    Ok(pool)
}

/// Reports the `postgres` check of a pool until the shutdown.
pub fn watch(instance: &Instance, pool: PgPool) {
    let watched = instance.clone();
    instance.spawn(async move {
        loop {
            let answer = tokio::time::timeout(
                Duration::from_secs(2),
                sqlx::query("SELECT 1").execute(&pool),
            )
            .await;
            watched.set_check("postgres", matches!(answer, Ok(Ok(_))));
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
