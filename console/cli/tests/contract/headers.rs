//! The headers of every answer, and who may call from a browser.

use reqwest::Method;
use serde_json::json;

use crate::api::{Answer, Api, send};
use crate::lab::lab;

/// The names of the hops that took part.
fn hops(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all("server-timing").iter();
    let entries = values
        .flat_map(|value| value.to_str().unwrap().split(','))
        .map(str::trim);
    let named = entries.inspect(|entry| {
        let duration = entry
            .split(';')
            .find_map(|part| part.trim().strip_prefix("dur="));
        let duration: f64 = duration
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no dur: {entry}"));
        assert!((0.0..60_000.0).contains(&duration), "{entry}");
    });
    named
        .map(|entry| entry.split(';').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let api = Api::anonymous();
    let with = |id: &'static str| {
        send(
            api.request(Method::GET, "/trips/total")
                .header("X-Request-Id", id),
        )
    };
    assert_eq!(
        with("lab-7f3.A_b").await.header("x-request-id"),
        Some("lab-7f3.A_b")
    );
    for odd in ["two words", "<script>", "", "a\"b"] {
        let answer = with(odd).await;
        let id = answer.header("x-request-id").unwrap();
        assert!(id != odd && id.len() >= 8, "{answer}");
    }
    let long: &'static str = Box::leak("x".repeat(500).into_boxed_str());
    assert_ne!(with(long).await.header("x-request-id"), Some(long));
    let (one, two) = (api.get("/health").await, api.get("/health").await);
    assert_ne!(
        one.header("x-request-id").unwrap(),
        two.header("x-request-id").unwrap()
    );
}

#[tokio::test]
async fn every_hop_tells_its_time() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let write = api
        .post("/recharges", json!({"card_id": card, "amount": 1000}))
        .await
        .expect(201);
    for hop in ["balancer", "gateway", "travel", "pg"] {
        assert!(
            hops(&write).iter().any(|name| name == hop),
            "{hop} is missing: {write}"
        );
    }
    let path = format!("/cards/{card}/balance");
    let _calm = lab().calm().await;
    let miss = api.get(&path).await.expect(200);
    for hop in ["balancer", "gateway", "cache", "travel", "pg"] {
        assert!(
            hops(&miss).iter().any(|name| name == hop),
            "{hop} is missing: {miss}"
        );
    }
    let hit = api.get(&path).await.expect(200);
    assert_eq!(hit.header("x-cache"), Some("HIT"));
    let there = |hop: &str| hops(&hit).iter().any(|name| name == hop);
    assert!(there("balancer") && there("gateway"), "{hit}");
    // From the gateway's own memory, or from the cache.
    assert!(
        there("l1") || (there("cache") && there("redis")),
        "the source is missing: {hit}"
    );
    assert!(hops(&hit).iter().all(|name| name != "travel"), "{hit}");
}

#[tokio::test]
async fn errors_have_the_headers_too() {
    let user = Api::user().await;
    for answer in [
        user.get("/cards/999999999/balance").await,
        Api::anonymous().get("/cards/1/balance").await,
        user.post_raw("/recharges", "application/json", "{").await,
        user.get("/nothing").await,
    ] {
        assert!(answer.header("x-request-id").is_some(), "{answer}");
        assert!(hops(&answer).contains(&"balancer".to_owned()), "{answer}");
        assert!(
            answer
                .header("x-gateway")
                .is_some_and(|name| name.starts_with("gateway-")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn writes_bypass_the_cache() {
    let (api, card) = (Api::user().await, lab().own_card().await);
    let answer = api
        .post("/recharges", json!({"card_id": card, "amount": 1000}))
        .await
        .expect(201);
    assert_eq!(answer.header("x-cache"), Some("BYPASS"), "{answer}");
}

#[tokio::test]
async fn the_trace_goes_on() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = Api::anonymous()
        .request(Method::GET, "/trips/total")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    send(request).await.expect(200);
}

#[tokio::test]
async fn pages_from_this_machine_may_call() {
    let api = Api::user().await;
    for origin in [
        "http://localhost",
        "http://localhost:5173",
        "http://127.0.0.1:8080",
    ] {
        let preflight = api
            .request(Method::OPTIONS, "/recharges")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header(
                "Access-Control-Request-Headers",
                "authorization,content-type,idempotency-key",
            );
        let preflight = send(preflight).await;
        assert!((200..300).contains(&preflight.status), "{preflight}");
        assert_eq!(
            preflight.header("access-control-allow-origin"),
            Some(origin),
            "{preflight}"
        );
        assert_eq!(
            preflight.header("access-control-allow-credentials"),
            Some("true")
        );
        let methods = preflight
            .header("access-control-allow-methods")
            .unwrap()
            .to_uppercase();
        assert!(methods.contains("POST"), "{preflight}");
        let allowed = preflight
            .header("access-control-allow-headers")
            .unwrap()
            .to_lowercase();
        assert!(
            allowed.contains("authorization") && allowed.contains("idempotency-key"),
            "{preflight}"
        );

        for path in ["/trips/total", "/cards/1/balance", "/nothing"] {
            let answer = send(api.request(Method::GET, path).header("Origin", origin)).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some(origin),
                "{answer}"
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                Some("true"),
                "{answer}"
            );
            let exposed = answer
                .header("access-control-expose-headers")
                .unwrap()
                .to_lowercase();
            for name in [
                "x-request-id",
                "server-timing",
                "x-gateway",
                "x-cache",
                "age",
            ] {
                assert!(exposed.contains(name), "{name}: {answer}");
            }
            assert!(
                answer
                    .header("vary")
                    .unwrap()
                    .to_lowercase()
                    .contains("origin"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn pages_from_elsewhere_may_not() {
    let api = Api::anonymous();
    for origin in [
        "https://example.org",
        "http://localhost.example.org",
        "null",
        "http://localhost@example.org",
    ] {
        let answer = send(
            api.request(Method::GET, "/trips/total")
                .header("Origin", origin),
        )
        .await;
        assert!(
            answer.header("access-control-allow-origin").is_none(),
            "{origin}: {answer}"
        );
    }
}
