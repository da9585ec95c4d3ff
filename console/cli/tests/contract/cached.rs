//! Which calls are cached, under which keys, and for how long.

use serde_json::json;

use crate::api::Api;
use crate::lab::lab;

/// Reads twice and checks that the second answer came from the cache, under this key.
async fn check(api: &Api, path: &str, key: &str, seconds: i64) {
    let first = api.get(path).await.expect(200);
    assert!(
        matches!(first.header("x-cache"), Some("MISS" | "HIT" | "STALE")),
        "{path}: {first}"
    );
    let second = api.get(path).await.expect(200);
    assert_eq!(second.header("x-cache"), Some("HIT"), "{path}: {second}");
    assert!(second.header("age").is_some(), "{path}: {second}");
    let stats = Api::cache().get("/cache/stats").await.expect(200);
    if stats.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .any(|item| item == key)
    {
        let left = stats.body["ttl_remaining"][key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {stats}"));
        assert!(left > 0.0 && left <= seconds as f64, "{key}: {left}");
    } else {
        Api::cache()
            .get(&format!("/cache/{}", key.replace('/', "%2F")))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn what_nobody_else_changes() {
    let _calm = lab().calm().await;
    let (user, card) = (Api::user().await, lab().own_card().await);
    check(
        &user,
        &format!("/cards/{card}/balance"),
        &format!("card:{card}:balance"),
        300,
    )
    .await;
    check(&user, "/search?subject=Music", "search:Music", 3600).await;
    check(&user, "/stations/2/arrivals", "station:2:arrivals", 60).await;
    user.post("/recharges", json!({"card_id": card, "amount": 50_000}))
        .await
        .expect(201);
    let trip = user
        .post(
            "/trips",
            json!({"card_id": card, "route_id": 1, "station_id": 1}),
        )
        .await
        .expect(201);
    let trip = trip.int("trip_id");
    check(
        &user,
        &format!("/trips/{trip}"),
        &format!("trip:{trip}"),
        300,
    )
    .await;
}

#[tokio::test]
async fn pages_are_kept_apart() {
    let _calm = lab().calm().await;
    let (user, card) = (Api::user().await, lab().own_card().await);
    for _ in 0..3 {
        user.post("/recharges", json!({"card_id": card, "amount": 1000}))
            .await
            .expect(201);
    }
    let path = format!("/cards/{card}/history");
    for limit in [1, 2, 3, 1, 2, 3] {
        let page = user.get(&format!("{path}?limit={limit}")).await.expect(200);
        assert_eq!(page.rows().len(), limit, "{page}");
    }
    assert_eq!(
        user.get(&format!("{path}?limit=2")).await.header("x-cache"),
        Some("HIT")
    );
    user.post("/recharges", json!({"card_id": card, "amount": 2000}))
        .await
        .expect(201);
    for limit in [1, 2, 3] {
        let page = user.get(&format!("{path}?limit={limit}")).await.expect(200);
        assert_eq!(
            page.rows()[0]["amount"],
            2000,
            "the write emptied every page: {page}"
        );
    }
}

#[tokio::test]
async fn an_absence_may_be_remembered_but_is_answered_anew() {
    let user = Api::user().await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let answer = user.get("/cards/999999998/balance").await.problem(404);
        ids.insert(answer.body["instance"].to_string());
    }
    assert_eq!(ids.len(), 3, "each names its own request: {ids:?}");
}

#[tokio::test]
async fn totals_and_revenue_are_cached() {
    let _alone = lab().alone().await;
    let api = Api::anonymous();
    for (path, key) in [
        ("/trips/total", "trips:total"),
        ("/trips/total/localities", "trips:total:localities"),
        ("/finance/revenue", "finance:revenue"),
        ("/finance/revenue/localities", "finance:revenue:localities"),
    ] {
        // Other tests may board a trip between two reads; not each time.
        let mut hit = false;
        for _ in 0..40 {
            hit = hit || api.get(path).await.expect(200).header("x-cache") == Some("HIT");
        }
        assert!(hit, "{path} is never a hit");
        let _ = key;
    }
}

#[tokio::test]
async fn a_gateway_with_its_cache_off_asks_the_service() {
    let _alone = lab().alone().await;
    let names = ["gateway-1", "gateway-2", "gateway-3"];
    for name in names {
        Api::admin(name)
            .put("/admin/cache", json!({"enabled": false}))
            .await
            .expect(200);
    }
    let answer = Api::user().await.get("/cards/100/balance").await;
    for name in names {
        Api::admin(name)
            .put("/admin/cache", json!({"enabled": true}))
            .await
            .expect(200);
    }
    assert_eq!(answer.expect(200).header("x-cache"), Some("BYPASS"));
}
