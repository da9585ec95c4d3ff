//! How often one may call: by address, by user, by all; at one gateway, over all of them, and without Redis.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::Method;
use kit::testing::eventually;
use serde_json::json;

use crate::{
    redis::Redis,
    support::{Lab, Plan, Reply, RoutesFile, soon},
};

/// The built-in routes, with limits.
fn limited(limits: &[(&str, serde_json::Value)]) -> RoutesFile {
    let mut routes = gateway::routes();
    for (path, limit) in limits {
        let route = routes
            .iter_mut()
            .find(|route| route.path == *path)
            .expect("a route");
        route.limit = serde_json::from_value(limit.clone()).expect("a limit");
    }
    RoutesFile::new(&routes)
}

async fn from(lab: &Lab, gateway: usize, path: &str, address: &str) -> Reply {
    let headers = [("x-forwarded-for", address)];
    lab.call(gateway, Method::GET, path, &headers, "").await
}

#[tokio::test]
async fn each_limit_counts_those_it_is_about() {
    let file = limited(&[
        (
            "/users/count",
            json!({"requests": 2, "per": "minute", "by": "address"}),
        ),
        (
            "/users/latest",
            json!({"requests": 60, "per": "minute", "burst": 2, "by": "all"}),
        ),
        (
            "/cards/{id}/balance",
            json!({"requests": 2, "per": "minute", "by": "user"}),
        ),
        (
            "/trips/total",
            json!({"requests": 1, "per": "minute", "by": "user"}),
        ),
    ]);
    let lab = Lab::start_with(Plan {
        routes: Some(file.path()),
        ..Plan::default()
    })
    .await;
    for left in ["1", "0"] {
        let answer = from(&lab, 0, "/users/count", "192.0.2.1").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), r#""address";q=2;w=60"#);
        let state = answer.header("ratelimit");
        assert!(
            state.starts_with(&format!(r#""address";r={left};t="#)),
            "{state}"
        );
    }
    let refused = from(&lab, 0, "/users/count", "192.0.2.1").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(
        refused
            .header("ratelimit")
            .starts_with(r#""address";r=0;t="#)
    );
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    let other = from(&lab, 0, "/users/count", "192.0.2.2").await;
    assert_eq!(other.status, 200);
    // What is not limited says nothing of limits.
    assert_eq!(lab.get("/users/active/count").await.header("ratelimit"), "");

    for (address, status) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)] {
        let answer = from(&lab, 0, "/users/latest", address).await;
        assert_eq!(answer.status, status, "{address}");
    }

    let user = lab.token().await;
    let headers = |address| {
        [
            ("authorization", user.as_str()),
            ("x-forwarded-for", address),
        ]
    };
    for (address, status) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)] {
        let answer = lab
            .call(0, Method::GET, "/cards/1/balance", &headers(address), "")
            .await;
        assert_eq!(answer.status, status, "{address}");
    }
    // Without a token: by address. Refused for another reason, it is not counted.
    let bad = [("authorization", "x"), ("x-forwarded-for", "192.0.2.1")];
    for _ in 0..3 {
        let answer = lab.call(0, Method::GET, "/trips/total", &bad, "").await;
        assert_eq!(answer.status, 401);
    }
    for (address, status) in [("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)] {
        let answer = from(&lab, 0, "/trips/total", address).await;
        assert_eq!(answer.status, status, "{address}");
    }
    let metrics = lab.metrics().await;
    assert!(
        metrics.contains(r#"recarga_rate_limited_total{role="gateway",instance="gateway-1"} 4"#),
        "{metrics}"
    );
    assert!(!metrics.contains("recarga_limiter_degraded"), "no Redis");
    assert_eq!(lab.admin(0, "/admin/limits").await["shared"], "off");
    lab.stop().await;
}

/// Twenty at once and then one a minute, all gateways together.
fn together() -> serde_json::Value {
    json!({"requests": 1, "per": "minute", "burst": 20, "by": "address", "shared": true})
}

/// Of sixty requests at once over two gateways from one address, how many are let in.
async fn admitted(lab: &Lab, address: &str) -> usize {
    let calls = (0..60).map(|number| from(lab, number % 2, "/users/count", address));
    let answers = soon("all answers", join_all(calls)).await;
    for answer in &answers {
        assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
        assert!(!answer.header("ratelimit").is_empty());
    }
    let admitted = answers.iter().filter(|answer| answer.status == 200);
    admitted.count()
}

async fn degraded(lab: &Lab) -> [bool; 2] {
    let mut states = [false; 2];
    for (gateway, state) in states.iter_mut().enumerate() {
        let name = format!("gateway-{}", gateway + 1);
        let metrics = lab.metrics_of(gateway).await;
        let line = |value| {
            format!(r#"recarga_limiter_degraded{{role="gateway",instance="{name}"}} {value}"#)
        };
        *state = metrics.contains(&line(1));
        assert!(*state || metrics.contains(&line(0)), "{metrics}");
        let shown = lab.admin(gateway, "/admin/limits").await["shared"].clone();
        assert!(shown == "on" || shown == "degraded", "{shown}");
    }
    states
}

#[tokio::test]
async fn gateways_admit_together_what_the_limit_says() {
    let file = limited(&[("/users/count", together())]);
    let lab = Lab::start_with(Plan {
        gateways: 2,
        routes: Some(file.path()),
        limiter: Some(kit::testing::redis_url().await),
        logins_per_user: 5,
        logins_per_address: 7,
        ..Plan::default()
    })
    .await;
    assert_eq!(degraded(&lab).await, [false; 2]);
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(admitted(&lab, address).await, 20);
    }

    // Log-ins too: five for a user, seven from an address.
    lab.travel
        .answers(|_| axum::response::IntoResponse::into_response(http::StatusCode::UNAUTHORIZED));
    let try_as = async |gateway: usize, user: &str, address: &str| {
        let headers = [("x-forwarded-for", address)];
        let body = format!("username={user}&password=wrong");
        let path = "/token";
        lab.call(gateway, Method::POST, path, &headers, body)
            .await
            .status
            .as_u16()
    };
    let mut statuses = Vec::new();
    for number in 0..8 {
        let address = format!("198.51.100.{number}");
        statuses.push(try_as(number % 2, "student1", &address).await);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    let mut statuses = Vec::new();
    for number in 0..9 {
        let user = format!("student{}", number + 10);
        statuses.push(try_as(number % 2, &user, "198.51.100.99").await);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 401, 429, 429]);
    lab.stop().await;
}

#[tokio::test]
async fn without_redis_each_gateway_limits_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::start(folder.path());
    let file = limited(&[("/users/count", together())]);
    let lab = Lab::start_with(Plan {
        gateways: 2,
        routes: Some(file.path()),
        limiter: Some(redis.url()),
        patience_ms: 200,
        ..Plan::default()
    })
    .await;
    let on = async |what: &str| {
        eventually(what, || async { degraded(&lab).await == [false; 2] }).await;
    };
    on("Redis is there").await;
    assert_eq!(admitted(&lab, "192.0.2.1").await, 20);

    redis.kill();
    // Nobody waits for it, from the first request on.
    let started = Instant::now();
    assert_eq!(admitted(&lab, "192.0.2.2").await, 40);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(degraded(&lab).await, [true; 2]);
    // What was known before the loss is still known.
    assert_eq!(admitted(&lab, "192.0.2.1").await, 0);
    let ready = lab
        .http
        .get(format!("{}/readyz", lab.gateways[0].admin))
        .send()
        .await
        .expect("an answer");
    assert_eq!(ready.status(), 200, "a gateway can do without");

    redis.restart();
    on("Redis is back").await;
    assert_eq!(admitted(&lab, "192.0.2.3").await, 20);

    // It hangs: the connections stay, answers do not come.
    redis.signal("-STOP");
    for address in ["192.0.2.4", "192.0.2.5", "192.0.2.6"] {
        let started = Instant::now();
        assert_eq!(admitted(&lab, address).await, 40);
        assert!(started.elapsed() < Duration::from_secs(4));
    }
    assert_eq!(degraded(&lab).await, [true; 2]);
    redis.signal("-CONT");
    on("Redis goes on").await;
    assert_eq!(admitted(&lab, "192.0.2.7").await, 20);
    lab.stop().await;
}

#[tokio::test]
async fn a_gateway_starts_without_redis() {
    let address = kit::testing::free_address();
    let lab = Lab::start_with(Plan {
        gateways: 2,
        limiter: Some(format!("redis://{address}")),
        ..Plan::default()
    })
    .await;
    assert_eq!(degraded(&lab).await, [true; 2]);
    assert_eq!(lab.get("/token").await.status, 200);
    lab.stop().await;
}
