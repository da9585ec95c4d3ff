//! What PostgreSQL says of itself; the columns are there in every version from 15 on.

use sqlx::{FromRow, PgPool};

use super::Reading;

/// The version in which checkpoints got a view of their own.
const CHECKPOINTER: i32 = 170_000;

const FIGURES: &str = "
    SELECT current_setting('server_version_num')::int AS version,
           current_setting('max_connections')::float8 AS connections,
           xact_commit::float8 AS committed, xact_rollback::float8 AS rolled_back,
           blks_hit::float8 AS hit, blks_read::float8 AS read,
           deadlocks::float8 AS deadlocks, temp_bytes::float8 AS temporary,
           pg_database_size(datid)::float8 AS size,
           (SELECT wal_bytes::float8 FROM pg_stat_wal) AS wal,
           (SELECT count(*)::float8 FROM pg_locks WHERE NOT granted) AS waiting,
           (SELECT COALESCE(EXTRACT(EPOCH FROM max(clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest
      FROM pg_stat_database WHERE datname = current_database()";

const STATES: &str = "
    SELECT replace(COALESCE(state, 'unknown'), ' ', '_'), count(*)::float8 FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1 ORDER BY 1";

const CHECKPOINTS: &str = "
    SELECT num_timed::float8, num_requested::float8, write_time::float8, sync_time::float8 FROM pg_stat_checkpointer";

const CHECKPOINTS_BEFORE: &str = "
    SELECT checkpoints_timed::float8, checkpoints_req::float8, checkpoint_write_time::float8, checkpoint_sync_time::float8
      FROM pg_stat_bgwriter";

#[derive(Debug, FromRow)]
struct Figures {
    version: i32,
    connections: f64,
    committed: f64,
    rolled_back: f64,
    hit: f64,
    read: f64,
    deadlocks: f64,
    temporary: f64,
    size: f64,
    wal: f64,
    waiting: f64,
    oldest: f64,
}

pub(super) async fn read(pool: &PgPool) -> Result<Vec<Reading>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let figures: Figures = sqlx::query_as(FIGURES).fetch_one(&mut *connection).await?;
    let states: Vec<(String, f64)> = sqlx::query_as(STATES).fetch_all(&mut *connection).await?;
    let checkpoints = if figures.version < CHECKPOINTER {
        CHECKPOINTS_BEFORE
    } else {
        CHECKPOINTS
    };
    let checkpoints: (f64, f64, f64, f64) = sqlx::query_as(checkpoints)
        .fetch_one(&mut *connection)
        .await?;
    Ok(readings(&figures, states, checkpoints))
}

fn readings(
    figures: &Figures,
    states: Vec<(String, f64)>,
    (timed, requested, write_ms, sync_ms): (f64, f64, f64, f64),
) -> Vec<Reading> {
    let connections = |state, count| {
        Reading::gauge(
            "recarga_postgres_connections",
            "Clients' connections to the database, by state",
            count,
        )
        .of("state", state)
    };
    let transactions = |outcome: &str, count| {
        Reading::counter(
            "recarga_postgres_transactions",
            "Transactions that ended, by outcome",
            count,
        )
        .of("outcome", outcome)
    };
    let blocks = |source: &str, count| {
        Reading::counter(
            "recarga_postgres_blocks",
            "Blocks that were needed: found in PostgreSQL's memory, or read",
            count,
        )
        .of("source", source)
    };
    let checkpoints = |cause: &str, count| {
        Reading::counter(
            "recarga_postgres_checkpoints",
            "Checkpoints, by cause: time, or because much was written",
            count,
        )
        .of("cause", cause)
    };
    let checkpointing = |phase: &str, milliseconds: f64| {
        Reading::counter(
            "recarga_postgres_checkpoint_seconds",
            "Time that checkpoints spent writing, and having it put on disk (fsync)",
            milliseconds / 1000.0,
        )
        .of("phase", phase)
    };
    let needed = figures.hit + figures.read;
    let ratio = if needed > 0.0 {
        figures.hit / needed
    } else {
        1.0
    };
    let mut readings: Vec<Reading> = states
        .into_iter()
        .map(|(state, count)| connections(state, count))
        .collect();
    readings.extend([
        Reading::gauge(
            "recarga_postgres_connections_max",
            "Connections that the server takes (max_connections)",
            figures.connections,
        ),
        transactions("committed", figures.committed),
        transactions("rolled_back", figures.rolled_back),
        blocks("memory", figures.hit),
        blocks("read", figures.read),
        Reading::gauge(
            "recarga_postgres_cache_hit_ratio",
            "Blocks found in PostgreSQL's memory among those needed, since its statistics began, 0 to 1",
            ratio,
        ),
        Reading::gauge(
            "recarga_postgres_locks_waiting",
            "Locks that somebody waits for now",
            figures.waiting,
        ),
        Reading::gauge(
            "recarga_postgres_oldest_transaction_seconds",
            "Age of the oldest open transaction",
            figures.oldest,
        ),
        Reading::counter(
            "recarga_postgres_deadlocks",
            "Deadlocks that PostgreSQL broke",
            figures.deadlocks,
        ),
        Reading::counter(
            "recarga_postgres_temporary_bytes",
            "Bytes written to temporary files because memory was short",
            figures.temporary,
        ),
        Reading::gauge(
            "recarga_postgres_database_bytes",
            "Size of the database on disk",
            figures.size,
        ),
        Reading::counter(
            "recarga_postgres_wal_bytes",
            "Bytes written to the write-ahead log",
            figures.wal,
        ),
        checkpoints("time", timed),
        checkpoints("volume", requested),
        checkpointing("write", write_ms),
        checkpointing("sync", sync_ms),
    ]);
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[sqlx::test]
    async fn a_real_server_tells_all_of_it(pool: PgPool) {
        let readings = read(&pool).await.unwrap();
        let value = |name: &str, label: Option<&str>| {
            let found = readings.iter().find(|reading| {
                reading.name == format!("recarga_postgres_{name}")
                    && reading.label.as_ref().map(|(_, value)| value.as_str()) == label
            });
            found.unwrap_or_else(|| panic!("no {name} {label:?}")).value
        };
        assert!(value("connections", Some("active")) >= 1.0);
        assert!(value("connections_max", None) >= 1.0);
        assert!(value("database_bytes", None) > 1_000_000.0);
        assert!(value("wal_bytes", None) > 0.0);
        assert!((0.0..=1.0).contains(&value("cache_hit_ratio", None)));
        for (name, label) in [
            ("checkpoints", "time"),
            ("checkpoint_seconds", "sync"),
            ("transactions", "committed"),
            ("blocks", "memory"),
        ] {
            assert!(value(name, Some(label)) >= 0.0);
        }
    }

    #[sqlx::test]
    async fn who_holds_a_lock_and_who_waits_for_it_show(pool: PgPool) {
        let mut holder = pool.begin().await.unwrap();
        sqlx::query("SELECT pg_advisory_xact_lock(7)")
            .execute(&mut *holder)
            .await
            .unwrap();
        let (waiting, options) = (pool.clone(), pool.clone());
        let waiter = tokio::spawn(async move {
            let mut waiter = waiting.begin().await.unwrap();
            sqlx::query("SELECT pg_advisory_xact_lock(7)")
                .execute(&mut *waiter)
                .await
                .unwrap();
        });
        crate::testing::eventually("the waiter shows", || async {
            let readings = read(&options).await.unwrap();
            let value = |name: &str| {
                let found = readings.iter().find(|reading| reading.name == name);
                found.unwrap().value
            };
            value("recarga_postgres_locks_waiting") >= 1.0
                && value("recarga_postgres_oldest_transaction_seconds") > 0.0
        })
        .await;
        holder.rollback().await.unwrap();
        waiter.await.unwrap();
    }

    #[test]
    fn a_database_that_was_never_read_has_a_ratio_too() {
        let figures = Figures {
            version: 150_000,
            connections: 1.0,
            committed: 0.0,
            rolled_back: 0.0,
            hit: 0.0,
            read: 0.0,
            deadlocks: 0.0,
            temporary: 0.0,
            size: 0.0,
            wal: 0.0,
            waiting: 0.0,
            oldest: 0.0,
        };
        let readings = readings(&figures, Vec::new(), (0.0, 0.0, 0.0, 0.0));
        assert!(readings.iter().all(|reading| reading.value.is_finite()));
    }
}
