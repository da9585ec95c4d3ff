//! Boarding, ending, reading trips, and the money they made.

use serde_json::json;

use crate::api::Api;
use crate::cards::card_where;
use crate::lab::lab;

const UNKNOWN: u64 = 999_999_999;

async fn filled_card(api: &Api) -> u64 {
    let card = lab().own_card().await;
    api.post("/recharges", json!({"card_id": card, "amount": 50_000}))
        .await
        .expect(201);
    card
}

#[tokio::test]
async fn boarding_charges_the_fare_and_a_transfer_is_free() {
    let api = Api::user().await;
    let card = filled_card(&api).await;
    let path = format!("/cards/{card}/balance");
    let before = api.get(&path).await.expect(200).int("balance");
    let body = json!({"card_id": card, "route_id": 1, "station_id": 1});
    let first = api.post("/trips", body.clone()).await.expect(201);
    assert!(first.int("fare") > 0, "{first}");
    assert_eq!(first.body["transfer"], false);
    assert_eq!(first.int("balance"), before - first.int("fare"));
    assert!(first.header("location").is_some(), "{first}");
    first.time("boarded_at");
    assert_eq!(
        api.get(&path).await.expect(200).int("balance"),
        first.int("balance")
    );

    let second = api.post("/trips", body).await.expect(201);
    assert_eq!(
        (second.int("fare"), &second.body["transfer"]),
        (0, &json!(true)),
        "{second}"
    );
    assert_eq!(second.int("balance"), first.int("balance"));
}

#[tokio::test]
async fn a_trip_is_read_ended_and_read_again() {
    let api = Api::user().await;
    let card = filled_card(&api).await;
    let body = json!({"card_id": card.to_string(), "route_id": "1", "station_id": "1"});
    let trip = api.post("/trips", body).await.expect(201).int("trip_id");
    let path = format!("/trips/{trip}");
    let open = Api::anonymous();
    let running = open.get(&path).await.expect(200);
    assert_eq!(running.int("trip_id"), trip);
    assert!(running.body["ended_at"].is_null(), "{running}");

    let ended = api
        .post(&format!("{path}/end"), json!({"station_id": "1"}))
        .await
        .expect(200);
    assert_eq!(ended.int("trip_id"), trip);
    ended.time("ended_at");
    let read = open.get(&path).await.expect(200);
    assert_eq!(
        read.text("ended_at"),
        ended.text("ended_at"),
        "the cached trip was replaced"
    );
    api.post(&format!("{path}/end"), json!({"station_id": 1}))
        .await
        .problem(409);
}

#[tokio::test]
async fn unknown_ids_are_not_found() {
    let api = Api::user().await;
    let card = filled_card(&api).await;
    for (body, what) in [
        (
            json!({"card_id": UNKNOWN, "route_id": 1, "station_id": 1}),
            "card",
        ),
        (
            json!({"card_id": card, "route_id": UNKNOWN, "station_id": 1}),
            "route",
        ),
        (
            json!({"card_id": card, "route_id": 1, "station_id": UNKNOWN}),
            "station",
        ),
    ] {
        let answer = api.post("/trips", body).await.problem(404);
        assert!(
            answer.text("detail").to_lowercase().contains(what),
            "{answer}"
        );
    }
    api.get(&format!("/trips/{UNKNOWN}")).await.problem(404);
    api.post(&format!("/trips/{UNKNOWN}/end"), json!({"station_id": 1}))
        .await
        .problem(404);
}

#[tokio::test]
async fn wrong_bodies_are_named() {
    let api = Api::user().await;
    for (body, field) in [
        (json!({"route_id": 1, "station_id": 1}), "card_id"),
        (json!({"card_id": 1, "station_id": 1}), "route_id"),
        (json!({"card_id": 1, "route_id": 1}), "station_id"),
        (
            json!({"card_id": 1, "route_id": {}, "station_id": 1}),
            "route_id",
        ),
        (
            json!({"card_id": 1, "route_id": 1, "station_id": "Portal"}),
            "station_id",
        ),
    ] {
        api.post("/trips", body).await.names(field);
    }
    api.post("/trips/1/end", json!({}))
        .await
        .names("station_id");
    api.post("/trips/1/end", json!({"station_id": -4}))
        .await
        .names("station_id");
    api.post_raw("/trips", "application/json", "{")
        .await
        .problem(400);
    api.post_raw("/trips/1/end", "application/json", "nothing")
        .await
        .problem(400);
    api.post_raw("/trips", "application/json", vec![b' '; 1_200_000])
        .await
        .problem(413);
    for bad in ["x", "0", "-1"] {
        let answer = api.get(&format!("/trips/{bad}")).await;
        assert!(matches!(answer.status, 404 | 422), "{answer}");
    }
}

#[tokio::test]
async fn too_little_money_is_a_conflict() {
    let api = Api::user().await;
    let card = card_where(&api, |card| {
        card["status"] == "active" && card["balance"].as_i64().unwrap() < 1500
    })
    .await;
    let card = card.expect("some seeded card is nearly empty");
    let answer = api
        .post(
            "/trips",
            json!({"card_id": card, "route_id": 1, "station_id": 1}),
        )
        .await
        .problem(409);
    assert!(
        answer.text("detail").to_lowercase().contains("balance"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_blocked_card_does_not_board() {
    let api = Api::user().await;
    let card = card_where(&api, |card| card["status"] == "blocked")
        .await
        .expect("the seed blocks some cards");
    api.post(
        "/trips",
        json!({"card_id": card, "route_id": 1, "station_id": 1}),
    )
    .await
    .problem(409);
}

#[tokio::test]
async fn totals_grow_with_each_trip() {
    let api = Api::user().await;
    let card = filled_card(&api).await;
    let trips = api.get("/trips/total").await.expect(200).int("total_trips");
    let revenue = api
        .get("/finance/revenue")
        .await
        .expect(200)
        .int("total_revenue");
    let trip = api
        .post(
            "/trips",
            json!({"card_id": card, "route_id": 1, "station_id": 1}),
        )
        .await
        .expect(201);
    assert!(api.get("/trips/total").await.expect(200).int("total_trips") > trips);
    let later = api
        .get("/finance/revenue")
        .await
        .expect(200)
        .int("total_revenue");
    assert!(
        later >= revenue + trip.int("fare"),
        "{later} after {revenue} and {}",
        trip.int("fare")
    );
    let alias = api
        .get("/trips/finance/revenue")
        .await
        .expect(200)
        .int("total_revenue");
    assert!(alias >= later);
}

#[tokio::test]
async fn sums_by_locality_are_open_and_complete() {
    let api = Api::anonymous();
    for (path, member) in [
        ("/trips/total/localities", "total_trips"),
        ("/finance/revenue/localities", "total_revenue"),
    ] {
        let answer = api.get(path).await.expect(200);
        let rows = answer
            .body
            .as_array()
            .cloned()
            .unwrap_or_else(|| answer.rows().clone());
        assert!(rows.len() >= 13, "{answer}");
        for row in &rows {
            assert!(row["locality"].is_string() && row[member].is_i64(), "{row}");
        }
    }
}
