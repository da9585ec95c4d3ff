//! Balancing against real servers: who gets the requests when one is slow, failing or away, and what a storm of retries may do.

#![expect(clippy::unwrap_used, reason = "these are tests")]

#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use kit::testing::eventually;
use proxy::{BreakerState, ForwardError, ForwardOptions, Forwarder};
use serde_json::{Value, json};
use support::{Server, forwarder, whole};

const BUDGET: Duration = Duration::from_secs(10);

async fn get(forwarder: &Forwarder) -> Result<StatusCode, ForwardError> {
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let response = forwarder
        .forward(request, ForwardOptions::within(BUDGET))
        .await?;
    let status = response.status();
    response.into_body().collect().await.unwrap();
    Ok(status)
}

/// Answers with this status after this time.
async fn server(status: u16, delay: Duration) -> Server {
    Server::http(move |_| async move {
        tokio::time::sleep(delay).await;
        Response::builder()
            .status(status)
            .body(whole("answer"))
            .unwrap()
    })
    .await
}

fn over(servers: &[Server], patch: &Value) -> Forwarder {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let forwarder = forwarder(&addresses);
    forwarder.pool().update_balancing(patch).unwrap();
    forwarder
}

/// Sends from so many clients at once until `enough`; how many requests each server got meanwhile.
async fn load(
    forwarder: &Forwarder,
    servers: &[Server],
    clients: usize,
    enough: impl Fn() -> bool + Clone + Send + 'static,
) -> Vec<usize> {
    let before: Vec<usize> = servers.iter().map(|server| server.seen().len()).collect();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (forwarder, enough) = (forwarder.clone(), enough.clone());
            tokio::spawn(async move {
                while !enough() {
                    get(&forwarder).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let after = servers.iter().map(|server| server.seen().len());
    after
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

fn for_a(time: Duration) -> impl Fn() -> bool + Clone + Send + 'static {
    let end = Instant::now() + time;
    move || Instant::now() >= end
}

fn share(taken: &[usize], index: usize) -> f64 {
    taken[index] as f64 / taken.iter().sum::<usize>() as f64
}

#[tokio::test]
async fn a_slow_upstream_loses_its_share_under_p2c_and_keeps_it_under_round_robin() {
    let servers = [
        server(200, Duration::from_millis(5)).await,
        server(200, Duration::from_millis(5)).await,
        server(200, Duration::from_millis(205)).await,
    ];
    for (policy, least, most) in [("round_robin", 0.25, 0.42), ("p2c", 0.0, 1.0 / 9.0)] {
        let forwarder = over(&servers, &json!({"policy": policy}));
        // The first second is for learning; what counts is where the requests of the second one go.
        load(&forwarder, &servers, 8, for_a(Duration::from_secs(1))).await;
        let taken = load(&forwarder, &servers, 8, for_a(Duration::from_secs(1))).await;
        let slow = share(&taken, 2);
        assert!(
            (least..=most).contains(&slow),
            "{policy}: {slow} of {taken:?}"
        );
    }
}

#[tokio::test]
async fn fast_failures_attract_nobody() {
    let servers = [
        server(200, Duration::from_millis(20)).await,
        server(200, Duration::from_millis(20)).await,
        server(503, Duration::ZERO).await,
    ];
    // Ejection off: the policy alone must resist.
    let alone = json!({"policy": "p2c", "outlier": {"max_ejection_percent": 0}});
    let forwarder = over(&servers, &alone);
    let taken = load(&forwarder, &servers, 8, for_a(Duration::from_secs(1))).await;
    assert!(share(&taken, 2) <= 1.0 / 3.0, "{taken:?}");
}

#[tokio::test]
async fn a_switch_of_the_policy_under_load_loses_nothing() {
    let servers = [
        server(200, Duration::from_millis(1)).await,
        server(200, Duration::from_millis(1)).await,
        server(200, Duration::from_millis(1)).await,
    ];
    let forwarder = over(&servers, &json!({}));
    let done = Arc::new(AtomicBool::new(false));
    let switching = tokio::spawn({
        let (pool, done) = (forwarder.pool().clone(), Arc::clone(&done));
        async move {
            for _ in 0..20 {
                for policy in [
                    "weighted",
                    "random",
                    "least_outstanding",
                    "p2c",
                    "consistent_hash",
                    "round_robin",
                ] {
                    pool.update_balancing(&json!({"policy": policy})).unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    // `load` fails the test when a single request is not answered.
    let taken = load(&forwarder, &servers, 8, move || done.load(Ordering::SeqCst)).await;
    switching.await.unwrap();
    assert!(taken.iter().all(|taken| *taken > 0), "{taken:?}");
    let snapshot = forwarder.pool().snapshot();
    assert!(
        snapshot
            .upstreams
            .iter()
            .all(|upstream| upstream.in_flight == 0)
    );
}

#[tokio::test]
async fn a_breaker_opens_tries_once_and_closes() {
    let well = Arc::new(AtomicBool::new(false));
    let (arrived, flag) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&well));
    let count = Arc::clone(&arrived);
    let server = Server::http(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let well = flag.load(Ordering::SeqCst);
        async move {
            if !well {
                std::future::pending::<()>().await;
            }
            Response::new(whole("well"))
        }
    })
    .await;
    let servers = [server];
    let forwarder = over(
        &servers,
        &json!({"breaker": {"failures": 2, "base_ms": 100}}),
    );
    let short = |forwarder: Forwarder| async move {
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let options = ForwardOptions::within(Duration::from_millis(50));
        forwarder.forward(request, options).await.map(|_| ())
    };
    for _ in 0..2 {
        let error = short(forwarder.clone()).await.unwrap_err();
        assert!(matches!(error, ForwardError::Timeout { .. }), "{error}");
    }
    let error = get(&forwarder).await.unwrap_err();
    assert!(
        matches!(error, ForwardError::BreakersOpen { .. }),
        "{error}"
    );
    assert_eq!(
        arrived.load(Ordering::SeqCst),
        2,
        "nothing passes an open breaker"
    );
    well.store(true, Ordering::SeqCst);
    eventually("a request passes the half-open breaker", || async {
        get(&forwarder).await.is_ok()
    })
    .await;
    assert_eq!(
        forwarder.pool().snapshot().upstreams[0].breaker,
        BreakerState::Closed
    );
}

#[tokio::test]
async fn the_budget_stops_a_storm_of_retries() {
    // Every connection breaks after the request was read: each GET would be sent twice.
    let servers = [Server::raw(vec![]).await, Server::raw(vec![]).await];
    let patch = json!({
        "retries": {"percent": 20, "floor_per_second": 0},
        "breaker": {"failures": 0},
    });
    let forwarder = over(&servers, &patch);
    for _ in 0..200 {
        get(&forwarder).await.unwrap_err();
    }
    let attempts: usize = servers.iter().map(|server| server.seen().len()).sum();
    assert!(attempts <= 200 + 40, "{attempts} attempts for 200 requests");
    let snapshot = forwarder.pool().snapshot();
    assert!(snapshot.retries <= 40, "{}", snapshot.retries);
    assert!(
        snapshot.retries_denied >= 160,
        "{}",
        snapshot.retries_denied
    );
}
