//! Every statement that a verification asks the database, and nothing else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgPool};

/// The most rows that any one question brings: what is beyond is counted elsewhere.
const MOST: i64 = 1_000;

/// What is announced through an outbox: the schema, and the table and the member of the payload that name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub what: &'static str,
    pub schema: &'static str,
    pub table: &'static str,
    pub member: &'static str,
    pub queue: &'static str,
}

pub const RECHARGES: Announced = Announced {
    what: "recharge",
    schema: "travel",
    table: "travel.recharges",
    member: "recharge_id",
    queue: "recharges",
};
pub const BOOKINGS: Announced = Announced {
    what: "booking",
    schema: "tutoring",
    table: "tutoring.bookings",
    member: "booking_id",
    queue: "bookings",
};
pub const TASKS: Announced = Announced {
    what: "task",
    schema: "worker",
    table: "worker.tasks",
    member: "task_id",
    queue: "tasks",
};

/// The newest of each kind when the check began: what comes later is not judged.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Horizon {
    /// Recharges up to this one came with the city.
    pub seeded_recharge: i64,
    pub recharge: i64,
    pub booking: i64,
    pub task: i64,
}

/// What has not come to its end yet.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Open {
    pub recharges: i64,
    pub bookings: i64,
    pub tasks: i64,
    pub pending: i64,
}

/// One table that a lab has and this database has not.
pub async fn missing_table(pool: &PgPool) -> Result<Option<&'static str>, sqlx::Error> {
    for table in [
        "travel.ledger_entries",
        "tutoring.bookings",
        "notification.notifications",
        "worker.tasks",
    ] {
        let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(table)
            .fetch_one(pool)
            .await?;
        if !there {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

pub async fn horizon(pool: &PgPool) -> Result<Horizon, sqlx::Error> {
    sqlx::query_as(
        "select coalesce((select max(last_recharge_id) from travel.seed_runs), 0) as seeded_recharge,
                coalesce((select max(id) from travel.recharges), 0) as recharge,
                coalesce((select max(id) from tutoring.bookings), 0) as booking,
                coalesce((select max(id) from worker.tasks), 0) as task",
    )
    .fetch_one(pool)
    .await
}

pub async fn open(pool: &PgPool, horizon: &Horizon) -> Result<Open, sqlx::Error> {
    sqlx::query_as(
        "select (select count(*) from travel.recharges r where r.id > $1 and r.id <= $2
                    and not exists (select from notification.notifications n
                        where n.recharge_id = r.id and n.state <> 'pending')) as recharges,
                (select count(*) from tutoring.bookings b where b.id <= $3
                    and not exists (select from notification.notifications n
                        where n.booking_id = b.id and n.state <> 'pending')) as bookings,
                (select count(*) from worker.tasks t where t.id <= $4
                    and t.state in ('queued', 'processing')) as tasks,
                (select count(*) from travel.outbox where state = 'pending')
                    + (select count(*) from tutoring.outbox where state = 'pending')
                    + (select count(*) from worker.outbox where state = 'pending') as pending",
    )
    .bind(horizon.seeded_recharge)
    .bind(horizon.recharge)
    .bind(horizon.booking)
    .bind(horizon.task)
    .fetch_one(pool)
    .await
}

/// Ids without a notification, in order, and how many had to have one.
pub async fn unnotified(
    pool: &PgPool,
    kind: Announced,
    from: i64,
    to: i64,
) -> Result<(Vec<i64>, i64), sqlx::Error> {
    let (table, member) = (kind.table, kind.member);
    let missing = format!(
        "select s.id from {table} s where s.id > $1 and s.id <= $2 and not exists
            (select from notification.notifications n where n.{member} = s.id and n.state <> 'pending')
         order by s.id limit {MOST}"
    );
    let missing = sqlx::query_scalar(AssertSqlSafe(missing))
        .bind(from)
        .bind(to)
        .fetch_all(pool)
        .await?;
    let all = format!("select count(*) from {table} s where s.id > $1 and s.id <= $2");
    let all = sqlx::query_scalar(AssertSqlSafe(all))
        .bind(from)
        .bind(to)
        .fetch_one(pool)
        .await?;
    Ok((missing, all))
}

/// Notifications that should not be as they are: about nothing, or failed.
pub async fn odd_notifications(pool: &PgPool) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select n.id, case when n.state = 'failed' then 'could not be sent'
                else 'is about a ' || n.kind || ' that does not exist' end
         from notification.notifications n
         where n.state = 'failed'
            or (n.booking_id is not null and not exists (select from tutoring.bookings b where b.id = n.booking_id))
            or (n.recharge_id is not null and not exists (select from travel.recharges r where r.id = n.recharge_id))
         order by n.id limit {MOST}"
    )))
    .fetch_all(pool)
    .await
}

/// Bookings and recharges with more than one notification, or one that was sent more than once. (Attempts of channels that lead
/// out of the system may fail and be repeated; those that only write a line do not.)
pub async fn doubled_notifications(pool: &PgPool) -> Result<Vec<(String, i64, i64)>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select n.kind, coalesce(n.booking_id, n.recharge_id) as id, greatest(count(*), max(n.attempts)
             filter (where coalesce(to_jsonb(n) ->> 'channel', 'log') = 'log'))::bigint as times
         from notification.notifications n group by 1, 2
         having count(*) > 1
             or max(n.attempts) filter (where coalesce(to_jsonb(n) ->> 'channel', 'log') = 'log') > 1
         order by 1, 2 limit {MOST}"
    )))
    .fetch_all(pool)
    .await
}

pub async fn overlaps(pool: &PgPool) -> Result<Vec<(i64, i64, i64)>, sqlx::Error> {
    sqlx::query_as("select tutor_id, booking_id, other_id from tutoring.overlapping_bookings()")
        .fetch_all(pool)
        .await
}

pub async fn count(pool: &PgPool, table: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(pool)
        .await
}

/// Tasks that have not ended, with their state and reason.
pub async fn open_tasks(
    pool: &PgPool,
    to: i64,
) -> Result<Vec<(i64, String, Option<String>)>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select id, state, reason from worker.tasks
         where id <= $1 and (state in ('queued', 'processing') or (state = 'failed' and coalesce(reason, '') = ''))
         order by id limit {MOST}"
    )))
    .bind(to)
    .fetch_all(pool)
    .await
}

/// How tasks ended: completed, failed.
pub async fn ended_tasks(pool: &PgPool, to: i64) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "select count(*) filter (where state = 'completed'), count(*) filter (where state = 'failed')
         from worker.tasks where id <= $1",
    )
    .bind(to)
    .fetch_one(pool)
    .await
}

/// Those of the ids that exist.
pub async fn existing(
    pool: &PgPool,
    kind: Announced,
    ids: &[i64],
) -> Result<Vec<i64>, sqlx::Error> {
    let table = kind.table;
    sqlx::query_scalar(AssertSqlSafe(format!(
        "select id from {table} where id = any($1)"
    )))
    .bind(ids)
    .fetch_all(pool)
    .await
}

/// A booking as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub struct Booking {
    pub id: i64,
    pub tutor_id: i64,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

pub async fn bookings(pool: &PgPool, ids: &[i64]) -> Result<BTreeMap<i64, Booking>, sqlx::Error> {
    let rows: Vec<Booking> = sqlx::query_as(
        "select id, tutor_id, starts_at, ends_at from tutoring.bookings where id = any($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// What an outbox says: everything that had to be announced, and its events by state. One statement, so that it holds
/// while others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    pub announced: i64,
    pub delivered: i64,
    pub pending: i64,
    pub dead: i64,
}

pub async fn account(pool: &PgPool, kind: Announced) -> Result<Account, sqlx::Error> {
    let (schema, table) = (kind.schema, kind.table);
    let from = if kind == RECHARGES {
        "coalesce((select max(last_recharge_id) from travel.seed_runs), 0)"
    } else {
        "0"
    };
    let announced = format!("(select count(*) from {table} s where s.id > {from})");
    // Where delivered events are not kept for ever, this view goes on counting them.
    let counted: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("{schema}.outbox_account"))
        .fetch_one(pool)
        .await?;
    let statement = if counted {
        format!(
            "select {announced} as announced, coalesce(sum(delivered), 0)::bigint as delivered,
                    coalesce(sum(pending), 0)::bigint as pending, coalesce(sum(dead), 0)::bigint as dead
             from {schema}.outbox_account"
        )
    } else {
        format!(
            "select {announced} as announced,
                    count(*) filter (where state = 'delivered') as delivered,
                    count(*) filter (where state = 'pending') as pending,
                    count(*) filter (where state = 'dead') as dead
             from {schema}.outbox"
        )
    };
    sqlx::query_as(AssertSqlSafe(statement))
        .fetch_one(pool)
        .await
}

/// What was announced to nobody: no event, in whatever state, names it. Empty when delivered events are not kept.
pub async fn dead_events(
    pool: &PgPool,
    kind: Announced,
) -> Result<Vec<(String, Option<i64>, Option<String>)>, sqlx::Error> {
    let (schema, member) = (kind.schema, kind.member);
    sqlx::query_as(AssertSqlSafe(format!(
        "select event_id::text, (payload ->> '{member}')::bigint, last_error from {schema}.outbox
         where state = 'dead' order by id limit {MOST}"
    )))
    .fetch_all(pool)
    .await
}

/// Where the outbox has the events of these: state and last error by id.
pub async fn in_outbox(
    pool: &PgPool,
    kind: Announced,
    ids: &[i64],
) -> Result<BTreeMap<i64, (String, Option<String>)>, sqlx::Error> {
    let (schema, member) = (kind.schema, kind.member);
    let rows: Vec<(i64, String, Option<String>)> = sqlx::query_as(AssertSqlSafe(format!(
        "select (payload ->> '{member}')::bigint, state, last_error from {schema}.outbox
         where (payload ->> '{member}')::bigint = any($1)"
    )))
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, state, error)| (id, (state, error)))
        .collect())
}

/// A recharge as it is stored, with how often it is in the ledger.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Recharge {
    pub id: i64,
    pub card_id: i64,
    pub amount: i64,
    pub entries: i64,
}

pub async fn recharges(pool: &PgPool, ids: &[i64]) -> Result<BTreeMap<i64, Recharge>, sqlx::Error> {
    let rows: Vec<Recharge> = sqlx::query_as(
        "select r.id, r.card_id, r.amount, (select count(*) from travel.ledger_entries e
             where e.kind = 'recharge' and e.reference = r.id and e.amount = r.amount) as entries
         from travel.recharges r where r.id = any($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// A card's recharges after the given one.
pub async fn recharges_of(
    pool: &PgPool,
    card: i64,
    after: i64,
) -> Result<Vec<(i64, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select id, amount from travel.recharges where card_id = $1 and id > $2 order by id",
    )
    .bind(card)
    .bind(after)
    .fetch_all(pool)
    .await
}

/// Claims of recharges whose recharge is missing, and recharges that two claims name.
pub async fn claim_discrepancies(pool: &PgPool) -> Result<Vec<(String, i64, i64)>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select min(c.key), (c.reply ->> 'recharge_id')::bigint, count(*)
         from travel.idempotency_claims c
         left join travel.recharges r on r.id = (c.reply ->> 'recharge_id')::bigint
         where c.route = 'recharge' and c.outcome = 'created'
         group by 2 having count(*) > 1 or count(r.id) = 0 order by 2 limit {MOST}"
    )))
    .fetch_all(pool)
    .await
}

/// Movements without their ledger row, and ledger rows without their movement.
pub async fn ledger_discrepancies(pool: &PgPool) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("select kind, reference from travel.ledger_discrepancies()")
        .fetch_all(pool)
        .await
}

/// Card, balance, what it should be by its movements, and by the ledger.
pub async fn card_discrepancies(
    pool: &PgPool,
) -> Result<Vec<(i64, i64, i64, Option<i64>)>, sqlx::Error> {
    sqlx::query_as(
        "select card_id, balance, expected_balance, ledger_balance from travel.card_discrepancies()",
    )
    .fetch_all(pool)
    .await
}

pub async fn ledger_sum(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select travel.ledger_sum()")
        .fetch_one(pool)
        .await
}

/// Active cards that nobody is likely to use: the last ones.
pub async fn quiet_cards(pool: &PgPool, count: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select id from travel.cards where status = 'active' order by id desc limit $1",
    )
    .bind(count)
    .fetch_all(pool)
    .await
}
