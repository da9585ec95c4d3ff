//! Messages with one ordering key come one at a time and in order, whatever becomes of each.

use std::{collections::HashMap, time::Duration};

use kit::messaging::{Message, Outgoing, Release};
use serde_json::{Value, json};

use crate::support::{LONG, Running, SHORT, message, start, value};

fn keyed(key: &str, body: &Value) -> Outgoing {
    Outgoing {
        ordering_key: Some(key.to_owned()),
        ..message(body)
    }
}

async fn send(queue: &Running, messages: &[(&str, i32)]) {
    let batch: Vec<Outgoing> = messages
        .iter()
        .map(|(key, number)| keyed(key, &json!(number)))
        .collect();
    queue.client.send_batch("lab", &batch).await.unwrap();
}

fn numbers(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(value).collect()
}

async fn end(queue: &Running, message: &Message) {
    let receipts = std::slice::from_ref(&message.receipt);
    let ended = queue.client.acknowledge("lab", receipts).await.unwrap();
    assert_eq!(ended.acknowledged, 1);
}

#[tokio::test]
async fn one_at_a_time_and_in_order() {
    let queue = start().await;
    send(&queue, &[("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)]).await;
    queue
        .client
        .send("lab", &message(&json!("free")))
        .await
        .unwrap();
    let first = queue.receive("lab", 100, LONG).await;
    assert_eq!(numbers(&first), [json!(1), json!(3), json!("free")]);
    assert_eq!(first[0].ordering_key.as_deref(), Some("a"));
    assert_eq!(first[2].ordering_key, None);
    let figures = queue.figures("lab").await;
    assert_eq!(
        (
            &figures["depth"],
            &figures["waiting"],
            &figures["in_flight"]
        ),
        (&json!(3), &json!(3), &json!(3))
    );
    assert!(queue.receive("lab", 100, LONG).await.is_empty());
    end(&queue, &first[0]).await;
    let second = queue.receive("lab", 100, LONG).await;
    assert_eq!(numbers(&second), [json!(2)]);
    end(&queue, &first[1]).await;
    end(&queue, &second[0]).await;
    let third = queue.receive("lab", 100, LONG).await;
    assert_eq!(numbers(&third), [json!(5), json!(4)]);
    for message in &third {
        end(&queue, message).await;
    }
    // Nothing is kept of keys that are done with, and a later message finds its way free.
    send(&queue, &[("a", 6)]).await;
    assert_eq!(numbers(&queue.receive("lab", 9, LONG).await), [json!(6)]);
}

#[tokio::test]
async fn a_message_given_back_or_expired_stays_the_foremost() {
    let queue = start().await;
    send(&queue, &[("a", 1), ("a", 2)]).await;
    let first = queue.one("lab", LONG).await;
    let later = Release {
        delay_seconds: Some(0.3),
        ..Release::default()
    };
    assert!(
        queue
            .client
            .release("lab", &first.receipt, &later)
            .await
            .unwrap()
    );
    assert!(queue.receive("lab", 9, LONG).await.is_empty());
    let again = queue.one("lab", SHORT).await;
    assert_eq!((value(&again), again.deliveries), (json!(1), 2));
    // Its consumer is gone: it comes again, not the next one.
    let once_more = queue.one("lab", LONG).await;
    assert_eq!((value(&once_more), once_more.crashes), (json!(1), 1));
    end(&queue, &once_more).await;
    assert_eq!(value(&queue.one("lab", LONG).await), json!(2));
}

#[tokio::test]
async fn a_dead_message_lets_the_next_one_pass() {
    let queue = start().await;
    send(&queue, &[("a", 1), ("a", 2), ("a", 3)]).await;
    let first = queue.one("lab", LONG).await;
    assert!(
        queue
            .client
            .dead("lab", &first.receipt, "bad")
            .await
            .unwrap()
    );
    let second = queue.one("lab", LONG).await;
    assert_eq!(value(&second), json!(2));
    // Taken back, it goes behind those that came meanwhile.
    let (_, answer) = queue.call("POST", "/queues/lab/dead/redrive", None).await;
    assert_eq!(answer["count"], 1);
    assert!(queue.receive("lab", 9, LONG).await.is_empty());
    end(&queue, &second).await;
    let third = queue.one("lab", LONG).await;
    end(&queue, &third).await;
    let fourth = queue.one("lab", LONG).await;
    assert_eq!((value(&third), value(&fourth)), (json!(3), json!(1)));
    assert_eq!(fourth.ordering_key.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_purge_frees_the_keys() {
    let queue = start().await;
    send(&queue, &[("a", 1), ("a", 2)]).await;
    let held = queue.one("lab", LONG).await;
    let (_, answer) = queue.call("DELETE", "/queues/lab/messages", None).await;
    assert_eq!(answer["count"], 2);
    let late = queue.client.acknowledge("lab", &[held.receipt]).await;
    assert_eq!(late.unwrap().late.len(), 1);
    send(&queue, &[("a", 3)]).await;
    assert_eq!(value(&queue.one("lab", LONG).await), json!(3));
    assert_eq!(queue.figures("lab").await["waiting"], 0);
}

#[tokio::test]
async fn many_keys_and_consumers_keep_every_order() {
    const KEYS: usize = 7;
    const EACH: usize = 20;
    let queue = start().await;
    queue
        .configure("lab", json!({"max_crashes": 1000, "max_deliveries": 1000}))
        .await;
    for number in 0..EACH {
        let batch: Vec<Outgoing> = (0..KEYS)
            .map(|key| keyed(&format!("key-{key}"), &json!([key, number])))
            .collect();
        queue.client.send_batch("lab", &batch).await.unwrap();
    }
    let seen = std::sync::Arc::new(std::sync::Mutex::new(HashMap::<u64, Vec<u64>>::new()));
    let consumers: Vec<_> = (0..4)
        .map(|consumer| {
            let (client, seen) = (queue.client.clone(), seen.clone());
            tokio::spawn(async move {
                let done = || seen.lock().unwrap().values().map(Vec::len).sum::<usize>();
                let mut round = consumer;
                while done() < KEYS * EACH {
                    let wait = Duration::from_millis(200);
                    for message in client.receive("lab", 3, wait, Some(LONG)).await.unwrap() {
                        round += 1;
                        if round % 5 == 0 {
                            let again = Release {
                                delay_seconds: Some(0.0),
                                ..Release::default()
                            };
                            client
                                .release("lab", &message.receipt, &again)
                                .await
                                .unwrap();
                            continue;
                        }
                        let [key, number]: [u64; 2] = message.read().unwrap();
                        // Written down before the end, when nobody else can have the next one.
                        seen.lock().unwrap().entry(key).or_default().push(number);
                        let ended = client.acknowledge("lab", &[message.receipt]).await.unwrap();
                        assert_eq!(ended.acknowledged, 1);
                    }
                }
            })
        })
        .collect();
    for consumer in consumers {
        tokio::time::timeout(Duration::from_secs(30), consumer)
            .await
            .expect("all are consumed in time")
            .unwrap();
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), KEYS);
    for (key, numbers) in seen.iter() {
        assert_eq!(*numbers, (0..EACH as u64).collect::<Vec<_>>(), "key {key}");
    }
}
