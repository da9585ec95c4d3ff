//! The balancer end to end, with little HTTP servers in the gateways' place.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Balancer, Gateway};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A balancer with one gateway, seen to be up.
async fn one() -> (Balancer, Gateway) {
    let gateway = Gateway::start("gateway-1").await;
    let balancer = Balancer::start(
        &[gateway.address],
        &["--cors-origins", "https://lab.example"],
    )
    .await;
    balancer.shows(json!({"gateway-1": true})).await;
    (balancer, gateway)
}

/// Sends bytes as they are and reads the answer to its end.
async fn raw(balancer: &Balancer, request: &str) -> String {
    let mut stream = TcpStream::connect(balancer.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_take_turns_over_the_gateways() {
    let gateways = [
        Gateway::start("gateway-1").await,
        Gateway::start("gateway-2").await,
        Gateway::start("gateway-3").await,
    ];
    let balancer = Balancer::start(&gateways.each_ref().map(|gateway| gateway.address), &[]).await;
    balancer
        .shows(json!({"gateway-1": true, "gateway-2": true, "gateway-3": true}))
        .await;
    let mut shares = BTreeMap::new();
    for _ in 0..9 {
        let response = balancer.get("/data?key=a%20b").send().await.unwrap();
        *shares
            .entry(response.headers()["x-gateway"].to_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    assert_eq!(gateways[0].last_seen().target, "/data?key=a%20b");
}

#[tokio::test]
async fn headers_pass_and_what_is_internal_does_not() {
    let (balancer, gateway) = one().await;
    let request = balancer.post("/recharges").body(r#"{"card_id":1}"#);
    let request = request
        .header("x-recarga-user", "root")
        .header("X-Recarga-Role", "operator")
        .header("x-recarga-retry-owner", "me");
    let response = request
        .header("x-forwarded-for", "203.0.113.9")
        .header("authorization", "Bearer t")
        .header("idempotency-key", "k")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-gateway"], "gateway-1");
    assert_eq!(response.headers()["x-cache"], "MISS");
    let timing = response.headers()["server-timing"].to_str().unwrap();
    assert!(
        timing.starts_with("balancer;dur=")
            && timing.ends_with(", gateway;dur=1.000, travel;dur=0.500"),
        "{timing}"
    );
    let seen = gateway.last_seen();
    for internal in ["x-recarga-user", "x-recarga-role", "x-recarga-retry-owner"] {
        assert!(!seen.headers.contains_key(internal), "{internal}");
    }
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen.headers["authorization"], "Bearer t");
    assert_eq!(seen.headers["idempotency-key"], "k");
    assert_eq!(seen.body, r#"{"card_id":1}"#);
}

#[tokio::test]
async fn request_ids_are_kept_when_sane() {
    let (balancer, gateway) = one().await;
    let long = "x".repeat(129);
    for (given, kept) in [
        ("lab-1.2_3", true),
        ("two words", false),
        (long.as_str(), false),
        ("", false),
    ] {
        let response = balancer
            .get("/data")
            .header("x-request-id", given)
            .send()
            .await
            .unwrap();
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(id == given, kept, "{given:?}");
        assert_eq!(
            gateway.last_seen().headers["x-request-id"],
            id.as_str(),
            "the same id goes on"
        );
    }
}

#[tokio::test]
async fn pages_of_known_origins_may_call() {
    let (balancer, _gateway) = one().await;
    for (origin, allowed) in [
        ("http://localhost:5173", true),
        ("https://lab.example", true),
        ("https://evil.example", false),
    ] {
        let response = balancer
            .get("/data")
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        let headers = response.headers();
        assert_eq!(
            headers
                .get("access-control-allow-origin")
                .map(|value| value.to_str().unwrap()),
            allowed.then_some(origin)
        );
        assert_eq!(
            headers.contains_key("access-control-allow-credentials"),
            allowed
        );
        assert!(headers.get_all("vary").iter().any(|vary| vary == "Origin"));
        if allowed {
            let exposed = headers["access-control-expose-headers"].to_str().unwrap();
            for name in [
                "X-Request-Id",
                "Server-Timing",
                "X-Gateway",
                "X-Cache",
                "Age",
                "Idempotency-Replayed",
                "Location",
                "Retry-After",
            ] {
                assert!(
                    exposed.split(", ").any(|exposed| exposed == name),
                    "{name} is not exposed"
                );
            }
        }
    }
}

#[tokio::test]
async fn preflights_are_answered_at_the_door() {
    let (balancer, gateway) = one().await;
    let preflight = |origin: &'static str| {
        let request = balancer
            .http
            .request(Method::OPTIONS, format!("{}/recharges", balancer.url))
            .header("origin", origin);
        request
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,idempotency-key,x-recarga-user",
            )
            .send()
    };
    let response = preflight("http://127.0.0.1:5500").await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "http://127.0.0.1:5500"
    );
    assert_eq!(
        response.headers()["access-control-allow-headers"],
        "authorization, idempotency-key"
    );
    assert!(
        response.headers()["access-control-allow-methods"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    let response = preflight("https://evil.example").await.unwrap();
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
    assert_eq!(gateway.count(), 0);
}

#[tokio::test]
async fn pages_can_read_the_answers_made_at_the_door() {
    let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ["--forward-timeout-ms", "50"];
    let balancer = Balancer::start(&[gateway.local_addr().unwrap()], &flags).await;
    for (method, path, status) in [
        (Method::DELETE, "/health", 405),
        (Method::GET, "/data", 504),
        (Method::OPTIONS, "/data", 204),
    ] {
        let response = balancer
            .http
            .request(method.clone(), format!("{}{path}", balancer.url))
            .header("origin", "http://localhost:5173")
            .header("access-control-request-method", "GET")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        let headers = response.headers();
        assert_eq!(
            headers["access-control-allow-origin"], "http://localhost:5173",
            "{method} {path}"
        );
        assert!(headers.contains_key("x-request-id"), "{method} {path}");
    }
}

#[tokio::test]
async fn large_bodies_are_refused_with_and_without_a_length() {
    let gateway = Gateway::start("gateway-1").await;
    let balancer = Balancer::start(&[gateway.address], &["--body-limit-bytes", "1000"]).await;
    balancer.shows(json!({"gateway-1": true})).await;
    let response = balancer
        .post("/recharges")
        .body("x".repeat(1001))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["error"], problem["detail"]);
    let chunk = "x".repeat(600);
    let request = format!(
        "POST /recharges HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n0\r\n\r\n"
    );
    let answer = raw(&balancer, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let response = balancer
        .post("/recharges")
        .body("x".repeat(1000))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn health_is_a_map_and_says_when_nobody_is_there() {
    let gateways = [
        Gateway::start("gateway-1").await,
        Gateway::start("gateway-2").await,
    ];
    let balancer = Balancer::start(&gateways.each_ref().map(|gateway| gateway.address), &[]).await;
    balancer
        .shows(json!({"gateway-1": true, "gateway-2": true}))
        .await;
    gateways[0].ready.store(false, Ordering::SeqCst);
    balancer
        .shows(json!({"gateway-1": false, "gateway-2": true}))
        .await;
    assert_eq!(balancer.health().await["status"], "up");
    for _ in 0..4 {
        assert_eq!(
            balancer.get("/data").send().await.unwrap().headers()["x-gateway"],
            "gateway-2",
            "one that drains gets nothing new"
        );
    }
    gateways[1].ready.store(false, Ordering::SeqCst);
    balancer
        .shows(json!({"gateway-1": false, "gateway-2": false}))
        .await;
    let response = balancer.get("/health").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let response = balancer.get("/data").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (&problem["status"], &problem["instance"]),
        (&json!(503), &json!(id))
    );
    gateways[0].ready.store(true, Ordering::SeqCst);
    balancer
        .shows(json!({"gateway-1": true, "gateway-2": false}))
        .await;
    assert_eq!(
        balancer.get("/data").send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_killed_gateway_loses_no_safe_request() {
    let first = Gateway::start("gateway-1").await;
    let second = Gateway::start("gateway-2").await;
    // Checks are rare: the requests themselves must notice.
    let balancer = Balancer::start(
        &[first.address, second.address],
        &["--check-interval-ms", "60000"],
    )
    .await;
    balancer
        .shows(json!({"gateway-1": true, "gateway-2": true}))
        .await;
    for _ in 0..4 {
        assert_eq!(
            balancer.get("/data").send().await.unwrap().status(),
            StatusCode::OK
        );
    }
    first.kill().await;
    for _ in 0..10 {
        let response = balancer.get("/data").send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["x-gateway"]),
            (StatusCode::OK, &http::HeaderValue::from_static("gateway-2"))
        );
        assert_eq!(
            balancer
                .post("/trips")
                .body("{}")
                .send()
                .await
                .unwrap()
                .status(),
            StatusCode::OK
        );
    }
    balancer
        .shows(json!({"gateway-1": false, "gateway-2": true}))
        .await;
}

#[tokio::test]
async fn a_gateway_that_is_too_slow_is_a_504() {
    // It takes connections and never answers, not even checks: nobody knows it to be down yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let balancer = Balancer::start(
        &[listener.local_addr().unwrap()],
        &["--forward-timeout-ms", "100", "--check-timeout-ms", "60000"],
    )
    .await;
    let response = balancer.get("/data").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
}

#[tokio::test]
async fn the_door_answers_what_is_its_own() {
    let (balancer, gateway) = one().await;
    let page = balancer
        .get("/")
        .header("accept", "text/html,*/*;q=0.8")
        .send()
        .await
        .unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let tag = page.headers()["etag"].clone();
    assert!(page.text().await.unwrap().contains("<title>Recarga"));
    assert_eq!(
        balancer
            .get("/")
            .header("if-none-match", tag)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::NOT_MODIFIED
    );
    let described: Value = balancer
        .get("/")
        .header("accept", "application/json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        described,
        json!({"service": "Load Balancer", "status": "running", "gateways": {"gateway-1": true}})
    );
    for (path, kind) in [
        ("/assets/app.js", "text/javascript"),
        ("/assets/app.css", "text/css"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/docs", "text/html"),
        ("/docs/", "text/html"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/redoc", "text/html"),
        (
            "/assets/vendor/redoc/redoc.standalone.js",
            "text/javascript",
        ),
        ("/openapi.json", "application/json"),
        ("/metrics", "application/openmetrics-text"),
    ] {
        let response = balancer.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let found = response.headers()["content-type"].to_str().unwrap();
        assert!(found.starts_with(kind), "{path} is {found}");
        assert!(response.headers().contains_key("x-request-id"), "{path}");
        assert!(
            !response.headers().contains_key("content-encoding"),
            "{path} can be read by clients that decompress nothing"
        );
        if path == "/metrics" {
            continue;
        }
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        for (known, status) in [
            (tag.as_str(), 304),
            (&format!("\"a\", W/{tag}"), 304),
            ("\"a\"", 200),
        ] {
            let response = balancer.get(path).header("if-none-match", known);
            let response = response.send().await.unwrap();
            assert_eq!(response.status(), status, "{path} if not {known}");
        }
    }
    for path in ["/assets/none.js", "/docs/none.js"] {
        assert_eq!(
            balancer.get(path).send().await.unwrap().status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let document: Value = balancer
        .get("/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/health"].is_object());
    assert_eq!(gateway.count(), 0);
    assert_eq!(
        balancer.get("/unknown").send().await.unwrap().headers()["x-gateway"],
        "gateway-1",
        "a 404 is the gateway's to give"
    );
}

#[tokio::test]
async fn odd_requests_get_plain_answers() {
    let (balancer, gateway) = one().await;
    for (request, status) in [
        (
            "TRACE /data HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "405",
        ),
        (
            "CONNECT a:80 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "405",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "204",
        ),
        ("GARBAGE\r\n\r\n", "400"),
    ] {
        let answer = raw(&balancer, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request:?}: {answer}"
        );
    }
    assert_eq!(gateway.count(), 0);
    let answer = raw(
        &balancer,
        "GET http://elsewhere.example/data?a=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(gateway.last_seen().target, "/data?a=1");
    let answer = raw(&balancer, "GET /data HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(
        gateway.last_seen().headers["host"],
        gateway.address.to_string(),
        "an older client names no host: the upstream gets its own"
    );
}

#[tokio::test]
async fn two_framings_never_both_go_on() {
    let (balancer, gateway) = one().await;
    let headers = ["content-length: 3", "transfer-encoding: chunked"];
    for (first, second) in [(headers[0], headers[1]), (headers[1], headers[0])] {
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let request = format!(
            "POST /data HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{first}\r\n{second}\r\n\r\n0\r\n\r\n{smuggled}"
        );
        let answer = raw(&balancer, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(
            answer.contains(r#""reason":"length_and_transfer_encoding""#),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(gateway.count(), 0, "nothing of it goes on");
    }
}

#[tokio::test]
async fn operators_see_the_pool_and_the_figures() {
    let (balancer, _gateway) = one().await;
    balancer.get("/health").send().await.unwrap();
    balancer.get("/data").send().await.unwrap();
    let pool: Value = balancer
        .http
        .get(format!("{}/admin/upstreams", balancer.admin))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&pool["pool"], &pool["policy"]),
        (&json!("gateway"), &json!("round_robin"))
    );
    let upstream = &pool["upstreams"][0];
    assert_eq!(
        (&upstream["name"], &upstream["state"], &upstream["requests"]),
        (&json!("gateway-1"), &json!("up"), &json!(1))
    );
    let text = balancer
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let labels = r#"role="balancer",instance="balancer-1""#;
    for line in [
        format!(
            r#"recarga_upstream_requests_total{{{labels},pool="gateway",upstream="gateway-1"}} 1"#
        ),
        format!(r#"recarga_upstream_up{{{labels},pool="gateway",upstream="gateway-1"}} 1"#),
        format!(r#"recarga_http_requests_total{{{labels},route="other",status="200"}} 1"#),
        format!("recarga_host_memory_total_bytes{{{labels}}}"),
    ] {
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
    let outside = balancer.get("/admin/upstreams").send().await.unwrap();
    assert_eq!(
        outside.headers()["x-gateway"],
        "gateway-1",
        "the admin surface is not reachable from outside"
    );
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Never answers checks, so it is tried as unknown; answers the one request when told to.
    let mut balancer = Balancer::start(
        &[listener.local_addr().unwrap()],
        &["--check-timeout-ms", "60000"],
    )
    .await;
    let sent = tokio::spawn(balancer.get("/data").send());
    let mut stream = loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        if head[..length].starts_with(b"GET /data") {
            break stream;
        }
    };
    balancer.ask_to_stop();
    kit::testing::eventually("the balancer takes no new connections", || async {
        TcpStream::connect(balancer.address).await.is_err()
    })
    .await;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        .await
        .unwrap();
    assert_eq!(sent.await.unwrap().unwrap().text().await.unwrap(), "done");
    balancer.stopped().await;
}
