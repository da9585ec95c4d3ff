//! The stations and their next vehicles.

use serde_json::json;
use sqlx::PgPool;

use crate::support::{Lab, Setup, city};

#[sqlx::test(migrations = "../../migrations")]
async fn stations_in_pages_and_by_locality(pool: PgPool) {
    let lab = Lab::start(pool).await;
    let ids = async |query: &str| {
        let answer = lab.get(&format!("/stations{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let rows = answer.body["data"].as_array().expect("a list").clone();
        (
            rows.iter()
                .map(|row| row["id"].as_i64().expect("an id"))
                .collect::<Vec<_>>(),
            answer.next(),
        )
    };
    assert_eq!(ids("").await, (vec![1, 2, 3, 4], None));
    let (first, next) = ids("?limit=3").await;
    assert_eq!(first, [1, 2, 3]);
    let next = next.expect("another page");
    assert_eq!(
        ids(&format!("?limit=3&cursor={next}")).await,
        (vec![4], None)
    );
    for locality in ["2", "Chapinero", "chapinero", "02", "%20CHAPINERO%20"] {
        assert_eq!(
            ids(&format!("?locality={locality}")).await.0,
            [3, 4],
            "{locality}"
        );
    }
    for unknown in ["99", "Nowhere", "%00", "99999999999999999999"] {
        assert!(
            ids(&format!("?locality={unknown}")).await.0.is_empty(),
            "{unknown}"
        );
    }
    assert_eq!(ids("?locality=").await.0.len(), 4);
    let first = lab.get("/stations?limit=1").await;
    assert_eq!(
        first.body["data"][0],
        json!({"id": 1, "name": "Portal Norte", "kind": "portal", "locality_id": 1, "locality": "Usaquén"})
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn arrivals_follow_the_timetable(pool: PgPool) {
    city(&pool).await;
    // Noon in Bogotá.
    let now = "2026-03-02T17:00:00Z".parse().expect("a time");
    let lab = Lab::with(Setup {
        pool,
        cache: None,
        now: Some(now),
    })
    .await;
    let answer = lab.get("/stations/3/arrivals").await;
    assert_eq!(
        (answer.status, &answer.body["station"]),
        (200, &json!("Calle 72"))
    );
    let rows = answer.body["data"].as_array().expect("a list");
    assert_eq!(rows.len(), 10);
    // Every ten minutes on the hour at the portal, hence at minute 9 here only for those that end here: nobody boards
    // those, and the way back starts here on the hour.
    assert_eq!(rows[0]["arrives_at"], "2026-03-02T17:00:00Z");
    assert_eq!(
        (&rows[0]["minutes"], &rows[0]["destination"]),
        (&json!(0), &json!("Portal Norte"))
    );
    assert_eq!(rows[1]["minutes"], 10);
    let alone = lab.get("/stations/4/arrivals").await;
    assert_eq!((alone.status, &alone.body["data"]), (200, &json!([])));
    lab.get("/stations/99/arrivals")
        .await
        .refused(404, "station");
    lab.get("/stations/x/arrivals").await.refused(422, "id");
}
