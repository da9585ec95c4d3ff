//! Bookings from the call to the sent notification, through the real outbox, queue and consumer.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use kit::testing::{Process, database_url, eventually, redis_url};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sqlx::PgPool;

struct Lab {
    booking: Process,
    http: reqwest::Client,
}

fn lab(pool: &PgPool, queue: &str) -> Lab {
    let flags = ["--database-url", &database_url(pool), "--queue", queue];
    Lab {
        booking: Process::start("booking-1", &flags, booking::run),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

/// Nobody listens there: the outbox waits.
const NOWHERE: &str = "127.0.0.1:9";

impl Lab {
    async fn book(&self, body: &Value, key: Option<&str>) -> (u16, HeaderMap, Value) {
        let url = format!("http://{}/book", self.booking.public);
        let mut request = self.http.post(url).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.json().await.unwrap())
    }

    async fn read(&self, id: &Value) -> (u16, Value) {
        let url = format!("http://{}/bookings/{id}", self.booking.public);
        let response = self.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

async fn people(pool: &PgPool) {
    for statement in [
        "insert into tutoring.subjects (name) values ('Math')",
        "insert into tutoring.tutors (name, subject, rating) values ('Luis', 'Math', 4.5), ('Eva', 'Math', 4.9)",
        "insert into tutoring.students (name) values ('Ana'), ('Juan')",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_booking_is_notified_once(pool: PgPool) {
    people(&pool).await;
    let queue = Process::start(
        "queue-1",
        &["--redis-url", &redis_url().await, "--durability", "fast"],
        queue::run,
    );
    let address = queue.public.to_string();
    let lab = lab(&pool, &address);
    let (status, _, booked) = lab
        .book(&json!({"student_id": "1", "tutor_id": 2}), None)
        .await;
    assert_eq!((status, &booked["status"]), (200, &json!("success")));
    let (status, read) = lab.read(&booked["booking_id"]).await;
    assert_eq!(
        (status, &read["notification"]["state"]),
        (200, &json!("pending"))
    );
    assert_eq!(
        (&read["student"], &read["tutor"], &read["subject"]),
        (&json!("Ana"), &json!("Eva"), &json!("Math"))
    );
    assert_eq!(read["starts_at"], booked["starts_at"]);

    let flags = ["--database-url", &database_url(&pool), "--queue", &address];
    let _notification = Process::start("notification-1", &flags, notification::run);
    eventually("the notification is sent", async || {
        let (_, read) = lab.read(&booked["booking_id"]).await;
        read["notification"]["state"] == "sent" && read["notification"]["sent_at"].is_string()
    })
    .await;
    let sent: i64 = sqlx::query_scalar("select count(*) from notification.notifications")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(sent, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_replays_its_first_answer(pool: PgPool) {
    people(&pool).await;
    let lab = lab(&pool, NOWHERE);
    let body = json!({"student_id": 1, "tutor_id": 1});
    let (status, headers, first) = lab.book(&body, Some("k1")).await;
    assert_eq!(status, 200);
    assert!(!headers.contains_key("idempotency-replayed"));
    // Written otherwise, the same wish.
    let (status, headers, again) = lab
        .book(
            &json!({"tutor_id": "1", "student_id": "1", "minutes": 60}),
            Some("k1"),
        )
        .await;
    assert_eq!((status, &again), (200, &first));
    assert_eq!(headers["idempotency-replayed"], "true");
    let (status, _, problem) = lab
        .book(&json!({"student_id": 2, "tutor_id": 1}), Some("k1"))
        .await;
    assert_eq!(
        (status, &problem["field"]),
        (422, &json!("Idempotency-Key"))
    );
    // A refusal is an answer too.
    for replayed in [false, true] {
        let (status, headers, _) = lab
            .book(&json!({"student_id": 1, "tutor_id": 99}), Some("k2"))
            .await;
        assert_eq!(status, 404);
        assert_eq!(headers.contains_key("idempotency-replayed"), replayed);
    }
    assert_eq!(lab.book(&body, Some("two words")).await.0, 422);
    let count: i64 = sqlx::query_scalar("select count(*) from tutoring.bookings")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn sessions_never_overlap(pool: PgPool) {
    people(&pool).await;
    let lab = lab(&pool, NOWHERE);
    let starts_at = (Utc::now() + TimeDelta::days(2))
        .with_nanosecond(0)
        .unwrap();
    let at = |minutes: i64, length: i64| json!({"student_id": 1, "tutor_id": 1, "starts_at": starts_at + TimeDelta::minutes(minutes), "minutes": length});
    let (status, _, booked) = lab.book(&at(0, 60), None).await;
    assert_eq!(status, 200);
    assert_eq!(time(&booked["starts_at"]), starts_at);
    assert_eq!(time(&booked["ends_at"]), starts_at + TimeDelta::hours(1));
    for (minutes, length, expected) in [
        (0, 60, 409),
        (-30, 60, 409),
        (59, 15, 409),
        (-60, 240, 409),
        (60, 60, 200),
        (-15, 15, 200),
    ] {
        let (status, _, answer) = lab.book(&at(minutes, length), None).await;
        assert_eq!(status, expected, "{minutes} {length}: {answer}");
    }
    // Without a time, everybody gets a slot of his own.
    let body = json!({"student_id": 2, "tutor_id": 2});
    let answers = futures_of(16, || lab.book(&body, None)).await;
    let slots: HashSet<String> = answers
        .iter()
        .map(|(status, _, booked)| {
            assert_eq!(*status, 200, "{booked}");
            booked["starts_at"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(slots.len(), 16);
}

async fn futures_of<F: Future>(count: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    futures::future::join_all((0..count).map(|_| make())).await
}

#[sqlx::test(migrations = "../../migrations")]
async fn refusals_say_what_is_wrong(pool: PgPool) {
    people(&pool).await;
    let lab = lab(&pool, NOWHERE);
    for (body, status, field) in [
        (json!({"student_id": 99, "tutor_id": 1}), 404, Value::Null),
        (json!({"student_id": 1, "tutor_id": 99}), 404, Value::Null),
        (json!({"tutor_id": 1}), 422, json!("student_id")),
        (
            json!({"student_id": 1, "tutor_id": -1}),
            422,
            json!("tutor_id"),
        ),
        (
            json!({"student_id": 1, "tutor_id": 1, "minutes": 5}),
            422,
            json!("minutes"),
        ),
        (
            json!({"student_id": 1, "tutor_id": 1, "starts_at": "2020-01-01T00:00:00Z"}),
            422,
            json!("starts_at"),
        ),
        (
            json!({"student_id": i64::MAX, "tutor_id": 1}),
            404,
            Value::Null,
        ),
    ] {
        let (found, _, problem) = lab.book(&body, None).await;
        assert_eq!(
            (found, &problem["field"]),
            (status, &field),
            "{body}: {problem}"
        );
    }
    for (id, status) in [
        ("999", 404),
        ("0", 422),
        ("x", 422),
        ("99999999999999999999", 422),
    ] {
        let url = format!("http://{}/bookings/{id}", lab.booking.public);
        assert_eq!(
            lab.http.get(url).send().await.unwrap().status(),
            status,
            "{id}"
        );
    }
}
