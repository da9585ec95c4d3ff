//! One service on real sockets: identity, limits, faults, levers, and a stop that lets work finish.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    routing::{get, post},
};
use kit::{
    Common, Error, Listeners, Problem, Service, Shutdown, extract::Json, testing::eventually,
    timing::timed,
};
use serde_json::{Value, json};

struct Running {
    public: String,
    admin: String,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

async fn start() -> Running {
    start_with(Common::for_tests("demo-7")).await
}

async fn start_with(common: Common) -> Running {
    let shutdown = Shutdown::new();
    let listeners = Listeners::bind(&common).await.expect("free ports");
    let url = |address: SocketAddr| format!("http://{address}");
    let public = url(listeners.public.local_addr().expect("bound"));
    let admin = url(listeners.admin.local_addr().expect("bound"));
    let router = Router::new()
        .route(
            "/quick",
            get(async || timed("store", async { "quick" }).await),
        )
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(400)).await;
                "slow"
            }),
        )
        .route(
            "/echo",
            post(async |Json(body): Json<Value>| axum::Json(body)),
        )
        .route(
            "/panic",
            get(async || -> &'static str { panic!("on purpose") }),
        )
        .fallback(async || Problem::not_found("There is nothing here"));
    let service = Service::new("demo", &common, shutdown.clone())
        .expect("a service")
        .public(router);
    let task = tokio::spawn(service.run(listeners));
    let health = format!("{public}/health");
    eventually("the service answers", || async {
        reqwest::get(&health).await.is_ok()
    })
    .await;
    Running {
        public,
        admin,
        shutdown,
        task,
    }
}

fn operator(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.bearer_auth("operator-token-for-tests")
}

#[tokio::test]
async fn every_answer_names_its_request_and_its_time() {
    let running = start().await;
    let http = reqwest::Client::new();
    let answer = http
        .get(format!("{}/quick", running.public))
        .header("x-request-id", "mine-1")
        .send()
        .await
        .expect("answered");
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    let timing = answer.headers()["server-timing"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        timing.starts_with("demo;dur=") && timing.contains(", store;dur="),
        "{timing}"
    );
    let answer = http
        .get(format!("{}/quick", running.public))
        .header("x-request-id", "not sane!")
        .send()
        .await
        .expect("answered");
    assert_ne!(answer.headers()["x-request-id"], "not sane!");
}

#[tokio::test]
async fn failures_are_problems() {
    let running = start().await;
    let http = reqwest::Client::new();
    let answer = http
        .get(format!("{}/panic", running.public))
        .send()
        .await
        .expect("answered");
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["error"], body["detail"]);
    assert!(body["instance"].is_string(), "{body}");
    let status = |path: &'static str| {
        let http = http.clone();
        let url = format!("{}{path}", running.public);
        async move { http.get(url).send().await.expect("answered").status() }
    };
    assert_eq!(status("/nothing").await, 404);
    assert_eq!(status("/echo").await, 405);
    let huge = http
        .post(format!("{}/echo", running.public))
        .body(vec![b'1'; 2 * 1024 * 1024])
        .send()
        .await
        .expect("answered");
    assert_eq!(huge.status(), 413);
}

#[tokio::test]
async fn a_callers_deadline_is_kept() {
    let running = start().await;
    let answer = reqwest::Client::new()
        .get(format!("{}/slow", running.public))
        .header("x-recarga-deadline-ms", "50")
        .send()
        .await
        .expect("answered");
    assert_eq!(answer.status(), 504);
}

#[tokio::test]
async fn the_admin_surface_shows_and_steers() {
    let running = start().await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", running.admin);
    let info: Value = http
        .get(url("/admin/info"))
        .send()
        .await
        .expect("answered")
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (info["role"].as_str(), info["instance"].as_str()),
        (Some("demo"), Some("demo-7"))
    );
    assert_eq!(
        http.get(url("/readyz"))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );

    assert_eq!(
        http.post(url("/admin/drain"))
            .send()
            .await
            .expect("answered")
            .status(),
        401
    );
    assert_eq!(
        http.post(url("/admin/drain"))
            .bearer_auth("wrong")
            .send()
            .await
            .expect("answered")
            .status(),
        403
    );
    assert_eq!(
        operator(http.post(url("/admin/drain")))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );
    assert_eq!(
        http.get(url("/readyz"))
            .send()
            .await
            .expect("answered")
            .status(),
        503
    );
    assert_eq!(
        http.get(format!("{}/health", running.public))
            .send()
            .await
            .expect("answered")
            .status(),
        503
    );
    assert_eq!(
        operator(http.post(url("/admin/undrain")))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );
    assert_eq!(
        http.get(url("/readyz"))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );

    http.get(format!("{}/quick", running.public))
        .send()
        .await
        .expect("answered");
    let metrics = http
        .get(url("/metrics"))
        .send()
        .await
        .expect("answered")
        .text()
        .await
        .expect("text");
    assert!(metrics.contains("recarga_http_requests_total{role=\"demo\",instance=\"demo-7\",route=\"/quick\",status=\"200\"} 1"), "{metrics}");
    assert!(
        !metrics.contains("/health"),
        "health checks are not traffic: {metrics}"
    );
}

#[tokio::test]
async fn an_answer_is_lost_after_the_work_was_done() {
    let running = start().await;
    let http = reqwest::Client::new();
    let faults = json!({"faults": [{"lose_rate": 1, "route": "/quick"}]});
    let set = operator(http.put(format!("{}/admin/faults", running.admin))).json(&faults);
    assert_eq!(set.send().await.expect("answered").status(), 200);
    let lost = http.get(format!("{}/quick", running.public)).send().await;
    let lost = lost.expect_err("the connection closes");
    assert!(!lost.is_connect() && !lost.is_timeout(), "{lost}");
    let spared = http.get(format!("{}/slow", running.public)).send().await;
    assert_eq!(spared.expect("answered").status(), 200);
}

#[tokio::test]
async fn faults_strike_where_they_are_told() {
    let running = start().await;
    let http = reqwest::Client::new();
    let faults = format!("{}/admin/faults", running.admin);
    let set = |body: Value| operator(http.put(&faults)).json(&body).send();
    assert_eq!(
        set(json!({"faults": [{"error_rate": 2}]}))
            .await
            .expect("answered")
            .status(),
        422
    );
    assert_eq!(
        set(json!({"faults": [{"latency": 2}]}))
            .await
            .expect("answered")
            .status(),
        422
    );
    assert_eq!(
        set(json!({"faults": [{"route": "/quick", "error_rate": 1, "error_status": 503}]}))
            .await
            .expect("answered")
            .status(),
        200
    );
    assert_eq!(
        http.get(format!("{}/quick", running.public))
            .send()
            .await
            .expect("answered")
            .status(),
        503
    );
    assert_eq!(
        http.get(format!("{}/slow", running.public))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );
    set(json!({"faults": [{"refuse": true}]}))
        .await
        .expect("answered");
    assert!(
        http.get(format!("{}/quick", running.public))
            .send()
            .await
            .is_err()
    );
    assert_eq!(
        http.get(format!("{}/health", running.public))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );
    set(json!({"faults": []})).await.expect("answered");
    assert_eq!(
        http.get(format!("{}/quick", running.public))
            .send()
            .await
            .expect("answered")
            .status(),
        200
    );
}

#[tokio::test]
async fn work_in_flight_finishes_and_then_the_port_closes() {
    let running = start().await;
    let slow = tokio::spawn(reqwest::get(format!("{}/slow", running.public)));
    let metrics = format!("{}/metrics", running.admin);
    eventually("the request is in flight", || async {
        let text = reqwest::get(&metrics)
            .await
            .expect("answered")
            .text()
            .await
            .expect("text");
        text.contains("recarga_http_requests_in_flight{role=\"demo\",instance=\"demo-7\"} 1")
    })
    .await;
    running.shutdown.request();
    assert_eq!(
        slow.await
            .expect("joined")
            .expect("answered")
            .text()
            .await
            .expect("text"),
        "slow"
    );
    running
        .task
        .await
        .expect("joined")
        .expect("stopped cleanly");
    assert!(
        reqwest::get(format!("{}/quick", running.public))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn half_a_request_harms_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = start().await;
    let address = running.public.trim_start_matches("http://");
    let mut half = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    half.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        .await
        .expect("sent");
    half.shutdown().await.expect("half closed");
    let mut answer = Vec::new();
    half.read_to_end(&mut answer)
        .await
        .expect("closed by the service");
    assert_eq!(
        reqwest::get(format!("{}/quick", running.public))
            .await
            .expect("answered")
            .status(),
        200
    );
}

#[tokio::test]
async fn every_lever_tells_what_was_before() {
    let running = start().await;
    let http = reqwest::Client::new();
    let admin = &running.admin;
    let pull = |request: reqwest::RequestBuilder| async {
        let answer = operator(request).send().await.expect("answered");
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.expect("JSON")
    };
    for (path, previous) in [
        ("drain", false),
        ("drain", true),
        ("undrain", true),
        ("undrain", false),
    ] {
        let answer = pull(http.post(format!("{admin}/admin/{path}"))).await;
        assert_eq!(answer["previous"], previous, "{path}");
    }
    let fault = json!({"route": "/slow", "latency_ms": 5, "expires_in_seconds": 600});
    let set = |faults: Value| {
        let request = http.put(format!("{admin}/admin/faults"));
        pull(request.json(&json!({"faults": faults})))
    };
    assert_eq!(set(json!([fault])).await["previous"], json!([]));
    let previous = set(json!([])).await["previous"].clone();
    assert_eq!(previous[0]["route"], "/slow");
    let left = previous[0]["expires_in_seconds"].as_u64().expect("a time");
    assert!((590..=600).contains(&left), "{previous}");
    let restored = set(previous).await;
    assert_eq!(restored["faults"][0]["latency_ms"], 5);
    let info = http.get(format!("{admin}/admin/info")).send().await;
    let info: Value = info.expect("answered").json().await.expect("JSON");
    assert_eq!(info["faults"][0]["route"], "/slow");
    assert!(info["levers"].is_object());
}

#[tokio::test]
async fn a_read_only_lab_refuses_every_lever_whoever_pulls_it() {
    let running = start_with(Common {
        read_only: true,
        ..Common::for_tests("demo-7")
    })
    .await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", running.admin);
    for request in [
        http.post(url("/admin/drain")),
        http.post(url("/admin/undrain")),
        http.post(url("/admin/crash")),
        http.put(url("/admin/faults")).json(&json!({"faults": []})),
        http.put(url("/admin/log-level"))
            .json(&json!({"level": "debug"})),
    ] {
        let anonymous = request.try_clone().expect("no stream");
        for request in [anonymous, operator(request)] {
            let answer = request.send().await.expect("answered");
            assert_eq!(answer.status(), 403);
            let problem: Value = answer.json().await.expect("JSON");
            assert_eq!(problem["read_only"], true, "{problem}");
        }
    }
    let info = http.get(url("/admin/info")).send().await.expect("answered");
    let info: Value = info.json().await.expect("JSON");
    assert_eq!(
        (&info["read_only"], &info["draining"]),
        (&json!(true), &json!(false))
    );
    let quick = http.get(format!("{}/quick", running.public)).send().await;
    assert_eq!(quick.expect("answered").status(), 200);
}
