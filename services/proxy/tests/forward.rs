//! The forwarder against real servers: what passes, what is repeated, what the client is told.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use kit::testing::eventually;
use proxy::{ForwardError, ForwardOptions, Forwarded, ForwarderSettings, Served, State};
use support::{Server, forwarder, forwarder_with, nobody, whole};
use tokio::sync::{Notify, mpsc};

const BUDGET: Duration = Duration::from_secs(10);

fn request(method: Method) -> Request<Full<Bytes>> {
    let body = if method == Method::POST { "abc" } else { "" };
    Request::builder()
        .method(method)
        .uri("/path?query=1")
        .body(Full::from(body))
        .unwrap()
}

fn with_key(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request
        .headers_mut()
        .insert("idempotency-key", HeaderValue::from_static("key-1"));
    request
}

/// A body that is fed by hand.
fn fed() -> (
    mpsc::Sender<Bytes>,
    impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
    let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context))
        .map(|bytes| Ok(Frame::data(bytes)));
    (sender, StreamBody::new(stream))
}

async fn greet(_request: Request<hyper::body::Incoming>) -> Response<support::Body> {
    Response::new(whole("hello"))
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_even_for_a_post() {
    let live = Server::http(greet).await;
    let dead = nobody();
    let forwarder = forwarder(&[dead, live.address]);
    let response = forwarder
        .forward(request(Method::POST), ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    assert_eq!(
        response.extensions().get::<Served>(),
        Some(&Served {
            upstream: live.address.to_string(),
            attempts: 2
        })
    );
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    let snapshot = forwarder.pool().snapshot();
    assert_eq!(snapshot.retries, 1);
    assert_eq!(
        snapshot.upstreams[0].state,
        State::Down,
        "nobody waits for a check to see it"
    );
    assert_eq!(snapshot.upstreams[0].failures.connect, 1);
    assert!(
        !live.seen()[0].headers.contains_key("x-recarga-retry-owner"),
        "the first was never sent: hops behind may still repeat"
    );
    let again = forwarder
        .forward(request(Method::POST), ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    assert_eq!(again.extensions().get::<Served>().unwrap().attempts, 1);
}

#[tokio::test]
async fn a_safe_request_whose_connection_broke_goes_elsewhere_once() {
    for request in [request(Method::GET), with_key(request(Method::POST))] {
        let broken = Server::raw(vec![]).await;
        let live = Server::http(greet).await;
        let forwarder = forwarder(&[broken.address, live.address]);
        let response = forwarder
            .forward(request, ForwardOptions::within(BUDGET))
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            live.seen()[0].headers["x-recarga-retry-owner"],
            "balancer-1"
        );
        assert_eq!(forwarder.pool().snapshot().upstreams[0].failures.reset, 1);
    }
}

#[tokio::test]
async fn one_retry_and_no_more() {
    let servers = [
        Server::raw(vec![]).await,
        Server::raw(vec![]).await,
        Server::http(greet).await,
    ];
    let forwarder = forwarder(&servers.each_ref().map(|server| server.address));
    let error = forwarder
        .forward(request(Method::GET), ForwardOptions::within(BUDGET))
        .await
        .unwrap_err();
    assert!(matches!(error, ForwardError::Broken { .. }), "{error}");
    assert_eq!(
        servers.each_ref().map(|server| server.seen().len()),
        [1, 1, 0]
    );
}

#[tokio::test]
async fn a_post_that_was_sent_is_not_repeated() {
    let broken = Server::raw(vec![]).await;
    let live = Server::http(greet).await;
    let forwarder = forwarder(&[broken.address, live.address]);
    let error = forwarder
        .forward(request(Method::POST), ForwardOptions::within(BUDGET))
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
    assert_eq!((broken.seen().len(), live.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_request_that_was_sent_once_never_looks_unsent() {
    let broken = Server::raw(vec![]).await;
    let forwarder = forwarder(&[broken.address, nobody()]);
    let error = forwarder
        .forward(
            with_key(request(Method::POST)),
            ForwardOptions::within(BUDGET),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, ForwardError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn what_a_hop_in_front_repeats_is_not_repeated_here() {
    let broken = Server::raw(vec![]).await;
    let live = Server::http(greet).await;
    let forwarder = forwarder(&[broken.address, live.address]);
    let mut request = request(Method::GET);
    request.headers_mut().insert(
        "x-recarga-retry-owner",
        HeaderValue::from_static("balancer-1"),
    );
    let error = forwarder
        .forward(request, ForwardOptions::within(BUDGET))
        .await
        .unwrap_err();
    assert!(matches!(error, ForwardError::Broken { .. }), "{error}");
    assert!(live.seen().is_empty());
}

#[tokio::test]
async fn a_kept_connection_that_went_stale_is_replaced() {
    let server = Server::raw(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb",
    ])
    .await;
    let forwarder = forwarder(&[server.address]);
    for (expected, attempts) in [("a", 1), ("b", 2)] {
        let response = forwarder
            .forward(request(Method::GET), ForwardOptions::within(BUDGET))
            .await
            .unwrap();
        assert_eq!(
            response.extensions().get::<Served>().unwrap().attempts,
            attempts
        );
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            expected
        );
    }
}

#[tokio::test]
async fn the_answer_streams_and_counts_as_in_flight_until_its_end() {
    let (sender, body) = fed();
    let body = Arc::new(Mutex::new(Some(
        body.map_err(|never| panic!("{never}")).boxed_unsync(),
    )));
    let server = Server::http(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let forwarder = forwarder(&[server.address]);
    let mut response = forwarder
        .forward(request(Method::GET), ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    for part in ["one", "two"] {
        sender.send(Bytes::from(part)).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(
            frame.into_data().unwrap(),
            part,
            "it came before the next was written"
        );
        assert_eq!(forwarder.pool().snapshot().upstreams[0].in_flight, 1);
    }
    drop(sender);
    assert!(response.body_mut().frame().await.is_none());
    assert_eq!(forwarder.pool().snapshot().upstreams[0].in_flight, 0);
}

#[tokio::test]
async fn request_and_answer_stream_at_the_same_time() {
    let server = Server::http(|request| async move {
        Response::new(
            request
                .into_body()
                .map_err(|error| panic!("{error}"))
                .boxed_unsync(),
        )
    })
    .await;
    let forwarder = forwarder(&[server.address]);
    let (sender, body) = fed();
    let request = Request::post("/echo").body(body).unwrap();
    let mut response = forwarder
        .forward(request, ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    for part in ["ping", "pong"] {
        sender.send(Bytes::from(part)).await.unwrap();
        assert_eq!(
            response
                .body_mut()
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
            part
        );
    }
    drop(sender);
    assert!(response.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_passed_on() {
    let server = Server::raw(vec![
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
    ])
    .await;
    let forwarder = forwarder(&[server.address]);
    let (_sender, body) = fed();
    let response = forwarder
        .forward(
            Request::post("/").body(body).unwrap(),
            ForwardOptions::within(BUDGET),
        )
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "no"
    );
}

#[tokio::test]
async fn heads_are_cleaned_both_ways_and_say_who_asked() {
    let server = Server::http(|_| async {
        let response = Response::builder()
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("x-recarga-secret", "1");
        response
            .header("x-gateway", "gateway-1")
            .body(whole(""))
            .unwrap()
    })
    .await;
    let forwarder = forwarder(&[server.address]);
    let mut given = request(Method::GET);
    for (name, value) in [
        ("host", "recarga.test"),
        ("connection", "close, x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("x-forwarded-for", "203.0.113.9"),
        ("authorization", "Bearer t"),
    ] {
        given
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let options = ForwardOptions {
        client: Some("192.0.2.7:1".parse().unwrap()),
        forwarded: Forwarded::Append,
        ..ForwardOptions::within(BUDGET)
    };
    let response = forwarder.forward(given, options).await.unwrap();
    assert_eq!(response.headers()["x-gateway"], "gateway-1");
    for gone in ["connection", "x-hop", "x-recarga-secret"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let seen = server.seen().remove(0);
    assert_eq!(
        (seen.method, seen.target.as_str()),
        (Method::GET, "/path?query=1")
    );
    for gone in ["connection", "x-private", "te", "upgrade"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(seen.headers["host"], server.address.to_string().as_str());
    assert_eq!(seen.headers["authorization"], "Bearer t");
    assert_eq!(seen.headers["x-forwarded-for"], "203.0.113.9, 192.0.2.7");
    assert_eq!(seen.headers["x-forwarded-host"], "recarga.test");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    let told: u64 = seen.headers["x-recarga-deadline-ms"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=10_000).contains(&told), "{told}");
}

#[tokio::test]
async fn an_upstream_that_is_too_slow_is_a_timeout_and_is_not_repeated() {
    let slow = Server::http(|_| std::future::pending()).await;
    let live = Server::http(greet).await;
    let forwarder = forwarder(&[slow.address, live.address]);
    let error = forwarder
        .forward(
            request(Method::GET),
            ForwardOptions::within(Duration::from_millis(50)),
        )
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(live.seen().is_empty());
    let snapshot = forwarder.pool().snapshot();
    assert_eq!(
        (
            snapshot.upstreams[0].failures.timeout,
            snapshot.upstreams[0].in_flight
        ),
        (1, 0)
    );
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_breaks_off() {
    let server = Server::raw(vec!["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]).await;
    let settings = ForwarderSettings {
        stall_limit: Duration::from_millis(50),
        ..ForwarderSettings::new("balancer-1")
    };
    let forwarder = forwarder_with(&[server.address], settings);
    let response = forwarder
        .forward(request(Method::GET), ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
    let upstream = forwarder.pool().snapshot().upstreams.remove(0);
    assert_eq!((upstream.failures.timeout, upstream.in_flight), (1, 0));
}

#[tokio::test]
async fn nobody_healthy_and_nobody_reachable_say_when_to_come_back() {
    let forwarder = forwarder(&[nobody()]);
    let error = forwarder
        .forward(request(Method::GET), ForwardOptions::within(BUDGET))
        .await
        .unwrap_err();
    assert!(matches!(error, ForwardError::Unreachable { .. }), "{error}");
    let error = forwarder
        .forward(request(Method::GET), ForwardOptions::within(BUDGET))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ForwardError::NoneHealthy { retry_after, .. } if *retry_after == Duration::from_secs(1)),
        "{error}"
    );
    let response = axum::response::IntoResponse::into_response(kit::Problem::from(error));
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &HeaderValue::from_static("1")
        )
    );
}

#[tokio::test]
async fn an_upstreams_own_errors_are_answers() {
    let server =
        Server::http(|_| async { Response::builder().status(503).body(whole("busy")).unwrap() })
            .await;
    let forwarder = forwarder(&[server.address]);
    let response = forwarder
        .forward(request(Method::GET), ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(forwarder.pool().snapshot().upstreams[0].failures.status, 1);
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_refused_before_anyone_is_asked() {
    let server = Server::http(greet).await;
    let forwarder = forwarder(&[server.address]);
    for method in [Method::TRACE, Method::CONNECT] {
        let error = forwarder
            .forward(request(method), ForwardOptions::within(BUDGET))
            .await
            .unwrap_err();
        assert_eq!(error.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut twofold = request(Method::POST);
    twofold
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("3"));
    twofold
        .headers_mut()
        .insert("transfer-encoding", HeaderValue::from_static("chunked"));
    let error = forwarder
        .forward(twofold, ForwardOptions::within(BUDGET))
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_body_over_its_limit_or_broken_is_the_clients_failure() {
    let server = Server::http(|request| async move {
        let _ = request.into_body().collect().await;
        Response::new(whole("read"))
    })
    .await;
    let forwarder = forwarder(&[server.address]);
    let (sender, body) = fed();
    sender.send(Bytes::from("too long")).await.unwrap();
    drop(sender);
    let error = forwarder
        .forward(
            Request::post("/").body(Limited::new(body, 3)).unwrap(),
            ForwardOptions::within(BUDGET),
        )
        .await
        .unwrap_err();
    assert!(error.is_body_too_large(), "{error:?}");
    let broken = StreamBody::new(futures::stream::iter([
        Ok(Frame::data(Bytes::from("a"))),
        Err(std::io::Error::other("gone")),
    ]));
    let error = forwarder
        .forward(
            Request::post("/").body(broken).unwrap(),
            ForwardOptions::within(BUDGET),
        )
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{error:?}");
    let failures = forwarder.pool().snapshot().upstreams[0].failures;
    assert_eq!(
        failures,
        proxy::Failures::default(),
        "the upstream is not to blame"
    );
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let arrived = Arc::new(Notify::new());
    let noted = Arc::clone(&arrived);
    let server = Server::http(move |_| {
        noted.notify_one();
        std::future::pending()
    })
    .await;
    let forwarder = forwarder(&[server.address]);
    let forwarding = tokio::spawn({
        let forwarder = forwarder.clone();
        async move {
            forwarder
                .forward(request(Method::GET), ForwardOptions::within(BUDGET))
                .await
                .map(|_| ())
        }
    });
    arrived.notified().await;
    assert_eq!(forwarder.pool().snapshot().upstreams[0].in_flight, 1);
    forwarding.abort();
    eventually("the request is not in flight any more", || async {
        forwarder.pool().snapshot().upstreams[0].in_flight == 0
    })
    .await;
}

#[tokio::test]
async fn head_keeps_its_length_and_has_no_body() {
    let server = Server::raw(vec!["HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n"]).await;
    let forwarder = forwarder(&[server.address]);
    let request = Request::head("/").body(Empty::<Bytes>::new()).unwrap();
    let response = forwarder
        .forward(request, ForwardOptions::within(BUDGET))
        .await
        .unwrap();
    assert_eq!(response.headers()["content-length"], "42");
    assert!(response.body().is_end_stream());
    assert_eq!(forwarder.pool().snapshot().upstreams[0].in_flight, 0);
}

#[tokio::test]
async fn a_client_that_never_sends_its_body_is_not_waited_for() {
    let server = Server::http(greet).await;
    let forwarder = forwarder(&[server.address]);
    let body = support::Stuck;
    let error = forwarder
        .forward(
            Request::post("/").body(body).unwrap(),
            ForwardOptions::within(Duration::from_millis(30)),
        )
        .await
        .unwrap_err();
    assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(server.seen().is_empty());
}
