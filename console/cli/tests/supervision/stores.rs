//! The throw-away stores, which tests of everything else stand on.

use std::path::Path;

use host::Scratch;

use crate::lab::{RECARGA, gone};

#[tokio::test]
async fn throw_away_stores_answer_and_are_gone_afterwards() {
    let scratch = Scratch::start(Path::new(RECARGA)).await.unwrap();
    let pool = sqlx::PgPool::connect(&scratch.database_url())
        .await
        .unwrap();
    let user: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(user, "recarga");
    pool.close().await;

    let client = redis::Client::open(format!("{}/19999", scratch.redis_url())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET")
        .arg(&["key", "value"])
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    drop(connection);

    let processes: Vec<u32> = scratch
        .pids()
        .into_iter()
        .chain(scratch.guard_pids())
        .map(Option::unwrap)
        .collect();
    scratch.stop().await.unwrap();
    gone(&processes).await;
}

#[tokio::test]
async fn throw_away_stores_end_when_their_owner_is_dropped() {
    let scratch = Scratch::start(Path::new(RECARGA)).await.unwrap();
    let processes: Vec<u32> = scratch
        .pids()
        .into_iter()
        .chain(scratch.guard_pids())
        .map(Option::unwrap)
        .collect();
    // Its ends of the guards' pipes close, as they do when its process is killed.
    drop(scratch);
    gone(&processes).await;
}
