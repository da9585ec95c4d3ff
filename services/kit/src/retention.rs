//! Forgets old idempotency keys and delivered events, a few pages at a time.
//!
//! A sweep goes through a table by its pages from the beginning to the end, and begins again after a pause. A step reads and
//! locks little however large the table is, writes pay for no index, and one instance steps at a time.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;
use rand::RngExt;
use sqlx::{AssertSqlSafe, PgPool};

use crate::{Instance, outage::Outage, postgres};

/// How many pages of 8 KiB one step goes through.
const PAGES: i64 = 64;
/// The pause after a step.
const STEP: Duration = Duration::from_millis(250);
/// The pause after a sweep that has reached the end.
const SWEEP: Duration = Duration::from_mins(1);

/// How long things are kept.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Retention {
    /// How many hours the answer to an Idempotency-Key is kept, at least; after that the key counts as new.
    #[arg(long, env = "RECARGA_KEY_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(24..=8760))]
    pub key_hours: u32,
    /// How many minutes a delivered event stays in the outbox, at least; it stays counted.
    #[arg(long, env = "RECARGA_EVENT_MINUTES", default_value_t = 1440, value_parser = clap::value_parser!(u32).range(1..=525_600))]
    pub event_minutes: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            key_hours: 24,
            event_minutes: 24 * 60,
        }
    }
}

/// Sweeps a schema's keys and events until the shutdown.
pub fn keep(instance: &Instance, pool: &PgPool, schema: &'static str, retention: Retention) {
    let keys = Counter::default();
    let events = Counter::default();
    instance.metrics().register(|registry| {
        registry.register(
            "recarga_retention_keys",
            "Idempotency keys this instance forgot because of their age",
            keys.clone(),
        );
        registry.register(
            "recarga_retention_events",
            "Delivered events this instance deleted because of their age",
            events.clone(),
        );
    });
    let tables = [
        Table::keys(schema, retention, keys),
        Table::events(schema, retention, events),
    ];
    for table in tables {
        instance.spawn(sweep(instance.clone(), pool.clone(), table));
    }
}

/// Another table whose rows are deleted when they are old.
#[derive(Clone, Copy, Debug)]
pub struct Aged {
    /// With its schema.
    pub name: &'static str,
    /// The time that counts.
    pub column: &'static str,
    pub age: Duration,
    /// The name of the counter, and what it counts.
    pub metric: &'static str,
    pub help: &'static str,
}

/// Sweeps one more table until the shutdown.
pub fn keep_also(instance: &Instance, pool: &PgPool, aged: Aged) {
    let deleted = Counter::default();
    instance
        .metrics()
        .register(|registry| registry.register(aged.metric, aged.help, deleted.clone()));
    let seconds = aged.age.as_secs_f64();
    let table = Table::aged(aged.name.to_owned(), aged.column, seconds, deleted);
    instance.spawn(sweep(instance.clone(), pool.clone(), table));
}

/// One table that is swept.
struct Table {
    name: String,
    /// Deletes what is old in pages $1 to $2, older than $3 seconds; gives how many.
    delete: Arc<str>,
    seconds: f64,
    deleted: Counter,
}

impl Table {
    fn keys(schema: &str, retention: Retention, deleted: Counter) -> Self {
        let seconds = f64::from(retention.key_hours) * 3600.0;
        let name = format!("{schema}.idempotency_claims");
        Self::aged(name, "created_at", seconds, deleted)
    }

    fn aged(name: String, column: &str, seconds: f64, deleted: Counter) -> Self {
        Self {
            delete: format!(
                "with gone as (
                     delete from {name} where {} and {column} < clock_timestamp() - make_interval(secs => $3)
                     returning 1)
                 select count(*) from gone",
                pages(&name)
            )
            .into(),
            name,
            seconds,
            deleted,
        }
    }

    fn events(schema: &str, retention: Retention, deleted: Counter) -> Self {
        let name = format!("{schema}.outbox");
        Self {
            delete: format!(
                "with gone as (
                     delete from {name}
                     where {} and state = 'delivered' and delivered_at < clock_timestamp() - make_interval(secs => $3)
                     returning topic
                 ), counted as (
                     insert into {schema}.outbox_pruned as p (topic, events) select topic, count(*) from gone group by topic
                     on conflict (topic) do update set events = p.events + excluded.events
                 )
                 select count(*) from gone",
                pages(&name)
            )
            .into(),
            name,
            seconds: f64::from(retention.event_minutes) * 60.0,
            deleted,
        }
    }

    async fn length(&self, pool: &PgPool) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "select pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint",
        )
        .bind(&self.name)
        .fetch_one(pool)
        .await
    }

    async fn step(
        &self,
        instance: &Instance,
        pool: &PgPool,
        page: i64,
    ) -> Result<i64, sqlx::Error> {
        let mut connection = postgres::acquire(instance, pool).await?;
        sqlx::query_scalar(AssertSqlSafe(self.delete.clone()))
            .bind(page)
            .bind(page + PAGES)
            .bind(self.seconds)
            .fetch_one(&mut *connection)
            .await
    }
}

/// A range of pages, for one transaction at a time: nothing while another one sweeps this table.
fn pages(table: &str) -> String {
    format!(
        "(select pg_try_advisory_xact_lock(hashtextextended('{table}', 1)))
         and ctid >= format('(%s,0)', $1::bigint)::tid and ctid < format('(%s,0)', $2::bigint)::tid"
    )
}

async fn sweep(instance: Instance, pool: PgPool, table: Table) {
    let mut outage = Outage::new("deleting what is too old");
    let mut page = 0;
    let mut length = 0;
    loop {
        let step = async {
            if page >= length {
                page = 0;
                length = table.length(&pool).await?;
            }
            table.step(&instance, &pool, page).await
        };
        let pause = match step.await {
            Ok(deleted) => {
                outage.over();
                table.deleted.inc_by(deleted.unsigned_abs());
                page += PAGES;
                if page < length { STEP } else { SWEEP }
            }
            Err(error) => {
                outage.failed(&error);
                SWEEP
            }
        };
        // Instances that were started together do not step together.
        let pause = pause.mul_f64(rand::rng().random_range(0.75..1.25));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = instance.shutdown().requested() => return,
        }
    }
}
