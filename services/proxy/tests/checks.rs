//! Active checks against real servers.

#![expect(clippy::unwrap_used, reason = "these are tests")]

#[expect(dead_code, reason = "shared with the other tests")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use kit::discovery::Endpoint;
use kit::testing::eventually;
use proxy::{CheckSettings, Metrics, Pool, PoolSettings, State};
use support::{Server, nobody, whole};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Frequent checks, whose answers may take as long as a busy machine needs.
fn settings() -> PoolSettings {
    let check = CheckSettings {
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(2),
        ..CheckSettings::default()
    };
    PoolSettings {
        check,
        ..PoolSettings::new("gateway")
    }
}

/// A server whose health answers this status; 0 never answers.
async fn checked(instance: &'static str, status: Arc<AtomicU16>) -> Server {
    Server::http(move |request| {
        let status = status.load(Ordering::SeqCst);
        async move {
            assert_eq!(request.uri().path(), "/health");
            if status == 0 {
                std::future::pending::<()>().await;
            }
            let body = format!(r#"{{"status":"up","instance":"{instance}"}}"#);
            Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .body(whole(body))
                .unwrap()
        }
    })
    .await
}

async fn becomes(pool: &Pool, name: &str, state: State) {
    eventually(&format!("{name} is {state:?}"), || async {
        pool.snapshot()
            .upstreams
            .iter()
            .any(|upstream| upstream.name == name && upstream.state == state)
    })
    .await;
}

#[tokio::test]
async fn checks_follow_the_upstream_and_learn_its_name() {
    let status = Arc::new(AtomicU16::new(200));
    let server = checked("gateway-7", Arc::clone(&status)).await;
    let pool = Pool::new(settings(), &Metrics::default());
    let (_sender, receiver) = watch::channel(vec![Endpoint {
        name: None,
        address: server.address,
    }]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(pool.clone().run(receiver, stop.clone()));
    assert!(pool.wait_until_healthy(Duration::from_secs(10)).await);
    becomes(&pool, "gateway-7", State::Up).await;
    assert!(pool.snapshot().upstreams[0].last_check_ms.is_some());
    status.store(503, Ordering::SeqCst);
    becomes(&pool, "gateway-7", State::Draining).await;
    status.store(200, Ordering::SeqCst);
    becomes(&pool, "gateway-7", State::Up).await;
    status.store(500, Ordering::SeqCst);
    becomes(&pool, "gateway-7", State::Down).await;
    status.store(200, Ordering::SeqCst);
    becomes(&pool, "gateway-7", State::Up).await;
    let address = server.address;
    drop(server);
    becomes(&pool, "gateway-7", State::Down).await;
    assert_eq!(pool.snapshot().upstreams[0].address, address);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn one_that_hangs_is_down_after_two_checks() {
    let server = checked("gateway-1", Arc::new(AtomicU16::new(0))).await;
    let mut settings = settings();
    settings.check.timeout = Duration::from_millis(20);
    let pool = Pool::new(settings, &Metrics::default());
    let (_sender, receiver) = watch::channel(vec![Endpoint {
        name: Some("gateway-1".into()),
        address: server.address,
    }]);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let running = tokio::spawn(pool.clone().run(receiver, stop));
    becomes(&pool, "gateway-1", State::Down).await;
    assert_eq!(
        pool.snapshot().upstreams[0].reason,
        "check failed: no answer within 20 ms"
    );
    running.abort();
}

#[tokio::test]
async fn discovery_adds_and_removes() {
    let server = checked("gateway-1", Arc::new(AtomicU16::new(200))).await;
    let pool = Pool::new(settings(), &Metrics::default());
    let (sender, receiver) = watch::channel(vec![Endpoint {
        name: None,
        address: nobody(),
    }]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(pool.clone().run(receiver, stop.clone()));
    assert!(!pool.wait_until_healthy(Duration::from_millis(30)).await);
    sender
        .send(vec![Endpoint {
            name: None,
            address: server.address,
        }])
        .unwrap();
    becomes(&pool, "gateway-1", State::Up).await;
    assert_eq!(pool.snapshot().upstreams.len(), 1);
    drop(sender);
    becomes(&pool, "gateway-1", State::Up).await;
    stop.cancel();
    running.await.unwrap();
}
