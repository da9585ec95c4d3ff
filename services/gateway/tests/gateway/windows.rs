//! Values past their freshness: served at once while one rebuilds, in place of errors, and then not at all; and values that
//! are rebuilt before their time.

use axum::response::IntoResponse;
use futures::future::join_all;
use http::{Method, StatusCode};
use kit::testing::eventually;
use serde_json::json;

use crate::support::{Lab, Plan, soon};

/// Fills a value by the protocol of the gateways.
async fn fill(lab: &Lab, key: &str, how: &str, value: &str) {
    let lease = lab.cache(Method::GET, &format!("/entries/{key}"), "").await;
    assert_eq!(lease.status, 202, "{lease:?}");
    let request = lab
        .http
        .put(format!("{}/entries/{key}?{how}", lab.cache.url))
        .header("x-lease", lease.header("x-lease"))
        .body(value.to_owned());
    assert_eq!(request.send().await.expect("an answer").status(), 204);
}

async fn expired(lab: &Lab, key: &str, windows: &str, value: &str) {
    fill(lab, key, &format!("ttl_s=1&{windows}"), value).await;
    eventually("it is no longer fresh", || async {
        lab.cache(Method::GET, &format!("/cache/{key}"), "")
            .await
            .status
            == 404
    })
    .await;
}

#[tokio::test]
async fn a_stale_value_is_served_at_once_while_exactly_one_rebuilds() {
    for first_level in [false, true] {
        let lab = Lab::start_with(Plan {
            gateways: 3,
            first_level,
            ..Plan::default()
        })
        .await;
        expired(&lab, "my_data", "swr_s=600&sie_s=600", r#""old""#).await;
        lab.exercise.answers_json(json!({"data": "new"}));
        let bell = lab.exercise.hold();
        // The service does not answer, and nobody waits for it.
        let readers = (0..30).map(|number| lab.call(number % 3, Method::GET, "/data", &[], ""));
        for answer in soon("stale answers", join_all(readers)).await {
            assert_eq!((answer.status.as_u16(), answer.cache()), (200, "STALE"));
            assert_eq!(answer.json()["data"], "old");
            assert!(answer.header("age").parse::<u64>().is_ok());
        }
        eventually("one rebuilds", || async { lab.exercise.count() == 1 }).await;
        bell.notify_one();
        eventually("the new value is there", || async {
            lab.get("/data").await.json()["data"] == "new"
        })
        .await;
        assert_eq!(lab.exercise.count(), 1);
        // An invalidated value is not served stale, whatever the windows say.
        expired_again(&lab).await;
        let answer = lab.get("/data");
        let release = async {
            eventually("the service is asked", || async {
                lab.exercise.count() == 2
            })
            .await;
            bell.notify_one();
        };
        let (answer, ()) = soon("the new value", async { tokio::join!(answer, release) }).await;
        assert_eq!(
            (answer.cache(), &answer.json()["data"]),
            ("MISS", &json!("new"))
        );
        lab.stop().await;
    }
}

/// Makes the value stale again, and invalidates it.
async fn expired_again(lab: &Lab) {
    lab.cache(Method::DELETE, "/cache/my_data", "").await;
    expired(lab, "my_data", "swr_s=600&sie_s=600", r#""old""#).await;
    let body = r#"{"keys": ["my_data"]}"#;
    assert_eq!(
        lab.cache(Method::POST, "/invalidate", body).await.status,
        200
    );
}

#[tokio::test]
async fn a_value_stands_in_for_errors_up_to_its_cap() {
    let lab = Lab::start_with(Plan {
        first_level: true,
        ..Plan::default()
    })
    .await;
    lab.exercise
        .answers(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    expired(&lab, "my_data", "swr_s=0&sie_s=600", r#""old""#).await;
    let answer = lab.get("/data").await;
    assert_eq!((answer.status.as_u16(), answer.cache()), (200, "STALE"));
    assert_eq!(lab.exercise.count(), 1, "the service was asked first");
    // Too many requests are a failure as well.
    lab.exercise
        .answers(|_| StatusCode::TOO_MANY_REQUESTS.into_response());
    assert_eq!(lab.get("/data").await.cache(), "STALE");
    // Its end is its end.
    expired(&lab, "short", "swr_s=0&sie_s=2", r#""old""#).await;
    eventually("it is over", || async {
        lab.get("/data?key=short").await.status == 429
    })
    .await;
    // What is really not there is not there, stale or not.
    expired(&lab, "trip:5", "swr_s=0&sie_s=600", r#"{"trip_id": 5}"#).await;
    lab.travel
        .answers(|_| kit::Problem::not_found("No such trip").into_response());
    assert_eq!(lab.get("/trips/5").await.status, 404);
    lab.stop().await;
}

#[tokio::test]
async fn a_popular_value_is_rebuilt_before_its_time() {
    for first_level in [false, true] {
        let lab = Lab::start_with(Plan {
            first_level,
            ..Plan::default()
        })
        .await;
        lab.exercise.answers_json(json!({"data": "new"}));
        // Its rebuild took ten minutes: whoever reads it is almost surely due.
        fill(&lab, "my_data", "ttl_s=20&rebuild_ms=600000", r#""old""#).await;
        eventually("it is rebuilt", || async {
            let answer = lab.get("/data").await;
            assert_eq!(answer.cache(), "HIT", "nobody waits");
            answer.json()["data"] == "new"
        })
        .await;
        assert_eq!(lab.exercise.count(), 1);
        let metrics = lab.cache_metrics().await;
        assert!(
            metrics.contains(r#"early_refreshes_total{role="cache",instance="cache-1"} 1"#),
            "{metrics}"
        );
        lab.stop().await;
    }
}
