//! Boarding, alighting, reading a trip, and the totals.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Answer, Lab};

async fn board(lab: &Lab, card: i64, route: i64, station: i64) -> Answer {
    let body = json!({"card_id": card, "route_id": route, "station_id": station});
    lab.post("/trips", body).await
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_trip_from_boarding_to_its_end(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let boarded = board(&lab, 1, 1, 1).await;
    assert_eq!(boarded.status, 201, "{boarded:?}");
    assert_eq!(boarded.body["fare"], 2_950);
    assert_eq!(boarded.body["transfer"], false);
    assert_eq!(boarded.body["balance"], 7_050);
    let id = boarded.body["trip_id"].as_i64().expect("an id");
    let path = format!("/trips/{id}");
    assert_eq!(boarded.header("location"), Some(path.as_str()));
    let trip_key = format!("trip:{id}");
    assert_eq!(
        lab.cache.take(),
        [
            "card:1:balance",
            "card:1:history",
            "finance:revenue",
            "finance:revenue:localities",
            &trip_key,
            "trips:total",
            "trips:total:localities"
        ]
    );

    let read = lab.get(&path).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.body["trip_id"], id);
    assert_eq!(read.body["ended_at"], Value::Null);
    assert_eq!(read.body["alight_station_id"], Value::Null);
    assert!(
        read.body.get("balance").is_none(),
        "anybody may read a trip"
    );

    let end = format!("{path}/end");
    lab.post(&end, json!({"station_id": 99}))
        .await
        .refused(404, "station");
    lab.post(&end, json!({})).await.refused(422, "station_id");
    lab.post(&end, json!({"station_id": "x"}))
        .await
        .refused(422, "station_id");
    let ended = lab.post_once(&end, "end", json!({"station_id": "3"})).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(ended.body["alight_station_id"], 3);
    assert!(ended.body["ended_at"].is_string());
    assert_eq!(lab.cache.take(), ["card:1:history", &trip_key]);
    assert_eq!(
        lab.get(&path).await.body["ended_at"],
        ended.body["ended_at"]
    );

    let again = lab.post_once(&end, "end", json!({"station_id": 3})).await;
    assert_eq!(
        (again.status, again.replayed(), &again.body),
        (200, true, &ended.body)
    );
    lab.post(&end, json!({"station_id": 3}))
        .await
        .refused(409, "already ended");
    lab.post("/trips/99/end", json!({"station_id": 3}))
        .await
        .refused(404, "trip");
    lab.post("/trips/0/end", json!({"station_id": 3}))
        .await
        .refused(422, "id");
    // The trip belongs to what a key stands for.
    lab.post_once("/trips/98/end", "end", json!({"station_id": 3}))
        .await
        .refused(422, "another body");
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn transfers_are_free_and_money_is_needed(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let fares = async |count: usize| {
        let mut fares = Vec::new();
        for _ in 0..count {
            let answer = board(&lab, 1, 1, 2).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            fares.push((
                answer.body["fare"].as_i64().expect("a fare"),
                answer.body["transfer"].as_bool().expect("a flag"),
            ));
        }
        fares
    };
    let round = [(2_950, false), (0, true), (0, true)];
    assert_eq!(fares(3).await, round);
    assert_eq!(fares(3).await, round);
    assert_eq!(fares(3).await, round);
    let poor = board(&lab, 1, 1, 2).await;
    poor.refused(409, "does not cover the fare");
    assert_eq!(
        (&poor.body["balance"], &poor.body["fare"]),
        (&json!(1_150), &json!(2_950))
    );
    // A feeder costs nothing and is no transfer.
    let feeder = board(&lab, 3, 2, 1).await;
    assert_eq!(
        (feeder.status, &feeder.body["transfer"]),
        (201, &json!(false))
    );
    lab.audit().await;
}

#[sqlx::test(migrations = "../../migrations")]
async fn boardings_that_cannot_be(pool: PgPool) {
    let lab = Lab::start(pool).await;
    board(&lab, 99, 1, 1).await.refused(404, "card");
    board(&lab, 2, 1, 1).await.refused(409, "blocked");
    board(&lab, 1, 99, 1).await.refused(404, "route");
    board(&lab, 1, 1, 99).await.refused(404, "station");
    board(&lab, 1, 1, 4).await.refused(404, "on this route");
    board(&lab, i64::MAX, i64::MAX, i64::MAX)
        .await
        .refused(404, "card");
    for (body, field) in [
        (json!({"route_id": 1, "station_id": 1}), "card_id"),
        (json!({"card_id": 1, "station_id": 1}), "route_id"),
        (json!({"card_id": 1, "route_id": 1}), "station_id"),
        (
            json!({"card_id": 1, "route_id": "B10", "station_id": 1}),
            "route_id",
        ),
        (
            json!({"card_id": 1, "route_id": 1, "station_id": 0}),
            "station_id",
        ),
    ] {
        let answer = lab.post("/trips", body).await;
        answer.refused(422, field);
        assert_eq!(answer.body["field"], field);
    }
    assert_eq!(lab.count("select count(*) from travel.trips").await, 0);
    assert!(lab.cache.take().is_empty());
}

#[sqlx::test(migrations = "../../migrations")]
async fn totals_follow_the_trips(pool: PgPool) {
    let lab = Lab::start(pool).await;
    assert_eq!(
        lab.get("/trips/total").await.body,
        json!({"total_trips": 0})
    );
    assert_eq!(
        lab.get("/finance/revenue").await.body,
        json!({"total_revenue": 0})
    );
    board(&lab, 1, 1, 1).await;
    board(&lab, 1, 1, 3).await;
    board(&lab, 1, 1, 3).await;
    assert_eq!(
        lab.get("/trips/total").await.body,
        json!({"total_trips": 3})
    );
    assert_eq!(
        lab.get("/trips/total/localities").await.body,
        json!({"data": [
            {"locality_id": 1, "locality": "Usaquén", "total_trips": 1},
            {"locality_id": 2, "locality": "Chapinero", "total_trips": 2}]})
    );
    for path in ["/finance/revenue", "/trips/finance/revenue"] {
        assert_eq!(
            lab.get(path).await.body,
            json!({"total_revenue": 2_950}),
            "{path}"
        );
    }
    assert_eq!(
        lab.get("/finance/revenue/localities").await.body,
        json!({"data": [
            {"locality_id": 1, "locality": "Usaquén", "total_revenue": 2_950},
            {"locality_id": 2, "locality": "Chapinero", "total_revenue": 0}]})
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn trips_that_are_not_there(pool: PgPool) {
    let lab = Lab::start(pool).await;
    lab.get("/trips/1").await.refused(404, "trip");
    lab.get("/trips/9223372036854775807")
        .await
        .refused(404, "trip");
    for id in [
        "0",
        "-1",
        "x",
        "1.5",
        "9223372036854775808",
        "%F1",
        "total%00",
    ] {
        assert_eq!(lab.get(&format!("/trips/{id}")).await.status, 422, "{id}");
    }
    assert_eq!(lab.post("/trips/1", json!({})).await.status, 405);
}
