//! A running cache service and short ways to call it.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use kit::{Common, Error, Listeners, RedisArgs, Shutdown, config::Secret, testing::eventually};
use serde_json::Value;

pub struct Cache {
    pub url: String,
    pub admin: String,
    http: reqwest::Client,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), Error>>,
    /// How long a 503 is asked again: a machine that stands still for half a second has its links unproven, and that is told.
    patience: Duration,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The lease this answer grants.
    pub fn lease(&self) -> String {
        assert_eq!(self.status, 202, "{self:?}");
        self.header("x-lease").expect("a lease").to_owned()
    }
}

pub fn config(name: &str, redis_url: &str) -> cache::Config {
    cache::Config {
        common: Common::for_tests(name),
        redis: RedisArgs {
            redis_url: Secret(redis_url.to_owned()),
        },
        default_ttl_seconds: 300,
        ttl_jitter_percent: 10,
        swr_seconds: 30,
        sie_seconds: 600,
        lease_ms: 10_000,
        waiters_per_key: 10_000,
    }
}

impl Cache {
    /// A service on a Redis of its own.
    pub async fn start() -> Self {
        Self::start_with(config("cache-1", &kit::testing::redis_url().await)).await
    }

    /// A service that is ready.
    pub async fn start_with(config: cache::Config) -> Self {
        let cache = Self::start_unready(config).await;
        cache.ready().await;
        cache
    }

    pub async fn start_unready(config: cache::Config) -> Self {
        let listeners = Listeners::bind(&config.common).await.expect("free ports");
        let url = format!("http://{}", listeners.public.local_addr().expect("bound"));
        let admin = format!("http://{}", listeners.admin.local_addr().expect("bound"));
        let shutdown = Shutdown::new();
        let task = tokio::spawn(cache::run(listeners, config, shutdown.clone()));
        Self {
            url,
            admin,
            http: reqwest::Client::new(),
            shutdown,
            task,
            patience: Duration::from_secs(5),
        }
    }

    /// For tests that take its Redis away and want to hear of it.
    pub fn impatient(mut self) -> Self {
        self.patience = Duration::ZERO;
        self
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.admin)).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    pub async fn ready(&self) {
        eventually("the cache is ready", || self.is_ready()).await;
    }

    pub async fn stop(self) {
        self.shutdown.request();
        self.task.await.expect("no panic").expect("a clean stop");
    }

    /// Calls with a path as it stands: nothing is normalised but what every client normalises.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let (body, started) = (body.into(), Instant::now());
        loop {
            let answer = self.once(&method, path, headers, body.clone()).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE
                || started.elapsed() >= self.patience
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: bytes::Bytes,
    ) -> Answer {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.url))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a whole body"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.call(Method::POST, path, &[], body.to_owned()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], "").await
    }

    pub async fn fill(&self, path: &str, lease: &str, body: &str) -> StatusCode {
        let headers = [("x-lease", lease)];
        self.call(Method::PUT, path, &headers, body.to_owned())
            .await
            .status
    }

    pub async fn metrics(&self) -> String {
        let answer = self
            .http
            .get(format!("{}/metrics", self.admin))
            .send()
            .await
            .expect("an answer");
        answer.text().await.expect("a whole body")
    }
}
