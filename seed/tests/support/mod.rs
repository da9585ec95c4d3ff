//! What the tests of the stored functions share: a small world, and one way to call a write.
#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::Value;
use sqlx::PgPool;

/// What a write answered.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub outcome: String,
    pub reply: Value,
    pub replayed: bool,
}

impl Answer {
    pub fn number(&self, field: &str) -> i64 {
        self.reply[field]
            .as_i64()
            .unwrap_or_else(|| panic!("{field} in {self:?}"))
    }
}

/// Two users; cards 1 (10,000), 2 (3,600) and 3 (blocked); stations 1 to 4 in two zones; route 1 over stations 1 to 3,
/// route 2 a free feeder from 1 to 4; one tutor, one student.
pub async fn world(pool: &PgPool) {
    sqlx::raw_sql(
        "insert into travel.localities (code, name) values ('A', 'Caracas'), ('B', 'AutoNorte'), ('C', 'Suba');
         insert into travel.stations (name, kind, locality_id) values
             ('Portal Norte', 'portal', 2), ('Calle 100', 'station', 2), ('Calle 76', 'station', 1), ('Verbenal', 'stop', 2);
         insert into travel.fares values ('troncal', 3550), ('feeder', 0);
         insert into travel.routes (code, name, kind, fare, headway_minutes, first_departure, last_departure) values
             ('1', 'Portal Norte - Calle 76', 'troncal', 3550, 10, '05:00', '23:00'),
             ('2-1', 'Portal Norte - Verbenal', 'feeder', 0, 15, '05:00', '23:30');
         insert into travel.route_stations values (1, 1, 1, 0), (1, 2, 2, 20), (1, 3, 3, 40), (2, 1, 1, 0), (2, 2, 4, 10);
         insert into travel.recharge_points (name, locality_id) values ('Taquilla Portal Norte', 2);
         insert into travel.users (username, full_name, last_active_at) values
             ('student1', 'Valentina Rojas', '2026-01-01'), ('student2', 'Samuel Vega', '2026-01-01');
         insert into travel.cards (user_id, status, opening_balance, balance) values
             (1, 'active', 10000, 10000), (2, 'active', 3600, 3600), (2, 'blocked', 0, 0);
         insert into tutoring.subjects (name) values ('Math');
         insert into tutoring.tutors (name, subject, rating) values ('Laura Peña', 'Math', 4.5);
         insert into tutoring.students (name, username) values ('Valentina Rojas', 'student1');",
    )
    .execute(pool)
    .await
    .unwrap();
}

async fn answer<'e>(
    executor: impl sqlx::PgExecutor<'e>,
    query: sqlx::query::QueryAs<
        'e,
        sqlx::Postgres,
        (String, Value, bool),
        sqlx::postgres::PgArguments,
    >,
) -> sqlx::Result<Answer> {
    let (outcome, reply, replayed) = query.fetch_one(executor).await?;
    Ok(Answer {
        outcome,
        reply,
        replayed,
    })
}

/// A key and the hash of a body, as a caller named "u" sends them.
pub type Claim = Option<(&'static str, u8)>;

pub async fn recharge<'e>(
    executor: impl sqlx::PgExecutor<'e>,
    claim: Claim,
    card: i64,
    amount: i64,
    point: Option<i64>,
) -> sqlx::Result<Answer> {
    let query = sqlx::query_as("select * from travel.recharge('u', $1, $2, $3, $4, $5)")
        .bind(claim.map(|claim| claim.0))
        .bind(claim.map(|claim| vec![claim.1]))
        .bind(card)
        .bind(amount)
        .bind(point);
    answer(executor, query).await
}

pub async fn board<'e>(
    executor: impl sqlx::PgExecutor<'e>,
    claim: Claim,
    card: i64,
    route: i64,
    station: i64,
) -> Answer {
    let query = sqlx::query_as("select * from travel.board('u', $1, $2, $3, $4, $5)")
        .bind(claim.map(|claim| claim.0))
        .bind(claim.map(|claim| vec![claim.1]))
        .bind(card)
        .bind(route)
        .bind(station);
    answer(executor, query).await.unwrap()
}

pub async fn end_trip<'e>(
    executor: impl sqlx::PgExecutor<'e>,
    claim: Claim,
    trip: i64,
    station: i64,
) -> Answer {
    let query = sqlx::query_as("select * from travel.end_trip('u', $1, $2, $3, $4)")
        .bind(claim.map(|claim| claim.0))
        .bind(claim.map(|claim| vec![claim.1]))
        .bind(trip)
        .bind(station);
    answer(executor, query).await.unwrap()
}

/// `starts_at` is SQL-readable, such as `2030-01-01 10:00Z`.
pub async fn book<'e>(
    executor: impl sqlx::PgExecutor<'e>,
    claim: Claim,
    student: i64,
    tutor: i64,
    starts_at: Option<&'static str>,
    minutes: i32,
) -> sqlx::Result<Answer> {
    let query = sqlx::query_as(
        "select * from tutoring.book('u', $1, $2, $3, $4, $5::text::timestamptz, $6)",
    )
    .bind(claim.map(|claim| claim.0))
    .bind(claim.map(|claim| vec![claim.1]))
    .bind(student)
    .bind(tutor)
    .bind(starts_at)
    .bind(minutes);
    answer(executor, query).await
}

pub async fn submit<'e>(executor: impl sqlx::PgExecutor<'e>, claim: Claim, task: Value) -> Answer {
    let query = sqlx::query_as("select * from worker.submit('u', $1, $2, $3)")
        .bind(claim.map(|claim| claim.0))
        .bind(claim.map(|claim| vec![claim.1]))
        .bind(task);
    answer(executor, query).await.unwrap()
}

pub async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

/// Everything that must always hold, holds.
pub async fn assert_sound(pool: &PgPool) {
    assert_eq!(number(pool, "select travel.ledger_sum()").await, 0);
    assert_eq!(
        number(pool, "select count(*) from travel.card_discrepancies()").await,
        0
    );
    assert_eq!(
        number(pool, "select count(*) from travel.ledger_discrepancies()").await,
        0
    );
    assert_eq!(
        number(pool, "select count(*) from tutoring.overlapping_bookings()").await,
        0
    );
}
