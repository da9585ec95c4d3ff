//! Recharges, balances and histories.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::Api;
use crate::lab::lab;

/// What the contract does not know: an id far beyond the seed.
const UNKNOWN: u64 = 999_999_999;

async fn balance(api: &Api, card: u64) -> i64 {
    api.get(&format!("/cards/{card}/balance"))
        .await
        .expect(200)
        .int("balance")
}

#[tokio::test]
async fn a_recharge_raises_the_balance() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let before = balance(&api, card).await;
    let answer = api
        .post("/recharges", json!({"card_id": card, "amount": 12_350}))
        .await
        .expect(201);
    assert_eq!(answer.int("card_id"), card.cast_signed());
    assert_eq!(answer.int("amount"), 12_350);
    assert_eq!(answer.int("balance"), before + 12_350);
    assert!(answer.int("recharge_id") > 0);
    answer.time("created_at");
    assert!(
        answer
            .header("location")
            .is_some_and(|place| place.starts_with('/')),
        "{answer}"
    );
    assert_eq!(balance(&api, card).await, before + 12_350);
}

#[tokio::test]
async fn no_read_after_a_write_is_older_than_the_write() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let mut expected = balance(&api, card).await;
    for _ in 0..15 {
        expected += 1000;
        let answer = api
            .post("/recharges", json!({"card_id": card, "amount": 1000}))
            .await
            .expect(201);
        assert_eq!(answer.int("balance"), expected);
        let reads = join_all((0..6).map(|_| balance(&api, card))).await;
        assert!(
            reads.iter().all(|read| *read == expected),
            "{reads:?} after {expected}"
        );
        let history = api
            .get(&format!("/cards/{card}/history?limit=1"))
            .await
            .expect(200);
        assert_eq!(history.rows().len(), 1, "{history}");
        assert_eq!(history.rows()[0]["amount"], 1000, "{history}");
    }
}

#[tokio::test]
async fn numbers_may_come_as_text() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let body = json!({"card_id": card.to_string(), "amount": "5000", "recharge_point_id": "1"});
    let answer = api.post("/recharges", body).await.expect(201);
    assert_eq!(answer.int("amount"), 5000);
}

#[tokio::test]
async fn the_bounds_of_an_amount() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    for good in [1000, 1050, 200_000] {
        api.post("/recharges", json!({"card_id": card, "amount": good}))
            .await
            .expect(201);
    }
    for bad in [
        json!(999),
        json!(0),
        json!(-5000),
        json!(1025),
        json!(200_050),
        json!(i64::MAX),
        json!(1e30),
    ] {
        api.post("/recharges", json!({"card_id": card, "amount": bad}))
            .await
            .names("amount");
    }
}

#[tokio::test]
async fn wrong_bodies_of_a_recharge() {
    let api = Api::user().await;
    for (body, field) in [
        (json!({"amount": 5000}), "card_id"),
        (json!({"card_id": 1}), "amount"),
        (json!({"card_id": "one", "amount": 5000}), "card_id"),
        (json!({"card_id": 1, "amount": "much"}), "amount"),
        (json!({"card_id": 1, "amount": 5000.5}), "amount"),
        (json!({"card_id": 1, "amount": null}), "amount"),
        (json!({"card_id": [1], "amount": 5000}), "card_id"),
        (json!({"card_id": true, "amount": 5000}), "card_id"),
        (json!({"card_id": 0, "amount": 5000}), "card_id"),
        (json!({"card_id": -1, "amount": 5000}), "card_id"),
        (
            json!({"card_id": 1, "amount": 5000, "recharge_point_id": "here"}),
            "recharge_point_id",
        ),
    ] {
        api.post("/recharges", body).await.names(field);
    }
    for broken in [
        "",
        "{",
        "{\"card_id\": 1,}",
        "card_id=1&amount=5000",
        "\u{0}",
    ] {
        api.post_raw("/recharges", "application/json", broken)
            .await
            .problem(400);
    }
    for other in ["[]", "\"text\"", "1", "null"] {
        api.post_raw("/recharges", "application/json", other)
            .await
            .problem(422);
    }
    let huge = format!(
        "{{\"card_id\":1,\"amount\":5000,\"note\":\"{}\"}}",
        "x".repeat(1_200_000)
    );
    api.post_raw("/recharges", "application/json", huge)
        .await
        .problem(413);
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let answer = api.post_raw("/recharges", "application/json", deep).await;
    assert!(matches!(answer.status, 400 | 422), "{answer}");
    api.post_raw(
        "/recharges",
        "application/json",
        vec![0xff, 0xfe, b'{', b'}'],
    )
    .await
    .problem(400);
}

#[tokio::test]
async fn unknown_cards_and_points_are_not_found() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    api.post("/recharges", json!({"card_id": UNKNOWN, "amount": 5000}))
        .await
        .problem(404);
    api.post(
        "/recharges",
        json!({"card_id": card, "amount": 5000, "recharge_point_id": UNKNOWN}),
    )
    .await
    .problem(404);
    api.get(&format!("/cards/{UNKNOWN}/balance"))
        .await
        .problem(404);
    api.get(&format!("/cards/{UNKNOWN}/history"))
        .await
        .problem(404);
    api.get(&format!("/users/{UNKNOWN}/recharges"))
        .await
        .problem(404);
}

#[tokio::test]
async fn ids_that_are_none_are_refused() {
    let api = Api::user().await;
    for bad in [
        "0",
        "-1",
        "x",
        "1.5",
        "99999999999999999999",
        "%00",
        "1%202",
    ] {
        for path in [
            format!("/cards/{bad}/balance"),
            format!("/cards/{bad}/history"),
            format!("/users/{bad}/recharges"),
        ] {
            let answer = api.get(&path).await;
            assert!(matches!(answer.status, 400 | 404 | 422), "{path}: {answer}");
            let status = answer.status;
            answer.problem(status);
        }
    }
}

/// The first card with this property, looked for beyond those that tests take for themselves.
pub async fn card_where(api: &Api, wanted: impl Fn(&Value) -> bool) -> Option<u64> {
    for first in (601..2000).step_by(40) {
        let paths: Vec<_> = (first..first + 40)
            .map(|card| format!("/cards/{card}/balance"))
            .collect();
        let answers = join_all(paths.iter().map(|path| api.get(path))).await;
        if let Some(found) = answers
            .into_iter()
            .find(|answer| answer.status == 200 && wanted(&answer.body))
        {
            return found.body["card_id"].as_u64();
        }
    }
    None
}

#[tokio::test]
async fn a_blocked_card_takes_no_recharge() {
    let api = Api::user().await;
    let card = card_where(&api, |card| card["status"] == "blocked")
        .await
        .expect("the seed blocks some cards");
    let before = balance(&api, card).await;
    api.post("/recharges", json!({"card_id": card, "amount": 5000}))
        .await
        .problem(409);
    assert_eq!(balance(&api, card).await, before);
}

#[tokio::test]
async fn the_balance_names_card_and_status() {
    let api = Api::user().await;
    let answer = api.get("/cards/100/balance").await.expect(200);
    assert_eq!(
        (answer.int("card_id"), answer.text("status")),
        (100, "active")
    );
    assert!(answer.int("balance") >= 0);
}

#[tokio::test]
async fn a_history_is_newest_first_and_pages_without_gaps() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    for number in 0..7 {
        api.post(
            "/recharges",
            json!({"card_id": card, "amount": 1000 + number * 50}),
        )
        .await
        .expect(201);
    }
    let whole = api
        .get(&format!("/cards/{card}/history?limit=7"))
        .await
        .expect(200);
    let amounts: Vec<_> = whole
        .rows()
        .iter()
        .map(|row| row["amount"].as_i64().unwrap())
        .collect();
    assert_eq!(amounts, [1300, 1250, 1200, 1150, 1100, 1050, 1000]);

    let (mut paged, mut path) = (Vec::new(), format!("/cards/{card}/history?limit=3"));
    for _ in 0..3 {
        let page = api.get(&path).await.expect(200);
        paged.extend(page.rows().iter().cloned());
        let cursor = &page.body["next_cursor"];
        let cursor = cursor
            .as_str()
            .map_or_else(|| cursor.to_string(), str::to_owned);
        path = format!("/cards/{card}/history?limit=3&cursor={cursor}");
    }
    assert_eq!(&paged[..7], &whole.rows()[..], "pages continue one another");
}

#[tokio::test]
async fn a_users_recharges_are_listed() {
    let api = Api::user().await;
    let answer = api.get("/users/1/recharges").await.expect(200);
    assert!(answer.rows().len() <= 20);
    let times: Vec<_> = answer
        .rows()
        .iter()
        .map(|row| row["created_at"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "{answer}"
    );
}

#[tokio::test]
async fn limits_and_cursors_are_checked() {
    let api = Api::user().await;
    for path in ["/cards/1/history", "/users/1/recharges"] {
        for bad in ["limit=0", "limit=101", "limit=x", "limit=-1"] {
            api.get(&format!("{path}?{bad}")).await.names("limit");
        }
        api.get(&format!("{path}?cursor=%F0%9F%92%A5"))
            .await
            .names("cursor");
        let most = api.get(&format!("{path}?limit=100")).await.expect(200);
        assert!(most.rows().len() <= 100);
    }
}
