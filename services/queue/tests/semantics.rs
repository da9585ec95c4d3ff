//! What each call promises, one promise a test.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use kit::messaging::{Outgoing, Receipt, Release};
use serde_json::{Value, json};
use support::{message, numbered, start, start_on, value};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn messages_come_in_order_and_once() {
    let queue = start().await;
    let ids = queue.send("lab", numbered(10)).await;
    let received = queue.receive("lab", 100, LONG).await;
    assert_eq!(
        received.iter().map(|m| m.id.clone()).collect::<Vec<_>>(),
        ids
    );
    assert_eq!(received.iter().map(value).collect::<Vec<_>>(), numbered(10));
    assert!(
        received
            .iter()
            .all(|m| m.deliveries == 1 && m.redrives == 0)
    );
    assert!(queue.receive("lab", 100, LONG).await.is_empty());
    let receipts: Vec<Receipt> = received.into_iter().map(|m| m.receipt).collect();
    let ended = queue.client.acknowledge("lab", &receipts).await.unwrap();
    assert_eq!((ended.acknowledged, ended.late.len()), (10, 0));
    let again = queue.client.acknowledge("lab", &receipts).await.unwrap();
    assert_eq!((again.acknowledged, again.late.len()), (0, 10));
    let figures = queue.figures("lab").await;
    for (name, expected) in [
        ("depth", 0),
        ("in_flight", 0),
        ("sent_total", 10),
        ("received_total", 10),
        ("acknowledged_total", 10),
    ] {
        assert_eq!(figures[name], expected, "{name}: {figures}");
    }
}

#[tokio::test]
async fn an_expired_delivery_comes_again_and_its_receipt_is_void() {
    let queue = start().await;
    let ids = queue.send("lab", numbered(1)).await;
    let first = queue.one("lab", SHORT).await;
    let second = queue.one("lab", LONG).await;
    assert_eq!(
        (second.id.as_str(), second.deliveries),
        (ids[0].as_str(), 2)
    );
    assert_ne!(first.receipt, second.receipt);
    let (status, problem) = queue
        .call(
            "DELETE",
            &format!("/queues/lab/messages/{}", first.receipt),
            None,
        )
        .await;
    assert_eq!(status, 409, "{problem}");
    assert!(
        !queue
            .client
            .extend("lab", &first.receipt, LONG)
            .await
            .unwrap()
    );
    assert!(
        !queue
            .client
            .release("lab", &first.receipt, &Release::default())
            .await
            .unwrap()
    );
    assert!(
        !queue
            .client
            .dead("lab", &first.receipt, "late")
            .await
            .unwrap()
    );
    let (status, _) = queue
        .call(
            "DELETE",
            &format!("/queues/lab/messages/{}", second.receipt),
            None,
        )
        .await;
    assert_eq!(status, 204);
    assert_eq!(queue.figures("lab").await["redelivered_total"], 1);
}

#[tokio::test]
async fn an_extension_keeps_a_message() {
    let queue = start().await;
    queue.send("lab", numbered(1)).await;
    let held = queue.one("lab", SHORT).await;
    assert!(
        queue
            .client
            .extend("lab", &held.receipt, LONG)
            .await
            .unwrap()
    );
    // Waits well past the first visibility.
    let waited = queue
        .client
        .receive("lab", 1, SHORT * 4, None)
        .await
        .unwrap();
    assert!(waited.is_empty());
    let ended = queue
        .client
        .acknowledge("lab", &[held.receipt])
        .await
        .unwrap();
    assert_eq!(ended.acknowledged, 1);
}

#[tokio::test]
async fn a_released_message_comes_back_when_its_delay_is_over() {
    let queue = start().await;
    let ids = queue.send("lab", numbered(1)).await;
    let first = queue.one("lab", LONG).await;
    let started = Instant::now();
    let release = Release {
        delay_seconds: Some(0.3),
        reason: Some("not now".to_owned()),
        uncounted: false,
    };
    assert!(
        queue
            .client
            .release("lab", &first.receipt, &release)
            .await
            .unwrap()
    );
    let figures = queue.figures("lab").await;
    assert_eq!(
        (
            &figures["depth"],
            &figures["delayed"],
            &figures["in_flight"]
        ),
        (&json!(1), &json!(1), &json!(0))
    );
    let second = queue.one("lab", LONG).await;
    assert!(started.elapsed() >= Duration::from_millis(295));
    assert_eq!(
        (second.id.as_str(), second.deliveries),
        (ids[0].as_str(), 2)
    );
    assert_eq!(
        queue
            .client
            .acknowledge("lab", &[first.receipt])
            .await
            .unwrap()
            .late
            .len(),
        1
    );
    // Given back without blame: the number of deliveries stays.
    let uncounted = Release {
        uncounted: true,
        ..Release::default()
    };
    assert!(
        queue
            .client
            .release("lab", &second.receipt, &uncounted)
            .await
            .unwrap()
    );
    let third = queue.one("lab", LONG).await;
    assert_eq!(third.deliveries, 2);
    assert_ne!(third.receipt, second.receipt);
}

#[tokio::test]
async fn a_delayed_message_is_not_received_before_it_is_due() {
    let queue = start().await;
    let started = Instant::now();
    let delayed = Outgoing {
        delay_seconds: Some(0.4),
        ..message(&json!("later"))
    };
    queue
        .client
        .send_batch("lab", &[delayed, message(&json!("now"))])
        .await
        .unwrap();
    assert_eq!(value(&queue.one("lab", LONG).await), json!("now"));
    assert_eq!(value(&queue.one("lab", LONG).await), json!("later"));
    let elapsed = started.elapsed();
    assert!(
        elapsed >= Duration::from_millis(395) && elapsed < Duration::from_millis(900),
        "{elapsed:?}"
    );
    let century = Outgoing {
        delay_seconds: Some(3e9),
        ..message(&json!("in a hundred years"))
    };
    queue.client.send_batch("lab", &[century]).await.unwrap();
    assert_eq!(queue.figures("lab").await["delayed"], 1);
}

#[tokio::test]
async fn a_message_that_nobody_acknowledges_dies_with_its_history_and_can_be_taken_back() {
    let queue = start().await;
    queue.configure("lab", json!({"max_deliveries": 3})).await;
    let ids = queue.send("lab", [json!({"poison": true})]).await;
    let first = queue.one("lab", SHORT).await;
    let release = Release {
        delay_seconds: None,
        reason: Some("does not parse".to_owned()),
        uncounted: false,
    };
    assert!(
        queue
            .client
            .release("lab", &first.receipt, &release)
            .await
            .unwrap()
    );
    assert_eq!(queue.one("lab", SHORT).await.deliveries, 2);
    assert_eq!(queue.one("lab", SHORT).await.deliveries, 3);
    let none = queue
        .client
        .receive("lab", 1, SHORT * 3, None)
        .await
        .unwrap();
    assert!(none.is_empty());
    let dead = queue.client.dead_letters("lab", None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    let letter = &dead[0];
    assert_eq!(
        (letter.id.as_str(), letter.deliveries),
        (ids[0].as_str(), 3)
    );
    assert!(letter.reason.contains("3 times"), "{}", letter.reason);
    let history: Vec<_> = letter
        .history
        .iter()
        .map(|e| (e.delivery, e.event.as_str(), e.reason.as_deref()))
        .collect();
    assert_eq!(
        history,
        [
            (1, "released", Some("does not parse")),
            (2, "expired", None),
            (3, "expired", None)
        ]
    );
    assert!(
        queue
            .client
            .dead_letters("lab", Some(&letter.position), 10)
            .await
            .unwrap()
            .is_empty()
    );

    let (status, answer) = queue
        .post("/queues/lab/dead/redrive", json!({"limit": 10}))
        .await;
    assert_eq!((status, &answer["count"]), (200, &json!(1)));
    let back = queue.one("lab", LONG).await;
    assert_eq!(
        (back.id.as_str(), back.deliveries, back.redrives),
        (ids[0].as_str(), 1, 1)
    );
    assert!(
        queue
            .client
            .dead("lab", &back.receipt, "still bad")
            .await
            .unwrap()
    );
    let dead = queue.client.dead_letters("lab", None, 10).await.unwrap();
    assert_eq!(
        (
            dead[0].reason.as_str(),
            dead[0].redrives,
            dead[0].history.len()
        ),
        ("still bad", 1, 4)
    );
    let (_, answer) = queue.call("POST", "/queues/lab/dead/redrive", None).await;
    assert_eq!(answer["count"], 1);
}

#[tokio::test]
async fn the_last_release_is_the_end() {
    let queue = start().await;
    queue.configure("lab", json!({"max_deliveries": 1})).await;
    queue.send("lab", numbered(2)).await;
    let (first, second) = (queue.one("lab", LONG).await, queue.one("lab", LONG).await);
    let blamed = Release {
        delay_seconds: Some(60.0),
        reason: Some("broken".to_owned()),
        uncounted: false,
    };
    assert!(
        queue
            .client
            .release("lab", &first.receipt, &blamed)
            .await
            .unwrap()
    );
    let blameless = Release {
        uncounted: true,
        ..Release::default()
    };
    assert!(
        queue
            .client
            .release("lab", &second.receipt, &blameless)
            .await
            .unwrap()
    );
    let dead = queue.client.dead_letters("lab", None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason.contains("broken"), "{}", dead[0].reason);
    assert_eq!(queue.one("lab", LONG).await.id, second.id);
}

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
async fn a_long_poll_wakes_at_once() {
    let redis = kit::testing::redis_url().await;
    // Two processes: the message is sent through the other one.
    let (queue, other) = (start_on(&redis).await, start_on(&redis).await);
    queue.send("lab", [json!("warm")]).await;
    queue.one("lab", LONG).await;
    let client = queue.client.clone();
    let waiting = tokio::spawn(async move {
        let messages = client
            .receive("lab", 1, Duration::from_secs(10), None)
            .await
            .unwrap();
        (messages.len(), Instant::now())
    });
    wait_until_polling(&queue, 1).await;
    let sent = Instant::now();
    other.send("lab", [json!("wake up")]).await;
    let (count, woken) = waiting.await.unwrap();
    assert_eq!(count, 1);
    // Far below the second after which it would look by itself.
    assert!(
        woken - sent < Duration::from_millis(400),
        "{:?}",
        woken - sent
    );
}

#[tokio::test]
async fn several_waiters_share_what_comes() {
    let queue = start().await;
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let client = queue.client.clone();
            tokio::spawn(async move {
                client
                    .receive("lab", 1, Duration::from_secs(10), None)
                    .await
                    .unwrap()
            })
        })
        .collect();
    wait_until_polling(&queue, 8).await;
    let started = Instant::now();
    queue.send("lab", numbered(8)).await;
    let mut seen = Vec::new();
    for waiter in waiters {
        seen.extend(waiter.await.unwrap().iter().map(value));
    }
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    seen.sort_by_key(|v| v["n"].as_u64());
    assert_eq!(seen, numbered(8));
}

#[tokio::test]
async fn a_poll_whose_caller_left_takes_nothing_with_it() {
    let queue = start().await;
    let client = queue.client.clone();
    let waiting = tokio::spawn(async move {
        client
            .receive("lab", 1, Duration::from_secs(10), Some(LONG))
            .await
    });
    wait_until_polling(&queue, 1).await;
    waiting.abort();
    wait_until_polling(&queue, 0).await;
    queue.send("lab", numbered(1)).await;
    assert_eq!(queue.one("lab", LONG).await.deliveries, 1);
}

#[tokio::test]
async fn a_stop_ends_long_polls_with_an_empty_answer() {
    let queue = start().await;
    let client = queue.client.clone();
    let waiting = tokio::spawn(async move {
        client
            .receive("lab", 1, Duration::from_secs(20), None)
            .await
            .unwrap()
    });
    wait_until_polling(&queue, 1).await;
    let started = Instant::now();
    queue.shutdown.request();
    assert!(waiting.await.unwrap().is_empty());
    assert!(started.elapsed() < Duration::from_secs(3));
}

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
async fn there_are_only_so_many_queues() {
    let mut config = support::config("queue-1", &kit::testing::redis_url().await);
    config.max_queues = 2;
    let queue = support::start_with(config).await;
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
async fn a_large_batch_comes_in_parts() {
    let queue = start().await;
    let large = json!("x".repeat(200 * 1024));
    for _ in 0..2 {
        queue.send("lab", vec![large.clone(); 20]).await;
    }
    let first = queue.receive("lab", 100, LONG).await;
    assert!((20..40).contains(&first.len()), "{}", first.len());
    assert_eq!(
        queue.receive("lab", 100, LONG).await.len(),
        40 - first.len()
    );
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
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
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
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(queue.get("/health").await.0, 200);
}

#[test]
fn the_documentation_names_every_call() {
    let document = serde_json::to_value(queue::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 12, "{:?}", paths.keys());
}

/// Waits until that many receives are being served.
async fn wait_until_polling(queue: &support::Running, count: usize) {
    kit::testing::eventually("the polls wait", async || {
        let text = queue
            .http
            .get(format!("http://{}/metrics", queue.admin))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        text.lines().any(|line| {
            line.starts_with("recarga_http_requests_in_flight{")
                && line.ends_with(&format!(" {count}"))
        })
    })
    .await;
}
