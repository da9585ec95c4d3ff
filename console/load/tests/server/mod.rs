//! A small HTTP server whose faults are planted by the test.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

/// What a test sees and plants.
pub struct Server {
    pub address: SocketAddr,
    pub state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

/// One test at a time has a server: rates and times are measured, and some of the tests take all there is.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub struct State {
    /// Requests received, tokens aside.
    pub requests: AtomicU64,
    pub tokens: AtomicU64,
    pub keys: Mutex<BTreeSet<String>>,
    pub bodies: Mutex<Vec<String>>,
    /// Requests are answered only while this is false.
    pub stalled: watch::Sender<bool>,
    /// At this request, everything stalls once for this long.
    pub stall_at: Option<(u64, Duration)>,
    /// Answer with 401 to any but the newest token.
    pub newest_token_only: AtomicBool,
    /// Close the connection after each answer.
    pub close: AtomicBool,
    pub status: u16,
}

impl Default for State {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            keys: Mutex::default(),
            bodies: Mutex::default(),
            stalled: watch::channel(false).0,
            stall_at: None,
            newest_token_only: AtomicBool::new(false),
            close: AtomicBool::new(false),
            status: 200,
        }
    }
}

impl Server {
    pub async fn start(state: State) -> Self {
        let turn = TURN.lock().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            state,
            task,
            _turn: turn,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/token" {
        let number = state.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        return Ok(Response::new(Full::from(format!(
            r#"{{"token":"t{number}"}}"#
        ))));
    }
    let number = state.requests.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some((at, duration)) = state.stall_at
        && number == at
    {
        state.stalled.send_replace(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            state.stalled.send_replace(false);
        });
    }
    let mut stalled = state.stalled.subscribe();
    stalled.wait_for(|stalled| !stalled).await.unwrap();

    let authorization = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .to_owned();
    let key = request
        .headers()
        .get("idempotency-key")
        .map(|value| value.to_str().unwrap().to_owned());
    let write = request.method() == hyper::Method::POST;
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    state.keys.lock().unwrap().extend(key);
    if write {
        state
            .bodies
            .lock()
            .unwrap()
            .push(String::from_utf8_lossy(&body).into_owned());
    }
    let newest = format!("Bearer t{}", state.tokens.load(Ordering::SeqCst));
    let status = if state.newest_token_only.load(Ordering::SeqCst) && authorization != newest {
        401
    } else {
        state.status
    };
    let mut response = Response::builder()
        .status(status)
        .header("x-gateway", format!("gateway-{}", number % 3 + 1))
        .header(
            "x-cache",
            if number.is_multiple_of(2) {
                "HIT"
            } else {
                "MISS"
            },
        );
    if state.close.load(Ordering::SeqCst) {
        response = response.header("connection", "close");
    }
    Ok(response
        .body(Full::from(format!(r#"{{"task_id":{number}}}"#)))
        .unwrap())
}
