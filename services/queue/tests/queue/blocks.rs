//! Messages that were sent together share an entry of the stream: each has a life of its own, and nothing of it is left.

use std::time::Duration;

use kit::messaging::{Outgoing, Receipt, Release};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{LONG, Running, SHORT, message, numbered, start, value};

/// What of a queue's entries is still in Redis, dead letters and memories aside.
async fn left(queue: &Running) -> Vec<String> {
    let mut redis = queue.redis().await;
    let mut left = Vec::new();
    for (command, kind) in [
        ("XLEN", "stream"),
        ("ZCARD", "leases"),
        ("HLEN", "held"),
        ("HLEN", "ended"),
        ("HLEN", "history"),
        ("HLEN", "busy"),
    ] {
        let key = format!("queue:{{lab}}:{kind}");
        let count: u64 = redis::cmd(command)
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        if count > 0 {
            left.push(format!("{count} in {key}"));
        }
    }
    let surplus: Option<i64> = redis::cmd("HGET")
        .arg("queue:{lab}:meta")
        .arg("surplus")
        .query_async(&mut redis)
        .await
        .unwrap();
    if surplus.is_some_and(|surplus| surplus != 0) {
        left.push(format!("a surplus of {surplus:?}"));
    }
    left
}

async fn entries(queue: &Running) -> u64 {
    redis::cmd("XLEN")
        .arg("queue:{lab}:stream")
        .query_async(&mut queue.redis().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_is_one_entry_and_comes_apart_at_will() {
    let queue = start().await;
    let ids = queue.send("lab", numbered(100)).await;
    assert_eq!(entries(&queue).await, 1);
    assert_eq!(queue.figures("lab").await["depth"], 100);
    let mut received = Vec::new();
    for max in [1, 2, 30, 100] {
        received.extend(queue.receive("lab", max, LONG).await);
    }
    assert_eq!(
        received.iter().map(value).collect::<Vec<_>>(),
        numbered(100)
    );
    assert_eq!(
        received.iter().map(|m| m.id.clone()).collect::<Vec<_>>(),
        ids
    );
    assert_eq!(queue.figures("lab").await["in_flight"], 100);
    let receipts: Vec<Receipt> = received.into_iter().map(|m| m.receipt).collect();
    let (all_but_one, last) = receipts.split_at(99);
    let ended = queue.client.acknowledge("lab", all_but_one).await.unwrap();
    assert_eq!((ended.acknowledged, ended.late.len()), (99, 0));
    // The entry stays as long as one of them does.
    assert_eq!(entries(&queue).await, 1);
    assert_eq!(queue.figures("lab").await["in_flight"], 1);
    let ended = queue.client.acknowledge("lab", &receipts).await.unwrap();
    assert_eq!(
        (ended.acknowledged, ended.late.as_slice()),
        (1, all_but_one)
    );
    assert_eq!(
        queue.client.acknowledge("lab", last).await.unwrap().late,
        last
    );
    assert!(left(&queue).await.is_empty(), "{:?}", left(&queue).await);
    let figures = queue.figures("lab").await;
    assert_eq!(
        (&figures["depth"], &figures["bytes"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn large_bodies_do_not_share_an_entry() {
    let queue = start().await;
    let bodies: Vec<Value> = (0..6).map(|n| json!("é".repeat(10_000 + n))).collect();
    queue.send("lab", bodies.clone()).await;
    // 20 kB each: no two of them fit.
    assert_eq!(entries(&queue).await, 6);
    let received = queue.receive("lab", 100, LONG).await;
    assert_eq!(received.iter().map(value).collect::<Vec<_>>(), bodies);
    queue.call("DELETE", "/queues/lab/messages", None).await;
    assert!(left(&queue).await.is_empty(), "{:?}", left(&queue).await);
}

#[tokio::test]
async fn what_an_older_version_left_is_received_and_ended() {
    let queue = start().await;
    queue.send("lab", numbered(1)).await;
    let first = queue.one("lab", LONG).await;
    let mut redis = queue.redis().await;
    // As every message was kept once: one ready, and one delivered without the size of a block.
    let add = async |redis: &mut redis::aio::MultiplexedConnection, id: &str| -> String {
        redis::cmd("XADD")
            .arg("queue:{lab}:stream")
            .arg("*")
            .arg("m")
            .arg(format!("{id} 1767225600000 0 0 0 0 card:7"))
            .arg("b")
            .arg("{\"old\":true}")
            .query_async(redis)
            .await
            .unwrap()
    };
    let delivered = add(&mut redis, "delivered").await;
    for words in [
        vec!["HSET", "queue:{lab}:meta", "cursor", &delivered],
        vec!["HSET", "queue:{lab}:held", &delivered, "1 12 0 card:7"],
        vec!["ZADD", "queue:{lab}:leases", "9000000000000", &delivered],
        vec!["HINCRBY", "queue:{lab}:meta", "bytes", "24"],
    ] {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut redis).await.unwrap();
    }
    add(&mut redis, "ready").await;
    queue.send("lab", numbered(2)).await;
    let received = queue.receive("lab", 10, LONG).await;
    let ids: Vec<&str> = received.iter().map(|m| m.id.as_str()).collect();
    assert_eq!((ids[0], ids.len()), ("ready", 3));
    assert_eq!(received[0].ordering_key.as_deref(), Some("card:7"));
    let mut receipts: Vec<Receipt> = received.into_iter().map(|m| m.receipt).collect();
    receipts.push(Receipt(format!("{delivered}.1")));
    receipts.push(first.receipt);
    let ended = queue.client.acknowledge("lab", &receipts).await.unwrap();
    assert_eq!((ended.acknowledged, ended.late.len()), (5, 0));
    assert!(left(&queue).await.is_empty(), "{:?}", left(&queue).await);
    assert_eq!(queue.figures("lab").await["bytes"], 0);
}

/// Whatever happens to the messages of any batches, each ends once and nothing is left of it.
#[tokio::test]
async fn nothing_is_left_of_any_mixture() {
    for seed in 0..4 {
        let queue = start().await;
        queue
            .configure("lab", json!({"max_crashes": 1000, "max_deliveries": 1000}))
            .await;
        let mut chance = StdRng::seed_from_u64(seed);
        let (mut sent, mut ended) = (0_u64, Vec::new());
        for _ in 0..60 {
            let batch: Vec<Outgoing> = (0..chance.random_range(1..40))
                .map(|_| {
                    sent += 1;
                    let padding = "x".repeat(if chance.random_bool(0.02) { 30_000 } else { 3 });
                    let mut outgoing = message(&json!({"n": sent, "padding": padding}));
                    if seed > 0 {
                        outgoing.ordering_key = chance
                            .random_bool(0.3)
                            .then(|| format!("key-{}", chance.random_range(0..5)));
                        outgoing.dedupe_id = chance.random_bool(0.3).then(|| format!("d-{sent}"));
                        outgoing.delay_seconds = chance.random_bool(0.05).then_some(0.01);
                    }
                    outgoing
                })
                .collect();
            queue.client.send_batch("lab", &batch).await.unwrap();
            // Some deliveries are left to expire at once.
            let visibility = if chance.random_bool(0.3) {
                Duration::ZERO
            } else {
                SHORT * 100
            };
            let received = queue
                .receive("lab", chance.random_range(1..=60), visibility)
                .await;
            if visibility.is_zero() {
                continue;
            }
            let (mut end, mut back) = (Vec::new(), Vec::new());
            for message in received {
                if chance.random_bool(0.7) {
                    ended.push(value(&message)["n"].as_u64().unwrap());
                    end.push(message.receipt);
                } else {
                    back.push(message.receipt);
                }
            }
            if !end.is_empty() {
                let answer = queue.client.acknowledge("lab", &end).await.unwrap();
                assert!(answer.late.is_empty());
            }
            if !back.is_empty() {
                let release = Release {
                    delay_seconds: Some(0.0),
                    ..Release::default()
                };
                let answer = queue
                    .client
                    .release_batch("lab", &back, &release)
                    .await
                    .unwrap();
                assert!(answer.late.is_empty());
            }
        }
        while (ended.len() as u64) < sent {
            let received = queue
                .client
                .receive("lab", 100, Duration::from_secs(10), Some(LONG))
                .await
                .unwrap();
            assert!(
                !received.is_empty(),
                "seed {seed}: {} of {sent} came",
                ended.len()
            );
            ended.extend(received.iter().map(|m| value(m)["n"].as_u64().unwrap()));
            let receipts: Vec<Receipt> = received.into_iter().map(|m| m.receipt).collect();
            let answer = queue.client.acknowledge("lab", &receipts).await.unwrap();
            assert!(answer.late.is_empty());
        }
        ended.sort_unstable();
        assert_eq!(ended, (1..=sent).collect::<Vec<_>>(), "seed {seed}");
        assert!(
            left(&queue).await.is_empty(),
            "seed {seed}: {:?}",
            left(&queue).await
        );
        let figures = queue.figures("lab").await;
        assert_eq!(
            (&figures["depth"], &figures["bytes"]),
            (&json!(0), &json!(0))
        );
    }
}
