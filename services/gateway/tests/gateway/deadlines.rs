//! Time that is left travels with a request, and is less at each hop.

use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use http::{HeaderMap, Method};
use serde_json::json;

use crate::support::{Lab, Plan, RoutesFile};

fn told(headers: &HeaderMap) -> u64 {
    headers["x-recarga-deadline-ms"]
        .to_str()
        .expect("text")
        .parse()
        .expect("milliseconds")
}

#[tokio::test]
async fn a_service_is_told_less_than_we_were() {
    let lab = Lab::start().await;
    lab.travel.answers(|asked| {
        let body = if asked.target == "/internal/login" {
            json!({"user_id": 1, "username": "student1", "role": "user"})
        } else {
            json!({"any": "thing"})
        };
        axum::Json(body).into_response()
    });
    // Forwarded, read through the cache, and our own question to travel.
    for (method, path, most) in [
        (Method::GET, "/users/count", 1950),
        // What is read for everybody who waits has the route's time, not that of the first who came.
        (Method::GET, "/trips/total", 5000),
        (Method::POST, "/token", 1950),
    ] {
        let patience = [("x-recarga-deadline-ms", "2000")];
        let body = "username=student1&password=password";
        let answer = lab.call(0, method, path, &patience, body).await;
        assert_eq!(answer.status, 200, "{path}");
        let told = told(&lab.travel.last().headers);
        assert!((1..=most).contains(&told), "{path}: {told}");
    }
    // Without a word from the caller: the route's time.
    lab.get("/users/count").await;
    let told_by_default = told(&lab.travel.last().headers);
    assert!((1..=5000).contains(&told_by_default), "{told_by_default}");
    // More patience than the route has does not help.
    let patience = [("x-recarga-deadline-ms", "28000")];
    lab.call(0, Method::GET, "/users/count", &patience, "")
        .await;
    assert!(told(&lab.travel.last().headers) <= 5000);
    lab.stop().await;
}

#[tokio::test]
async fn a_routes_time_holds_and_its_end_is_told_in_words() {
    let mut routes = gateway::routes();
    for route in &mut routes {
        if ["/users/count", "/trips/total", "/process"].contains(&route.path.as_str()) {
            route.timeout_ms = 150;
        }
    }
    let file = RoutesFile::new(&routes);
    let lab = Lab::start_with(Plan {
        routes: Some(file.path()),
        ..Plan::default()
    })
    .await;
    let _never = (lab.travel.hold(), lab.exercise.hold());
    for (path, service) in [
        ("/users/count", &lab.travel),
        ("/trips/total", &lab.travel),
        ("/process", &lab.exercise),
    ] {
        let started = Instant::now();
        let answer = lab.get(path).await;
        assert_eq!(answer.status, 504, "{path}: {answer:?}");
        // Not the four and a half seconds of the general limit.
        assert!(started.elapsed() < Duration::from_secs(4), "{path}");
        let detail = answer.json()["detail"].as_str().map(str::to_owned);
        assert_eq!(
            detail.as_deref(),
            Some("The service behind did not answer in time"),
            "{path}"
        );
        assert!(told(&service.last().headers) <= 150, "{path}");
    }
    lab.stop().await;
}

#[tokio::test]
async fn who_has_no_time_left_gets_an_answer_at_once() {
    let lab = Lab::start().await;
    let _never = lab.travel.hold();
    let started = Instant::now();
    for patience in ["0", "1", "40"] {
        let headers = [("x-recarga-deadline-ms", patience)];
        let answer = lab.call(0, Method::GET, "/users/count", &headers, "").await;
        assert_eq!(answer.status, 504, "{patience}");
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    lab.stop().await;
}
