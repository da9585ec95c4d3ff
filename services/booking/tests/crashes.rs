//! A booking dies right before and right after each of its steps; nothing of it is left, and repeated it happens once.
#![expect(clippy::unwrap_used, reason = "a test")]

use kit::testing::{Process, database_url, deaths::Mortal};
use serde_json::json;
use sqlx::PgPool;

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_booking_dies_at_every_step(pool: PgPool) {
    sqlx::raw_sql(
        "insert into tutoring.subjects (name) values ('Math');
         insert into tutoring.tutors (name, subject, rating) values ('Luis', 'Math', 4.5), ('Eva', 'Math', 4.9);
         insert into tutoring.students (name) values ('Ana'), ('Juan')",
    )
    .execute(&pool)
    .await
    .unwrap();
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
    let booking = Mortal {
        steps: &[
            ("update", "tutoring.tutors"),
            ("insert", "tutoring.bookings"),
            ("insert", "tutoring.outbox"),
            ("insert", "tutoring.idempotency_claims"),
        ],
        kept: "select (select count(*) from tutoring.bookings) + (select count(*) from tutoring.outbox)
            + (select count(*) from tutoring.idempotency_claims)
            + (select count(*) from tutoring.tutors where full_until > now() + interval '1 day')",
        effect: "select count(*) from tutoring.bookings",
        status: 200,
        call: async |key: String, number: usize| {
            let body = json!({"student_id": 1 + number % 2, "tutor_id": 1 + number / 2});
            let request = http.post(&url).header("idempotency-key", key).json(&body);
            let response = request.send().await.unwrap();
            let replayed = response.headers().contains_key("idempotency-replayed");
            (response.status().as_u16(), replayed)
        },
        audit: async || {
            let overlapping = "select count(*) from tutoring.overlapping_bookings()";
            assert_eq!(count(&pool, overlapping).await, 0);
        },
    };
    booking.dies_everywhere(&pool).await;
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
