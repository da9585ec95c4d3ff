//! Bookings and long tasks: every outcome, and that a tutor is never in two places.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::PgPool;
use support::{assert_sound, book, number, submit, world};

#[sqlx::test(migrations = "../migrations")]
async fn a_booking_is_kept_once_and_announced(pool: PgPool) {
    world(&pool).await;
    let at = Some("2030-01-07 10:30-05");
    let first = book(&pool, Some(("k", 1)), 1, 1, at, 45).await.unwrap();
    assert_eq!((first.outcome.as_str(), first.replayed), ("created", false));
    assert_eq!(first.reply["starts_at"], "2030-01-07T15:30:00.000000Z");
    assert_eq!(first.reply["ends_at"], "2030-01-07T16:15:00.000000Z");
    let replay = book(&pool, Some(("k", 1)), 1, 1, at, 45).await.unwrap();
    assert!(replay.replayed && replay.reply == first.reply);
    assert_eq!(
        book(&pool, Some(("k", 2)), 1, 1, at, 60)
            .await
            .unwrap()
            .outcome,
        "key_reused"
    );

    let announced: serde_json::Value =
        sqlx::query_scalar("select payload from tutoring.outbox where topic = 'bookings'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(
        announced,
        json!({"type": "booking", "booking_id": first.number("booking_id"), "student_id": 1, "student": "Valentina Rojas",
            "tutor_id": 1, "tutor": "Laura Peña", "subject": "Math",
            "starts_at": "2030-01-07T15:30:00.000000Z", "ends_at": "2030-01-07T16:15:00.000000Z"})
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn refusals_of_a_booking(pool: PgPool) {
    world(&pool).await;
    assert_eq!(
        book(&pool, None, 9, 1, None, 60).await.unwrap().outcome,
        "student_not_found"
    );
    assert_eq!(
        book(&pool, None, 1, 9, None, 60).await.unwrap().outcome,
        "tutor_not_found"
    );
    book(&pool, None, 1, 1, Some("2030-01-07 10:00Z"), 60)
        .await
        .unwrap();
    for (at, outcome) in [
        ("2030-01-07 09:30Z", "overlap"),
        ("2030-01-07 10:59Z", "overlap"),
        // One ends as the other begins.
        ("2030-01-07 11:00Z", "created"),
        ("2030-01-07 09:00Z", "created"),
    ] {
        assert_eq!(
            book(&pool, None, 1, 1, Some(at), 60).await.unwrap().outcome,
            outcome,
            "{at}"
        );
    }
    let refused = book(&pool, Some(("o", 1)), 1, 1, Some("2030-01-07 10:00Z"), 60)
        .await
        .unwrap();
    assert_eq!(
        (refused.outcome.as_str(), refused.number("tutor_id")),
        ("overlap", 1)
    );
    assert!(
        book(&pool, Some(("o", 1)), 1, 1, Some("2030-01-07 10:00Z"), 60)
            .await
            .unwrap()
            .replayed
    );
    for minutes in [0, -60, 14, 481] {
        assert!(
            book(&pool, None, 1, 1, Some("2031-01-07 10:00Z"), minutes)
                .await
                .is_err(),
            "{minutes}"
        );
    }
    // Even past the function.
    let error = sqlx::raw_sql(
        "insert into tutoring.bookings (student_id, tutor_id, starts_at, ends_at)
         values (1, 1, '2030-01-07 10:30Z', '2030-01-07 11:30Z')",
    )
    .execute(&pool)
    .await
    .unwrap_err();
    assert_eq!(
        error.as_database_error().unwrap().code().as_deref(),
        Some("23P01")
    );
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn without_a_time_it_is_the_next_free_hour(pool: PgPool) {
    world(&pool).await;
    let slot = async |length: &'static str| -> String {
        sqlx::query_scalar(
            "select to_char(starts_at at time zone 'utc', 'HH24:MI')
             from tutoring.next_free_slot(1, '2030-01-07 08:20Z', $1::text::interval)",
        )
        .bind(length)
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    assert_eq!(slot("1 hour").await, "09:00");
    for (at, minutes) in [
        ("2030-01-07 09:00Z", 45),
        ("2030-01-07 11:30Z", 60),
        ("2030-01-07 14:00Z", 180),
    ] {
        assert_eq!(
            book(&pool, None, 1, 1, Some(at), minutes)
                .await
                .unwrap()
                .outcome,
            "created"
        );
    }
    assert_eq!(slot("15 minutes").await, "10:00");
    assert_eq!(slot("90 minutes").await, "10:00");
    assert_eq!(slot("91 minutes").await, "17:00");

    // From the next full hour of the clock on.
    let next: i64 = number(
        &pool,
        "select (extract(epoch from (b.reply ->> 'starts_at')::timestamptz - date_trunc('hour', now())) / 3600)::bigint
         from tutoring.book('u', null, null, 1, 1, null, 60) b",
    )
    .await;
    assert_eq!(next, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn parallel_bookings_of_one_tutor_never_overlap(pool: PgPool) {
    world(&pool).await;
    let lengths = [60, 30, 90, 480, 15, 60, 120, 60];
    let answers = futures::future::join_all(
        (0..40).map(|index| book(&pool, None, 1, 1, None, lengths[index % lengths.len()])),
    )
    .await;
    let starts: BTreeSet<String> = answers
        .into_iter()
        .map(|answer| {
            let answer = answer.unwrap();
            assert_eq!(answer.outcome, "created");
            answer.reply["starts_at"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(starts.len(), 40);
    assert!(starts.iter().all(|at| at.contains(":00:00.000000Z")));
    assert_sound(&pool).await;

    let answers = futures::future::join_all(
        (0..10).map(|_| book(&pool, None, 1, 1, Some("2035-01-01 10:00Z"), 60)),
    )
    .await;
    let created = answers
        .into_iter()
        .filter(|answer| answer.as_ref().unwrap().outcome == "created")
        .count();
    assert_eq!(created, 1);
    assert_sound(&pool).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_full_calendar_is_not_walked_again(pool: PgPool) {
    world(&pool).await;
    for _ in 0..5 {
        assert_eq!(
            book(&pool, None, 1, 1, None, 60).await.unwrap().outcome,
            "created"
        );
    }
    // The hint has moved up to the last booked hour.
    assert_eq!(
        number(&pool, "select (full_until = (select max(starts_at) from tutoring.bookings))::int::bigint from tutoring.tutors").await,
        1
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_booking_at_the_same_time_has_one_effect(pool: PgPool) {
    world(&pool).await;
    let mut holder = pool.begin().await.unwrap();
    let held = book(&mut *holder, Some(("k", 1)), 1, 1, None, 60)
        .await
        .unwrap();
    assert_eq!(held.outcome, "created");
    assert_eq!(
        book(&pool, Some(("k", 1)), 1, 1, None, 60)
            .await
            .unwrap()
            .outcome,
        "in_progress"
    );
    holder.commit().await.unwrap();
    let after = book(&pool, Some(("k", 1)), 1, 1, None, 60).await.unwrap();
    assert!(after.replayed && after.reply == held.reply);
    assert_eq!(
        number(&pool, "select count(*) from tutoring.bookings").await,
        1
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_is_accepted_once_and_queued(pool: PgPool) {
    let first = submit(&pool, Some(("k", 1)), json!({"kind": "report"})).await;
    assert_eq!(
        (first.outcome.as_str(), first.replayed),
        ("accepted", false)
    );
    assert!(
        submit(&pool, Some(("k", 1)), json!({"kind": "report"}))
            .await
            .replayed
    );
    assert_eq!(
        submit(&pool, Some(("k", 2)), json!("other")).await.outcome,
        "key_reused"
    );
    let mut holder = pool.begin().await.unwrap();
    submit(&mut *holder, Some(("h", 1)), json!(1)).await;
    assert_eq!(
        submit(&pool, Some(("h", 1)), json!(1)).await.outcome,
        "in_progress"
    );
    holder.rollback().await.unwrap();

    let queued: (i64, serde_json::Value, String) =
        sqlx::query_as("select id, payload, state from worker.tasks")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(
        queued,
        (
            first.number("task_id"),
            json!({"kind": "report"}),
            "queued".to_owned()
        )
    );
    let event: serde_json::Value =
        sqlx::query_scalar("select payload from worker.outbox where topic = 'tasks'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(
        event,
        json!({"task_id": queued.0, "task": {"kind": "report"}})
    );
}
