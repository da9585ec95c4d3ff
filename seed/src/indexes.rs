//! Takes the indexes and foreign keys off the large tables while they are filled, and puts the same ones back.
//!
//! Sorting once is several times cheaper than inserting in random order a million times. What is taken off is read from the
//! catalogue, so this never disagrees with the migrations; and it all happens in the seeding transaction, so that a failure
//! leaves them where they were.

use sqlx::{AssertSqlSafe, PgConnection};

pub const LARGE: [&str; 3] = ["travel.recharges", "travel.trips", "travel.ledger_entries"];

/// Statements that restore what was taken off, unique indexes before the foreign keys.
pub struct TakenOff(Vec<String>);

pub async fn take_off(connection: &mut PgConnection) -> sqlx::Result<TakenOff> {
    // Primary keys stay: their numbers only grow, so they are cheap to keep.
    let found: Vec<(String, String)> = sqlx::query_as(
        "select * from (
             select format('drop index %s', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid)
             from pg_index i
             where i.indrelid = any ($1::text[]::regclass[])
               and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.conrelid = i.indrelid)
             order by i.indexrelid) indexes
         union all
         select * from (
             select format('alter table %s drop constraint %I', c.conrelid::regclass, c.conname),
                    format('alter table %s add constraint %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
             from pg_constraint c
             where c.conrelid = any ($1::text[]::regclass[]) and c.contype in ('u', 'f')
             order by c.contype desc, c.oid) constraints",
    )
    .bind(LARGE.as_slice())
    .fetch_all(&mut *connection)
    .await?;
    let mut restore = Vec::with_capacity(found.len());
    for (take_off, put_back) in found {
        sqlx::raw_sql(AssertSqlSafe(take_off))
            .execute(&mut *connection)
            .await?;
        restore.push(put_back);
    }
    Ok(TakenOff(restore))
}

impl TakenOff {
    /// Puts everything back; `done` is told how many of how many are.
    pub async fn put_back(
        self,
        connection: &mut PgConnection,
        mut done: impl FnMut(u64, u64) + Send,
    ) -> sqlx::Result<()> {
        let total = self.0.len() as u64;
        for (index, statement) in (1..).zip(self.0) {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *connection)
                .await?;
            done(index, total);
        }
        Ok(())
    }
}
