//! A lab for one test: gateways, a cache service, and services whose answers the test decides.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use gateway::AuthMode;
use http::{HeaderMap, Method, StatusCode};
use kit::{
    Common, Error, Listeners, RedisArgs, Shutdown, config::Secret, discovery::Source,
    testing::eventually,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// What a pretended service was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

type Answer = Box<dyn Fn(&Asked) -> Response + Send + Sync>;

struct Pretence {
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Answer>,
    held: Mutex<Option<Arc<Notify>>>,
}

/// A service that remembers what it was asked and answers as it is told.
pub struct Service {
    pub address: SocketAddr,
    pretence: Arc<Pretence>,
    server: JoinHandle<()>,
}

impl Service {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let pretence = Arc::new(Pretence {
            asked: Mutex::default(),
            answer: Mutex::new(Box::new(|_| axum::Json(json!({})).into_response())),
            held: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(pretence.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            pretence,
            server,
        }
    }

    pub fn answers(&self, answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) {
        *self.pretence.answer.lock().expect("not poisoned") = Box::new(answer);
    }

    pub fn answers_json(&self, value: Value) {
        self.answers(move |_| axum::Json(&value).into_response());
    }

    /// From now on answers wait until the returned bell is rung for each.
    pub fn hold(&self) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        *self.pretence.held.lock().expect("not poisoned") = Some(bell.clone());
        bell
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.pretence.asked.lock().expect("not poisoned").clone()
    }

    pub fn count(&self) -> usize {
        self.asked().len()
    }

    pub fn last(&self) -> Asked {
        self.asked().pop().expect("it was asked")
    }

    /// Stops listening, and drops what it was doing.
    pub async fn die(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

async fn answer(State(pretence): State<Arc<Pretence>>, request: Request) -> Response {
    if request.uri().path() == "/health" {
        return axum::Json(json!({"status": "up"})).into_response();
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX)
        .await
        .unwrap_or_default();
    let asked = Asked {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body,
    };
    pretence
        .asked
        .lock()
        .expect("not poisoned")
        .push(asked.clone());
    let held = pretence.held.lock().expect("not poisoned").clone();
    if let Some(bell) = held {
        bell.notified().await;
    }
    let answer = pretence.answer.lock().expect("not poisoned");
    answer(&asked)
}

/// A service of ours, running.
pub struct Running {
    pub url: String,
    pub admin: String,
    pub shutdown: Shutdown,
    pub task: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.request();
        self.task.await.expect("no panic").expect("a clean stop");
    }
}

pub struct Lab {
    pub travel: Service,
    pub search: Service,
    pub booking: Service,
    pub worker: Service,
    pub exercise: Service,
    pub cache: Running,
    pub gateways: Vec<Running>,
    pub http: reqwest::Client,
}

/// What is different about a lab.
pub struct Plan {
    pub gateways: usize,
    pub auth: AuthMode,
    pub logins_per_user: u32,
    pub logins_per_address: u32,
    /// The cache's Redis.
    pub redis_url: Option<String>,
    /// The routes file.
    pub routes: Option<PathBuf>,
    /// The Redis of the shared limits.
    pub limiter: Option<String>,
    pub patience_ms: u32,
    /// Whether the gateways keep copies.
    pub first_level: bool,
    pub read_waiters: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            gateways: 1,
            auth: AuthMode::Open,
            logins_per_user: 60,
            logins_per_address: 600,
            redis_url: None,
            routes: None,
            limiter: None,
            // A busy test machine may take its time; that Redis is not waited for has a test of its own.
            patience_ms: 1000,
            first_level: false,
            read_waiters: 10_000,
        }
    }
}

pub const KEY: &str = "a key for signing in tests";

pub fn list(address: SocketAddr) -> Source {
    address.to_string().parse().expect("an address")
}

impl Lab {
    pub async fn start() -> Self {
        Self::start_with(Plan::default()).await
    }

    pub async fn start_with(plan: Plan) -> Self {
        let redis_url = match plan.redis_url {
            Some(url) => url,
            None => kit::testing::redis_url().await,
        };
        let cache = start_cache(redis_url.clone()).await;
        let mut lab = Self {
            travel: Service::start().await,
            search: Service::start().await,
            booking: Service::start().await,
            worker: Service::start().await,
            exercise: Service::start().await,
            cache,
            gateways: Vec::new(),
            http: reqwest::Client::new(),
        };
        for number in 1..=plan.gateways {
            let config = gateway::Config {
                reads: gateway::ReadArgs {
                    read_waiters: plan.read_waiters,
                    ..gateway::ReadArgs::default()
                },
                auth: plan.auth,
                routes: plan.routes.clone(),
                redis_url: plan
                    .limiter
                    .clone()
                    .or_else(|| plan.first_level.then(|| redis_url.clone()))
                    .map(Secret),
                limit_patience_ms: plan.patience_ms,
                logins_per_user: plan.logins_per_user,
                logins_per_address: plan.logins_per_address,
                ..config(&lab, number)
            };
            lab.gateways.push(start_gateway(config).await);
        }
        if plan.first_level {
            for gateway in 0..plan.gateways {
                lab.holds_lease(gateway).await;
            }
        }
        lab
    }

    /// Waits until a gateway may serve copies.
    pub async fn holds_lease(&self, gateway: usize) {
        eventually("the gateway holds its lease", || async {
            let metrics = self.metrics_of(gateway).await;
            gauge(&metrics, "recarga_first_level_lease") == Some(1)
        })
        .await;
    }

    pub async fn call(
        &self,
        gateway: usize,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let url = format!("{}{path}", self.gateways[gateway].url);
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::read(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(0, Method::GET, path, &[], "").await
    }

    /// With the demo token.
    pub async fn get_as_user(&self, path: &str) -> Reply {
        let token = self.token().await;
        let headers = [("authorization", token.as_str())];
        self.call(0, Method::GET, path, &headers, "").await
    }

    pub async fn token(&self) -> String {
        let answer = self.get("/token").await;
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.call(0, Method::POST, path, headers, body.to_owned())
            .await
    }

    /// Calls the cache service itself.
    pub async fn cache(&self, method: Method, path: &str, body: &str) -> Reply {
        let request = self
            .http
            .request(method, format!("{}{path}", self.cache.url))
            .body(body.to_owned());
        Reply::read(request.send().await.expect("an answer")).await
    }

    pub async fn cache_metrics(&self) -> String {
        let url = format!("{}/metrics", self.cache.admin);
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.text().await.expect("a whole body")
    }

    pub async fn metrics(&self) -> String {
        self.metrics_of(0).await
    }

    pub async fn metrics_of(&self, gateway: usize) -> String {
        let url = format!("{}/metrics", self.gateways[gateway].admin);
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.text().await.expect("a whole body")
    }

    /// What the admin surface says to anybody.
    pub async fn admin(&self, gateway: usize, path: &str) -> Value {
        let url = format!("{}{path}", self.gateways[gateway].admin);
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    pub async fn stop(self) {
        for gateway in self.gateways {
            gateway.stop().await;
        }
        self.cache.stop().await;
    }
}

/// A gateway before these services and the cache, with built-in routes.
pub fn config(lab: &Lab, number: usize) -> gateway::Config {
    gateway::Config {
        common: Common::for_tests(&format!("gateway-{number}")),
        travel: list(lab.travel.address),
        search: list(lab.search.address),
        booking: list(lab.booking.address),
        worker: list(lab.worker.address),
        exercise: list(lab.exercise.address),
        cache: lab.cache.url.parse().expect("an address"),
        signing_key: Secret(KEY.to_owned()),
        auth: AuthMode::Open,
        routes: None,
        reads: gateway::ReadArgs::default(),
        redis_url: None,
        limit_patience_ms: 1000,
        limit_callers: 131_072,
        logins_per_user: 60,
        logins_per_address: 600,
    }
}

/// A file of routes, gone with its value.
pub struct RoutesFile(tempfile::TempDir);

impl RoutesFile {
    pub fn new(routes: &[gateway::RouteInfo]) -> Self {
        let file = Self(tempfile::tempdir().expect("a folder"));
        file.write(&gateway::document::write(routes));
        file
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("routes.json")
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("written");
    }
}

pub async fn start_gateway(config: gateway::Config) -> Running {
    let listeners = Listeners::bind(&config.common).await.expect("free ports");
    let running = |task, shutdown, url: SocketAddr, admin: SocketAddr| Running {
        url: format!("http://{url}"),
        admin: format!("http://{admin}"),
        shutdown,
        task,
    };
    let (url, admin) = (
        listeners.public.local_addr().expect("bound"),
        listeners.admin.local_addr().expect("bound"),
    );
    let shutdown = Shutdown::new();
    let task = tokio::spawn(gateway::run(listeners, config, shutdown.clone()));
    let gateway = running(task, shutdown, url, admin);
    eventually("the gateway answers", || async {
        reqwest::get(format!("{}/health", gateway.url))
            .await
            .is_ok()
    })
    .await;
    gateway
}

async fn start_cache(redis_url: String) -> Running {
    let config = cache::Config {
        common: Common::for_tests("cache-1"),
        redis: RedisArgs {
            redis_url: Secret(redis_url),
        },
        default_ttl_seconds: 300,
        ttl_jitter_percent: 10,
        swr_seconds: 30,
        sie_seconds: 600,
        lease_ms: 10_000,
        waiters_per_key: 10_000,
    };
    let listeners = Listeners::bind(&config.common).await.expect("free ports");
    let url = format!("http://{}", listeners.public.local_addr().expect("bound"));
    let admin = format!("http://{}", listeners.admin.local_addr().expect("bound"));
    let shutdown = Shutdown::new();
    let task = tokio::spawn(cache::run(listeners, config, shutdown.clone()));
    eventually("the cache is ready", || async {
        let answer = reqwest::get(format!("{admin}/readyz")).await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    Running {
        url,
        admin,
        shutdown,
        task,
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub async fn read(response: reqwest::Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole body"),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    pub fn cache(&self) -> &str {
        self.header("x-cache")
    }
}

/// The value of a metric that has no labels of its own.
pub fn gauge(metrics: &str, name: &str) -> Option<i64> {
    let line = metrics
        .lines()
        .find(|line| line.split('{').next() == Some(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Fails a test that would hang.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(8), future)
        .await
        .unwrap_or_else(|_| panic!("took too long: {what}"))
}
