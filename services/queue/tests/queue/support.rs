//! A queue service on a corner of the test Redis, and short words for its calls.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use kit::{
    Common, Listeners, RedisArgs, Shutdown,
    config::Secret,
    discovery::Source,
    messaging::{Client, Message, Outgoing},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub const LONG: Duration = Duration::from_secs(30);
pub const SHORT: Duration = Duration::from_millis(150);

/// A running service; dropping it kills it without a goodbye.
pub struct Running {
    pub redis_url: String,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub client: Client,
    pub http: reqwest::Client,
    pub shutdown: Shutdown,
    pub task: JoinHandle<Result<(), kit::Error>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
        self.task.abort();
    }
}

pub fn config(name: &str, redis_url: &str) -> queue::Config {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        config: queue::Config,
    }
    let flags = Flags::parse_from([
        "queue",
        "--operator-token",
        "operator-token-for-tests",
        "--redis-url",
        redis_url,
        // The test Redis keeps nothing on disk; the tests that need a disk start their own.
        "--durability",
        "fast",
    ]);
    queue::Config {
        common: Common::for_tests(name),
        redis: RedisArgs {
            redis_url: Secret(redis_url.to_owned()),
        },
        ..flags.config
    }
}

pub async fn start() -> Running {
    start_on(&kit::testing::redis_url().await).await
}

pub async fn start_on(redis_url: &str) -> Running {
    start_with(config("queue-1", redis_url)).await
}

pub async fn start_with(config: queue::Config) -> Running {
    let redis_url = config.redis.redis_url.0.clone();
    let listeners = Listeners::bind(&config.common).await.unwrap();
    let address = listeners.public.local_addr().unwrap();
    let admin = listeners.admin.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let task = tokio::spawn(queue::run(listeners, config, shutdown.clone()));
    let source: Source = address.to_string().parse().unwrap();
    let client = Client::connect(
        source.watch(shutdown.clone()).await,
        &kit::tls::Tiers::default(),
    )
    .unwrap();
    Running {
        redis_url,
        address,
        admin,
        client,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        shutdown,
        task,
    }
}

pub fn message(body: &Value) -> Outgoing {
    Outgoing::new(body).unwrap()
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Status and JSON of a call.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method.parse().unwrap(), self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, Some(body)).await
    }

    pub async fn send(&self, queue: &str, bodies: impl IntoIterator<Item = Value>) -> Vec<String> {
        let messages: Vec<Outgoing> = bodies.into_iter().map(|body| message(&body)).collect();
        self.client.send_batch(queue, &messages).await.unwrap()
    }

    pub async fn receive(&self, queue: &str, max: usize, visibility: Duration) -> Vec<Message> {
        self.client
            .receive(queue, max, Duration::ZERO, Some(visibility))
            .await
            .unwrap()
    }

    /// One message, waited for.
    pub async fn one(&self, queue: &str, visibility: Duration) -> Message {
        let mut messages = self
            .client
            .receive(queue, 1, Duration::from_secs(10), Some(visibility))
            .await
            .unwrap();
        assert_eq!(messages.len(), 1, "a message was due on {queue}");
        messages.remove(0)
    }

    /// The Redis behind it.
    pub async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis_url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// What the admin port tells Prometheus.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    pub async fn admin_status(&self, path: &str) -> u16 {
        let url = format!("http://{}{path}", self.admin);
        self.http.get(url).send().await.unwrap().status().as_u16()
    }

    pub async fn figures(&self, queue: &str) -> Value {
        let (status, figures) = self.get(&format!("/queues/{queue}")).await;
        assert_eq!(status, 200, "{figures}");
        figures
    }

    pub async fn configure(&self, queue: &str, settings: Value) {
        let (status, answer) = self
            .call("PUT", &format!("/queues/{queue}"), Some(settings))
            .await;
        assert_eq!(status, 200, "{answer}");
    }
}

pub fn value(message: &Message) -> Value {
    message.read().unwrap()
}

pub fn numbered(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({ "n": n })).collect()
}
