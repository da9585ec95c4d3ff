//! A total queue: under consumers that give back, let expire and acknowledge at random, and with the process killed in
//! between, nothing is lost and nothing is acknowledged twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    disk::{Redis, durable},
    support::{message, numbered, start_on, start_with, value},
};
use kit::{
    messaging::{Client, Message, Outgoing, Release},
    testing::eventually,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

#[derive(Default)]
struct History {
    sent: HashSet<String>,
    acknowledged: HashMap<String, u32>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_ends_twice() {
    const PER_PRODUCER: usize = 300;
    const PRODUCERS: usize = 3;
    let seed: u64 = rand::random();
    let redis = kit::testing::redis_url().await;
    let (first, second) = (start_on(&redis).await, start_on(&redis).await);
    first
        .configure(
            "lab",
            json!({"max_deliveries": 1000, "max_crashes": 1000, "visibility_seconds": 0.2, "backoff_seconds": 0.05}),
        )
        .await;
    let history = Arc::new(Mutex::new(History::default()));
    let mut tasks = Vec::new();
    for producer in 0..PRODUCERS {
        let client = if producer % 2 == 0 { &first } else { &second }
            .client
            .clone();
        let history = history.clone();
        let mut chance = StdRng::seed_from_u64(seed ^ producer as u64);
        tasks.push(tokio::spawn(async move {
            let mut sent = 0;
            while sent < PER_PRODUCER {
                let count = chance.random_range(1..=20).min(PER_PRODUCER - sent);
                let batch: Vec<Outgoing> = (0..count)
                    .map(|n| Outgoing {
                        delay_seconds: chance
                            .random_bool(0.3)
                            .then(|| chance.random_range(0.0..0.3)),
                        dedupe_id: Some(format!("{producer}-{}", sent + n)),
                        ..message(&json!({"producer": producer, "n": sent + n}))
                    })
                    .collect();
                let ids = client.send_batch("lab", &batch).await.unwrap();
                // As a relay does after a lost answer.
                if chance.random_bool(0.2) {
                    assert_eq!(client.send_batch("lab", &batch).await.unwrap(), ids);
                }
                history.lock().unwrap().sent.extend(ids);
                sent += count;
            }
        }));
    }
    for consumer in 0..6_u64 {
        let client = if consumer % 2 == 0 { &first } else { &second }
            .client
            .clone();
        let history = history.clone();
        let mut chance = StdRng::seed_from_u64(seed ^ (1000 + consumer));
        tasks.push(tokio::spawn(async move {
            while history.lock().unwrap().acknowledged.len() < PER_PRODUCER * PRODUCERS {
                let max = chance.random_range(1..=20);
                let taken = client
                    .receive("lab", max, Duration::from_millis(300), None)
                    .await
                    .unwrap();
                for message in taken {
                    handle(&client, &history, &message, &mut chance).await;
                }
            }
        }));
    }
    let all = async {
        for task in tasks {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all)
        .await
        .expect("everything ends in time");

    let history = std::mem::take(&mut *history.lock().unwrap());
    assert_eq!(history.sent.len(), PER_PRODUCER * PRODUCERS, "seed {seed}");
    assert_eq!(
        history.acknowledged.keys().cloned().collect::<HashSet<_>>(),
        history.sent,
        "seed {seed}"
    );
    assert!(
        history.acknowledged.values().all(|times| *times == 1),
        "seed {seed}"
    );
    let figures = first.figures("lab").await;
    for name in ["depth", "in_flight", "delayed", "dead"] {
        assert_eq!(figures[name], 0, "seed {seed}: {figures}");
    }
    assert_eq!(figures["acknowledged_total"], figures["sent_total"]);
}

async fn handle(client: &Client, history: &Mutex<History>, message: &Message, chance: &mut StdRng) {
    match chance.random_range(0..10) {
        // Forgets it: the visibility ends.
        0 => {}
        1 => {
            let release = Release {
                delay_seconds: chance
                    .random_bool(0.5)
                    .then(|| chance.random_range(0.0..0.2)),
                reason: Some("by chance".to_owned()),
                uncounted: chance.random_bool(0.5),
            };
            client
                .release("lab", &message.receipt, &release)
                .await
                .unwrap();
        }
        // Too slow: it may be another's by now, and then this receipt must be void.
        2 => {
            tokio::time::sleep(Duration::from_millis(chance.random_range(100..300))).await;
            acknowledge(client, history, message).await;
        }
        3 => {
            client
                .extend("lab", &message.receipt, Duration::from_millis(400))
                .await
                .unwrap();
            acknowledge(client, history, message).await;
        }
        _ => acknowledge(client, history, message).await,
    }
}

async fn acknowledge(client: &Client, history: &Mutex<History>, message: &Message) {
    let ended = client
        .acknowledge("lab", std::slice::from_ref(&message.receipt))
        .await
        .unwrap();
    if ended.acknowledged == 1 {
        *history
            .lock()
            .unwrap()
            .acknowledged
            .entry(message.id.clone())
            .or_default() += 1;
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing() {
    let redis = kit::testing::redis_url().await;
    let doomed = start_on(&redis).await;
    doomed.send("lab", numbered(10)).await;
    let later = Outgoing {
        delay_seconds: Some(0.2),
        ..message(&json!({"n": 10}))
    };
    doomed.client.send_batch("lab", &[later]).await.unwrap();
    let held = doomed.receive("lab", 4, Duration::from_millis(300)).await;
    let kept = doomed.receive("lab", 1, Duration::from_secs(30)).await;
    doomed.task.abort();
    drop(doomed);

    let heir = start_on(&redis).await;
    // A receipt outlives the process that gave it.
    let ended = heir
        .client
        .acknowledge("lab", &[kept[0].receipt.clone()])
        .await
        .unwrap();
    assert_eq!(ended.acknowledged, 1);
    let mut seen: Vec<u64> = Vec::new();
    while seen.len() < 10 {
        let next = heir.one("lab", Duration::from_secs(30)).await;
        assert_eq!(
            next.deliveries,
            if held.iter().any(|m| m.id == next.id) {
                2
            } else {
                1
            }
        );
        seen.push(value(&next)["n"].as_u64().unwrap());
    }
    seen.push(value(&kept[0])["n"].as_u64().unwrap());
    seen.sort_unstable();
    assert_eq!(seen, (0..=10).collect::<Vec<_>>());
}

/// What the clients of a durable queue know, and nothing else.
#[derive(Default)]
struct Journal {
    /// Bodies whose send was answered.
    sent: HashSet<u64>,
    received: HashSet<u64>,
    /// Bodies whose acknowledgement was answered.
    ended: HashSet<u64>,
    /// Deliveries that came although the end had been answered before they were asked for.
    risen: Vec<u64>,
}

impl Journal {
    fn receive(&mut self, body: u64, over: &HashSet<u64>) {
        self.received.insert(body);
        if over.contains(&body) {
            self.risen.push(body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_loses_nothing_of_a_durable_queue() {
    const KILLS: usize = 4;
    const BETWEEN: usize = 150;
    let mut redis = Redis::durable().await;
    let queue = start_with(durable("queue-1", &redis.url())).await;
    queue
        .configure("lab", json!({"max_crashes": 1000, "visibility_seconds": 1}))
        .await;
    let journal = Arc::new(Mutex::new(Journal::default()));
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for producer in 0..4_u64 {
        let (client, journal, done) = (queue.client.clone(), journal.clone(), done.clone());
        tasks.push(tokio::spawn(async move {
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let bodies: Vec<u64> = (0..=n % 5).map(|i| producer << 32 | n << 8 | i).collect();
                let batch: Vec<Outgoing> = bodies
                    .iter()
                    .map(|body| Outgoing {
                        dedupe_id: Some(body.to_string()),
                        ..message(&json!(body))
                    })
                    .collect();
                while client.send_batch("lab", &batch).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                journal.lock().unwrap().sent.extend(bodies);
            }
        }));
    }
    for _ in 0..3 {
        let (client, journal, done) = (queue.client.clone(), journal.clone(), done.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let over = journal.lock().unwrap().ended.clone();
                if done.load(Ordering::Relaxed) && over.is_superset(&journal.lock().unwrap().sent) {
                    return;
                }
                let wait = Duration::from_millis(200);
                let Ok(taken) = client.receive("lab", 10, wait, None).await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                for message in taken {
                    let body: u64 = message.read().unwrap();
                    journal.lock().unwrap().receive(body, &over);
                    // Not known whether it ended when nobody answers: then it may come again, or be late.
                    let ended = client.acknowledge("lab", &[message.receipt]).await;
                    if ended.is_ok_and(|ended| ended.acknowledged == 1) {
                        journal.lock().unwrap().ended.insert(body);
                    }
                }
                // One whose end was made and never answered is not delivered again: that it is gone is asked of the queue.
                if done.load(Ordering::Relaxed) && is_empty(&client).await {
                    return;
                }
            }
        }));
    }
    for kill in 1..=KILLS {
        eventually("messages are sent", async || {
            journal.lock().unwrap().sent.len() >= kill * BETWEEN
        })
        .await;
        redis.kill();
        redis.restart().await;
    }
    eventually("messages are sent after the last kill", async || {
        journal.lock().unwrap().sent.len() >= (KILLS + 1) * BETWEEN
    })
    .await;
    done.store(true, Ordering::Relaxed);
    let all = async {
        for task in tasks {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all)
        .await
        .expect("everything ends in time");
    let journal = std::mem::take(&mut *journal.lock().unwrap());
    let lost: Vec<_> = journal.sent.difference(&journal.received).collect();
    assert!(lost.is_empty(), "sent and lost: {lost:?}");
    assert!(
        journal.risen.is_empty(),
        "ended and delivered again: {:?}",
        journal.risen
    );
    let figures = queue.figures("lab").await;
    for name in ["depth", "in_flight", "dead"] {
        assert_eq!(figures[name], 0, "{figures}");
    }
}

/// Whether nothing waits and nothing is in flight.
async fn is_empty(client: &Client) -> bool {
    // Longer than a visibility: what somebody holds would come back meanwhile.
    let more = client
        .receive("lab", 1, Duration::from_millis(1500), Some(Duration::ZERO))
        .await;
    more.is_ok_and(|more| more.is_empty())
}
