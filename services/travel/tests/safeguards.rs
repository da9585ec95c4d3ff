//! The chatty transaction in the stored function's place: the same effects, answers and replays, only slower. What is off is
//! off for all of this process: one test at a time.

#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
#[path = "it/support.rs"]
mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use kit::{safeguards::Safeguard, testing::Without};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::support::{Answer, Lab};

static ALONE: Mutex<()> = Mutex::const_new(());

/// An answer without what differs from run to run.
fn essence(answer: &Answer) -> (u16, bool, Value) {
    let mut body = answer.body.clone();
    if let Some(body) = body.as_object_mut() {
        for name in ["recharge_id", "created_at", "instance"] {
            body.remove(name);
        }
    }
    (answer.status, answer.replayed(), body)
}

/// Everything that can become of a recharge; keys carry `round`.
async fn all_kinds(lab: &Lab, round: &str) -> Vec<(u16, bool, Value)> {
    let body = |card: i64, amount: i64| json!({"card_id": card, "amount": amount});
    let at = |point: i64| json!({"card_id": 3, "amount": 1_000, "recharge_point_id": point});
    let key = |number: u32| format!("{round}-{number}");
    let answers = [
        lab.post("/recharges", body(3, 5_000)).await,
        lab.post_once("/recharges", &key(1), body(3, 2_000)).await,
        lab.post_once("/recharges", &key(1), body(3, 2_000)).await,
        lab.post_once("/recharges", &key(1), body(3, 3_000)).await,
        lab.post("/recharges", at(1)).await,
        lab.post("/recharges", at(9)).await,
        lab.post_once("/recharges", &key(2), at(9)).await,
        lab.post_once("/recharges", &key(2), at(9)).await,
        lab.post("/recharges", body(2, 1_000)).await,
        lab.post_once("/recharges", &key(3), body(2, 1_000)).await,
        lab.post_once("/recharges", &key(3), body(2, 1_000)).await,
        lab.post("/recharges", body(99, 1_000)).await,
    ];
    answers.iter().map(essence).collect()
}

/// All that writes leave behind, without numbers and times, oldest first.
async fn left_behind(lab: &Lab) -> Vec<Value> {
    let queries = [
        "select to_jsonb(r) - 'id' - 'created_at' from travel.recharges r order by id",
        "select to_jsonb(l) - 'id' - 'reference' - 'created_at' from travel.ledger_entries l
         where kind = 'recharge' order by id",
        "select jsonb_build_object('topic', topic, 'state', state, 'payload', payload - 'recharge_id')
         from travel.outbox order by id",
        "select jsonb_build_object('outcome', outcome, 'hash', body_hash, 'reply', reply - 'recharge_id' - 'created_at')
         from travel.idempotency_claims order by created_at, key",
        "select jsonb_build_object('id', id, 'balance', balance) from travel.cards order by id",
        "select jsonb_build_object('seen', last_active_at > now() - interval '1 hour') from travel.users order by id",
    ];
    let mut all = Vec::new();
    for query in queries {
        let rows: Vec<Value> = sqlx::query_scalar(query)
            .fetch_all(&lab.pool)
            .await
            .expect(query);
        all.extend(rows);
    }
    all
}

async fn forget_register(pool: &PgPool) {
    let statement = "truncate travel.cached_keys_complete";
    sqlx::query(statement).execute(pool).await.expect(statement);
}

async fn forget_all(pool: &PgPool) {
    let statements = [
        "truncate travel.idempotency_claims, travel.outbox",
        "delete from travel.ledger_entries where kind = 'recharge'",
        "delete from travel.recharges",
        "update travel.cards set balance = opening_balance",
        "update travel.users set last_active_at = now() - interval '1 day'",
    ];
    for statement in statements {
        sqlx::query(statement).execute(pool).await.expect(statement);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn both_ways_leave_the_same_behind(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let lab = Lab::start(pool).await;
    // Chatty writes tell the cache everything; the others do when they do not know what it holds.
    forget_register(&lab.pool).await;
    let stored = (all_kinds(&lab, "a").await, lab.cache.take());
    lab.audit().await;
    let left = left_behind(&lab).await;
    forget_all(&lab.pool).await;
    let _without = Without::new(Safeguard::SingleCall);
    let chatty = (all_kinds(&lab, "a").await, lab.cache.take());
    lab.audit().await;
    assert_eq!(chatty, stored);
    assert_eq!(left_behind(&lab).await, left);
    let made = stored
        .0
        .iter()
        .filter(|(status, ..)| *status == 201)
        .count();
    assert_eq!((made, stored.0.len()), (4, 12));
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_one_way_has_done_the_other_replays(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let lab = Lab::start(pool).await;
    let send = async |key: &str, amount: i64| {
        let body = json!({"card_id": 1, "amount": amount});
        lab.post_once("/recharges", key, body).await
    };
    let first = send("stored", 1_000).await;
    let without = Without::new(Safeguard::SingleCall);
    let again = send("stored", 1_000).await;
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
    send("stored", 2_000).await.refused(422, "another body");
    let first = send("chatty", 1_000).await;
    drop(without);
    let again = send("chatty", 1_000).await;
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
    send("chatty", 2_000).await.refused(422, "another body");
    assert_eq!(lab.get("/cards/1/balance").await.body["balance"], 12_000);
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn many_at_once_on_one_card_and_one_key_come_right(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let lab = Lab::start(pool).await;
    let _without = Without::new(Safeguard::SingleCall);
    let alone = (0..20).map(|_| lab.post("/recharges", json!({"card_id": 1, "amount": 1_000})));
    let keyed =
        (0..20).map(|_| lab.post_once("/recharges", "one", json!({"card_id": 3, "amount": 1_000})));
    let (alone, keyed) = tokio::join!(join_all(alone), join_all(keyed));
    assert!(alone.iter().all(|answer| answer.status == 201), "{alone:?}");
    let fresh = keyed
        .iter()
        .filter(|answer| answer.status == 201 && !answer.replayed())
        .count();
    assert_eq!(fresh, 1);
    assert!(
        keyed
            .iter()
            .all(|answer| matches!(answer.status, 201 | 409))
    );
    assert_eq!(lab.get("/cards/1/balance").await.body["balance"], 30_000);
    assert_eq!(lab.get("/cards/3/balance").await.body["balance"], 1_000);
    lab.audit().await;
}

/// Recharges in a second and a half by sixteen clients, of one card.
async fn recharged(lab: &Lab) -> usize {
    let end = Instant::now() + Duration::from_millis(1_500);
    let client = async || {
        let mut done = 0;
        while Instant::now() < end {
            let answer = lab
                .post("/recharges", json!({"card_id": 3, "amount": 1_000}))
                .await;
            assert_eq!(answer.status, 201, "{answer:?}");
            done += 1;
        }
        done
    };
    join_all((0..16).map(|_| client())).await.into_iter().sum()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_dozen_round_trips_do_less_than_one(pool: PgPool) {
    let _alone = ALONE.lock().await;
    let lab = Lab::start(pool).await;
    let stored = recharged(&lab).await;
    let chatty = {
        let _without = Without::new(Safeguard::SingleCall);
        recharged(&lab).await
    };
    println!("one card, 16 clients, 1.5 s: {stored} by the stored function, {chatty} chatty");
    assert!(stored * 2 > chatty * 3, "{stored} against {chatty}");
    lab.audit().await;
}
