//! Long tasks, through the public port and on the worker's own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::lab::{eventually, lab};

/// The state machine's words.
const STATES: [&str; 4] = ["queued", "processing", "completed", "failed"];

async fn completed(api: &Api, task: &str) -> Value {
    let path = format!("/task/{task}");
    eventually(Duration::from_mins(1), "the task completes", || async {
        let answer = api.get(&path).await.expect(200);
        let status = answer.text("status").to_owned();
        assert!(
            STATES.contains(&status.as_str()) && status != "failed",
            "{answer}"
        );
        assert!(answer.body["attempts"].is_u64(), "{answer}");
        (status == "completed").then_some(answer.body)
    })
    .await
}

#[tokio::test]
async fn a_long_task_is_started_followed_and_completed() {
    let _calm = lab().calm().await;
    let api = Api::anonymous();
    let answer = api
        .post("/longtask", json!({"task": {"name": "report", "pages": 3}}))
        .await
        .expect(202);
    assert_eq!(answer.text("status"), "Started");
    assert!(
        ["1", "2", "3"].contains(&answer.text("gateway_id")),
        "{answer}"
    );
    let task = answer.body["task_id"]
        .to_string()
        .trim_matches('"')
        .to_owned();
    assert_eq!(
        answer.header("location"),
        Some(format!("/task/{task}").as_str()),
        "{answer}"
    );
    let done = completed(&api, &task).await;
    assert!(!done["result"].is_null(), "{done}");
    assert!(done["attempts"].as_u64().unwrap() >= 1, "{done}");
}

#[tokio::test]
async fn unknown_and_odd_tasks() {
    let api = Api::anonymous();
    let answer = api.get("/task/999999999").await.expect(404);
    assert_eq!(answer.body["status"], "not_found", "{answer}");
    let odd = api.get("/task/x").await;
    assert!(matches!(odd.status, 404 | 422), "{odd}");
}

#[tokio::test]
async fn wrong_bodies_of_a_long_task() {
    let api = Api::anonymous();
    api.post("/longtask", json!({})).await.names("task");
    api.post_raw("/longtask", "application/json", "{")
        .await
        .problem(400);
    api.post_raw("/longtask", "application/json", vec![b' '; 1_200_000])
        .await
        .problem(413);
}

#[tokio::test]
async fn any_json_is_a_task() {
    let api = Api::anonymous();
    for task in [json!("text"), json!(1), json!([1, 2]), json!({})] {
        api.post("/longtask", json!({"task": task}))
            .await
            .expect(202);
    }
}

#[tokio::test]
async fn the_workers_own_port() {
    let _calm = lab().calm().await;
    let worker = Api::worker();
    let before = worker
        .get("/tasks")
        .await
        .expect(200)
        .int("completed_tasks");
    let answer = worker
        .post("/task", json!({"task": "direct"}))
        .await
        .expect(202);
    assert_eq!(answer.text("status"), "Started");
    let task = answer.body["task_id"]
        .to_string()
        .trim_matches('"')
        .to_owned();
    completed(&worker, &task).await;
    let tasks = worker.get("/tasks").await.expect(200);
    assert!(tasks.int("completed_tasks") > before, "{tasks}");
    assert!(tasks.int("queue_length") >= 0, "{tasks}");
    assert_eq!(
        worker.get("/task/999999999").await.expect(404).body["status"],
        "not_found"
    );
    worker
        .post_raw("/task", "application/json", "{")
        .await
        .problem(400);
}

#[tokio::test]
async fn a_paused_worker_lets_tasks_wait() {
    let _alone = lab().alone().await;
    let (api, admin) = (Api::anonymous(), Api::admin("worker-1"));
    admin.post("/admin/pause", json!({})).await.expect(200);
    let answer = api
        .post("/longtask", json!({"task": "patience"}))
        .await
        .expect(202);
    let task = answer.body["task_id"]
        .to_string()
        .trim_matches('"')
        .to_owned();
    for _ in 0..10 {
        let state = api.get(&format!("/task/{task}")).await.expect(200);
        assert_ne!(state.text("status"), "completed", "{state}");
    }
    admin.post("/admin/resume", json!({})).await.expect(200);
    completed(&api, &task).await;
}
