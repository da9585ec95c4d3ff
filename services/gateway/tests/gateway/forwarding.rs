//! What passes through: paths, bodies, keys, and what the gateway adds.

use axum::response::IntoResponse;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Lab, Plan, config, start_gateway};

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let lab = Lab::start().await;
    let nothing = lab.get("/nothing").await;
    assert_eq!(nothing.status, 404);
    assert_eq!(nothing.header("content-type"), "application/problem+json");
    assert_eq!(nothing.header("x-gateway"), "gateway-1");
    assert_eq!(lab.get("/internal/login").await.status, 404);
    let other = lab.call(0, Method::DELETE, "/token", &[], "").await;
    assert_eq!(other.status, 405);
    assert_eq!(other.header("allow"), "POST, GET, HEAD");
    assert_eq!(
        lab.call(0, Method::HEAD, "/users/count", &[], "")
            .await
            .status,
        200
    );
    assert_eq!(lab.travel.last().method, Method::HEAD);
    lab.stop().await;
}

#[tokio::test]
async fn the_gateway_adds_its_id() {
    let lab = Lab::start().await;
    lab.exercise
        .answers_json(json!({"message": "done", "service_id": "2"}));
    let process = lab.get("/process").await;
    assert_eq!(
        process.json(),
        json!({"message": "done", "service_id": "2", "gateway_id": "1"})
    );
    assert_eq!(process.cache(), "BYPASS");
    lab.worker.answers(|asked| {
        assert_eq!(asked.target, "/task?x=1");
        let headers = [("location", "/task/7")];
        let body = axum::Json(json!({"status": "Started", "task_id": 7}));
        (StatusCode::ACCEPTED, headers, body).into_response()
    });
    let started = lab
        .post(
            "/longtask?x=1",
            &[("idempotency-key", "k1")],
            r#"{"task": "x"}"#,
        )
        .await;
    assert_eq!(started.status, 202);
    assert_eq!(started.header("location"), "/task/7");
    assert_eq!(started.json()["gateway_id"], "1");
    let asked = lab.worker.last();
    assert_eq!(&asked.body[..], br#"{"task": "x"}"#);
    assert_eq!(asked.headers["idempotency-key"], "k1");
    lab.worker.answers(|_| {
        (
            StatusCode::NOT_FOUND,
            axum::Json(json!({"status": "not_found"})),
        )
            .into_response()
    });
    let missing = lab.get("/task/9").await;
    assert_eq!(
        (missing.status.as_u16(), missing.json()),
        (404, json!({"status": "not_found"}))
    );
    lab.stop().await;
}

#[tokio::test]
async fn answers_keep_their_heads_and_timings_add_up() {
    let lab = Lab::start().await;
    lab.travel.answers(|_| {
        let headers = [
            (
                "server-timing",
                "travel;dur=2.000, pg;dur=1.000;start=0.250",
            ),
            ("location", "/recharges/5"),
            ("idempotency-replayed", "true"),
            ("x-recarga-secret", "inside"),
        ];
        (
            StatusCode::CREATED,
            headers,
            axum::Json(json!({"recharge_id": 5})),
        )
            .into_response()
    });
    let token = lab.token().await;
    let headers = [("authorization", token.as_str()), ("idempotency-key", "k")];
    let answer = lab.post("/recharges", &headers, "{}").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), "/recharges/5");
    assert_eq!(answer.header("idempotency-replayed"), "true");
    assert_eq!(answer.header("x-recarga-secret"), "");
    let timing = answer.header("server-timing");
    assert!(
        timing.starts_with("gateway;dur=") && timing.contains(", travel;dur=2.000;start="),
        "{timing}"
    );
    let entries = kit::timing::parse(timing);
    let start = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        entry.start_ms.unwrap()
    };
    assert!(
        (start("pg") - start("travel") - 0.25).abs() < 0.002,
        "moved together: {timing}"
    );
    lab.stop().await;
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let lab = Lab::start().await;
    let fits = "x".repeat(1024 * 1024);
    assert_eq!(lab.post("/longtask", &[], &fits).await.status, 200);
    let large = "x".repeat(1024 * 1024 + 1);
    let refused = lab.post("/longtask", &[], &large).await;
    assert_eq!(refused.status, 413);
    // Without a length it is noticed on the way.
    let chunks: Vec<Result<String, std::io::Error>> =
        vec![Ok("x".repeat(700_000)), Ok("x".repeat(700_000))];
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let refused = lab.call(0, Method::POST, "/longtask", &[], stream).await;
    assert_eq!(refused.status, 413);
    lab.stop().await;
}

#[tokio::test]
async fn a_dead_instance_is_passed_over() {
    let mut lab = Lab::start_with(Plan {
        gateways: 0,
        ..Plan::default()
    })
    .await;
    let config = gateway::Config {
        travel: format!("{},{}", lab.travel.address, lab.search.address)
            .parse()
            .expect("two addresses"),
        ..config(&lab, 1)
    };
    lab.gateways.push(start_gateway(config).await);
    lab.travel.die().await;
    let token = lab.token().await;
    for _ in 0..20 {
        let headers = [("authorization", token.as_str())];
        assert_eq!(lab.get("/users/count").await.status, 200);
        // Never sent, so also what is not safe to repeat goes on to the other one.
        assert_eq!(lab.post("/recharges", &headers, "{}").await.status, 200);
    }
    let admin = lab.gateways[0].admin.clone();
    let answer = lab
        .http
        .get(format!("{admin}/admin/upstreams"))
        .send()
        .await;
    let pools: serde_json::Value = answer.expect("an answer").json().await.expect("JSON");
    let travel = pools
        .as_array()
        .and_then(|pools| pools.iter().find(|pool| pool["pool"] == "travel"))
        .expect("the travel pool");
    assert_eq!(travel["upstreams"].as_array().map(Vec::len), Some(2));
    lab.stop().await;
}
