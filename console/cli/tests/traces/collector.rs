//! A collector on loopback that keeps what it is sent, or refuses it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{span::SpanKind, status::StatusCode},
};
use prost::Message as _;

/// How long spans may take from the end of what they are about.
const PATIENCE: Duration = Duration::from_secs(30);

/// One span, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    pub instance: String,
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub state: String,
    pub name: String,
    pub kind: SpanKind,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
}

impl Seen {
    /// An attribute's value, empty without one.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    status: Arc<AtomicU16>,
}

impl Collector {
    /// Starts one, on a thread of its own: tests of several runtimes ask it.
    pub fn start() -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let collector = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            seen: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        let state = collector.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(state.address).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new()
                    .route("/v1/traces", post(take))
                    .with_state(state);
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self {
            address: told.recv().unwrap(),
            ..collector
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers with this status; only with 200 it keeps what it is sent.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn trace(&self, id: &str) -> Vec<Seen> {
        let mut spans = self.all();
        spans.retain(|span| span.trace == id);
        spans
    }

    /// Waits for enough of one trace to have come; what has.
    pub async fn until_trace(
        &self,
        what: &str,
        trace: &str,
        enough: impl Fn(&[Seen]) -> bool,
    ) -> Vec<Seen> {
        self.until(what, |all| {
            let spans: Vec<Seen> = all.into_iter().filter(|span| span.trace == trace).collect();
            enough(&spans).then_some(spans)
        })
        .await
    }

    /// Waits until what is there is enough.
    pub async fn until<T>(&self, what: &str, enough: impl Fn(Vec<Seen>) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let all = self.all();
            if let Some(found) = enough(all.clone()) {
                return found;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: not among {}",
                lines(&all)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The newest of them, for whoever reads why a test failed.
pub fn lines(spans: &[Seen]) -> String {
    let newest = spans.iter().rev().take(60);
    let lines = newest.map(|span| {
        format!(
            "\n{} {} <- {} {} {:?} {:?} {:?}",
            span.trace, span.id, span.parent, span.instance, span.name, span.kind, span.attributes
        )
    });
    lines.collect()
}

async fn take(
    State(collector): State<Collector>,
    headers: HeaderMap,
    body: Bytes,
) -> (axum::http::StatusCode, Vec<u8>) {
    let status = collector.status.load(Ordering::SeqCst);
    if status == 200 {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let mut seen = collector.seen.lock().unwrap();
        seen.extend(read(request));
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    (axum::http::StatusCode::from_u16(status).unwrap(), answer)
}

fn read(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut seen = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = attributes(resource_spans.resource.unwrap().attributes);
        assert_eq!(resource["service.namespace"], "recarga");
        assert_eq!(resource["service.version"], kit::VERSION);
        let spans = resource_spans.scope_spans.into_iter();
        for span in spans.flat_map(|scope| scope.spans) {
            assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
            seen.push(Seen {
                service: resource["service.name"].clone(),
                instance: resource["service.instance.id"].clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state.clone(),
                kind: span.kind(),
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                failed: span
                    .status
                    .as_ref()
                    .is_some_and(|status| status.code() == StatusCode::Error),
                attributes: attributes(span.attributes),
                name: span.name,
            });
        }
    }
    seen
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value.unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => panic!("{}: {other:?}", attribute.key),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
