//! A total queue: under consumers that give back, let expire and acknowledge at random, and with the process killed in
//! between, nothing is lost and nothing is acknowledged twice.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use kit::messaging::{Client, Message, Outgoing, Release};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use support::{message, numbered, start_on, value};

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
            json!({"max_deliveries": 1000, "visibility_seconds": 0.2}),
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
