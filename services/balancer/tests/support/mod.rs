//! A running balancer with little HTTP servers in the gateways' place.

#![allow(dead_code, reason = "every test file uses its own part of this")]

pub mod raw;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use balancer::Config;
use clap::Parser;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use kit::{Listeners, Shutdown, testing::eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A request as a gateway saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub version: http::Version,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A stand-in for a gateway: answers `/health` by its readiness, `/break` by closing, all else with JSON that names it.
pub struct Gateway {
    pub address: SocketAddr,
    pub ready: Arc<AtomicBool>,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Gateway {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Arc::new(AtomicBool::new(true));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (is_ready, noted) = (Arc::clone(&ready), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (is_ready, noted) = (Arc::clone(&is_ready), Arc::clone(&noted));
                let service = hyper::service::service_fn(move |request| {
                    answer(name, Arc::clone(&is_ready), Arc::clone(&noted), request)
                });
                connections.spawn(async move {
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            ready,
            seen,
            task,
        }
    }

    pub fn last_seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("the gateway saw a request")
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// As `kill -9` does: listener and connections are gone.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn answer(
    name: &'static str,
    ready: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/health" {
        let status = if ready.load(Ordering::SeqCst) {
            200
        } else {
            503
        };
        let body = json!({"status": "up", "instance": name}).to_string();
        return Ok(Response::builder()
            .status(status)
            .body(Full::from(body))
            .unwrap());
    }
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    seen.lock().unwrap().push(Seen {
        version: head.version,
        target: head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        body,
    });
    let status = if head.uri.path() == "/unknown" {
        404
    } else {
        200
    };
    Ok(Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-gateway", name)
        .header("x-cache", "MISS")
        .header("server-timing", "gateway;dur=1.000, travel;dur=0.500")
        .header("access-control-allow-origin", "*")
        .body(Full::from(json!({"gateway": name}).to_string()))
        .unwrap())
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Command {
    #[command(flatten)]
    config: Config,
}

/// A balancer on free ports, stopped when dropped.
pub struct Balancer {
    pub url: String,
    pub address: SocketAddr,
    pub admin: String,
    pub http: reqwest::Client,
    shutdown: Shutdown,
    running: Option<JoinHandle<Result<(), kit::Error>>>,
}

impl Balancer {
    pub async fn start(gateways: &[SocketAddr], flags: &[&str]) -> Self {
        let gateways: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        let arguments = [
            "balancer",
            "--instance",
            "balancer-1",
            "--operator-token",
            "token-of-the-operator",
            "--check-interval-ms",
            "20",
            "--check-timeout-ms",
            "2000",
            "--drain-notice-ms",
            "0",
        ];
        let config = Command::parse_from(
            arguments
                .into_iter()
                .chain(["--gateways", &gateways.join(",")])
                .chain(flags.iter().copied()),
        )
        .config;
        let listeners = Listeners::bind(&config.common).await.unwrap();
        let address = listeners.public.local_addr().unwrap();
        let admin = format!("http://{}", listeners.admin.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let running = tokio::spawn(balancer::run(
            listeners,
            config,
            balancer::openapi(),
            shutdown.clone(),
        ));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            url: format!("http://{address}"),
            address,
            admin,
            http,
            shutdown,
            running: Some(running),
        }
    }

    pub async fn health(&self) -> Value {
        self.http
            .get(format!("{}/health", self.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// Waits until the map of gateways is this.
    pub async fn shows(&self, gateways: Value) {
        eventually(&format!("the gateways are {gateways}"), || async {
            self.health().await["gateways"] == gateways
        })
        .await;
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    pub fn ask_to_stop(&self) {
        self.shutdown.request();
    }

    /// Waits for the error that ended it.
    pub async fn failed(&mut self) -> kit::Error {
        self.running
            .take()
            .expect("it was not waited for before")
            .await
            .unwrap()
            .expect_err("it cannot run")
    }

    pub async fn stopped(&mut self) {
        self.running
            .take()
            .expect("it was not waited for before")
            .await
            .unwrap()
            .unwrap();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}
