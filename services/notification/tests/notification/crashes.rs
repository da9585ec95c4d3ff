//! An instance that dies right before or right after each of its steps: the next one finishes, and nothing happens twice.

use http::Method;
use kit::testing::{
    eventually,
    toll::{Moment, Stop, Toll},
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    support::{count, lab, notification, recharge},
    webhook::Receiver,
};

fn stop(method: Method, path: &'static str, moment: Moment, answer: &'static str) -> Stop {
    Stop {
        method,
        path,
        moment,
        answer,
    }
}

/// Every step of an instance that is a call of the queue.
fn steps() -> Vec<Stop> {
    vec![
        stop(Method::GET, "/messages", Moment::Before, ""),
        // With messages in the answer: an empty one means nothing.
        stop(Method::GET, "/messages", Moment::After, "receipt"),
        stop(Method::POST, "/acknowledge", Moment::Before, ""),
        stop(Method::POST, "/acknowledge", Moment::After, ""),
    ]
}

#[sqlx::test(migrations = "../../migrations")]
async fn dying_around_receive_and_acknowledge_notifies_once(pool: PgPool) {
    let lab = lab().await;
    lab.configure("recharges", &serde_json::json!({"max_crashes": 100}))
        .await;
    let toll = Toll::before(lab.queue.public).await;
    for (round, step) in (0_i64..).zip(steps()) {
        let shown = format!("{step:?}");
        let ids = [1, 2, 3].map(|n| round * 10 + n);
        toll.stop(step);
        let doomed = notification(&pool, "notification-1", toll.address, &[]);
        lab.send("recharges", &ids.map(|id| recharge(id, Uuid::new_v4())))
            .await;
        toll.reached().await;
        doomed.kill();
        let heir = notification(&pool, "notification-2", lab.queue.public, &[]);
        lab.settled("recharges").await;
        assert_eq!(count(&pool, "sent").await, 3 * (round + 1), "{shown}");
        heir.stop().await;
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn dying_while_the_claim_is_on_its_way_notifies_once(pool: PgPool) {
    let lab = lab().await;
    // The claim waits for this lock: whether it is made after its caller's death is the database's to know.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table notification.inbox in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let doomed = notification(&pool, "notification-1", lab.queue.public, &[]);
    lab.send(
        "recharges",
        &[1, 2, 3].map(|id| recharge(id, Uuid::new_v4())),
    )
    .await;
    eventually("the claim waits", async || {
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
    let _heir = notification(&pool, "notification-2", lab.queue.public, &[]);
    lab.settled("recharges").await;
    assert_eq!(count(&pool, "sent").await, 3);
}

#[sqlx::test(migrations = "../../migrations")]
async fn dying_around_the_acknowledgement_does_not_post_again(pool: PgPool) {
    let (lab, receiver) = (lab().await, Receiver::start().await);
    lab.configure("recharges", &serde_json::json!({"max_crashes": 100}))
        .await;
    let toll = Toll::before(lab.queue.public).await;
    for (round, step) in (0_i64..).zip(steps()) {
        let shown = format!("{step:?}");
        let posts = receiver.posts().len();
        toll.stop(step);
        let doomed = notification(&pool, "notification-1", toll.address, &receiver.flags());
        lab.send("recharges", &[recharge(round, Uuid::new_v4())])
            .await;
        toll.reached().await;
        doomed.kill();
        let heir = notification(&pool, "notification-2", lab.queue.public, &receiver.flags());
        lab.settled("recharges").await;
        assert_eq!(receiver.posts().len(), posts + 1, "{shown}");
        assert_eq!(count(&pool, "sent").await, round + 1, "{shown}");
        heir.stop().await;
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn dying_while_a_post_is_answered_repeats_it_under_the_same_key(pool: PgPool) {
    let (lab, receiver) = (lab().await, Receiver::start().await);
    receiver.hang_once();
    let doomed = notification(&pool, "notification-1", lab.queue.public, &receiver.flags());
    lab.send("recharges", &[recharge(1, Uuid::new_v4())]).await;
    eventually("the post arrived", async || receiver.posts().len() == 1).await;
    doomed.kill();
    assert_eq!(count(&pool, "pending").await, 1);
    let _heir = notification(&pool, "notification-2", lab.queue.public, &receiver.flags());
    lab.settled("recharges").await;
    let posts = receiver.posts();
    assert_eq!(posts.len(), 2);
    // The far side cannot be part of our transaction; the key lets it tell.
    assert_eq!(posts[0].key, posts[1].key);
    assert_eq!(count(&pool, "sent").await, 1);
}
