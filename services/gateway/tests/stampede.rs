//! Ten thousand readers of a value that nobody has: one call to the service. Alone in its process: it needs the machine.

#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
#[path = "gateway/children.rs"]
mod children;
#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
#[path = "gateway/support.rs"]
mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::get};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    children::{Fleet, many_files},
    support::gauge,
};

/// Counts how often it is asked, and does not answer before it is told.
async fn origin() -> (SocketAddr, Arc<AtomicUsize>, watch::Sender<bool>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (tell, told) = watch::channel(false);
    let data =
        async |State((asked, mut told)): State<(Arc<AtomicUsize>, watch::Receiver<bool>)>| {
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = told.wait_for(|told| *told).await;
            axum::Json(serde_json::json!({"data": "once"}))
        };
    let router = Router::new()
        .route("/data", get(data))
        .route(
            "/health",
            get(async || axum::Json(serde_json::json!({"status": "up"}))),
        )
        .with_state((asked.clone(), told));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked, tell)
}

/// Reads one whole answer; its status and `X-Cache`.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    loop {
        let count = stream.read_buf(&mut bytes).await.expect("it is read");
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&bytes)
        );
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name))?;
            line.strip_prefix(':').map(|value| value.trim().to_owned())
        };
        let length: usize = header("content-length")
            .and_then(|length| length.parse().ok())
            .expect("a length");
        if body.len() >= length {
            let status = head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok());
            return (
                status.expect("a status"),
                header("x-cache").unwrap_or_default(),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_misses_are_one_call() {
    let files = usize::try_from(many_files()).unwrap_or(usize::MAX);
    let readers = 10_000.min(files.saturating_sub(500));
    let (service, asked, tell) = origin().await;
    // A slow machine must not pass for a dead rebuilder.
    let fleet = Fleet::start(service, &["--lease-ms", "60000"]).await;
    let mut connections: Vec<TcpStream> = stream::iter(0..readers)
        .map(|number| TcpStream::connect(fleet.gateways[number % 3].public))
        .buffer_unordered(200)
        .map(|connection| connection.expect("a connection"))
        .collect()
        .await;
    let request = b"GET /data HTTP/1.1\r\nhost: gateway\r\n\r\n";
    for connection in &mut connections {
        connection.write_all(request).await.expect("it is sent");
    }
    // Until all of them wait, or for as long as the slowest may still wait for the first.
    let patience = Instant::now() + Duration::from_secs(6);
    while Instant::now() < patience {
        let mut waiting = 0;
        for gateway in &fleet.gateways {
            let metrics = gateway.metrics().await;
            waiting += gauge(&metrics, "recarga_http_requests_in_flight").unwrap_or(0);
        }
        if usize::try_from(waiting) == Ok(readers) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tell.send(true).expect("the service lives");
    let answers: Vec<(u16, String)> = stream::iter(connections)
        .map(|mut connection| async move { answer(&mut connection).await })
        .buffer_unordered(readers)
        .collect()
        .await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let hits = answers.iter().filter(|(_, cache)| cache == "hit").count();
    let misses = answers.iter().filter(|(_, cache)| cache == "miss").count();
    assert_eq!((hits, misses), (readers - 1, 1));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
