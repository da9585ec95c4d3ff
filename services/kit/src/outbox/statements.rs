//! The statements of a relay on one schema's outbox.

use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

/// How many shards the migrations divide an outbox into.
pub const SHARDS: i32 = 16;

/// Every transaction of this database with a smaller number has ended, and what it committed is seen. A serial number
/// says nothing of the kind: it is drawn long before the commit, so a reader that goes by it passes over those who were
/// slower. Transactions of other databases do not count, where the server says whose they are.
const WATERMARK: &str = "select coalesce(
    (select min(x::text::bigint)::text::xid8 from pg_snapshot_xip(s) x
     where not exists (select from pg_stat_activity a
         where a.backend_xid::text = (x::text::bigint & 4294967295)::text and a.datname <> current_database())),
    pg_snapshot_xmax(s)) as xid
    from pg_current_snapshot() s";

/// An event on its way.
pub struct Entry {
    pub id: i64,
    pub event_id: Uuid,
    pub topic: String,
    pub body: Box<RawValue>,
}

/// Shards that nobody else works on until they are released, and up to which transaction their events may leave.
#[derive(Debug)]
pub struct Hold {
    pub shards: Vec<i32>,
    watermark: String,
}

/// One schema's outbox.
#[derive(Clone)]
pub struct Outbox {
    schema: &'static str,
    hold: Arc<str>,
    read: Arc<str>,
    delivered: Arc<str>,
    refused: Arc<str>,
    failed: Arc<str>,
    measure: Arc<str>,
}

impl Outbox {
    #[must_use]
    pub fn new(schema: &'static str) -> Self {
        let table = format!("{schema}.outbox");
        Self {
            schema,
            // A lock is tried only where the first event may leave; CASE, because the order of AND is not given.
            hold: format!(
                "with watermark as materialized ({WATERMARK})
                 select s.shard, w.xid::text
                 from watermark w, generate_series(0, {SHARDS} - 1) g (n)
                 cross join lateral (select (g.n + $2) % {SHARDS} as shard) s
                 where case when (select o.xid < w.xid from {table} o
                     where o.state = 'pending' and o.shard = s.shard order by o.id limit 1)
                     then pg_try_advisory_lock(hashtext($1), s.shard) end
                 limit $3"
            )
            .into(),
            read: format!(
                "select o.id, o.event_id, o.topic, o.payload || jsonb_build_object('event_id', o.event_id)
                     || case when o.traceparent is null then '{{}}' else jsonb_build_object('traceparent', o.traceparent) end as body
                 from unnest($1::int[]) s (shard)
                 cross join lateral (select * from {table} o
                     where o.state = 'pending' and o.shard = s.shard and o.xid < $2::text::xid8
                     order by o.id limit $3) o
                 order by o.id"
            )
            .into(),
            delivered: format!(
                "update {table} set state = 'delivered', delivered_at = clock_timestamp(), attempts = attempts + 1, \
                 last_error = null where id = any($1) and state = 'pending'"
            )
            .into(),
            refused: format!(
                "update {table} set attempts = attempts + 1, last_error = $2, \
                 state = case when attempts + 1 >= $3 then 'dead' else 'pending' end \
                 where id = $1 and state = 'pending' returning state"
            )
            .into(),
            failed: format!(
                "update {table} set last_error = $2 \
                 where id = any($1) and state = 'pending' and last_error is distinct from $2"
            )
            .into(),
            measure: format!(
                "select (select count(*) from {table} where state = 'pending'), \
                 coalesce((select extract(epoch from clock_timestamp() - min(first.created_at))::float8 \
                     from generate_series(0, {SHARDS} - 1) g (shard) \
                     cross join lateral (select o.created_at from {table} o \
                         where o.state = 'pending' and o.shard = g.shard order by o.id limit 1) first), 0)"
            )
            .into(),
        }
    }

    /// Takes up to `most` shards that have something to send and that nobody else works on, looking from `first` on. They are
    /// this connection's until [`Self::release`], or until it ends.
    pub async fn hold(
        &self,
        connection: &mut PgConnection,
        first: i32,
        most: i64,
    ) -> Result<Option<Hold>, sqlx::Error> {
        let rows: Vec<(i32, String)> = sqlx::query_as(AssertSqlSafe(self.hold.clone()))
            .bind(self.schema)
            .bind(first)
            .bind(most)
            .fetch_all(connection)
            .await?;
        let shards = rows.iter().map(|(shard, _)| *shard).collect();
        let watermark = rows.into_iter().next().map(|(_, watermark)| watermark);
        Ok(watermark.map(|watermark| Hold { shards, watermark }))
    }

    /// The first events of each held shard, up to `most` of each. It is a statement after the one that locked, so that it
    /// sees what the one who held the shard before has marked.
    pub async fn read(
        &self,
        connection: &mut PgConnection,
        hold: &Hold,
        most: i64,
    ) -> Result<Vec<Entry>, sqlx::Error> {
        let rows = sqlx::query(AssertSqlSafe(self.read.clone()))
            .bind(&hold.shards)
            .bind(&hold.watermark)
            .bind(most)
            .fetch_all(connection)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Entry {
                    id: row.try_get("id")?,
                    event_id: row.try_get("event_id")?,
                    topic: row.try_get("topic")?,
                    body: row.try_get("body")?,
                })
            })
            .collect()
    }

    pub async fn release(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("select pg_advisory_unlock_all()")
            .execute(connection)
            .await
            .map(drop)
    }

    /// Marks events as taken by the queue.
    pub async fn delivered(
        &self,
        connection: &mut PgConnection,
        ids: &[i64],
    ) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(self.delivered.clone()))
            .bind(ids)
            .execute(connection)
            .await
            .map(drop)
    }

    /// Counts a refusal; true when it was the last one, and the event is given up.
    pub async fn refused(
        &self,
        connection: &mut PgConnection,
        id: i64,
        reason: &str,
        limit: i32,
    ) -> Result<bool, sqlx::Error> {
        let state: Option<String> = sqlx::query_scalar(AssertSqlSafe(self.refused.clone()))
            .bind(id)
            .bind(reason)
            .bind(limit)
            .fetch_optional(connection)
            .await?;
        Ok(state.as_deref() == Some("dead"))
    }

    /// Notes why events wait.
    pub async fn failed(
        &self,
        connection: &mut PgConnection,
        ids: &[i64],
        reason: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(self.failed.clone()))
            .bind(ids)
            .bind(reason)
            .execute(connection)
            .await
            .map(drop)
    }

    /// How many events are pending, and the seconds since the oldest of them.
    pub async fn measure(&self, pool: &sqlx::PgPool) -> Result<(i64, f64), sqlx::Error> {
        sqlx::query_as(AssertSqlSafe(self.measure.clone()))
            .fetch_one(pool)
            .await
    }
}
