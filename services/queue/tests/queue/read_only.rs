//! A lab that is only to be looked at.

use serde_json::json;

use crate::support::{LONG, config, numbered, start_with};

#[tokio::test]
async fn queues_work_and_are_not_steered() {
    let mut config = config("queue-1", &kit::testing::redis_url().await);
    config.common.read_only = true;
    let queue = start_with(config).await;
    queue.send("lab", numbered(2)).await;
    let message = queue.one("lab", LONG).await;
    let buried = queue.client.dead("lab", &message.receipt, "no use").await;
    assert!(buried.unwrap(), "what consumers do stays");
    for (method, path, body) in [
        ("PUT", "/queues/lab", json!({"max_deliveries": 2})),
        ("DELETE", "/queues/lab", json!({})),
        ("DELETE", "/queues/lab/messages", json!({})),
        ("POST", "/queues/lab/pause", json!({})),
        ("POST", "/queues/lab/resume", json!({})),
        ("DELETE", "/queues/lab/dead", json!({})),
        ("DELETE", "/queues/lab/dead?positions=1-1", json!({})),
        ("POST", "/queues/lab/dead/redrive", json!({})),
        (
            "POST",
            "/queues/lab/dead/redrive",
            json!({"positions": ["1-1"]}),
        ),
    ] {
        let (status, answer) = queue.call(method, path, Some(body)).await;
        assert_eq!(status, 403, "{method} {path}: {answer}");
        assert_eq!(answer["read_only"], true, "{answer}");
    }
    let dry_run = json!({"dry_run": true});
    let (status, answer) = queue.post("/queues/lab/dead/redrive", dry_run).await;
    assert_eq!((status, &answer["count"]), (200, &json!(1)));
    let (_, figures) = queue.get("/queues/lab").await;
    assert_eq!(
        (&figures["depth"], &figures["paused"]),
        (&json!(1), &json!(false))
    );
}
