//! `POST /recharges` and `GET /recharges/{id}`.

use http::Method;
use serde_json::json;
use sqlx::PgPool;

use crate::support::Lab;

#[sqlx::test(migrations = "../../migrations")]
async fn a_recharge_is_booked_and_announced(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for path in ["/cards/1/balance", "/cards/1/history", "/users/1/recharges"] {
        assert_eq!(lab.get(path).await.status, 200);
    }
    let answer = lab
        .post(
            "/recharges",
            json!({"card_id": 1, "amount": 5_000, "recharge_point_id": 1}),
        )
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.body["card_id"], 1);
    assert_eq!(answer.body["user_id"], 1);
    assert_eq!(answer.body["amount"], 5_000);
    assert_eq!(answer.body["balance"], 15_000);
    let at = answer.body["created_at"].as_str().expect("a time");
    assert!(
        at.ends_with('Z') && at.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
        "{at}"
    );
    assert!(!answer.replayed());
    let timing = answer.header("server-timing").expect("timings");
    assert!(
        timing.contains("travel;dur=") && timing.contains("pg;dur="),
        "{timing}"
    );
    assert_eq!(
        lab.cache.take(),
        ["card:1:balance", "card:1:history", "user:1:recharges"]
    );

    let location = answer.header("location").expect("a location").to_owned();
    let read = lab.get(&location).await;
    assert_eq!((read.status, &read.body), (200, &answer.body));
    assert_eq!(lab.get("/cards/1/balance").await.body["balance"], 15_000);
    assert_eq!(
        lab.count("select count(*) from travel.outbox where topic = 'recharges'")
            .await,
        1
    );
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn numbers_may_come_as_text(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let answer = lab
        .post(
            "/recharges",
            json!({"card_id": "1", "amount": " 1000 ", "recharge_point_id": ""}),
        )
        .await;
    assert_eq!(
        (answer.status, &answer.body["balance"]),
        (201, &json!(11_000))
    );
    // Without a content type, too: the helper sends none.
    let point = json!({"card_id": 1, "amount": 1_000, "recharge_point_id": null});
    assert_eq!(lab.post("/recharges", point).await.status, 201);
}

#[sqlx::test(migrations = "../../migrations")]
async fn values_that_cannot_be_used_are_named(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for (body, field) in [
        (json!({"card_id": 1}), "amount"),
        (json!({"amount": 1_000}), "card_id"),
        (json!({"card_id": 1, "amount": 950}), "amount"),
        (json!({"card_id": 1, "amount": 1_001}), "amount"),
        (json!({"card_id": 1, "amount": 200_050}), "amount"),
        (json!({"card_id": 1, "amount": -1_000}), "amount"),
        (json!({"card_id": 1, "amount": 0}), "amount"),
        (json!({"card_id": 1, "amount": 1_000.5}), "amount"),
        (json!({"card_id": 1, "amount": "many"}), "amount"),
        (json!({"card_id": 1, "amount": null}), "amount"),
        (json!({"card_id": 1, "amount": [1_000]}), "amount"),
        (json!({"card_id": 1, "amount": true}), "amount"),
        (json!({"card_id": 1, "amount": u64::MAX}), "amount"),
        (json!({"card_id": 0, "amount": 1_000}), "card_id"),
        (json!({"card_id": -1, "amount": 1_000}), "card_id"),
        (json!({"card_id": "x", "amount": 1_000}), "card_id"),
        (json!({"card_id": {}, "amount": 1_000}), "card_id"),
        (
            json!({"card_id": 1, "amount": 1_000, "recharge_point_id": 0}),
            "recharge_point_id",
        ),
        (
            json!({"card_id": 1, "amount": 1_000, "recharge_point_id": "x"}),
            "recharge_point_id",
        ),
    ] {
        let answer = lab.post("/recharges", body.clone()).await;
        answer.refused(422, &format!("{field}: "));
        assert_eq!(answer.body["field"], field, "{body}");
    }
    for body in ["[]", "null", "1", "\"x\""] {
        let answer = lab
            .send(Method::POST, "/recharges", &[], Some(body.to_owned()))
            .await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
    }
    for body in [
        "",
        "{",
        "card_id=1&amount=1000",
        "{\"card_id\": 1, \"amount\": 1000} x",
    ] {
        let answer = lab
            .send(Method::POST, "/recharges", &[], Some(body.to_owned()))
            .await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    let large = format!("{{\"card_id\": 1, \"x\": \"{}\"}}", "x".repeat(1024 * 1024));
    lab.send(Method::POST, "/recharges", &[], Some(large))
        .await
        .refused(413, "too large");
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 0);
    assert!(lab.cache.take().is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn refusals_change_nothing(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let recharge = async |card: i64, point: Option<i64>| {
        let body = json!({"card_id": card, "amount": 1_000, "recharge_point_id": point});
        lab.post("/recharges", body).await
    };
    recharge(99, None).await.refused(404, "card");
    recharge(i64::MAX, None).await.refused(404, "card");
    recharge(2, None).await.refused(409, "blocked");
    recharge(1, Some(99)).await.refused(404, "recharge point");
    assert_eq!(lab.count("select count(*) from travel.recharges").await, 0);
    assert_eq!(lab.count("select count(*) from travel.outbox").await, 0);
    assert!(lab.cache.take().is_empty());

    lab.get("/recharges/1").await.refused(404, "recharge");
    lab.get("/recharges/x").await.refused(422, "id");
    assert_eq!(lab.get("/recharges").await.status, 405);
}
