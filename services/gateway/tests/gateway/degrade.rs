//! Services, cache and store away: stale or fast answers, and nothing hangs.

use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use kit::testing::eventually;
use serde_json::json;

use crate::support::{Lab, soon};

/// Puts a value under a key that is past its freshness at once after a second.
async fn make_stale(lab: &Lab, key: &str, value: &str) {
    let body = format!(r#"{{"value": {value}, "ttl": 1}}"#);
    let path = format!("/cache/{key}");
    lab.cache(Method::POST, &path, &body).await;
    eventually("the value is no longer fresh", || async {
        lab.cache(Method::GET, &path, "").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_failing_service_is_covered_by_the_value_that_was() {
    let mut lab = Lab::start().await;
    make_stale(&lab, "my_data", r#""old""#).await;
    make_stale(&lab, "trips:total", r#"{"total_trips":7}"#).await;
    lab.exercise
        .answers(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    lab.travel.die().await;
    for (path, body) in [
        (
            "/data",
            json!({"cached": true, "data": "old", "gateway_id": "1"}),
        ),
        ("/trips/total", json!({"total_trips": 7})),
    ] {
        for _ in 0..2 {
            let started = Instant::now();
            let answer = soon(path, lab.get(path)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.cache()),
                (200, "STALE"),
                "{path}"
            );
            assert_eq!(answer.json(), body);
            assert!(answer.header("warning").starts_with("110 "));
            assert!(
                answer
                    .header("age")
                    .parse::<u64>()
                    .is_ok_and(|age| age >= 1)
            );
            assert!(started.elapsed() < Duration::from_secs(2));
        }
    }
    // Nothing to stand in: a fast refusal that says when to come back.
    let started = Instant::now();
    let refused = lab.get("/trips/total/localities").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    let token = lab.token().await;
    let write = lab
        .post("/recharges", &[("authorization", token.as_str())], "{}")
        .await;
    assert_eq!(write.status, 503);
    assert!(started.elapsed() < Duration::from_secs(2));
    let failed = lab.get("/data?key=unknown").await;
    assert_eq!(failed.status, 500);
    lab.stop().await;
}

#[tokio::test]
async fn a_service_that_hangs_costs_its_time_and_no_more() {
    let lab = Lab::start().await;
    let _never = lab.travel.hold();
    let patience = [("x-recarga-deadline-ms", "600")];
    let started = Instant::now();
    let answer = lab
        .call(0, Method::GET, "/users/count", &patience, "")
        .await;
    assert_eq!(answer.status, 504);
    assert!(started.elapsed() < Duration::from_secs(3));

    make_stale(&lab, "trips:total", "1").await;
    let answer = soon(
        "stale",
        lab.call(0, Method::GET, "/trips/total", &patience, ""),
    )
    .await;
    assert_eq!((answer.status.as_u16(), answer.cache()), (200, "STALE"));
    // The lease came back: the next one need not wait for it to run out.
    let started = Instant::now();
    let answer = lab
        .call(0, Method::GET, "/trips/total", &patience, "")
        .await;
    assert_eq!(answer.cache(), "STALE");
    assert!(started.elapsed() < Duration::from_secs(3));
    lab.stop().await;
}

#[tokio::test]
async fn who_waits_in_vain_goes_to_the_service() {
    let lab = Lab::start().await;
    lab.exercise.answers_json(json!({"data": "x"}));
    // Somebody holds the lease and does nothing with it.
    let lease = lab.cache(Method::GET, "/entries/my_data", "").await;
    assert_eq!(lease.status, 202);
    let patience = [("x-recarga-deadline-ms", "1000")];
    let answer = soon(
        "past the cache",
        lab.call(0, Method::GET, "/data", &patience, ""),
    )
    .await;
    assert_eq!((answer.status.as_u16(), answer.cache()), (200, "BYPASS"));
    assert_eq!(
        answer.json(),
        json!({"cached": false, "data": "x", "gateway_id": "1"})
    );
    lab.stop().await;
}

#[tokio::test]
async fn without_the_cache_reads_go_to_the_services() {
    let mut lab = Lab::start().await;
    lab.exercise.answers_json(json!({"data": "x"}));
    assert_eq!(lab.get("/data").await.cache(), "MISS");
    let idle = crate::support::Service::start().await;
    let cache = std::mem::replace(
        &mut lab.cache,
        crate::support::Running {
            url: format!("http://{}", idle.address),
            admin: String::new(),
            shutdown: kit::Shutdown::new(),
            task: tokio::spawn(std::future::ready(Ok(()))),
        },
    );
    cache.stop().await;
    for expected in 2..5 {
        let started = Instant::now();
        let answer = lab.get("/data").await;
        assert_eq!((answer.status.as_u16(), answer.cache()), (200, "BYPASS"));
        assert_eq!(answer.json()["cached"], false);
        assert_eq!(lab.exercise.count(), expected);
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    lab.stop().await;
}

#[tokio::test]
async fn the_operator_can_switch_the_cache_off() {
    let lab = Lab::start().await;
    lab.exercise.answers_json(json!({"data": "x"}));
    lab.get("/data").await;
    assert_eq!(lab.get("/data").await.cache(), "HIT");
    let url = format!("{}/admin/cache", lab.gateways[0].admin);
    let switch = async |enabled: bool, token: &str| {
        let request = lab.http.put(&url).bearer_auth(token);
        let answer = request.json(&json!({"enabled": enabled})).send().await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(switch(false, "not the operator's token").await, 403);
    assert_eq!(lab.get("/data").await.cache(), "HIT");
    let operator = kit::Common::for_tests("x").operator_token.0;
    assert_eq!(switch(false, &operator).await, 200);
    let off = lab.get("/data").await;
    assert_eq!(
        (off.cache(), &off.json()["cached"]),
        ("BYPASS", &json!(false))
    );
    assert_eq!(switch(true, &operator).await, 200);
    assert_eq!(lab.get("/data").await.cache(), "HIT");
    lab.stop().await;
}
