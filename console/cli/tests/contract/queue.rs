//! The queue service on its own port.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::lab::{eventually, lab};

fn messages(answer: &Answer) -> &Vec<Value> {
    answer.body["messages"]
        .as_array()
        .unwrap_or_else(|| panic!("no messages: {answer}"))
}

fn receipt(answer: &Answer) -> &str {
    let messages = messages(answer);
    assert_eq!(messages.len(), 1, "{answer}");
    messages[0]["receipt"]
        .as_str()
        .unwrap_or_else(|| panic!("no receipt: {answer}"))
}

/// A queue of its own, and the path of its messages.
fn own_queue() -> (Api, String, String) {
    let name = lab().own_name("queue");
    let path = format!("/queues/{name}/messages");
    (Api::queue(), name, path)
}

#[tokio::test]
async fn the_naive_pair() {
    let queue = Api::queue();
    let empty = queue.get("/dequeue").await.expect(404);
    assert_eq!(empty.body["detail"], "No tasks in the queue", "{empty}");
    for number in 0..3 {
        let answer = queue
            .post(
                "/enqueue",
                json!({"task_type": "mail", "payload": {"n": number}}),
            )
            .await
            .expect(200);
        assert_eq!(answer.text("status"), "task enqueued");
        assert!(!answer.body["id"].is_null(), "{answer}");
    }
    for number in 0..3 {
        let task = queue.get("/dequeue").await.expect(200);
        assert_eq!(
            (&task.body["task_type"], &task.body["payload"]["n"]),
            (&json!("mail"), &json!(number)),
            "{task}"
        );
    }
    queue.get("/dequeue").await.expect(404);
    queue
        .post("/enqueue", json!({"payload": 1}))
        .await
        .names("task_type");
    queue
        .post_raw("/enqueue", "application/json", "{")
        .await
        .problem(400);
    queue
        .post_raw("/enqueue", "application/json", vec![b' '; 9_000_000])
        .await
        .problem(413);
}

#[tokio::test]
async fn send_receive_acknowledge() {
    let (queue, _, path) = own_queue();
    let sent = queue
        .post(&path, json!({"body": {"a": 1}}))
        .await
        .expect(200);
    assert_eq!(sent.body["ids"].as_array().unwrap().len(), 1, "{sent}");
    assert_eq!(sent.body["id"], sent.body["ids"][0], "{sent}");
    let received = queue.get(&path).await.expect(200);
    let message = &messages(&received)[0];
    assert_eq!(
        (&message["body"], &message["deliveries"]),
        (&json!({"a": 1}), &json!(1)),
        "{received}"
    );
    assert_eq!(message["id"], sent.body["id"]);
    assert!(message["sent_at"].is_string());
    assert!(
        messages(&queue.get(&path).await).is_empty(),
        "it is in flight"
    );
    let acknowledge = format!("{path}/{}", receipt(&received));
    queue.delete(&acknowledge).await.expect(204);
    queue.delete(&acknowledge).await.problem(409);
}

#[tokio::test]
async fn batches_keep_their_order() {
    let (queue, _, path) = own_queue();
    let batch: Vec<_> = (0..10).map(|number| json!({"body": number})).collect();
    let sent = queue
        .post(&path, json!({"messages": batch}))
        .await
        .expect(200);
    assert_eq!(sent.body["ids"].as_array().unwrap().len(), 10, "{sent}");
    let received = queue.get(&format!("{path}?max=100")).await.expect(200);
    let bodies: Vec<_> = messages(&received)
        .iter()
        .map(|message| message["body"].as_i64().unwrap())
        .collect();
    assert_eq!(bodies, (0..10).collect::<Vec<_>>());
    let receipts: Vec<_> = messages(&received)
        .iter()
        .map(|message| message["receipt"].clone())
        .collect();
    let acknowledge = format!("{}/acknowledge", path.trim_end_matches("/messages"));
    let done = queue
        .post(&acknowledge, json!({"receipts": receipts}))
        .await
        .expect(200);
    assert_eq!(
        (
            done.int("acknowledged"),
            done.body["late"].as_array().unwrap().len()
        ),
        (10, 0),
        "{done}"
    );
    let late = queue
        .post(&acknowledge, json!({"receipts": receipts}))
        .await
        .expect(200);
    assert_eq!(
        (
            late.int("acknowledged"),
            late.body["late"].as_array().unwrap().len()
        ),
        (0, 10),
        "{late}"
    );
}

#[tokio::test]
async fn an_unacknowledged_message_comes_back_and_the_old_receipt_is_void() {
    let (queue, _, path) = own_queue();
    queue.post(&path, json!({"body": 1})).await.expect(200);
    let first = queue
        .get(&format!("{path}?visibility_seconds=1"))
        .await
        .expect(200);
    let second = queue
        .get(&format!("{path}?wait_seconds=15"))
        .await
        .expect(200);
    assert_eq!(messages(&second)[0]["deliveries"], 2, "{second}");
    queue
        .delete(&format!("{path}/{}", receipt(&first)))
        .await
        .problem(409);
    queue
        .delete(&format!("{path}/{}", receipt(&second)))
        .await
        .expect(204);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_message() {
    let (queue, _, path) = own_queue();
    let waiting = {
        let (queue, path) = (queue.clone(), path.clone());
        tokio::spawn(async move { queue.get(&format!("{path}?wait_seconds=20")).await })
    };
    tokio::task::yield_now().await;
    let started = Instant::now();
    queue.post(&path, json!({"body": "now"})).await.expect(200);
    let received = waiting.await.unwrap().expect(200);
    assert_eq!(messages(&received)[0]["body"], "now");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_empty_long_poll_ends_in_time() {
    let (queue, _, path) = own_queue();
    let started = Instant::now();
    assert!(
        messages(
            &queue
                .get(&format!("{path}?wait_seconds=1"))
                .await
                .expect(200)
        )
        .is_empty()
    );
    assert!(
        (900..4000).contains(&started.elapsed().as_millis()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn delayed_messages_wait() {
    let (queue, _, path) = own_queue();
    queue
        .post(&path, json!({"body": "later", "delay_seconds": 1}))
        .await
        .expect(200);
    assert!(messages(&queue.get(&path).await.expect(200)).is_empty());
    let received = queue
        .get(&format!("{path}?wait_seconds=10"))
        .await
        .expect(200);
    assert_eq!(messages(&received)[0]["body"], "later");
}

#[tokio::test]
async fn a_dedupe_id_is_taken_once() {
    let (queue, _, path) = own_queue();
    let first = queue
        .post(&path, json!({"body": 1, "dedupe_id": "one"}))
        .await
        .expect(200);
    let second = queue
        .post(&path, json!({"body": 2, "dedupe_id": "one"}))
        .await
        .expect(200);
    assert_eq!(first.body["id"], second.body["id"], "{second}");
    let received = queue.get(&format!("{path}?max=10")).await.expect(200);
    assert_eq!(messages(&received).len(), 1, "{received}");
}

#[tokio::test]
async fn extending_keeps_a_message_and_releasing_gives_it_back() {
    let (queue, _, path) = own_queue();
    queue.post(&path, json!({"body": 1})).await.expect(200);
    let received = queue
        .get(&format!("{path}?visibility_seconds=2"))
        .await
        .expect(200);
    let at = format!("{path}/{}", receipt(&received));
    let extended = queue
        .post(&format!("{at}/extend"), json!({"visibility_seconds": 60}))
        .await;
    assert!((200..300).contains(&extended.status), "{extended}");
    assert!(
        messages(&queue.get(&format!("{path}?wait_seconds=3")).await).is_empty(),
        "it was extended"
    );
    let released = queue
        .post(&format!("{at}/release"), json!({"reason": "not now"}))
        .await;
    assert!((200..300).contains(&released.status), "{released}");
    let again = queue
        .get(&format!("{path}?wait_seconds=10"))
        .await
        .expect(200);
    assert_eq!(messages(&again)[0]["deliveries"], 2, "{again}");
    queue
        .post(&format!("{at}/extend"), json!({"visibility_seconds": 60}))
        .await
        .problem(409);
    queue
        .post(&format!("{at}/release"), json!({}))
        .await
        .problem(409);
}

#[tokio::test]
async fn the_dead_are_listed_and_sent_again() {
    let (queue, name, path) = own_queue();
    queue
        .post(&path, json!({"body": "poison"}))
        .await
        .expect(200);
    let received = queue.get(&path).await.expect(200);
    let dead = queue
        .post(
            &format!("{path}/{}/dead", receipt(&received)),
            json!({"reason": "cannot be read"}),
        )
        .await;
    assert!((200..300).contains(&dead.status), "{dead}");
    let listed = queue
        .get(&format!("/queues/{name}/dead?limit=10"))
        .await
        .expect(200);
    assert!(
        listed.text.contains("cannot be read") && listed.text.contains("poison"),
        "{listed}"
    );
    let redriven = queue
        .post(
            &format!("/queues/{name}/dead/redrive"),
            json!({"limit": 10}),
        )
        .await
        .expect(200);
    assert_eq!(redriven.int("count"), 1, "{redriven}");
    let again = queue
        .get(&format!("{path}?wait_seconds=10"))
        .await
        .expect(200);
    assert_eq!(messages(&again)[0]["body"], "poison");
}

#[tokio::test]
async fn a_purge_empties_and_the_list_knows() {
    let (queue, name, path) = own_queue();
    let batch: Vec<_> = (0..5).map(|number| json!({"body": number})).collect();
    queue
        .post(&path, json!({"messages": batch}))
        .await
        .expect(200);
    queue.get(&format!("{path}?max=2")).await.expect(200);
    let mine = || async {
        let all = queue.get("/queues").await.expect(200);
        all.body["queues"]
            .as_array()
            .unwrap()
            .iter()
            .find(|queue| queue["name"] == name.as_str())
            .cloned()
    };
    let listed = mine().await.expect("the queue is listed");
    assert_eq!(
        (&listed["depth"], &listed["in_flight"]),
        (&json!(3), &json!(2)),
        "{listed}"
    );
    for member in ["delayed", "dead", "oldest_age_seconds", "sent_total"] {
        assert!(listed[member].is_number(), "{member}: {listed}");
    }
    let purged = queue.delete(&path).await.expect(200);
    assert!(purged.int("count") >= 3, "{purged}");
    eventually(Duration::from_secs(5), "the queue is empty", || async {
        mine()
            .await
            .is_none_or(|queue| queue["depth"] == 0)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn wrong_calls_are_named() {
    let (queue, name, path) = own_queue();
    for (query, field) in [
        ("max=0", "max"),
        ("max=101", "max"),
        ("max=x", "max"),
        ("wait_seconds=21", "wait_seconds"),
        ("wait_seconds=-1", "wait_seconds"),
        ("visibility_seconds=-1", "visibility_seconds"),
        ("visibility_seconds=43201", "visibility_seconds"),
    ] {
        queue.get(&format!("{path}?{query}")).await.names(field);
    }
    for body in [
        json!({}),
        json!({"messages": []}),
        json!({"messages": 1}),
        json!({"body": 1, "delay_seconds": -1}),
    ] {
        let answer = queue.post(&path, body).await;
        assert!(matches!(answer.status, 400 | 422), "{answer}");
    }
    queue
        .post_raw(&path, "application/json", "[")
        .await
        .problem(400);
    queue.delete(&format!("{path}/garbage")).await.problem(422);
    let odd = queue
        .post("/queues/no%20name/messages", json!({"body": 1}))
        .await;
    assert!(matches!(odd.status, 400 | 404 | 422), "{odd}");
    let many: Vec<_> = (0..10_001).map(|number| json!({"body": number})).collect();
    let answer = queue
        .post(
            &format!("/queues/{name}/messages"),
            json!({"messages": many}),
        )
        .await;
    assert!(matches!(answer.status, 413 | 422), "{answer}");
}
