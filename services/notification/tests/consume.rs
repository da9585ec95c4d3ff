//! Events off a real queue into a real database: once each, whatever is delivered how often.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;

use kit::{
    Shutdown,
    discovery::Source,
    messaging::{Client, Outgoing},
    testing::{OPERATOR_TOKEN, Process, database_url, eventually, redis_url},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

struct Lab {
    queue: Process,
    client: Client,
    http: reqwest::Client,
}

async fn lab() -> Lab {
    let queue = Process::start(
        "queue-1",
        &["--redis-url", &redis_url().await, "--durability", "fast"],
        queue::run,
    );
    let source: Source = queue.public.to_string().parse().unwrap();
    Lab {
        client: Client::connect(source.watch(Shutdown::new()).await).unwrap(),
        queue,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

impl Lab {
    fn notification(&self, pool: &PgPool, name: &str) -> Process {
        let queue = self.queue.public.to_string();
        let flags = ["--database-url", &database_url(pool), "--queue", &queue];
        Process::start(name, &flags, notification::run)
    }

    async fn send(&self, queue: &str, bodies: &[Value]) {
        let messages: Vec<Outgoing> = bodies.iter().map(|b| Outgoing::new(b).unwrap()).collect();
        self.client.send_batch(queue, &messages).await.unwrap();
    }

    async fn get(&self, address: SocketAddr, path: &str) -> (u16, Value) {
        let response = self
            .http
            .get(format!("http://{address}{path}"))
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    async fn switch(&self, process: &Process, path: &str) {
        let url = format!("http://{}/admin/{path}", process.admin);
        let answer = self.http.post(url).bearer_auth(OPERATOR_TOKEN).send().await;
        assert_eq!(answer.unwrap().status(), 200);
    }

    async fn settled(&self, queue: &str) {
        eventually("everything is acknowledged", async || {
            let (_, figures) = self
                .get(self.queue.public, &format!("/queues/{queue}"))
                .await;
            figures["depth"] == 0 && figures["in_flight"] == 0
        })
        .await;
    }
}

fn recharge(id: i64, event_id: Uuid) -> Value {
    json!({"event_id": event_id, "type": "recharge", "recharge_id": id, "card_id": 1, "user_id": 7, "amount": 5_000, "balance": 9_000})
}

fn booking(id: i64, event_id: Uuid) -> Value {
    json!({
        "event_id": event_id, "type": "booking", "booking_id": id, "student_id": 1, "student": "Ana", "tutor_id": 2,
        "tutor": "Luis", "subject": "Math", "starts_at": "2030-01-02T15:00:00.000000Z", "ends_at": "2030-01-02T16:00:00.000000Z",
    })
}

async fn count(pool: &PgPool, state: &str) -> i64 {
    sqlx::query_scalar("select count(*) from notification.notifications where state = $1")
        .bind(state)
        .fetch_one(pool)
        .await
        .unwrap()
}

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
