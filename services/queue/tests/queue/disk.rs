//! Durable queues on a Redis of their own: what it must be, and what is noticed when it no longer is.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use kit::{Listeners, Shutdown, messaging::Durability, testing::eventually};
use serde_json::json;

use crate::support::{LONG, config, message, start_with};

/// A Redis in a temporary folder, which may be killed and started again on its data.
pub struct Redis {
    program: std::path::PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    flags: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts one that keeps what durable queues promise, whatever its version.
    pub async fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    pub async fn start(flags: &[&str]) -> Self {
        let program = ["redis-server", "valkey-server"]
            .iter()
            .flat_map(|name| {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path)
                    .map(|folder| folder.join(name))
                    .collect::<Vec<_>>()
            })
            .find(|file| file.is_file())
            .expect("redis-server is installed");
        let port = kit::testing::free_address().port();
        let folder = tempfile::tempdir().unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(&program, folder.path(), port, &flags);
        let redis = Self {
            program,
            folder,
            port,
            flags,
            child,
        };
        redis.answers().await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn command(&self, words: &[&str]) -> redis::Value {
        let mut connection = self.connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on what its disk has.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.program, self.folder.path(), self.port, &self.flags);
        self.answers().await;
    }

    pub async fn set(&self, name: &str, value: &str) {
        self.command(&["CONFIG", "SET", name, value]).await;
    }

    async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        redis::Client::open(self.url())?
            .get_multiplexed_async_connection()
            .await
    }

    async fn answers(&self) {
        eventually("Redis answers", async || {
            let Ok(mut connection) = self.connection().await else {
                return false;
            };
            let ping = redis::cmd("PING").query_async::<()>(&mut connection).await;
            ping.is_ok()
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    program: &std::path::Path,
    folder: &std::path::Path,
    port: u16,
    flags: &[String],
) -> Child {
    Command::new(program)
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .arg("--dir")
        .arg(folder)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn durable(name: &str, redis_url: &str) -> queue::Config {
    queue::Config {
        durability: Durability::Durable,
        ..config(name, redis_url)
    }
}

pub async fn refusal(config: queue::Config) -> String {
    let listeners = Listeners::bind(&config.common).await.unwrap();
    let run = queue::run(listeners, config, Shutdown::new());
    let ended = tokio::time::timeout(Duration::from_secs(5), run)
        .await
        .expect("it is refused at once");
    ended.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn a_redis_that_forgets_is_refused_with_what_mends_it() {
    let redis = Redis::start(&["--appendonly", "no"]).await;
    let reason = refusal(durable("queue-1", &redis.url())).await;
    assert!(
        reason.contains("append-only file is off") && reason.contains("CONFIG SET appendonly yes"),
        "{reason}"
    );
    redis.set("appendonly", "yes").await;
    redis.set("appendfsync", "no").await;
    let reason = refusal(durable("queue-1", &redis.url())).await;
    assert!(reason.contains("CONFIG SET appendfsync always"), "{reason}");
    redis.set("appendfsync", "always").await;
    let queue = start_with(durable("queue-1", &redis.url())).await;
    queue.send("lab", [json!(1)]).await;
}

#[tokio::test]
async fn every_answer_names_its_class() {
    let redis = Redis::durable().await;
    let queue = start_with(durable("queue-1", &redis.url())).await;
    for (name, class) in [("lab", "durable"), ("quick", "fast")] {
        if class == "fast" {
            queue.configure(name, json!({"durability": "fast"})).await;
        }
        let path = format!("/queues/{name}/messages");
        let (status, sent) = queue
            .post(&path, json!({"messages": [{"body": 1}, {"body": 2}]}))
            .await;
        assert_eq!((status, &sent["durability"]), (200, &json!(class)));
        let (_, received) = queue.get(&format!("{path}?max=2")).await;
        assert_eq!(received["durability"], class);
        let receipts = json!([received["messages"][0]["receipt"]]);
        let (_, ended) = queue
            .post(
                &format!("/queues/{name}/acknowledge"),
                json!({"receipts": receipts}),
            )
            .await;
        assert_eq!(
            (&ended["durability"], &ended["acknowledged"]),
            (&json!(class), &json!(1))
        );
        let receipts = json!([received["messages"][1]["receipt"]]);
        let (_, back) = queue
            .post(
                &format!("/queues/{name}/release"),
                json!({"receipts": receipts}),
            )
            .await;
        assert_eq!(
            (&back["durability"], &back["released"]),
            (&json!(class), &json!(1))
        );
        assert_eq!(queue.figures(name).await["settings"]["durability"], class);
    }
    let task = json!({"task_type": "mail", "payload": {}});
    let (_, sent) = queue.post("/enqueue", task).await;
    assert_eq!(sent["durability"], "durable");
    // Only what must be on disk waited for it: two sends, a receive, an acknowledgement, a release, and the settings of a
    // queue that was durable until then.
    let metrics = queue.metrics().await;
    let labels = r#"{role="queue",instance="queue-1"}"#;
    assert!(
        metrics.contains(&format!("recarga_queue_durable{labels} 1")),
        "{metrics}"
    );
    let confirmed = metrics
        .lines()
        .find_map(|line| {
            line.strip_prefix(&format!("recarga_queue_disk_confirmations_total{labels} "))
        })
        .unwrap();
    assert_eq!(confirmed, "6");
}

#[tokio::test]
async fn a_redis_that_changes_is_noticed_and_forgiven() {
    let redis = Redis::durable().await;
    let queue = start_with(durable("queue-1", &redis.url())).await;
    queue
        .configure("quick", json!({"durability": "fast"}))
        .await;
    queue.send("lab", [json!(1)]).await;
    redis.set("appendonly", "no").await;
    // At once, not at the next look: each durable answer is confirmed behind it.
    let (status, problem) = queue.post("/queues/lab/messages", json!({"body": 2})).await;
    assert_eq!(status, 503, "{problem}");
    eventually("the reason is told", async || {
        let (status, problem) = queue.post("/queues/lab/messages", json!({"body": 3})).await;
        let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
        status == 503 && detail.contains("CONFIG SET appendonly yes")
    })
    .await;
    eventually("it is not ready", async || {
        queue.admin_status("/readyz").await == 503
    })
    .await;
    // A fast queue promises less, and goes on; a durable one may become fast, and back only when it can be.
    queue.send("quick", [json!(1)]).await;
    let durable = Some(json!({"durability": "durable"}));
    assert_eq!(
        queue.call("PUT", "/queues/quick", durable.clone()).await.0,
        503
    );
    queue.configure("lab", json!({"durability": "fast"})).await;
    queue.send("lab", [json!(4)]).await;
    redis.set("appendonly", "yes").await;
    eventually("it is ready again", async || {
        queue.admin_status("/readyz").await == 200
    })
    .await;
    eventually("it may be durable again", async || {
        queue.call("PUT", "/queues/lab", durable.clone()).await.0 == 200
    })
    .await;
    let id = queue.client.send("lab", &message(&json!(5))).await.unwrap();
    let received = queue.receive("lab", 100, LONG).await;
    assert!(received.iter().any(|m| m.id == id));
}

#[tokio::test]
async fn a_durable_queue_is_asked_for_also_when_the_default_is_fast() {
    let redis = Redis::durable().await;
    let queue = start_with(config("queue-1", &redis.url())).await;
    queue
        .configure("lab", json!({"durability": "durable"}))
        .await;
    drop(queue);
    redis.set("appendonly", "no").await;
    let reason = refusal(config("queue-2", &redis.url())).await;
    assert!(reason.contains("the queue lab is durable"), "{reason}");
}

#[tokio::test]
async fn many_sends_share_one_wait_for_the_disk() {
    let redis = Redis::durable().await;
    let queue = start_with(durable("queue-1", &redis.url())).await;
    let sends: Vec<_> = (0..50)
        .map(|n| {
            let client = queue.client.clone();
            tokio::spawn(async move { client.send("lab", &message(&json!(n))).await.unwrap() })
        })
        .collect();
    for send in sends {
        send.await.unwrap();
    }
    let metrics = queue.metrics().await;
    let figure = |name: &str| -> u64 {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name) && !line.starts_with('#'))
            .unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(figure("recarga_queue_disk_confirmations_total"), 50);
    let waits = figure("recarga_queue_disk_waits_total");
    assert!(waits < 40, "{waits} waits for 50 sends at once");
}
