//! Idempotency keys: the same answer again, one effect, and refusals for misuse.

use http::Method;
use serde_json::json;
use sqlx::PgPool;

use crate::support::{Lab, city};

#[sqlx::test(migrations = "../../migrations")]
async fn the_same_key_and_body_get_the_same_answer(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let first = lab
        .post_once("/recharges", "k1", json!({"card_id": 1, "amount": 1_000}))
        .await;
    assert_eq!(first.status, 201);
    lab.cache.take();
    // The same values in another form are the same body.
    let again = lab
        .post_once(
            "/recharges",
            "k1",
            json!({"amount": "1000", "recharge_point_id": "", "card_id": "1"}),
        )
        .await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert!(!first.replayed() && again.replayed());
    assert_eq!(again.header("location"), first.header("location"));
    // The first may have been cut off between its commit and telling the cache.
    assert_eq!(
        lab.cache.take(),
        ["card:1:balance", "card:1:history", "user:1:recharges"]
    );
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 1);

    let other = lab
        .post_once("/recharges", "k1", json!({"card_id": 1, "amount": 1_050}))
        .await;
    other.refused(422, "another body");
    assert_eq!(other.body["field"], "Idempotency-Key");
    assert_eq!(
        lab.count("select balance from travel.cards where id = 1")
            .await,
        11_000
    );
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn refusals_are_replayed_too(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for (card, status) in [(2, 409), (99, 404)] {
        let key = format!("k{card}");
        let body = json!({"card_id": card, "amount": 1_000});
        let first = lab.post_once("/recharges", &key, body.clone()).await;
        let again = lab.post_once("/recharges", &key, body).await;
        assert_eq!((first.status, again.status), (status, status));
        assert!(!first.replayed() && again.replayed());
        assert_eq!(first.body["detail"], again.body["detail"]);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn keys_of_different_callers_and_calls_do_not_meet(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let body = json!({"card_id": 1, "amount": 1_000}).to_string();
    for user in ["student1", "student2"] {
        let headers = [("idempotency-key", "k"), ("x-recarga-user", user)];
        let answer = lab
            .send(Method::POST, "/recharges", &headers, Some(body.clone()))
            .await;
        assert_eq!((answer.status, answer.replayed()), (201, false));
    }
    let board = json!({"card_id": 1, "route_id": 1, "station_id": 1});
    assert_eq!(lab.post_once("/trips", "k", board).await.status, 201);
    let answer = lab
        .post_once("/recharges", "k", json!({"card_id": 1, "amount": 1_000}))
        .await;
    assert_eq!((answer.status, answer.replayed()), (201, false));
}

#[sqlx::test(migrations = "../../migrations")]
async fn malformed_keys_are_refused(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let body = json!({"card_id": 1, "amount": 1_000});
    for key in ["", "two words", &"x".repeat(256)] {
        lab.post_once("/recharges", key, body.clone())
            .await
            .refused(422, "Idempotency-Key");
    }
    assert_eq!(
        lab.post_once("/recharges", &"x".repeat(255), body.clone())
            .await
            .status,
        201
    );
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = lab
        .send(Method::POST, "/recharges", &twice, Some(body.to_string()))
        .await;
    answer.refused(400, "Idempotency-Key");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_at_work_is_a_conflict(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let mut holder = lab.pool.begin().await.expect("a transaction");
    sqlx::query("select from travel.cards where id = 1 for update")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    let body = json!({"card_id": 1, "amount": 1_000});
    let first = async {
        let answer = lab.post_once("/recharges", "k", body.clone()).await;
        assert_eq!(
            (answer.status, answer.replayed()),
            (201, false),
            "{answer:?}"
        );
    };
    let second = async {
        lab.somebody_waits().await;
        let answer = lab.post_once("/recharges", "k", body.clone()).await;
        answer.refused(409, "still running");
        assert_eq!(answer.header("retry-after"), Some("1"));
        holder.commit().await.expect("released");
    };
    futures::future::join(first, second).await;
    let third = lab.post_once("/recharges", "k", body.clone()).await;
    assert_eq!((third.status, third.replayed()), (201, true));
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn many_at_once_have_one_effect(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for (path, body, effect) in [
        (
            "/recharges",
            json!({"card_id": 1, "amount": 1_000}),
            "select count(*) from travel.recharges",
        ),
        (
            "/trips",
            json!({"card_id": 1, "route_id": 1, "station_id": 1}),
            "select count(*) from travel.trips",
        ),
    ] {
        let calls = (0..12).map(|_| lab.post_once(path, "same", body.clone()));
        let answers = futures::future::join_all(calls).await;
        let created: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201)
            .collect();
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer.status, 201 | 409)),
            "{answers:?}"
        );
        assert_eq!(
            created.iter().filter(|answer| !answer.replayed()).count(),
            1
        );
        assert!(created.iter().all(|answer| answer.body == created[0].body));
        assert_eq!(lab.count(effect).await, 1);
    }
    lab.audit().await;
}

/// Plans are made when a table is nearly empty, and used when it is not any more.
#[sqlx::test(migrations = "../../migrations")]
async fn a_key_is_looked_up_whatever_the_statistics_were(pool: PgPool) {
    city(&pool).await;
    // Empty, and known to be.
    sqlx::raw_sql("vacuum analyze travel.idempotency_claims")
        .execute(&pool)
        .await
        .expect("statistics");
    let calls = [
        "travel.recharge('a', 'r' || n, '\\x00', 1, 1000, null, null)",
        "travel.recharge('a', 'o' || n, '\\x00', 1, 1000, null)",
        "travel.board('a', 'b' || n, '\\x00', 1, 1, 1)",
        "travel.end_trip('a', 'e' || n, '\\x00', 1, 1)",
    ];
    for call in calls {
        let mut connection = pool.begin().await.expect("a transaction");
        let mut outcomes = Vec::new();
        for n in 0..12 {
            let statement =
                format!("select (c).outcome from (select {call} c from (values ($1)) v (n)) w");
            let outcome: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .bind(n.to_string())
                .fetch_one(&mut *connection)
                .await
                .expect(call);
            outcomes.push(outcome);
        }
        assert!(
            !outcomes.iter().any(|outcome| outcome == "in_progress"),
            "{outcomes:?}"
        );
        let scans: i64 = sqlx::query_scalar(
            "select seq_scan from pg_stat_xact_user_tables where schemaname = 'travel' and relname = 'idempotency_claims'",
        )
        .fetch_one(&mut *connection)
        .await
        .expect("the statistics of this transaction");
        assert_eq!(scans, 0, "{call}: {outcomes:?}");
    }
}
