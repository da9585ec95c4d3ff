//! Redis killed, stopped and back: nothing that was deleted comes back with it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kit::{
    caching::first_level::LEASE,
    testing::{eventually, free_address},
};

use crate::support::{Cache, config};

/// A Redis of this test's own, with an append-only file that is written at once.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    process: Child,
}

impl Redis {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub fn start_with(folder: &Path, flags: &[&str]) -> Self {
        let port = free_address().port();
        Self::start_at(folder, port, flags)
    }

    fn start_at(folder: &Path, port: u16, flags: &[&str]) -> Self {
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--save", "", "--dir"])
            .arg(folder)
            .args(flags)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self {
            port,
            folder: folder.to_owned(),
            process,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        self.process.kill().expect("it was running");
        self.process.wait().expect("it ends");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    fn restart(&mut self) {
        *self = Self::start_at(&self.folder.clone(), self.port, &[]);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_killed_redis_brings_nothing_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::start(folder.path());
    let cache = Cache::start_with(config("cache-1", &redis.url()))
        .await
        .impatient();
    cache.post("/cache/a", r#"{"value": "before"}"#).await;
    let lease = cache.get("/entries/b").await.lease();
    assert_eq!(cache.get("/cache/stats").await.json()["size"], 1);

    redis.kill();
    eventually("the loss is noticed", || async { !cache.is_ready().await }).await;
    for path in ["/entries/a?wait_ms=5000", "/cache/a", "/cache/stats"] {
        let started = Instant::now();
        let answer = cache.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.header("retry-after").is_some());
        assert!(started.elapsed() < Duration::from_secs(4), "{path}");
    }
    let missed = cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    assert_eq!(missed.status, 503);
    assert_eq!(missed.header("x-cache-fenced"), Some("true"));
    assert_eq!(cache.get("/health").await.status, 200);

    redis.restart();
    cache.ready().await;
    assert_eq!(cache.get("/cache/a").await.status, 404);
    assert_eq!(cache.fill("/entries/b", &lease, "1").await, 409);
    cache.post("/cache/a", r#"{"value": "after"}"#).await;
    assert_eq!(cache.get("/cache/a").await.json()["value"], "after");
    cache.stop().await;
}

#[tokio::test]
async fn a_restart_between_two_requests_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::start(folder.path());
    let cache = Cache::start_with(config("cache-1", &redis.url()))
        .await
        .impatient();
    cache.post("/cache/a", r#"{"value": "before"}"#).await;
    redis.kill();
    redis.restart();
    // At once: whatever the service knows by now, it must not find the old value.
    eventually("it serves again", || async {
        let status = cache.get("/cache/a").await.status.as_u16();
        assert!([503, 404].contains(&status), "{status}");
        status == 404
    })
    .await;
    cache.stop().await;
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(folder.path());
    let cache = Cache::start_with(config("cache-1", &redis.url()))
        .await
        .impatient();
    cache.post("/cache/a", r#"{"value": "before"}"#).await;
    redis.signal("-STOP");
    let started = Instant::now();
    let missed = cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
    assert_eq!(missed.status, 503);
    // The link is given up, and first levels have lost their leases.
    assert_eq!(missed.header("x-cache-fenced"), Some("true"));
    assert!(started.elapsed() >= LEASE);
    assert!(started.elapsed() < Duration::from_secs(6));
    // From then on nobody waits.
    let started = Instant::now();
    for _ in 0..10 {
        let missed = cache.post("/invalidate", r#"{"keys": ["a"]}"#).await;
        assert_eq!(missed.header("x-cache-fenced"), Some("true"));
        assert_eq!(cache.get("/entries/a").await.status, 503);
    }
    assert!(started.elapsed() < LEASE * 5, "{:?}", started.elapsed());
    redis.signal("-CONT");
    cache.ready().await;
    assert_eq!(cache.get("/cache/a").await.status, 404);
    cache.stop().await;
}

#[tokio::test]
async fn without_redis_the_service_starts_and_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::start(folder.path());
    redis.kill();
    let cache = Cache::start_unready(config("cache-1", &redis.url()))
        .await
        .impatient();
    eventually("it answers", || async {
        cache.get("/health").await.status == 200
    })
    .await;
    assert!(!cache.is_ready().await);
    assert_eq!(cache.get("/entries/a").await.status, 503);
    redis.restart();
    cache.ready().await;
    assert_eq!(cache.get("/entries/a").await.status, 202);
    cache.stop().await;
}
