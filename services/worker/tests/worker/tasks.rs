//! Long tasks end completed or failed, once, whatever becomes of their workers.

use kit::testing::eventually;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::lab;

#[sqlx::test(migrations = "../../migrations")]
async fn tasks_are_completed_and_counted(pool: PgPool) {
    let lab = lab(&pool).await;
    let worker = lab.worker("worker-1", "0.1");
    let mut ids = Vec::new();
    for task in [json!("text"), json!(null), json!({"n": 1}), json!([])] {
        ids.push(lab.submit(&worker, task).await);
    }
    for id in ids {
        let done = lab.reaches(&worker, id, "completed").await;
        assert_eq!(
            (&done["attempts"], &done["result"]["worker"]),
            (&json!(1), &json!("worker-1")),
            "{done}"
        );
    }
    let (_, tasks) = lab.get(&worker, "/tasks").await;
    assert_eq!(
        (&tasks["queue_length"], &tasks["completed_tasks"]),
        (&json!(0), &json!(4))
    );
    eventually("all are acknowledged", async || {
        lab.figures().await["acknowledged_total"] == 4
    })
    .await;
    let (status, problem) = lab.get(&worker, "/task/999").await;
    assert_eq!((status, &problem["status"]), (404, &json!("not_found")));
    assert_eq!(lab.get(&worker, "/task/x").await.0, 422);
    for (body, status) in [
        (json!({}), 422),
        (json!([]), 422),
        (json!({"task": "a\u{0}"}), 422),
        (json!({"task": "x".repeat(200_000)}), 413),
    ] {
        let url = format!("http://{}/task", worker.public);
        let response = lab.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_starts_one_task(pool: PgPool) {
    let lab = lab(&pool).await;
    let worker = lab.worker("worker-1", "0");
    let url = format!("http://{}/task", worker.public);
    let submit = |task: Value| {
        let request = lab.http.post(&url).header("idempotency-key", "k");
        request.json(&json!({"task": task})).send()
    };
    let first = submit(json!(1)).await.unwrap();
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let again = submit(json!(1)).await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.headers()["location"], first.headers()["location"]);
    assert_eq!(submit(json!(2)).await.unwrap().status(), 422);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_task_whose_worker_is_killed_is_completed_once_by_another(pool: PgPool) {
    let lab = lab(&pool).await;
    let doomed = lab.worker("worker-1", "600");
    let id = lab.submit(&doomed, json!("survive")).await;
    lab.reaches(&doomed, id, "processing").await;
    doomed.kill();
    let heir = lab.worker("worker-2", "0.1");
    let done = lab.reaches(&heir, id, "completed").await;
    assert_eq!(
        (&done["attempts"], &done["result"]["worker"]),
        (&json!(2), &json!("worker-2")),
        "{done}"
    );
    eventually("it is acknowledged once", async || {
        let figures = lab.figures().await;
        figures["acknowledged_total"] == 1 && figures["in_flight"] == 0 && figures["depth"] == 0
    })
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_long_task_is_kept_by_a_living_worker(pool: PgPool) {
    let lab = lab(&pool).await;
    // Three times its visibility.
    let (worker, _idle) = (lab.worker("worker-1", "2"), lab.worker("worker-2", "2"));
    let id = lab.submit(&worker, json!("long")).await;
    let done = lab.reaches(&worker, id, "completed").await;
    assert_eq!(done["attempts"], 1, "{done}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_stopping_worker_gives_its_task_back(pool: PgPool) {
    let lab = lab(&pool).await;
    let stopping = lab.worker("worker-1", "600");
    let id = lab.submit(&stopping, json!("go on")).await;
    lab.reaches(&stopping, id, "processing").await;
    stopping.stop().await;
    let state: String = sqlx::query_scalar("select state from worker.tasks")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(state, "queued");
    let heir = lab.worker("worker-2", "0");
    lab.reaches(&heir, id, "completed").await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_failing_task_is_tried_again_and_then_failed_with_its_reason(pool: PgPool) {
    let lab = lab(&pool).await;
    let worker = lab.worker("worker-1", "0");
    let id = lab.submit(&worker, json!({"fail": true})).await;
    let failed = lab.reaches(&worker, id, "failed").await;
    assert_eq!(
        (&failed["attempts"], &failed["reason"]),
        (&json!(2), &json!("the task asked to fail")),
        "{failed}"
    );
    eventually("its message is a dead letter", async || {
        lab.figures().await["dead"] == 1
    })
    .await;
    // Taken back, it is tried again, and fails again.
    let url = format!("http://{}/queues/tasks/dead/redrive", lab.queue.public);
    lab.http.post(url).send().await.unwrap();
    eventually("it fails again", async || {
        lab.get(&worker, &format!("/task/{id}")).await.1["attempts"] == 4
    })
    .await;
    lab.reaches(&worker, id, "failed").await;
    eventually("its message is a dead letter again", async || {
        lab.figures().await["dead"] == 1
    })
    .await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_task_that_kills_its_workers_fails_with_the_queues_reason(pool: PgPool) {
    let lab = lab(&pool).await;
    let url = format!("http://{}/queues/tasks", lab.queue.public);
    let settings = json!({"max_crashes": 2});
    lab.http.put(url).json(&settings).send().await.unwrap();
    let mut submitted = None;
    for name in ["worker-1", "worker-2"] {
        let doomed = lab.worker(name, "600");
        let id = match submitted {
            Some(id) => id,
            None => lab.submit(&doomed, json!("poison")).await,
        };
        let attempts = if submitted.is_none() { 1 } else { 2 };
        eventually("it is begun", async || {
            lab.get(&doomed, &format!("/task/{id}")).await.1["attempts"] == attempts
        })
        .await;
        submitted = Some(id);
        doomed.kill();
    }
    let survivor = lab.worker("worker-3", "0");
    let failed = lab.reaches(&survivor, submitted.unwrap(), "failed").await;
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("delivered 2 times"), "{failed}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_paused_worker_accepts_and_waits(pool: PgPool) {
    let lab = lab(&pool).await;
    let worker = lab.worker("worker-1", "600");
    assert_eq!(
        lab.admin(
            &worker,
            "PUT",
            "/admin/settings",
            json!({"task_seconds": 601})
        )
        .await,
        422
    );
    assert_eq!(
        lab.admin(
            &worker,
            "PUT",
            "/admin/settings",
            json!({"task_seconds": 0})
        )
        .await,
        200
    );
    assert_eq!(
        lab.admin(&worker, "POST", "/admin/pause", json!({})).await,
        200
    );
    let id = lab.submit(&worker, json!(1)).await;
    eventually("the task waits in the queue", async || {
        let figures = lab.figures().await;
        figures["depth"] == 1 && figures["in_flight"] == 0
    })
    .await;
    assert_eq!(
        lab.get(&worker, &format!("/task/{id}")).await.1["status"],
        "queued"
    );
    assert_eq!(
        lab.admin(&worker, "POST", "/admin/resume", json!({})).await,
        200
    );
    lab.reaches(&worker, id, "completed").await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_task_shows_how_far_it_is(pool: PgPool) {
    let lab = lab(&pool).await;
    let worker = lab.worker("worker-1", "3");
    let id = lab.submit(&worker, json!(1)).await;
    let path = format!("/tasks/{id}");
    eventually("it moves", async || {
        let progress = lab.get(&worker, &path).await.1["progress"].as_f64();
        progress.is_some_and(|progress| progress > 0.0 && progress < 1.0)
    })
    .await;
    let done = lab.reaches(&worker, id, "completed").await;
    assert_eq!(done["progress"], 1.0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_worker_that_stops_finishes_what_takes_but_a_moment(pool: PgPool) {
    let lab = lab(&pool).await;
    let worker = lab.patient_worker("worker-1", "0.05");
    let other = lab.patient_worker("worker-2", "0");
    let id = lab.submit(&worker, json!(1)).await;
    eventually("it is taken", async || {
        lab.get(&other, &format!("/task/{id}")).await.1["attempts"] == 1
    })
    .await;
    worker.stop().await;
    let done = lab.reaches(&other, id, "completed").await;
    assert_eq!(done["attempts"], 1);
}
