//! The counts that are never cached.

use serde_json::json;
use sqlx::PgPool;

use crate::support::{Lab, Setup};

#[sqlx::test(migrations = "../../migrations")]
async fn counts_and_the_latest(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let count = lab.get("/users/count").await;
    assert_eq!(
        (count.status, &count.body),
        (200, &json!({"total_users": 3}))
    );
    let active = lab.get("/users/active/count").await;
    assert_eq!(
        (active.status, &active.body),
        (200, &json!({"active_users": 1, "days": 30}))
    );
    let latest = lab.get("/users/latest").await;
    assert_eq!(
        (latest.status, &latest.body["username"]),
        (200, &json!("student2"))
    );
    for answer in [count, active, latest] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn nobody_yet(pool: PgPool) {
    let lab = Lab::with(Setup {
        pool,
        cache: None,
        now: None,
    })
    .await;
    assert_eq!(
        lab.get("/users/count").await.body,
        json!({"total_users": 0})
    );
    lab.get("/users/latest").await.refused(404, "no users");
}
