//! The outbox relay dies at each of its steps, and others' transactions are slow: each event arrives once, in order.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kit::{
    Shutdown,
    discovery::Source,
    messaging::{Client, Event},
    testing::{Process, database_url, eventually, redis_url},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PASS: u8 = 0;
/// Connections are closed at once.
const REFUSE: u8 = 1;
/// Requests arrive, answers do not.
const SWALLOW: u8 = 2;

/// What stands between a relay and the queue.
#[derive(Clone, Default)]
struct Way {
    mode: Arc<AtomicU8>,
    refused: Arc<AtomicUsize>,
    swallowed: Arc<AtomicUsize>,
}

impl Way {
    async fn to(&self, queue: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if way.mode.load(Ordering::SeqCst) == REFUSE {
                    way.refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                tokio::spawn(way.clone().pass(client, queue));
            }
        });
        address
    }

    async fn pass(self, client: TcpStream, queue: SocketAddr) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_queue, mut to_queue) = TcpStream::connect(queue).await.unwrap().into_split();
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut from_client, &mut to_queue).await;
        });
        let mut buffer = vec![0; 16_384];
        while let Ok(count @ 1..) = from_queue.read(&mut buffer).await {
            if self.mode.load(Ordering::SeqCst) == SWALLOW {
                self.swallowed.fetch_add(1, Ordering::SeqCst);
            } else if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
}

async fn pending(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from tutoring.outbox where state = 'pending'")
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn announce(pool: &PgPool, tutors: std::ops::Range<i64>) {
    sqlx::query(
        "insert into tutoring.outbox (topic, payload)
         select 'bookings', jsonb_build_object('tutor_id', n) from generate_series($1, $2) n",
    )
    .bind(tutors.start)
    .bind(tutors.end - 1)
    .execute(pool)
    .await
    .unwrap();
}

async fn received(queue: SocketAddr) -> Vec<i64> {
    let source = Source::List(vec![queue.to_string()]);
    let client = Client::connect(
        source.watch(Shutdown::new()).await,
        &kit::tls::Tiers::default(),
    )
    .unwrap();
    let mut tutors = Vec::new();
    loop {
        let messages = client
            .receive("bookings", 100, Duration::ZERO, None)
            .await
            .unwrap();
        if messages.is_empty() {
            return tutors;
        }
        for message in messages {
            let event: Event<Value> = message.read().unwrap();
            tutors.push(event.payload["tutor_id"].as_i64().unwrap());
        }
    }
}

fn relay(pool: &PgPool, queue: SocketAddr) -> Process {
    let flags = [
        "--database-url",
        &database_url(pool),
        "--queue",
        &queue.to_string(),
    ];
    Process::start("booking-1", &flags, booking::run)
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_relay_dies_at_every_step(pool: PgPool) {
    let mut expected = Vec::new();
    let queue = Process::start(
        "queue-1",
        &["--redis-url", &redis_url().await, "--durability", "fast"],
        queue::run,
    );
    for (mode, first) in [(REFUSE, 0), (SWALLOW, 200), (PASS, 400)] {
        let way = Way::default();
        way.mode.store(mode, Ordering::SeqCst);
        let dying = relay(&pool, way.to(queue.public).await);
        announce(&pool, first..first + 150).await;
        expected.extend(first..first + 150);
        eventually("the relay is at that step", async || match mode {
            REFUSE => way.refused.load(Ordering::SeqCst) > 0,
            SWALLOW => way.swallowed.load(Ordering::SeqCst) > 0,
            _ => pending(&pool).await == 0,
        })
        .await;
        dying.kill();
        assert_eq!(pending(&pool).await == 0, mode == PASS);
        let next = relay(&pool, queue.public);
        eventually("another goes on", async || pending(&pool).await == 0).await;
        next.kill();
    }
    let mut tutors = received(queue.public).await;
    tutors.sort_unstable();
    assert_eq!(tutors, expected);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_event_waits_for_those_committed_before_it(pool: PgPool) {
    let queue = Process::start(
        "queue-1",
        &["--redis-url", &redis_url().await, "--durability", "fast"],
        queue::run,
    );
    let _relay = relay(&pool, queue.public);
    let mut slow = pool.begin().await.unwrap();
    sqlx::query("insert into tutoring.outbox (topic, payload) values ('bookings', $1)")
        .bind(json!({"tutor_id": 16}))
        .execute(&mut *slow)
        .await
        .unwrap();
    // Later, quicker, and of the same shard.
    announce(&pool, 32..33).await;
    eventually("the relay has looked at it more than once", async || {
        let old: bool = sqlx::query_scalar(
            "select created_at < clock_timestamp() - interval '1 second' from tutoring.outbox",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        old
    })
    .await;
    assert_eq!(pending(&pool).await, 1);
    slow.commit().await.unwrap();
    eventually("both are sent", async || pending(&pool).await == 0).await;
    assert_eq!(received(queue.public).await, [16, 32]);
}
