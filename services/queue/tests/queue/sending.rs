//! Dedupe ids, and the caps that push back.

use std::time::Duration;

use kit::messaging::{Outgoing, Receipt};
use serde_json::{Value, json};

use crate::support::{LONG, message, numbered, start, value};

#[tokio::test]
async fn a_known_dedupe_id_answers_the_first_id() {
    let queue = start().await;
    let with = |id: &str, body: Value| Outgoing {
        dedupe_id: Some(id.to_owned()),
        ..message(&body)
    };
    let first = queue
        .client
        .send_batch(
            "lab",
            &[
                with("a", json!(1)),
                with("a", json!(2)),
                with("b", json!(3)),
            ],
        )
        .await
        .unwrap();
    assert_eq!(first[0], first[1]);
    assert_ne!(first[0], first[2]);
    let again = queue
        .client
        .send_batch("lab", &[with("b", json!(4))])
        .await
        .unwrap();
    assert_eq!(again, [first[2].clone()]);
    let received = queue.receive("lab", 10, LONG).await;
    assert_eq!(
        received.iter().map(value).collect::<Vec<_>>(),
        [json!(1), json!(3)]
    );
    // Ended or not, the id is remembered for the window.
    let receipts: Vec<Receipt> = received.into_iter().map(|m| m.receipt).collect();
    queue.client.acknowledge("lab", &receipts).await.unwrap();
    assert_eq!(
        queue
            .client
            .send_batch("lab", &[with("a", json!(5))])
            .await
            .unwrap(),
        [first[0].clone()]
    );
    assert!(queue.receive("lab", 10, LONG).await.is_empty());
    // Another queue has a memory of its own, and a queue may have a short one.
    queue.configure("other", json!({"dedupe_seconds": 0})).await;
    let other = queue
        .client
        .send_batch("other", &[with("a", json!(1)), with("a", json!(2))])
        .await
        .unwrap();
    assert_ne!(other[0], other[1]);
    assert_eq!(queue.receive("other", 10, LONG).await.len(), 2);
}

#[tokio::test]
async fn many_single_sends_at_once_are_each_answered_for_themselves() {
    let queue = start().await;
    queue.configure("lab", json!({"max_depth": 40})).await;
    let sends = (0..100).map(|n| {
        let queue = &queue;
        async move {
            let body = json!({"body": n, "dedupe_id": format!("id-{}", n / 2)});
            queue.post("/queues/lab/messages", body).await
        }
    });
    let answers = futures::future::join_all(sends).await;
    let mut ids: Vec<&str> = answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .map(|(_, answer)| answer["id"].as_str().unwrap())
        .collect();
    // Those that were turned away were turned away for themselves only, and a pair has one id.
    assert!(
        answers
            .iter()
            .all(|(status, _)| [200, 429].contains(status))
    );
    let accepted = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    assert!((40..=80).contains(&accepted), "{accepted}");
    let received = queue.receive("lab", 100, LONG).await;
    let mut taken: Vec<&str> = received.iter().map(|m| m.id.as_str()).collect();
    taken.sort_unstable();
    assert_eq!(taken, ids);
    // The same of the ends: each receipt counts once, whoever comes at the same time.
    let ends = received.iter().chain(&received).map(|message| {
        queue
            .client
            .acknowledge("lab", std::slice::from_ref(&message.receipt))
    });
    let ended: u64 = futures::future::join_all(ends)
        .await
        .into_iter()
        .map(|answer| answer.unwrap().acknowledged)
        .sum();
    assert_eq!(ended, 40);
    assert_eq!(queue.figures("lab").await["in_flight"], 0);
}

#[tokio::test]
async fn a_full_queue_says_so_until_some_are_taken() {
    let queue = start().await;
    queue.configure("lab", json!({"max_depth": 3})).await;
    queue.send("lab", numbered(3)).await;
    let response = queue
        .http
        .post(queue.url("/queues/lab/messages"))
        .json(&json!({"body": 1}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    queue.receive("lab", 1, LONG).await;
    queue.send("lab", numbered(1)).await;
}

#[tokio::test]
async fn there_are_only_so_many_queues() {
    let mut config = crate::support::config("queue-1", &kit::testing::redis_url().await);
    config.max_queues = 2;
    let queue = crate::support::start_with(config).await;
    queue.send("a", numbered(1)).await;
    queue.configure("b", json!({"max_depth": 10})).await;
    assert_eq!(
        queue.post("/queues/c/messages", json!({"body": 1})).await.0,
        429
    );
    assert_eq!(queue.call("PUT", "/queues/c", Some(json!({}))).await.0, 429);
    queue.send("b", numbered(1)).await;
    let (_, list) = queue.get("/queues").await;
    let names: Vec<_> = list["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| q["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn bytes_and_age_push_back_too() {
    let queue = start().await;
    queue.configure("lab", json!({"max_bytes": 1000})).await;
    let refused = async |queue_name: &str| {
        queue
            .post(
                &format!("/queues/{queue_name}/messages"),
                json!({"body": "x".repeat(300)}),
            )
            .await
    };
    for _ in 0..3 {
        assert_eq!(refused("lab").await.0, 200);
    }
    let (status, problem) = refused("lab").await;
    assert_eq!(status, 429, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("1000 bytes"));
    assert_eq!(queue.figures("lab").await["bytes"], 906);
    // In flight they still count, ended, dead or purged they do not.
    let held = queue.receive("lab", 3, LONG).await;
    assert_eq!(refused("lab").await.0, 429);
    queue
        .client
        .acknowledge("lab", &[held[0].receipt.clone()])
        .await
        .unwrap();
    assert_eq!(queue.figures("lab").await["bytes"], 604);
    assert!(
        queue
            .client
            .dead("lab", &held[1].receipt, "bad")
            .await
            .unwrap()
    );
    assert_eq!(queue.figures("lab").await["bytes"], 302);
    queue.call("DELETE", "/queues/lab/messages", None).await;
    assert_eq!(queue.figures("lab").await["bytes"], 0);
    queue.call("POST", "/queues/lab/dead/redrive", None).await;
    assert_eq!(queue.figures("lab").await["bytes"], 302);

    queue
        .configure("old", json!({"max_age_seconds": 0.2}))
        .await;
    assert_eq!(refused("old").await.0, 200);
    kit::testing::eventually("its oldest message is too old", async || {
        refused("old").await.0 == 429
    })
    .await;
    while !queue.receive("old", 100, LONG).await.is_empty() {}
    assert_eq!(refused("old").await.0, 200);
}

#[tokio::test]
async fn a_paused_queue_takes_and_gives_nothing_until_it_is_resumed() {
    let queue = start().await;
    let (status, figures) = queue.call("POST", "/queues/lab/pause", None).await;
    assert_eq!((status, &figures["paused"]), (200, &json!(true)));
    queue.send("lab", numbered(2)).await;
    assert!(queue.receive("lab", 9, LONG).await.is_empty());
    let client = queue.client.clone();
    let waiting = tokio::spawn(async move {
        client
            .receive("lab", 9, Duration::from_secs(10), None)
            .await
    });
    let (_, figures) = queue.call("POST", "/queues/lab/resume", None).await;
    assert_eq!(figures["paused"], false);
    assert_eq!(waiting.await.unwrap().unwrap().len(), 2);
}
