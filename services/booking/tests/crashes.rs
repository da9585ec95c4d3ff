//! A booking dies right before and right after each of its steps; nothing of it is left, and repeated it happens once.
#![expect(clippy::unwrap_used, reason = "a test")]

use futures::future::join_all;
use kit::testing::{Process, database_url};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

async fn run(pool: &PgPool, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(pool)
        .await
        .unwrap();
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

const KEPT: &str =
    "select (select count(*) from tutoring.bookings) + (select count(*) from tutoring.outbox)
    + (select count(*) from tutoring.idempotency_claims)
    + (select count(*) from tutoring.tutors where full_until > now() + interval '1 day')";

#[sqlx::test(migrations = "../../migrations")]
async fn a_booking_dies_at_every_step(pool: PgPool) {
    run(
        &pool,
        "insert into tutoring.subjects (name) values ('Math');
         insert into tutoring.tutors (name, subject, rating) values ('Luis', 'Math', 4.5), ('Eva', 'Math', 4.9);
         insert into tutoring.students (name) values ('Ana'), ('Juan')"
            .to_owned(),
    )
    .await;
    // Nobody listens there: the outbox waits.
    let flags = [
        "--database-url",
        &database_url(&pool),
        "--queue",
        "127.0.0.1:9",
    ];
    let booking = Process::start("booking-1", &flags, booking::run);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/book", booking.public);
    let mut round = 0;
    for (event, table) in [
        ("update", "tutoring.tutors"),
        ("insert", "tutoring.bookings"),
        ("insert", "tutoring.outbox"),
        ("insert", "tutoring.idempotency_claims"),
    ] {
        for moment in ["before", "after", "commit"] {
            for how in [
                "raise exception 'aborted here'",
                "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10)",
            ] {
                round += 1;
                let what = format!("{how} at {moment} {event} {table}");
                run(
                    &pool,
                    format!(
                        "create or replace function public.die() returns trigger language plpgsql as $$
                         begin {how}; return new; end $$"
                    ),
                )
                .await;
                let trigger = if moment == "commit" {
                    format!(
                        "create constraint trigger die after {event} on {table} deferrable initially deferred
                         for each row execute function public.die()"
                    )
                } else {
                    format!(
                        "create trigger die {moment} {event} on {table} for each row execute function public.die()"
                    )
                };
                run(&pool, trigger).await;
                let call = |number: usize| {
                    let body = json!({"student_id": 1 + number % 2, "tutor_id": 1 + number / 2});
                    let request = http
                        .post(&url)
                        .header("idempotency-key", format!("r{round}-{number}"))
                        .json(&body);
                    async move {
                        let response = request.send().await.unwrap();
                        let replayed = response.headers().contains_key("idempotency-replayed");
                        (response.status().as_u16(), replayed)
                    }
                };
                let (kept, done) = (
                    count(&pool, KEPT).await,
                    count(&pool, "select count(*) from tutoring.bookings").await,
                );
                for (status, _) in join_all((0..4).map(call)).await {
                    assert!(matches!(status, 500 | 503), "{what}: {status}");
                }
                assert_eq!(count(&pool, KEPT).await, kept, "{what}: something is left");
                run(&pool, format!("drop trigger die on {table}")).await;
                assert_eq!(
                    join_all((0..4).map(call)).await,
                    [(200, false); 4],
                    "{what}"
                );
                assert_eq!(join_all((0..4).map(call)).await, [(200, true); 4], "{what}");
                assert_eq!(
                    count(&pool, "select count(*) from tutoring.bookings").await,
                    done + 4,
                    "{what}"
                );
                assert_eq!(
                    count(
                        &pool,
                        "select count(*) from tutoring.overlapping_bookings()"
                    )
                    .await,
                    0
                );
            }
        }
    }
    // One event for each booking, and no other.
    assert_eq!(
        count(
            &pool,
            "select count(distinct b.id) - count(*) from tutoring.bookings b
             full join tutoring.outbox o on (o.payload->>'booking_id')::bigint = b.id"
        )
        .await,
        0
    );
}
