//! Sends spans to the collector, in batches, and tries again for a while what it could not take.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::{
    Settings, Tracer,
    record::{Record, Value, key_value},
};
use crate::{Error, outage::Outage};

/// The longest a connection to the collector may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// The first pause before a batch is sent again; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, and the longest that a collector may ask for.
const PAUSE_LIMIT: Duration = Duration::from_secs(5);
/// More of an answer is not read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Where spans go, and who is said to send them.
pub struct Collector {
    target: Uri,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
    resource: Resource,
    client: Http,
}

/// Certificates are only loaded where they are looked at.
enum Http {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Encrypted(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// A batch that was not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("it answered {0}")]
    Status(StatusCode, Option<Duration>),
    #[error("{0}")]
    Request(String),
}

impl Refusal {
    /// After which pause it may be sent again; `None` when that is no use.
    fn again(&self, pause: Duration) -> Option<Duration> {
        match self {
            Self::Unreachable(_) | Self::TimedOut => Some(pause),
            // Those that the specification names.
            Self::Status(status, wanted) => matches!(status.as_u16(), 429 | 502 | 503 | 504)
                .then(|| wanted.map_or(pause, |wanted| wanted.clamp(pause, PAUSE_LIMIT))),
            Self::Request(_) => None,
        }
    }
}

impl Collector {
    pub fn new(role: &str, instance: &str, settings: &Settings) -> Result<Self, Error> {
        let target: Uri = settings.endpoint.as_str().parse().map_err(Error::other)?;
        let mut headers = settings.headers.clone();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("recarga/", env!("CARGO_PKG_VERSION"))),
        );
        if settings.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.set_connect_timeout(Some(CONNECT));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        let client = if let Some(tls) = settings.tls.clone() {
            plain.enforce_http(false);
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(plain);
            Http::Encrypted(builder.build(connector))
        } else {
            Http::Plain(builder.build(plain))
        };
        Ok(Self {
            target,
            headers,
            timeout: settings.timeout,
            gzip: settings.gzip,
            resource: resource(role, instance, settings),
            client,
        })
    }

    /// The request's body.
    fn encode(&self, records: Vec<Record>) -> std::io::Result<Bytes> {
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "recarga".to_owned(),
                        version: crate::VERSION.to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    spans: records.into_iter().map(Span::from).collect(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let body = request.encode_to_vec();
        if !self.gzip {
            return Ok(body.into());
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&body)?;
        packed.finish().map(Bytes::from)
    }

    /// Sends a batch once; how many of it were thrown away.
    async fn send(&self, body: Bytes) -> Result<u64, Refusal> {
        let exchange = async {
            let response = self.request(body).await?;
            let (status, wait) = (response.status(), retry_after(response.headers()));
            if !status.is_success() {
                return Err(Refusal::Status(status, wait));
            }
            let answer = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
            // It has the spans. That it says no more of them is its own affair.
            let said = answer.await.ok().and_then(|answer| {
                let said = ExportTraceServiceResponse::decode(answer.to_bytes()).ok()?;
                said.partial_success
            });
            Ok(said.map_or(0, |said| said.rejected_spans.try_into().unwrap_or(0)))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(Refusal::TimedOut))
    }

    async fn request(&self, body: Bytes) -> Result<http::Response<Incoming>, Refusal> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = match &self.client {
            Http::Plain(client) => client.request(request).await,
            Http::Encrypted(client) => client.request(request).await,
        };
        answer.map_err(|error| Refusal::Unreachable(root_cause(&error)))
    }
}

/// Sends what waits whenever there is a batch of it, and after the delay however little it is; until it is told to stop, and
/// then all that is left.
pub async fn run(tracer: Tracer, stop: CancellationToken) {
    let waiting = &tracer.0.waiting;
    let mut outage = Outage::new("sending spans to the collector");
    loop {
        tokio::select! {
            () = tokio::time::sleep(tracer.0.settings.schedule_delay) => {}
            () = waiting.full() => {}
            () = stop.cancelled() => {}
        }
        loop {
            let records = waiting.take();
            if !records.is_empty() {
                deliver(&tracer, records, &stop, &mut outage).await;
            } else if stop.is_cancelled() {
                return;
            }
            if !waiting.is_full() && !stop.is_cancelled() {
                break;
            }
        }
    }
}

/// Sends one batch until it is taken, or until nothing more can be done for it.
async fn deliver(
    tracer: &Tracer,
    records: Vec<Record>,
    stop: &CancellationToken,
    outage: &mut Outage,
) {
    let count = records.len() as u64;
    let began = Instant::now();
    let mut pause = PAUSE;
    let collector = &tracer.0.collector;
    let sent = match collector.encode(records) {
        Ok(body) => loop {
            let refusal = match collector.send(body.clone()).await {
                Ok(rejected) => break Ok(rejected),
                Err(refusal) => refusal,
            };
            let left = tracer
                .0
                .settings
                .export_timeout
                .checked_sub(began.elapsed());
            let again = refusal
                .again(pause)
                .filter(|pause| left.is_some_and(|left| *pause < left) && !stop.is_cancelled());
            let Some(wait) = again else {
                break Err(refusal);
            };
            outage.failed(&refusal);
            pause = (pause * 2).min(PAUSE_LIMIT);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        },
        Err(error) => Err(Refusal::Request(error.to_string())),
    };
    match sent {
        Ok(rejected) => {
            tracer.0.waiting.taken(count, rejected);
            outage.over();
            if rejected > 0 {
                tracing::debug!(rejected, count, "the collector threw spans away");
            }
        }
        Err(refusal) => {
            tracer.0.waiting.not_taken(count);
            outage.failed(&refusal);
        }
    }
}

/// Who sends. What the operator says of it wins.
fn resource(role: &str, instance: &str, settings: &Settings) -> Resource {
    let mut said: Vec<(String, String)> = [
        ("service.name", role),
        ("service.namespace", "recarga"),
        ("service.instance.id", instance),
        ("service.version", crate::VERSION),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let named = settings.service_name.clone();
    let named = named.map(|name| ("service.name".to_owned(), name));
    for (name, value) in settings.resource.iter().cloned().chain(named) {
        said.retain(|(said, _)| *said != name);
        said.push((name, value));
    }
    let attributes = said.into_iter();
    Resource {
        attributes: attributes
            .map(|(name, value)| key_value(name, Value::from(value)))
            .collect(),
        ..Resource::default()
    }
}

/// `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// The innermost cause, which for a connection is the operating system's own words.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value;

    use super::*;
    use crate::traces::TracesArgs;

    #[test]
    fn what_the_operator_says_of_the_process_wins() {
        let args = TracesArgs {
            otel_exporter_otlp_endpoint: Some("http://127.0.0.1:4318".to_owned()),
            otel_resource_attributes: Some(
                "service.name=other,service.version=7,zone=a".to_owned(),
            ),
            otel_service_name: Some("mine".to_owned()),
            ..TracesArgs::default()
        };
        let settings = args.settings().unwrap().unwrap();
        let said = resource("gateway", "gateway-1", &settings).attributes;
        let said: Vec<(String, String)> = said
            .into_iter()
            .map(|said| match said.value.unwrap().value {
                Some(any_value::Value::StringValue(text)) => (said.key, text),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("service.namespace", "recarga"),
            ("service.instance.id", "gateway-1"),
            ("service.version", "7"),
            ("zone", "a"),
            ("service.name", "mine"),
        ];
        assert_eq!(
            said,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        let pause = Duration::from_secs(1);
        let status = |status: u16, wait: Option<u64>| {
            Refusal::Status(
                StatusCode::from_u16(status).unwrap(),
                wait.map(Duration::from_secs),
            )
        };
        for (refusal, again) in [
            (Refusal::TimedOut, Some(1)),
            (Refusal::Unreachable(String::new()), Some(1)),
            (status(503, None), Some(1)),
            (status(429, Some(3)), Some(3)),
            (status(503, Some(0)), Some(1)),
            (status(503, Some(600)), Some(5)),
            (status(400, Some(3)), None),
            (status(500, None), None),
        ] {
            assert_eq!(
                refusal.again(pause),
                again.map(Duration::from_secs),
                "{refusal}"
            );
        }
    }
}
