//! Events off a real queue into a real database: once each, whatever is delivered how often.

use kit::testing::{Process, database_url, eventually};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Lab, booking, count, lab, recharge};

#[sqlx::test(migrations = "../../migrations")]
async fn an_event_delivered_twice_notifies_once(pool: PgPool) {
    let lab = lab().await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    // Twice in one batch, again in later ones, and to two consumers at a time.
    let consumers = [
        lab.notification(&pool, "notification-1"),
        lab.notification(&pool, "notification-2"),
    ];
    lab.send(
        "recharges",
        &[recharge(1, first), recharge(1, first), recharge(2, second)],
    )
    .await;
    for _ in 0..5 {
        lab.send("recharges", &[recharge(1, first), recharge(2, second)])
            .await;
        lab.send("bookings", &[booking(5, first)]).await;
    }
    lab.settled("recharges").await;
    lab.settled("bookings").await;
    assert_eq!(count(&pool, "sent").await, 2);
    let (status, answer) = lab
        .get(
            consumers[0].public,
            "/notifications?recipient=user:7&limit=1",
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(answer["notifications"].as_array().unwrap().len(), 1);
    assert_eq!(answer["notifications"][0]["state"], "sent");
    for query in ["limit=0", "limit=101", "limit=x", "recipient=%00"] {
        let (status, problem) = lab
            .get(consumers[0].public, &format!("/notifications?{query}"))
            .await;
        assert_eq!(status, 422, "{query}: {problem}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn many_events_come_through_consumers_that_are_killed(pool: PgPool) {
    let lab = lab().await;
    for chunk in 0..20 {
        let events: Vec<Value> = (0..50)
            .map(|n| recharge(chunk * 50 + n, Uuid::new_v4()))
            .collect();
        lab.send("recharges", &events).await;
    }
    let (_, settings) = put_visibility(&lab).await;
    assert_eq!(settings["settings"]["visibility_seconds"], 1.0);
    for round in 0..3 {
        let (url, queue) = (database_url(&pool), lab.queue.public.to_string());
        let flags = [
            "--database-url",
            &url,
            "--queue",
            &queue,
            "--visibility-seconds",
            "1",
        ];
        let doomed = Process::start(&format!("notification-{round}"), &flags, notification::run);
        eventually("some are notified", async || {
            count(&pool, "sent").await >= 100 * (round + 1)
        })
        .await;
        doomed.kill();
    }
    let _heir = lab.notification(&pool, "notification-9");
    eventually("all are notified", async || {
        count(&pool, "sent").await == 1000
    })
    .await;
    lab.settled("recharges").await;
    assert_eq!(count(&pool, "sent").await, 1000);
}

async fn put_visibility(lab: &Lab) -> (u16, Value) {
    let response = lab
        .http
        .put(format!("http://{}/queues/recharges", lab.queue.public))
        .json(&json!({"visibility_seconds": 1, "max_crashes": 100}))
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_no_event_is_given_up_and_harms_no_other(pool: PgPool) {
    let lab = lab().await;
    let mut unstorable = recharge(2, Uuid::new_v4());
    unstorable["recharge_id"] = json!(i64::MAX);
    let mut hostile = booking(3, Uuid::new_v4());
    // PostgreSQL's text cannot hold it: the statement for the whole batch fails.
    hostile["student"] = json!("a\u{0}b");
    lab.send(
        "bookings",
        &[
            json!("text"),
            booking(1, Uuid::new_v4()),
            hostile,
            booking(2, Uuid::new_v4()),
        ],
    )
    .await;
    lab.send("recharges", &[json!({"type": "recharge"}), unstorable])
        .await;
    let _consumer = lab.notification(&pool, "notification-1");
    eventually("the good ones are notified", async || {
        count(&pool, "sent").await == 3
    })
    .await;
    eventually("the bad ones are given up", async || {
        let dead = lab.client.dead_letters("bookings", None, 10).await.unwrap();
        dead.len() == 2
            && !lab
                .client
                .dead_letters("recharges", None, 10)
                .await
                .unwrap()
                .is_empty()
    })
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_paused_consumer_takes_nothing_until_it_is_resumed(pool: PgPool) {
    let lab = lab().await;
    let consumer = lab.notification(&pool, "notification-1");
    lab.send("bookings", &[booking(1, Uuid::new_v4())]).await;
    eventually("it works", async || count(&pool, "sent").await == 1).await;
    lab.switch(&consumer, "pause").await;
    lab.send("bookings", &[booking(2, Uuid::new_v4())]).await;
    // What a poll that was already waiting brings is given back.
    eventually("the message waits", async || {
        let (_, figures) = lab.get(lab.queue.public, "/queues/bookings").await;
        figures["depth"] == 1 && figures["in_flight"] == 0
    })
    .await;
    assert_eq!(count(&pool, "sent").await, 1);
    lab.switch(&consumer, "resume").await;
    eventually("it works again", async || count(&pool, "sent").await == 2).await;
    consumer.stop().await;
}
