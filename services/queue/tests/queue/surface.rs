//! The service's calls as a whole: the naive pair, hostile input, purge and end, metrics, the description.

use std::time::{Duration, Instant};

use kit::messaging::Outgoing;
use serde_json::json;

use crate::support::{LONG, message, numbered, start, start_on, value};

#[tokio::test]
async fn a_purge_ends_all_but_the_dead() {
    let queue = start().await;
    queue.send("lab", numbered(5)).await;
    let held = queue.receive("lab", 2, LONG).await;
    assert!(
        queue
            .client
            .dead("lab", &held[0].receipt, "on purpose")
            .await
            .unwrap()
    );
    let later = Outgoing {
        delay_seconds: Some(60.0),
        ..message(&json!(0))
    };
    queue.client.send_batch("lab", &[later]).await.unwrap();
    let (status, answer) = queue.call("DELETE", "/queues/lab/messages", None).await;
    assert_eq!((status, &answer["count"]), (200, &json!(5)));
    assert_eq!(
        queue
            .client
            .acknowledge("lab", &[held[1].receipt.clone()])
            .await
            .unwrap()
            .late
            .len(),
        1
    );
    let figures = queue.figures("lab").await;
    assert_eq!(
        (&figures["depth"], &figures["in_flight"], &figures["dead"]),
        (&json!(0), &json!(0), &json!(1))
    );
    // It goes on working.
    queue.send("lab", numbered(1)).await;
    assert_eq!(queue.receive("lab", 10, LONG).await.len(), 1);
}

#[tokio::test]
async fn a_queue_can_be_ended_and_made_anew() {
    let queue = start().await;
    queue.configure("lab", json!({"max_deliveries": 1})).await;
    queue.send("lab", numbered(3)).await;
    let held = queue.one("lab", LONG).await;
    assert!(
        queue
            .client
            .dead("lab", &held.receipt, "bad")
            .await
            .unwrap()
    );
    let held = queue.one("lab", LONG).await;
    let (status, answer) = queue.call("DELETE", "/queues/lab", None).await;
    assert_eq!((status, &answer["count"]), (200, &json!(3)));
    assert_eq!(queue.get("/queues/lab").await.0, 404);
    assert_eq!(queue.call("DELETE", "/queues/lab", None).await.0, 404);
    let late = queue.client.acknowledge("lab", &[held.receipt]).await;
    assert_eq!(late.unwrap().late.len(), 1);
    let ids = queue.send("lab", numbered(1)).await;
    assert_eq!(queue.one("lab", LONG).await.id, ids[0]);
    let figures = queue.figures("lab").await;
    assert_eq!(
        (&figures["dead"], &figures["sent_total"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(figures["settings"]["max_deliveries"], 5);
}

#[tokio::test]
async fn the_naive_pair() {
    let queue = start().await;
    let (status, problem) = queue.get("/dequeue").await;
    assert_eq!(
        (status, &problem["detail"]),
        (404, &json!("No tasks in the queue"))
    );
    let (status, sent) = queue
        .post(
            "/enqueue",
            json!({"task_type": "mail", "payload": {"to": "x"}}),
        )
        .await;
    assert_eq!((status, &sent["status"]), (200, &json!("task enqueued")));
    let (status, task) = queue.get("/dequeue").await;
    assert_eq!(status, 200);
    assert_eq!(
        task,
        json!({"id": sent["id"], "task_type": "mail", "payload": {"to": "x"}})
    );
    assert_eq!(queue.get("/dequeue").await.0, 404);
    let figures = queue.figures("default").await;
    assert_eq!(
        (
            &figures["depth"],
            &figures["in_flight"],
            &figures["acknowledged_total"]
        ),
        (&json!(0), &json!(0), &json!(1))
    );
    assert_eq!(queue.post("/enqueue", json!({"payload": {}})).await.0, 422);
    assert_eq!(
        queue
            .post("/enqueue", json!({"task_type": 5, "payload": {}}))
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn hostile_input_is_refused_and_harms_nothing() {
    let queue = start().await;
    for (path, body, expected) in [
        ("/queues/UPPER/messages", json!({"body": 1}), 422),
        ("/queues/a%20b/messages", json!({"body": 1}), 422),
        ("/queues/a%2Fb/messages", json!({"body": 1}), 422),
        ("/queues/%7Ba%7D/messages", json!({"body": 1}), 422),
        ("/queues/lab/messages", json!({}), 422),
        ("/queues/lab/messages", json!({"messages": []}), 422),
        ("/queues/lab/messages", json!({"messages": 5}), 422),
        ("/queues/lab/messages", json!({"messages": [{}]}), 422),
        (
            "/queues/lab/messages",
            json!({"body": 1, "messages": [{"body": 1}]}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"body": 1, "delay_seconds": -1}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"body": 1, "delay_seconds": 1e300}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"body": 1, "dedupe_id": ""}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"body": 1, "dedupe_id": "x".repeat(129)}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"body": 1, "dedupe_id": "a\nb"}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"messages": vec![json!({"body": 1}); 101]}),
            422,
        ),
        (
            "/queues/lab/messages",
            json!({"body": "x".repeat(256 * 1024)}),
            413,
        ),
        (
            "/queues/lab/messages",
            json!({"messages": [{"body": 1}, {"body": "x".repeat(256 * 1024)}]}),
            413,
        ),
        (
            "/queues/lab/messages",
            json!({"body": "x".repeat(9 * 1024 * 1024)}),
            413,
        ),
        ("/queues/lab/acknowledge", json!({"receipts": []}), 422),
        ("/queues/lab/acknowledge", json!({"receipts": ["1-1"]}), 422),
        (
            "/queues/lab/messages/nonsense/extend",
            json!({"visibility_seconds": 1}),
            422,
        ),
        (
            "/queues/lab/messages/1-1.1/extend",
            json!({"visibility_seconds": 1}),
            409,
        ),
        (
            "/queues/lab/messages/1-1.1/extend",
            json!({"visibility_seconds": 1e9}),
            422,
        ),
        ("/queues/lab/messages/1-1.1/extend", json!({}), 422),
        (
            "/queues/lab/messages/1-1.1/release",
            json!({"delay_seconds": "soon"}),
            422,
        ),
        ("/queues/lab/messages/1-1.1/release", json!({}), 409),
        ("/queues/lab/messages/1-1.1/dead", json!({}), 422),
        (
            "/queues/lab/messages/1-1.1/dead",
            json!({"reason": "x".repeat(1001)}),
            422,
        ),
        (
            "/queues/lab/messages/1-1.1/dead",
            json!({"reason": "x"}),
            409,
        ),
        ("/queues/lab/dead/redrive", json!({"limit": 0}), 422),
        ("/queues/lab/nowhere", json!({}), 404),
    ] {
        let (status, problem) = queue.post(path, body.clone()).await;
        let shown: String = body.to_string().chars().take(80).collect();
        assert_eq!(status, expected, "{path} {shown}: {problem}");
        assert_eq!(problem["status"], expected, "{path} {shown}");
    }
    for path in [
        "/queues/lab/messages?max=0",
        "/queues/lab/messages?max=101",
        "/queues/lab/messages?max=x",
        "/queues/lab/messages?wait_seconds=21",
        "/queues/lab/messages?wait_seconds=NaN",
        "/queues/lab/messages?visibility_seconds=-1",
        "/queues/lab/dead?limit=0",
        "/queues/lab/dead?after=-",
        "/queues/lab/dead?after=1-1%20x",
    ] {
        assert_eq!(queue.get(path).await.0, 422, "{path}");
    }
    for settings in [
        json!({"max_deliveries": 0}),
        json!({"visibility_seconds": -1}),
        json!({"unknown": 1}),
        json!({"max_depth": -5}),
    ] {
        assert_eq!(
            queue
                .call("PUT", "/queues/lab", Some(settings.clone()))
                .await
                .0,
            422,
            "{settings}"
        );
    }
    for text in ["", "{", "not json", "{\"body\": 1} x"] {
        let response = queue
            .http
            .post(queue.url("/queues/lab/messages"))
            .body(text)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{text:?}");
    }
    assert_eq!(
        queue.get("/queues/lab").await.0,
        404,
        "no refusal makes a queue"
    );

    // Any JSON comes back as it was.
    let bodies = [
        json!(null),
        json!("\u{0}\u{1f}\u{7f}\u{10FFFF} ñ \"quoted\" \\"),
        json!([]),
        json!({}),
        json!(-1.5e300),
        json!({"i": "KEYS[1]", "b": "]] redis.call('FLUSHALL') --"}),
        json!("x".repeat(255 * 1024)),
    ];
    queue.send("lab", bodies.clone()).await;
    let received = queue.receive("lab", 100, LONG).await;
    assert_eq!(received.iter().map(value).collect::<Vec<_>>(), bodies);
}

#[tokio::test]
async fn metrics_show_every_queue() {
    let queue = start().await;
    queue.send("lab", numbered(5)).await;
    queue.receive("lab", 2, LONG).await;
    kit::testing::eventually("the series appear", async || {
        let text = queue
            .http
            .get(format!("http://{}/metrics", queue.admin))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let labels = r#"{role="queue",instance="queue-1",queue="lab"}"#;
        [
            format!("recarga_queue_depth{labels} 3"),
            format!("recarga_queue_in_flight{labels} 2"),
            format!("recarga_queue_dead{labels} 0"),
            format!("recarga_queue_sent_total{labels} 5"),
            format!("recarga_queue_received_total{labels} 2"),
            format!("recarga_queue_acknowledged_total{labels} 0"),
        ]
        .iter()
        .all(|line| text.contains(line.as_str()))
    })
    .await;
}

#[tokio::test]
async fn without_redis_the_answer_is_a_fast_503() {
    // A port that nobody listens on.
    let closed = kit::testing::free_address();
    let queue = start_on(&format!("redis://{closed}")).await;
    kit::testing::eventually("the check fails", async || {
        queue
            .http
            .get(format!("http://{}/readyz", queue.admin))
            .send()
            .await
            .unwrap()
            .status()
            == 503
    })
    .await;
    let started = Instant::now();
    let response = queue
        .http
        .post(queue.url("/queues/lab/messages"))
        .json(&json!({"body": 1}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(
        queue.get("/queues/lab/messages?wait_seconds=20").await.0,
        503
    );
    assert_eq!(queue.get("/dequeue").await.0, 503);
    assert_eq!(queue.get("/queues").await.0, 503);
    // None of them waited for what it had been told to wait for.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(queue.get("/health").await.0, 200);
}

#[test]
fn the_documentation_names_every_call() {
    let document = serde_json::to_value(queue::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 15, "{:?}", paths.keys());
}
