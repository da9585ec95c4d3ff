//! Thousands of readers of a value that nobody has: one call to the service. Alone in its process: it needs the machine.

#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
#[path = "gateway/children.rs"]
mod children;
#[allow(dead_code, reason = "shared with the other tests, which use the rest")]
#[path = "gateway/support.rs"]
mod support;

use std::{
    collections::BTreeMap,
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

/// So many come at once, crowd after crowd.
const CROWD: usize = 500;
/// As many come as can in this time, up to ten thousand: a gateway waits five seconds for somebody else's rebuild, then it asks
/// the service after all, as it should.
const GATHERING: Duration = Duration::from_secs(2);

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

/// A connection to each address, on which the value is asked for.
async fn read(addresses: Vec<SocketAddr>) -> Vec<TcpStream> {
    stream::iter(addresses)
        .map(async |address| {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            let request = b"GET /data HTTP/1.1\r\nhost: gateway\r\n\r\n";
            connection.write_all(request).await.expect("it is sent");
            connection
        })
        .buffer_unordered(200)
        .collect()
        .await
}

/// Until so many wait, or for a while.
async fn all_wait(fleet: &Fleet, readers: usize) {
    let patience = Instant::now() + GATHERING;
    while Instant::now() < patience {
        let mut waiting = 0;
        for gateway in &fleet.gateways {
            let metrics = gateway.metrics().await;
            waiting += gauge(&metrics, "recarga_http_requests_in_flight").unwrap_or(0);
        }
        if usize::try_from(waiting) == Ok(readers) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

/// How many readers went past the cache because it could not be asked in time.
async fn without_a_cache(fleet: &Fleet) -> u64 {
    let mut count = 0;
    for gateway in &fleet.gateways {
        let metrics = gateway.metrics().await;
        let lines = metrics
            .lines()
            .filter(|line| line.contains("reason=\"away\""));
        count += lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>();
    }
    count
}

/// A cache that the machine lets stand for half a second is none for its gateways, as it should be, and each asks the service:
/// then this says nothing of stampedes, and is done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_misses_are_one_call() {
    for _ in 0..8 {
        if one_call().await {
            return;
        }
    }
    panic!("no gateway had a cache all the time, eight times over");
}

/// False when the cache was away in the meantime.
async fn one_call() -> bool {
    let files = usize::try_from(many_files()).unwrap_or(usize::MAX);
    let most = 10_000.min(files.saturating_sub(500));
    let (service, asked, tell) = origin().await;
    // A slow machine must not pass for a dead rebuilder.
    let fleet = Fleet::start(service, &["--lease-ms", "60000"]).await;
    let mut connections = Vec::with_capacity(most);
    let began = Instant::now();
    // One reader at each gateway goes before, and the others come in crowds: a gateway that is slow because of all of them at
    // once takes the cache for dead, as it should.
    for crowd in [3].into_iter().chain(std::iter::repeat(CROWD)) {
        let more = crowd.min(most - connections.len());
        let gateways = (0..more).map(|number| fleet.gateways[number % 3].public);
        connections.extend(read(gateways.collect()).await);
        all_wait(&fleet, connections.len()).await;
        if connections.len() == most || began.elapsed() > GATHERING {
            break;
        }
    }
    let readers = connections.len();
    assert!(readers > CROWD, "{readers} came in {:?}", began.elapsed());
    let calls = asked.load(Ordering::SeqCst);
    tell.send(true).expect("the service lives");
    let answers: Vec<(u16, String)> = stream::iter(connections)
        .map(|mut connection| async move { answer(&mut connection).await })
        .buffer_unordered(readers)
        .collect()
        .await;
    let mut counts: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    if without_a_cache(&fleet).await > 0 {
        return false;
    }
    assert_eq!(calls, 1);
    let expected = [
        ((200, "hit".to_owned()), readers - 1),
        ((200, "miss".to_owned()), 1),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    true
}
