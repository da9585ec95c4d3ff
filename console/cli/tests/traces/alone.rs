//! One balancer without gateways: its own page is enough to be traced.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{collector::Collector, lab::metric};

/// It ends with its standard input at the latest.
pub struct Balancer {
    child: Child,
    input: Option<ChildStdin>,
    public: String,
    admin: String,
}

/// A port that nobody listens on, as far as one can know.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub fn command(environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recarga"));
    command
        .args(["serve", "balancer"])
        .env("RECARGA_EXIT_WITH_PARENT", "1")
        .env("RECARGA_GATEWAYS", "127.0.0.1:1")
        .env("RECARGA_OPERATOR_TOKEN", "operator-token-for-tests")
        .env("RECARGA_DRAIN_NOTICE_MS", "0")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Balancer {
    pub fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = command(environment).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let up = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                let field = |name: &str| Some(line["fields"][name].as_str()?.to_owned());
                Some((field("listen")?, field("admin")?))
            })
            .unwrap();
        // Somebody has to go on reading.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            input: child.stdin.take(),
            child,
            public: format!("http://{}", up.0),
            admin: format!("http://{}", up.1),
        }
    }

    pub async fn page(&self) {
        let answer = reqwest::get(format!("{}/", self.public)).await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn dropped(&self) -> f64 {
        metric(
            &format!("{}/metrics", self.admin),
            "recarga_spans_dropped_total",
        )
        .await
    }

    /// Stops it, and says how long that took.
    pub fn stop(&mut self) -> Duration {
        let started = Instant::now();
        drop(self.input.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        started.elapsed()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_dead_collector_fails_no_request_is_counted_and_delays_no_stop() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let mut balancer = Balancer::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "100"),
    ]);
    let started = Instant::now();
    while balancer.dropped().await == 0.0 {
        balancer.page().await;
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "nothing was counted"
        );
    }
    balancer.page().await;
    assert!(balancer.stop() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_silent_collector_has_spans_dropped_and_no_stop_wait_for_long() {
    // It takes connections and never says a word.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut balancer = Balancer::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "5"),
    ]);
    for _ in 0..30 {
        balancer.page().await;
    }
    let dropped = balancer.dropped().await;
    assert!(dropped >= 10.0, "{dropped}");
    assert!(balancer.stop() < Duration::from_secs(8));
}

#[tokio::test]
async fn what_waits_is_sent_before_a_stop_is_over() {
    let collector = Collector::start();
    let mut balancer = Balancer::start(&[
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.endpoint()),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_SERVICE_NAME", "door"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone=a%20b"),
        ("RECARGA_INSTANCE", "balancer-9"),
    ]);
    balancer.page().await;
    assert!(collector.all().is_empty());
    balancer.stop();
    let spans = collector.all();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0].name, "GET /");
    assert_eq!(spans[0].service, "door");
    assert_eq!(spans[0].instance, "balancer-9");
}

#[tokio::test]
async fn an_empty_endpoint_is_none() {
    let balancer = Balancer::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]);
    balancer.page().await;
    let url = format!("{}/metrics", balancer.admin);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("recarga_spans"), "{metrics}");
}
