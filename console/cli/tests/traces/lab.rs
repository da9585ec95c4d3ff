//! The lab of this test binary, which sends its spans to a collector of ours.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::{collector::Collector, whole::Whole};

pub struct Lab {
    pub whole: Whole,
    pub collector: Collector,
    http: reqwest::Client,
}

/// The lab, started by whoever asks first.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let collector = Collector::start();
        Lab {
            whole: Whole::start_with(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
                ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
                // Every request is logged, however many there are.
                ("RECARGA_ACCESS_LOG_RATE", "1000".to_owned()),
            ]),
            collector,
            http: reqwest::Client::new(),
        }
    })
}

/// Held by a test that breaks something for the others.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ALONE.lock().await
}

impl Lab {
    pub fn topology(&self) -> kit::Topology {
        kit::Topology::load(&self.whole.path().join("topology.json")).unwrap()
    }

    /// A request through the front door. Connections do not outlive a test's runtime, so none is kept.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.topology().public_url);
        let request = self.http.request(method, url);
        request.header("connection", "close")
    }

    pub async fn token(&self) -> String {
        let answer = self.request(Method::POST, "/token");
        let answer = answer.form(&[("username", "student1"), ("password", "password")]);
        let answer: Value = answer.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A metric of an instance, added up over its labels.
    pub async fn metric(&self, instance: &str, name: &str) -> f64 {
        let instances = self.topology().instances;
        let found = instances.into_iter().find(|known| known.name == instance);
        metric(&format!("http://{}/metrics", found.unwrap().admin), name).await
    }
}

pub async fn metric(url: &str, name: &str) -> f64 {
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum()
}

/// A caller of its own: its `traceparent`, and the trace and span that this names.
pub fn caller(flags: &str) -> (String, String, String) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let trace = format!("{:016x}{number:016x}", std::process::id());
    let span = format!("{number:016x}");
    (format!("00-{trace}-{span}-{flags}"), trace, span)
}
