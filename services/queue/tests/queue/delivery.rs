//! Messages come in order and once, and again when nobody ends them.

use std::time::{Duration, Instant};

use kit::messaging::{Outgoing, Receipt, Release};
use serde_json::json;

use crate::support::{LONG, SHORT, message, numbered, start, value};

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
        elapsed >= Duration::from_millis(395) && elapsed < Duration::from_secs(5),
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
async fn receives_at_the_same_time_share_what_there_is() {
    let queue = start().await;
    queue.send("lab", numbered(100)).await;
    let receives = (0..70).map(|n| queue.receive("lab", 1 + n % 2, [LONG, LONG * 2][n % 3 % 2]));
    let received = futures::future::join_all(receives).await;
    let mut all: Vec<u64> = Vec::new();
    for (n, messages) in received.iter().enumerate() {
        assert!(messages.len() <= 1 + n % 2);
        all.extend(messages.iter().map(|m| value(m)["n"].as_u64().unwrap()));
    }
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());

    // Together they are more than one call gives; each gets its own all the same.
    let large = vec![json!("x".repeat(200_000)); 30];
    for batch in large.chunks(10) {
        queue.send("large", batch.to_vec()).await;
    }
    let receives = (0..30).map(|_| queue.receive("large", 1, LONG));
    for messages in futures::future::join_all(receives).await {
        assert_eq!(messages.len(), 1);
    }
    assert!(queue.receive("large", 1, LONG).await.is_empty());
}
