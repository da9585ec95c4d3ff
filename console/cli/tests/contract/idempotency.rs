//! The same key twice, at once, and with another body, for every write.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::lab::lab;

/// Sends the write twenty times at once, then again, then with another body. Gives back the first answer.
async fn check(api: &Api, path: &str, body: Value, other: Value, status: u16, id: &str) -> Value {
    let key = lab().own_name("key");
    let answers = join_all((0..20).map(|_| api.post_as(&key, path, body.clone()))).await;
    let (done, running): (Vec<Answer>, Vec<Answer>) = answers
        .into_iter()
        .partition(|answer| answer.status == status);
    assert!(
        !done.is_empty(),
        "none of twenty went through: {}",
        running[0]
    );
    for answer in running {
        answer.problem(409).retry_after();
    }
    // Which gateway says it is no part of what was done.
    let done_work = |answer: &Answer| {
        let mut body = answer.body.clone();
        body.as_object_mut().unwrap().remove("gateway_id");
        body
    };
    let first = &done_work(&done[0]);
    for answer in &done {
        assert_eq!(&done_work(answer), first, "one key, one answer: {answer}");
    }
    assert!(first[id].is_u64(), "{first}");
    let fresh = done
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_none())
        .count();
    assert_eq!(fresh, 1, "exactly one did the work");

    let again = api.post_as(&key, path, body).await.expect(status);
    assert_eq!(
        again.header("idempotency-replayed"),
        Some("true"),
        "{again}"
    );
    assert_eq!(&done_work(&again), first);
    let conflict = api.post_as(&key, path, other).await.problem(422);
    assert!(conflict.header("idempotency-replayed").is_none());
    first.clone()
}

#[tokio::test]
async fn recharges() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let path = format!("/cards/{card}/balance");
    let before = api.get(&path).await.expect(200).int("balance");
    let (body, other) = (
        json!({"card_id": card, "amount": 5000}),
        json!({"card_id": card, "amount": 6000}),
    );
    check(&api, "/recharges", body, other, 201, "recharge_id").await;
    assert_eq!(
        api.get(&path).await.expect(200).int("balance"),
        before + 5000,
        "the money moved once"
    );
}

#[tokio::test]
async fn trips_and_their_end() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    api.post("/recharges", json!({"card_id": card, "amount": 50_000}))
        .await
        .expect(201);
    let body = json!({"card_id": card, "route_id": 1, "station_id": 1});
    let other = json!({"card_id": card + 100, "route_id": 1, "station_id": 1});
    let trip = check(&api, "/trips", body, other, 201, "trip_id").await;
    let end = format!("/trips/{}/end", trip["trip_id"]);
    check(
        &api,
        &end,
        json!({"station_id": 1}),
        json!({"station_id": 2}),
        200,
        "trip_id",
    )
    .await;
}

#[tokio::test]
async fn bookings() {
    let (api, tutor) = (Api::user().await, lab().own_tutor());
    let (body, other) = (
        json!({"student_id": 1, "tutor_id": tutor}),
        json!({"student_id": 2, "tutor_id": tutor}),
    );
    check(&api, "/book", body, other, 200, "booking_id").await;
}

#[tokio::test]
async fn long_tasks() {
    let (api, name) = (Api::user().await, lab().own_name("task"));
    check(
        &api,
        "/longtask",
        json!({"task": name}),
        json!({"task": "another"}),
        202,
        "task_id",
    )
    .await;
}

#[tokio::test]
async fn a_refusal_is_replayed_too() {
    let (api, key) = (Api::user().await, lab().own_name("key"));
    let body = json!({"card_id": 999_999_999, "amount": 5000});
    let first = api
        .post_as(&key, "/recharges", body.clone())
        .await
        .problem(404);
    let again = api.post_as(&key, "/recharges", body).await.problem(404);
    assert_eq!(
        again.header("idempotency-replayed"),
        Some("true"),
        "{again}"
    );
    assert_eq!(first.text("detail"), again.text("detail"));
}

#[tokio::test]
async fn a_key_belongs_to_its_caller_and_call() {
    let (first, key, card) = (
        Api::user().await,
        lab().own_name("key"),
        lab().own_card().await,
    );
    let token = first.sign_in("student2", "password").await;
    let second = Api::anonymous().with_token(&token);
    let body = json!({"card_id": card, "amount": 1000});
    let one = first
        .post_as(&key, "/recharges", body.clone())
        .await
        .expect(201);
    let two = second.post_as(&key, "/recharges", body).await.expect(201);
    assert_ne!(
        one.int("recharge_id"),
        two.int("recharge_id"),
        "two callers, two keys"
    );
    let trip = json!({"card_id": card, "route_id": 1, "station_id": 1});
    first
        .post("/recharges", json!({"card_id": card, "amount": 50_000}))
        .await
        .expect(201);
    first.post_as(&key, "/trips", trip).await.expect(201);
}

#[tokio::test]
async fn bad_keys_are_refused() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let longest = "k".repeat(255);
    api.post_as(
        &longest,
        "/recharges",
        json!({"card_id": card, "amount": 1000}),
    )
    .await
    .expect(201);
    for bad in ["", &"k".repeat(256), "two words"] {
        let answer = api
            .post_as(bad, "/recharges", json!({"card_id": card, "amount": 1000}))
            .await;
        assert!(matches!(answer.status, 400 | 422), "{bad:?}: {answer}");
        let status = answer.status;
        answer.problem(status);
    }
}
