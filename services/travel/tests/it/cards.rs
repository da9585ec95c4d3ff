//! Balances, histories and recharge lists.

use std::collections::HashSet;

use serde_json::json;
use sqlx::PgPool;

use crate::support::Lab;

#[sqlx::test(migrations = "../../migrations")]
async fn balances(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let answer = lab.get("/cards/1/balance").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({"card_id": 1, "balance": 10_000, "status": "active"})
    );
    assert_eq!(lab.get("/cards/2/balance").await.body["status"], "blocked");
    lab.get("/cards/99/balance").await.refused(404, "card");
    lab.get("/cards/9223372036854775807/balance")
        .await
        .refused(404, "card");
    for id in ["0", "-1", "x", "9223372036854775808", "1e3", "%20"] {
        lab.get(&format!("/cards/{id}/balance"))
            .await
            .refused(422, "id");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_history_shows_both_kinds_newest_first(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let empty = lab.get("/cards/1/history").await;
    assert_eq!(
        (empty.status, &empty.body),
        (200, &json!({"card_id": 1, "data": [], "next_cursor": null}))
    );
    lab.post(
        "/recharges",
        json!({"card_id": 1, "amount": 1_000, "recharge_point_id": 1}),
    )
    .await;
    lab.post(
        "/trips",
        json!({"card_id": 1, "route_id": 1, "station_id": 2}),
    )
    .await;
    let history = lab.get("/cards/1/history").await;
    let [trip, recharge] = history.body["data"].as_array().expect("a list").as_slice() else {
        panic!("two movements: {history:?}");
    };
    assert_eq!(
        (&trip["kind"], &trip["amount"], &trip["balance"]),
        (&json!("trip"), &json!(-2_950), &json!(8_050))
    );
    assert_eq!(
        (&trip["route_id"], &trip["station_id"], &trip["transfer"]),
        (&json!(1), &json!(2), &json!(false))
    );
    assert_eq!(
        (
            &recharge["kind"],
            &recharge["amount"],
            &recharge["balance"],
            &recharge["recharge_point_id"]
        ),
        (&json!("recharge"), &json!(1_000), &json!(11_000), &json!(1))
    );
    assert!(recharge.get("route_id").is_none());
    lab.get("/cards/99/history").await.refused(404, "card");
    lab.get("/cards/x/history").await.refused(422, "id");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_walk_has_no_gaps_and_no_repeats_while_rows_are_added(pool: PgPool) {
    let lab = Lab::start(pool).await;
    // Several rows at each moment, so that time alone does not order them.
    for statement in [
        "insert into travel.recharges (card_id, user_id, amount, balance_after, created_at)
         select 1, 1, 1000, 1000, '2026-01-01T00:00:00Z'::timestamptz + i / 3 * interval '1 minute' from generate_series(1, 23) i",
        "insert into travel.trips (card_id, route_id, station_id, fare, transfer, balance_after, boarded_at)
         select 1, 1, 1, 0, false, 0, '2026-01-01T00:00:00Z'::timestamptz + i / 3 * interval '1 minute' from generate_series(1, 22) i",
    ] {
        sqlx::query(statement).execute(&lab.pool).await.expect("rows");
    }
    for (path, expected) in [("/cards/1/history", 45), ("/users/1/recharges", 23)] {
        let mut seen = HashSet::new();
        let mut times = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = lab.get(&format!("{path}?limit=4&cursor={cursor}")).await;
            assert_eq!(page.status, 200, "{page:?}");
            for row in page.body["data"].as_array().expect("a list") {
                let id = row.get("id").unwrap_or(&row["recharge_id"]);
                assert!(
                    seen.insert(format!("{} {id}", row["kind"])),
                    "seen twice: {row}"
                );
                let at = row.get("occurred_at").unwrap_or(&row["created_at"]);
                times.push(at.as_str().expect("a time").to_owned());
            }
            let Some(next) = page.next() else { break };
            cursor = next;
            let added = lab
                .post("/recharges", json!({"card_id": 1, "amount": 1_000}))
                .await;
            assert_eq!(added.status, 201);
        }
        // What was added meanwhile is newer than where the walk was.
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        let old = times
            .iter()
            .filter(|at| at.starts_with("2026-01-01"))
            .count();
        assert_eq!(old, expected, "{path}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn recharges_of_all_cards_of_a_user(pool: PgPool) {
    let lab = Lab::start(pool).await;
    for card in [1, 3] {
        lab.post("/recharges", json!({"card_id": card, "amount": 1_000}))
            .await;
    }
    let answer = lab.get("/users/1/recharges").await;
    assert_eq!((answer.status, &answer.body["user_id"]), (200, &json!(1)));
    let cards: Vec<_> = answer.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["card_id"])
        .collect();
    assert_eq!(cards, [3, 1]);
    assert_eq!(lab.get("/users/2/recharges").await.body["data"], json!([]));
    lab.get("/users/99/recharges").await.refused(404, "user");
    lab.get("/users/x/recharges").await.refused(422, "id");
}

#[sqlx::test(migrations = "../../migrations")]
async fn pages_that_cannot_be(pool: PgPool) {
    let lab = Lab::start(pool).await;
    lab.post("/recharges", json!({"card_id": 1, "amount": 1_000}))
        .await;
    lab.post("/recharges", json!({"card_id": 1, "amount": 1_000}))
        .await;
    let of_another_list = lab
        .get("/users/1/recharges?limit=1")
        .await
        .next()
        .expect("another page");
    for path in ["/cards/1/history", "/users/1/recharges", "/stations"] {
        for limit in ["0", "101", "-1", "x", "1.5", "99999999999999999999"] {
            lab.get(&format!("{path}?limit={limit}"))
                .await
                .refused(422, "limit");
        }
        for cursor in ["x", "00", "%00", "zz", "ffffffff"] {
            lab.get(&format!("{path}?cursor={cursor}"))
                .await
                .refused(422, "cursor");
        }
        assert_eq!(
            lab.get(&format!("{path}?limit=100&cursor=")).await.status,
            200
        );
        assert_eq!(lab.get(&format!("{path}?limit=")).await.status, 200);
    }
    lab.get(&format!("/cards/1/history?cursor={of_another_list}"))
        .await
        .refused(422, "cursor");
}
