//! Users and stations.

use crate::api::Api;

#[tokio::test]
async fn users_are_counted_and_never_cached() {
    let api = Api::anonymous();
    for path in ["/users/count", "/users/active/count", "/users/latest"] {
        for _ in 0..3 {
            let answer = api.get(path).await.expect(200);
            assert_eq!(answer.header("x-cache"), Some("BYPASS"), "{path}: {answer}");
            assert!(answer.header("age").is_none(), "{path}: {answer}");
        }
    }
    let number = |answer: crate::api::Answer| {
        let members = answer.body.as_object().unwrap().clone();
        members
            .values()
            .find_map(serde_json::Value::as_i64)
            .unwrap()
    };
    let all = number(api.get("/users/count").await);
    let active = number(api.get("/users/active/count").await);
    assert!(all >= 3 && active <= all, "{active} of {all}");
    let latest = api.get("/users/latest").await.expect(200);
    assert!(
        latest.text.contains("username") || latest.text.contains("full_name"),
        "{latest}"
    );
    assert!(!latest.text.contains("password"), "{latest}");
}

#[tokio::test]
async fn stations_are_listed_by_page_and_locality() {
    let api = Api::anonymous();
    let all = api.get("/stations?limit=100").await.expect(200);
    assert!(all.rows().len() > 20, "{all}");
    let page = api.get("/stations?limit=5").await.expect(200);
    assert_eq!(page.rows()[..], all.rows()[..5]);
    let cursor = &page.body["next_cursor"];
    let cursor = cursor
        .as_str()
        .map_or_else(|| cursor.to_string(), str::to_owned);
    let next = api
        .get(&format!("/stations?limit=5&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(next.rows()[..], all.rows()[5..10]);

    let locality = &all.rows()[0]["locality_id"];
    let some = api
        .get(&format!("/stations?limit=100&locality={locality}"))
        .await
        .expect(200);
    assert!(!some.rows().is_empty());
    assert!(
        some.rows()
            .iter()
            .all(|row| &row["locality_id"] == locality),
        "{some}"
    );
}

#[tokio::test]
async fn wrong_station_queries_are_named() {
    let api = Api::anonymous();
    for bad in ["0", "101", "x"] {
        api.get(&format!("/stations?limit={bad}"))
            .await
            .names("limit");
    }
    api.get("/stations?cursor=%F0%9F%92%A5")
        .await
        .names("cursor");
}

#[tokio::test]
async fn arrivals_of_a_station() {
    let api = Api::anonymous();
    let answer = api.get("/stations/1/arrivals").await.expect(200);
    assert_eq!(answer.int("station_id"), 1);
    answer.rows();
    api.get("/stations/999999999/arrivals").await.problem(404);
    let odd = api.get("/stations/x/arrivals").await;
    assert!(matches!(odd.status, 404 | 422), "{odd}");
}
