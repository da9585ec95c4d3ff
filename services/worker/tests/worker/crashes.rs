//! A worker that dies right before or right after each of its steps: another one finishes the task, and it is completed once.

use http::Method;
use kit::testing::{
    eventually,
    toll::{Moment, Stop, Toll},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Lab, lab};

/// Ends everything that was left: the task is completed, its message gone, and nothing was given up.
async fn is_finished(lab: &Lab, worker: &kit::testing::Process, id: i64) -> Value {
    let done = lab.reaches(worker, id, "completed").await;
    eventually("its message is gone", async || {
        let figures = lab.figures().await;
        figures["depth"] == 0 && figures["in_flight"] == 0
    })
    .await;
    assert_eq!(lab.figures().await["dead"], 0);
    done
}

#[sqlx::test(migrations = "../../migrations")]
async fn dying_around_receive_and_acknowledge_completes_once(pool: PgPool) {
    let lab = lab(&pool).await;
    let url = format!("http://{}/queues/tasks", lab.queue.public);
    let settings = json!({"max_crashes": 100});
    lab.http.put(url).json(&settings).send().await.unwrap();
    let toll = Toll::before(lab.queue.public).await;
    // Takes tasks in, and works on none.
    let clerk = lab.worker("worker-9", "0");
    assert_eq!(
        lab.admin(&clerk, "POST", "/admin/pause", json!({})).await,
        200
    );
    for (method, path, moment, answer) in [
        (Method::GET, "/messages", Moment::Before, ""),
        (Method::GET, "/messages", Moment::After, "receipt"),
        (Method::POST, "/acknowledge", Moment::Before, ""),
        (Method::POST, "/acknowledge", Moment::After, ""),
    ] {
        let shown = format!("{method} {path} {moment:?}");
        toll.stop(Stop {
            method,
            path,
            moment,
            answer,
        });
        let doomed = lab.worker_through(toll.address, "worker-1", "0");
        let id = lab.submit(&clerk, json!(1)).await;
        toll.reached().await;
        let completed = match path {
            "/acknowledge" => Some(lab.reaches(&clerk, id, "completed").await),
            _ => None,
        };
        doomed.kill();
        let heir = lab.worker("worker-2", "0");
        let done = is_finished(&lab, &heir, id).await;
        if let Some(completed) = completed {
            assert_eq!(done, completed, "{shown}: the heir only acknowledged");
        }
        heir.stop().await;
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn dying_while_it_is_claimed_or_completed_completes_once(pool: PgPool) {
    let lab = lab(&pool).await;
    let clerk = lab.worker("worker-9", "0");
    assert_eq!(
        lab.admin(&clerk, "POST", "/admin/pause", json!({})).await,
        200
    );
    for step in ["claim", "complete"] {
        let id = lab.submit(&clerk, json!(1)).await;
        // The statement waits for this lock: whether it is carried out after its caller's death is the database's to know.
        let mut lock = pool.begin().await.unwrap();
        let hold = async |lock: &mut sqlx::PgTransaction<'_>| {
            sqlx::query("select from worker.tasks where id = $1 for update")
                .bind(id)
                .execute(&mut **lock)
                .await
                .unwrap();
        };
        let doomed = if step == "claim" {
            hold(&mut lock).await;
            lab.worker("worker-1", "0")
        } else {
            let doomed = lab.worker("worker-1", "0.3");
            lab.reaches(&clerk, id, "processing").await;
            hold(&mut lock).await;
            doomed
        };
        eventually("the statement waits", async || {
            sqlx::query_scalar::<_, i64>(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&pool)
            .await
            .unwrap()
                > 0
        })
        .await;
        doomed.kill();
        lock.rollback().await.unwrap();
        let heir = lab.worker("worker-2", "0");
        let done = is_finished(&lab, &heir, id).await;
        let attempts = done["attempts"].as_i64().unwrap();
        assert!(attempts >= 1, "{step}: {done}");
        heir.stop().await;
    }
}
