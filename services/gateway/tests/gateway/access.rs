//! Who is let in, and what the services learn of it.

use axum::response::IntoResponse;
use gateway::AuthMode;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Lab, Plan};

/// A log-in as travel answers it.
fn travel_knows_student1(lab: &Lab) {
    lab.travel.answers(|asked| {
        let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if asked.target != "/internal/login" {
            axum::Json(json!({"card_id": 1})).into_response()
        } else if body == json!({"username": "student1", "password": "password"}) {
            axum::Json(json!({"user_id": 1, "username": "student1", "role": "user"}))
                .into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        }
    });
}

#[tokio::test]
async fn a_password_gives_a_token_that_lets_in() {
    let lab = Lab::start().await;
    travel_knows_student1(&lab);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let granted = lab
        .post(
            "/token",
            &form,
            "username=student1&password=password&grant_type=password",
        )
        .await;
    assert_eq!(granted.status, 200, "{granted:?}");
    let body = granted.json();
    assert_eq!(
        [&body["token_type"], &body["expires_in"]],
        [&json!("bearer"), &json!(1800)]
    );
    let token = body["access_token"].as_str().expect("a token");
    for sent in [format!("Bearer {token}"), token.to_owned()] {
        let headers = [
            ("authorization", sent.as_str()),
            ("x-recarga-user", "operator"),
            ("x-recarga-role", "operator"),
            ("x-recarga-anything", "1"),
        ];
        let answer = lab.post("/recharges", &headers, r#"{"card_id":1}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let asked = lab.travel.last();
        let header = |name: &str| {
            asked
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        assert_eq!(header("x-recarga-user"), Some("student1"));
        assert_eq!(header("x-recarga-role"), Some("user"));
        assert_eq!(header("x-recarga-anything"), None);
        assert_eq!(header("authorization"), None);
        assert!(header("x-recarga-deadline-ms").is_some());
        assert_eq!(header("x-request-id"), Some(answer.header("x-request-id")));
    }
    let json_type = [("content-type", "application/json; charset=utf-8")];
    let granted = lab
        .post(
            "/token",
            &json_type,
            r#"{"username":"student1","password":"password"}"#,
        )
        .await;
    assert_eq!(granted.status, 200);
    lab.stop().await;
}

#[tokio::test]
async fn wrong_passwords_and_bad_forms_are_refused() {
    let lab = Lab::start().await;
    travel_knows_student1(&lab);
    let refused = lab
        .post("/token", &[], "username=student1&password=x")
        .await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["detail"], "Incorrect username or password");
    let long = format!("username={}&password=x", "u".repeat(300));
    for (body, status) in [("username=a", 422), ("", 422), (long.as_str(), 422)] {
        assert_eq!(lab.post("/token", &[], body).await.status, status, "{body}");
    }
    let json_type = [("content-type", "application/json")];
    assert_eq!(lab.post("/token", &json_type, "{").await.status, 400);
    // An old token does not keep anybody from logging in.
    let old = [("authorization", "Bearer old")];
    let answer = lab
        .post("/token", &old, "username=student1&password=password")
        .await;
    assert_eq!(answer.status, 200);
    lab.travel
        .answers(|_| StatusCode::SERVICE_UNAVAILABLE.into_response());
    let away = lab
        .post("/token", &[], "username=student1&password=password")
        .await;
    assert_eq!(
        (away.status.as_u16(), away.header("retry-after")),
        (503, "1")
    );
    lab.stop().await;
}

#[tokio::test]
async fn log_ins_are_limited_by_user_and_address() {
    let lab = Lab::start_with(Plan {
        logins_per_user: 3,
        logins_per_address: 6,
        ..Plan::default()
    })
    .await;
    travel_knows_student1(&lab);
    let try_as = async |user: &str, address: &str| {
        let headers = [("x-forwarded-for", address)];
        let body = format!("username={user}&password=wrong");
        lab.post("/token", &headers, &body).await
    };
    for _ in 0..3 {
        assert_eq!(try_as("student1", "192.0.2.1").await.status, 401);
    }
    let limited = try_as("student1", "192.0.2.2").await;
    assert_eq!(limited.status, 429);
    let wait: u64 = limited.header("retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(limited.header("ratelimit-policy"), r#""user";q=3;w=60"#);
    let state = limited.header("ratelimit");
    assert!(state.starts_with(r#""user";r=0;t="#), "{state}");
    for number in 0..3 {
        let user = format!("other{number}");
        assert_eq!(try_as(&user, "192.0.2.1").await.status, 401);
    }
    assert_eq!(try_as("another", "192.0.2.1").await.status, 429);
    assert_eq!(try_as("another", "192.0.2.3").await.status, 401);
    let asked = lab.travel.count();
    assert_eq!(asked, 7, "the limited ones never got there");
    let metrics = lab.metrics().await;
    assert!(
        metrics.contains(r#"recarga_rate_limited_total{role="gateway",instance="gateway-1"} 2"#),
        "{metrics}"
    );
    lab.stop().await;
}

#[tokio::test]
async fn levels_are_kept() {
    let lab = Lab::start().await;
    for (method, path) in [
        (Method::GET, "/search?subject=Math"),
        (Method::POST, "/book"),
        (Method::GET, "/bookings/1"),
        (Method::POST, "/recharges"),
        (Method::GET, "/recharges/1"),
        (Method::GET, "/cards/1/balance"),
        (Method::GET, "/cards/1/history"),
        (Method::GET, "/users/1/recharges"),
        (Method::POST, "/trips"),
        (Method::POST, "/trips/1/end"),
    ] {
        let refused = lab.call(0, method.clone(), path, &[], "").await;
        assert_eq!(refused.status, 401, "{method} {path}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        assert_eq!(refused.header("x-gateway"), "gateway-1");
        assert_eq!(refused.cache(), "BYPASS");
        assert_eq!(refused.json()["instance"], refused.header("x-request-id"));
    }
    let open = [
        "/data",
        "/process",
        "/task/1",
        "/trips/1",
        "/trips/total",
        "/trips/total/localities",
        "/finance/revenue",
        "/finance/revenue/localities",
        "/trips/finance/revenue",
        "/users/count",
        "/users/active/count",
        "/users/latest",
        "/stations",
        "/stations/1/arrivals",
    ];
    lab.exercise
        .answers_json(json!({"data": "x", "message": "x"}));
    for path in open {
        assert_eq!(lab.get(path).await.status, 200, "{path}");
        let bad = [("authorization", "Bearer not-a-token")];
        let refused = lab.call(0, Method::GET, path, &bad, "").await;
        assert_eq!(refused.status, 401, "{path}");
        let challenge = refused.header("www-authenticate");
        assert!(
            challenge.starts_with(r#"Bearer error="invalid_token""#),
            "{challenge}"
        );
    }
    lab.stop().await;
}

#[tokio::test]
async fn strict_means_a_token_for_everything() {
    let lab = Lab::start_with(Plan {
        auth: AuthMode::Strict,
        ..Plan::default()
    })
    .await;
    travel_knows_student1(&lab);
    assert_eq!(lab.get("/token").await.status, 404);
    assert_eq!(lab.get("/users/count").await.status, 401);
    assert_eq!(lab.get("/health").await.status, 200);
    let granted = lab
        .post("/token", &[], "username=student1&password=password")
        .await;
    let token = granted.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let headers = [("authorization", token.as_str())];
    let answer = lab.call(0, Method::GET, "/users/count", &headers, "").await;
    assert_eq!(answer.status, 200);
    lab.stop().await;
}
