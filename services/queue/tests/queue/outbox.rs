//! The outbox relay of `kit`, on a real outbox and a real queue.

use std::{collections::HashSet, net::SocketAddr};

use crate::support::{LONG, config, start, start_with};
use kit::{
    Common, Instance, Service, Shutdown,
    discovery::Source,
    messaging::{Client, Event, Message},
    outbox::Relay,
    testing::eventually,
};
use serde_json::{Value, json};
use sqlx::PgPool;

pub struct Relaying {
    pub relay: Relay,
    pub instance: Instance,
    pub shutdown: Shutdown,
}

impl Drop for Relaying {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

pub async fn relay_to(name: &str, pool: &PgPool, queue: SocketAddr) -> Relaying {
    let shutdown = Shutdown::new();
    let service =
        Service::new("worker", &Common::for_tests(name), shutdown.clone()).expect("a service");
    let instance = service.instance().clone();
    let queue: Source = queue.to_string().parse().unwrap();
    let client = Client::connect(instance.discover(queue).await, instance.tiers()).unwrap();
    Relaying {
        relay: Relay::new(&instance, pool.clone(), "worker", client),
        instance,
        shutdown,
    }
}

pub async fn submit(pool: &PgPool, count: i64) {
    sqlx::query("select worker.submit('test', null, '', jsonb_build_object('n', n)) from generate_series(1, $1) n")
        .bind(count)
        .execute(pool)
        .await
        .unwrap();
}

pub async fn states(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_as(
        "select count(*) filter (where state = 'pending'), count(*) filter (where state = 'delivered'), \
         count(*) filter (where state = 'dead') from worker.outbox",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

pub async fn drained(pool: &PgPool) {
    eventually("the outbox is empty", async || states(pool).await.0 == 0).await;
}

pub async fn all(queue: &crate::support::Running) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let more = queue.receive("tasks", 100, LONG).await;
        if more.is_empty() {
            return messages;
        }
        messages.extend(more);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn several_relays_deliver_each_event_once(pool: PgPool) {
    let queue = start().await;
    submit(&pool, 700).await;
    let relays = [
        relay_to("worker-1", &pool, queue.address).await,
        relay_to("worker-2", &pool, queue.address).await,
        relay_to("worker-3", &pool, queue.address).await,
    ];
    for _ in 0..10 {
        submit(&pool, 50).await;
        for relaying in &relays {
            relaying.relay.wake();
        }
    }
    drained(&pool).await;
    assert_eq!(states(&pool).await, (0, 1200, 0));
    let messages = all(&queue).await;
    assert_eq!(messages.len(), 1200);
    let tasks: HashSet<i64> = messages
        .iter()
        .map(|m| {
            m.read::<Event<Value>>().unwrap().payload["task_id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(tasks.len(), 1200);
    // Not even sent twice: the locks kept the relays apart.
    let attempts: (i64, i64) =
        sqlx::query_as("select min(attempts)::bigint, max(attempts)::bigint from worker.outbox")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(attempts, (1, 1));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_event_follows_its_commit_closely(pool: PgPool) {
    let queue = start().await;
    let relaying = relay_to("worker-1", &pool, queue.address).await;
    submit(&pool, 1).await;
    relaying.relay.wake();
    let message = queue.one("tasks", LONG).await;
    let event: Event<Value> = message.read().unwrap();
    let id: (uuid::Uuid,) = sqlx::query_as("select event_id from worker.outbox")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(event.event_id, id.0);
    assert_eq!(event.payload["task"], json!({"n": 1}));
    drained(&pool).await;
    eventually("the metrics follow", async || {
        let text = relaying.instance.metrics().encode();
        let labels = r#"{role="worker",instance="worker-1"}"#;
        text.contains(&format!("recarga_outbox_delivered_total{labels} 1"))
            && text.contains(&format!("recarga_outbox_pending{labels} 0"))
    })
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn events_wait_for_a_queue_that_is_away(pool: PgPool) {
    // A port that is free now and the queue's later.
    let address = kit::testing::free_address();
    let relaying = relay_to("worker-1", &pool, address).await;
    submit(&pool, 300).await;
    relaying.relay.wake();
    eventually("the failure is written down", async || {
        let error: Option<(String,)> = sqlx::query_as(
            "select last_error from worker.outbox where last_error is not null limit 1",
        )
        .fetch_optional(&pool)
        .await
        .unwrap();
        error.is_some_and(|(text,)| text.contains("queue"))
    })
    .await;
    assert_eq!(states(&pool).await, (300, 0, 0));
    let mut config = config("queue-1", &kit::testing::redis_url().await);
    config.common.listen = address;
    let queue = start_with(config).await;
    drained(&pool).await;
    assert_eq!(all(&queue).await.len(), 300);
    let errors: (i64,) = sqlx::query_as("select count(last_error) from worker.outbox")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(errors.0, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_relay_that_died_after_sending_does_not_double(pool: PgPool) {
    let queue = start().await;
    let first = relay_to("worker-1", &pool, queue.address).await;
    submit(&pool, 120).await;
    first.relay.wake();
    drained(&pool).await;
    drop(first);
    // As if it had died between the queue's answer and its commit.
    sqlx::query("update worker.outbox set state = 'pending', delivered_at = null, attempts = 0")
        .execute(&pool)
        .await
        .unwrap();
    let _second = relay_to("worker-2", &pool, queue.address).await;
    drained(&pool).await;
    assert_eq!(all(&queue).await.len(), 120);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_event_that_the_queue_refuses_dies_alone(pool: PgPool) {
    let queue = start().await;
    submit(&pool, 10).await;
    sqlx::query(
        "insert into worker.outbox (topic, payload) values ('tasks', jsonb_build_object('text', repeat('x', 300000)))",
    )
    .execute(&pool)
    .await
    .unwrap();
    submit(&pool, 10).await;
    let _relaying = relay_to("worker-1", &pool, queue.address).await;
    drained(&pool).await;
    assert_eq!(states(&pool).await, (0, 20, 1));
    assert_eq!(all(&queue).await.len(), 20);
    let (error, attempts): (String, i32) =
        sqlx::query_as("select last_error, attempts from worker.outbox where state = 'dead'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(error.contains("413"), "{error}");
    assert_eq!(attempts, 5);
}
