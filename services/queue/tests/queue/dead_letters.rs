//! What nobody can use is given up with its reason and history, and can be taken back.

use kit::messaging::Release;
use serde_json::{Value, json};

use crate::support::{LONG, SHORT, numbered, start, value};

#[tokio::test]
async fn a_message_that_nobody_acknowledges_dies_with_its_history_and_can_be_taken_back() {
    let queue = start().await;
    queue
        .configure("lab", json!({"max_crashes": 2, "backoff_seconds": 0}))
        .await;
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
    assert_eq!(letter.crashes, 2);
    assert!(
        letter.reason.contains("3 times") && letter.reason.contains("2 of its consumers"),
        "{}",
        letter.reason
    );
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
async fn crashes_and_failures_are_counted_apart() {
    let queue = start().await;
    queue
        .configure(
            "lab",
            json!({"max_crashes": 2, "max_deliveries": 2, "backoff_seconds": 0}),
        )
        .await;
    queue.send("lab", [json!(1)]).await;
    let failed = Release {
        reason: Some("broken".to_owned()),
        ..Release::default()
    };
    let first = queue.one("lab", LONG).await;
    assert!(
        queue
            .client
            .release("lab", &first.receipt, &failed)
            .await
            .unwrap()
    );
    let second = queue.one("lab", SHORT).await;
    assert_eq!((second.deliveries, second.crashes), (2, 0));
    // One failure and one crash: neither is at its limit.
    let third = queue.one("lab", LONG).await;
    assert_eq!((third.deliveries, third.crashes), (3, 1));
    let stopped = Release {
        uncounted: true,
        ..Release::default()
    };
    assert!(
        queue
            .client
            .release("lab", &third.receipt, &stopped)
            .await
            .unwrap()
    );
    let fourth = queue.one("lab", LONG).await;
    assert_eq!((fourth.deliveries, fourth.crashes), (3, 1));
    assert!(
        queue
            .client
            .release("lab", &fourth.receipt, &failed)
            .await
            .unwrap()
    );
    let dead = queue.client.dead_letters("lab", None, 10).await.unwrap();
    assert_eq!((dead[0].crashes, dead[0].deliveries), (1, 3));
    assert_eq!(dead[0].reason, "given back at delivery 3: broken");
}

#[tokio::test]
async fn a_failure_waits_for_a_backoff_that_doubles_up_to_its_limit() {
    let queue = start().await;
    queue
        .configure(
            "lab",
            json!({"max_deliveries": 20, "backoff_seconds": 100, "backoff_limit_seconds": 300}),
        )
        .await;
    queue.send("lab", numbered(100)).await;
    let redis = queue.redis().await;
    let mut spread = Vec::new();
    for (failures, limit) in [(1, 100.0), (2, 200.0), (3, 300.0), (4, 300.0)] {
        let held = queue.receive("lab", 100, LONG).await;
        assert_eq!(held.len(), 100);
        let receipts: Vec<_> = held.into_iter().map(|m| m.receipt).collect();
        let before = redis_time(&redis).await;
        let released = queue
            .client
            .release_batch("lab", &receipts, &Release::default())
            .await
            .unwrap();
        assert_eq!((released.released, released.late.len()), (100, 0));
        let due: Vec<(String, f64)> = redis::cmd("ZRANGE")
            .arg("queue:{lab}:delayed")
            .arg(0)
            .arg(-1)
            .arg("WITHSCORES")
            .query_async(&mut redis.clone())
            .await
            .unwrap();
        assert_eq!(due.len(), 100);
        for (_, at) in &due {
            let pause = (at - before) / 1000.0;
            assert!(
                (limit / 2.0 - 0.1..=limit + 5.0).contains(&pause),
                "{failures} failures: {pause} s"
            );
        }
        spread.push(due[99].1 - due[0].1);
        // Brought forward, instead of waiting for minutes.
        let mut forward = redis::pipe();
        for (id, _) in &due {
            forward.zadd("queue:{lab}:delayed", id, 0).ignore();
        }
        forward.query_async::<()>(&mut redis.clone()).await.unwrap();
    }
    assert!(spread.iter().all(|ms| *ms > 10_000.0), "{spread:?}");
}

async fn redis_time(connection: &redis::aio::MultiplexedConnection) -> f64 {
    let (seconds, micros): (f64, f64) = redis::cmd("TIME")
        .query_async(&mut connection.clone())
        .await
        .unwrap();
    seconds * 1000.0 + micros / 1000.0
}

#[tokio::test]
async fn dead_letters_are_taken_back_at_a_rate_or_only_counted() {
    let queue = start().await;
    for chunk in numbered(250).chunks(100) {
        queue.send("lab", chunk.to_vec()).await;
    }
    loop {
        let held = queue.receive("lab", 100, LONG).await;
        if held.is_empty() {
            break;
        }
        for message in held {
            assert!(
                queue
                    .client
                    .dead("lab", &message.receipt, "bad")
                    .await
                    .unwrap()
            );
        }
    }
    let redrive = async |request: Value| queue.post("/queues/lab/dead/redrive", request).await.1;
    let told = redrive(json!({"limit": 240, "per_second": 10, "dry_run": true})).await;
    assert_eq!(
        told,
        json!({"count": 240, "remaining": 10, "takes_seconds": 23.9, "dry_run": true})
    );
    assert_eq!(queue.figures("lab").await["dead"], 250);
    let done = redrive(json!({"limit": 240, "per_second": 2})).await;
    assert_eq!(
        (&done["count"], &done["remaining"]),
        (&json!(240), &json!(10))
    );
    // The first at once, in the order they died; the others later, one after the other.
    let first = queue.receive("lab", 100, LONG).await;
    assert!((1..10).contains(&first.len()), "{}", first.len());
    assert_eq!((value(&first[0]), first[0].redrives), (json!({"n": 0}), 1));
    let figures = queue.figures("lab").await;
    assert!(figures["delayed"].as_u64().unwrap() > 200, "{figures}");
    let (status, answer) = queue.call("DELETE", "/queues/lab/dead", None).await;
    assert_eq!((status, &answer["count"]), (200, &json!(10)));
    for wrong in [
        json!({"per_second": 0}),
        json!({"limit": 10_001}),
        json!({"rate": 1}),
    ] {
        let (status, _) = queue.post("/queues/lab/dead/redrive", wrong.clone()).await;
        assert_eq!(status, 422, "{wrong}");
    }
}

/// Sends so many messages and has them all die; their positions.
async fn graves(queue: &crate::support::Running, count: usize) -> Vec<String> {
    queue.send("lab", numbered(count)).await;
    for _ in 0..count {
        let message = queue.one("lab", LONG).await;
        let buried = queue.client.dead("lab", &message.receipt, "no use").await;
        assert!(buried.unwrap());
    }
    let dead = queue.client.dead_letters("lab", None, 100).await.unwrap();
    assert_eq!(dead.len(), count);
    dead.into_iter().map(|letter| letter.position).collect()
}

#[tokio::test]
async fn exactly_those_that_were_chosen_come_back() {
    let queue = start().await;
    let positions = graves(&queue, 5).await;
    let wanted = json!({"positions": [&positions[3], &positions[1], &positions[3], "1-1"]});
    let mut dry = wanted.clone();
    dry["dry_run"] = json!(true);
    for (body, is_dry) in [(dry, true), (wanted.clone(), false)] {
        let (status, answer) = queue.post("/queues/lab/dead/redrive", body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            (
                &answer["count"],
                &answer["missing"],
                &answer["remaining"],
                &answer["dry_run"]
            ),
            (&json!(2), &json!(1), &json!(3), &json!(is_dry))
        );
    }
    let bodies = [queue.one("lab", LONG).await, queue.one("lab", LONG).await];
    assert!(bodies.iter().all(|message| message.redrives == 1));
    let (_, again) = queue.post("/queues/lab/dead/redrive", wanted).await;
    assert_eq!((&again["count"], &again["missing"]), (&json!(0), &json!(3)));
    let left = queue.client.dead_letters("lab", None, 100).await.unwrap();
    let left: Vec<_> = left.iter().map(|letter| letter.position.as_str()).collect();
    assert_eq!(left, [&positions[0], &positions[2], &positions[4]]);
}

#[tokio::test]
async fn exactly_those_that_were_chosen_are_ended() {
    let queue = start().await;
    let positions = graves(&queue, 4).await;
    let path = format!(
        "/queues/lab/dead?positions={},{},1-1",
        positions[0], positions[2]
    );
    let (status, answer) = queue.call("DELETE", &path, None).await;
    assert_eq!((status, &answer["count"]), (200, &json!(2)));
    let left = queue.client.dead_letters("lab", None, 100).await.unwrap();
    assert_eq!(left.len(), 2);
    let (_, answer) = queue.call("DELETE", "/queues/lab/dead", None).await;
    assert_eq!(answer["count"], 2);
}

#[tokio::test]
async fn a_choice_that_makes_no_sense_changes_nothing() {
    let queue = start().await;
    graves(&queue, 2).await;
    let many: Vec<String> = (0..1001).map(|number| format!("{number}-0")).collect();
    for body in [
        json!({"positions": []}),
        json!({"positions": ["x"]}),
        json!({"positions": ["-"]}),
        json!({"positions": ["+1-+1"]}),
        json!({"positions": [7]}),
        json!({"positions": "1-1"}),
        json!({"positions": ["1-1"], "limit": 1}),
        json!({"positions": many}),
        json!({"positions": ["99999999999999999999-0"]}),
    ] {
        let (status, answer) = queue.post("/queues/lab/dead/redrive", body.clone()).await;
        assert_eq!(status, 422, "{body}: {answer}");
    }
    for query in [
        "positions=",
        "positions=1-1,",
        "positions=*",
        "position=1-1",
        "all=true",
    ] {
        let path = format!("/queues/lab/dead?{query}");
        let (status, answer) = queue.call("DELETE", &path, None).await;
        assert_eq!(status, 422, "{query}: {answer}");
    }
    let left = queue.client.dead_letters("lab", None, 100).await.unwrap();
    assert_eq!(left.len(), 2);
}
