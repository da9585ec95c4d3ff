//! Logs: one JSON object per event, to standard output, to rolling files, and live to the admin port.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::Write as _,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde::Serialize;
use tokio::sync::broadcast;
use tracing::{Event, Level, Subscriber, field, span};
use tracing_appender::{
    non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::Context, prelude::*, registry::LookupSpan, reload,
};

use crate::{Common, RequestContext};

/// How many recent lines a new reader of `/logs` gets first.
const RECENT: usize = 1_000;
/// How far a slow reader of `/logs` may fall behind before it loses lines.
const BEHIND: usize = 4_096;
/// How many hourly files are kept.
const FILES: usize = 24;

static HUB: OnceLock<Arc<Hub>> = OnceLock::new();
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// One log event, as it is written and streamed.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub timestamp: String,
    pub level: &'static str,
    pub target: String,
    pub service: Arc<str>,
    pub instance: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace that the request is recorded in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// The recent lines, and the live ones.
pub struct Hub {
    recent: Mutex<VecDeque<Arc<Line>>>,
    live: broadcast::Sender<Arc<Line>>,
}

impl Hub {
    fn new() -> Self {
        Self {
            recent: Mutex::new(VecDeque::with_capacity(RECENT)),
            live: broadcast::channel(BEHIND).0,
        }
    }

    fn push(&self, line: Line) {
        let line = Arc::new(line);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(line.clone());
        // No readers is the usual case.
        let _ = self.live.send(line);
    }

    /// The recent lines and everything after them, without a gap between.
    #[must_use]
    pub fn subscribe(&self) -> (Vec<Arc<Line>>, broadcast::Receiver<Arc<Line>>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.iter().cloned().collect(), self.live.subscribe())
    }
}

/// The process's log stream, when [`init`] was called.
#[must_use]
pub fn hub() -> Option<Arc<Hub>> {
    HUB.get().cloned()
}

/// Telemetry that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("RECARGA_LOG_LEVEL (--log-level): {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("RECARGA_LOG_DIR (--log-dir): cannot write log files: {0}")]
    Files(#[from] tracing_appender::rolling::InitError),
    #[error("telemetry was set up twice in one process")]
    Twice,
    #[error("telemetry was not set up in this process")]
    Absent,
}

/// Keeps the writers alive; dropping it flushes them.
pub struct Guard {
    _writers: Vec<WorkerGuard>,
}

/// Sets up logging for this process; once.
pub fn init(role: &str, common: &Common) -> Result<Guard, Error> {
    let filter = EnvFilter::try_new(&common.log_level)?;
    let (filter, handle) = reload::Layer::new(filter);
    let name = common.instance_name(role);
    let mut writers = Vec::new();
    let mut guards = Vec::new();
    let mut add = |writer: Box<dyn std::io::Write + Send>| {
        // Lossy: a full disk or a stuck reader of standard output must not stop the service.
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(16_384)
            .finish(writer);
        writers.push(writer);
        guards.push(guard);
    };
    add(Box::new(std::io::stdout()));
    if let Some(folder) = &common.log_dir {
        let files = RollingFileAppender::builder()
            .rotation(Rotation::HOURLY)
            .filename_prefix(&name)
            .filename_suffix("jsonl")
            .max_log_files(FILES)
            .build(folder)?;
        add(Box::new(files));
    }
    let hub = Arc::new(Hub::new());
    let layer = JsonLayer {
        service: Arc::from(role),
        instance: Arc::from(name),
        writers,
        hub: hub.clone(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .map_err(|_| Error::Twice)?;
    HUB.set(hub).map_err(|_| Error::Twice)?;
    FILTER.set(handle).map_err(|_| Error::Twice)?;
    Ok(Guard { _writers: guards })
}

/// Changes what is logged, from now on.
pub fn set_level(directives: &str) -> Result<(), Error> {
    let filter = EnvFilter::try_new(directives)?;
    let handle = FILTER.get().ok_or(Error::Absent)?;
    handle.reload(filter).map_err(|_| Error::Absent)
}

/// What is logged now.
#[must_use]
pub fn level() -> Option<String> {
    FILTER.get()?.with_current(ToString::to_string).ok()
}

struct JsonLayer {
    service: Arc<str>,
    instance: Arc<str>,
    writers: Vec<NonBlocking>,
    hub: Arc<Hub>,
}

/// The request id a span carries for its events, when the task itself serves no request.
struct SpanRequestId(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLayer {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(request_id), Some(span)) = (fields.request_id, context.span(id)) {
            span.extensions_mut().insert(SpanRequestId(request_id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let request_id = fields
            .request_id
            .or_else(|| RequestContext::current_id().map(|id| id.to_string()))
            .or_else(|| {
                context.event_scope(event)?.find_map(|span| {
                    span.extensions()
                        .get::<SpanRequestId>()
                        .map(|id| id.0.clone())
                })
            });
        let line = Line {
            timestamp: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            level: level_name(*event.metadata().level()),
            target: event.metadata().target().to_owned(),
            service: self.service.clone(),
            instance: self.instance.clone(),
            request_id,
            trace_id: fields
                .trace_id
                .or_else(|| RequestContext::current_trace().map(|trace| trace.to_string())),
            message: fields.message,
            fields: fields.other,
        };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            for writer in &self.writers {
                let _ = writer.clone().write_all(&text);
            }
        }
        self.hub.push(line);
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    request_id: Option<String>,
    trace_id: Option<String>,
    other: serde_json::Map<String, serde_json::Value>,
}

impl Fields {
    fn set(&mut self, field: &field::Field, value: serde_json::Value) {
        self.other.insert(field.name().to_owned(), value);
    }
}

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.record_str(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "request_id" => self.request_id = Some(value.to_owned()),
            "trace_id" => self.trace_id = Some(value.to_owned()),
            _ => self.set(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &field::Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.set(field, value.into());
    }
}

/// Lets so many events a second through, and counts those it held back.
#[derive(Debug)]
pub struct Sampler {
    per_second: u32,
    window: Mutex<(Option<Instant>, u32)>,
    suppressed: AtomicU64,
}

impl Sampler {
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second,
            window: Mutex::new((None, 0)),
            suppressed: AtomicU64::new(0),
        }
    }

    /// `Some(n)` when this event may be logged, with the number of events held back since the last such answer.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window
            .0
            .is_none_or(|start| now.saturating_duration_since(start).as_secs() >= 1)
        {
            *window = (Some(now), 0);
        }
        if window.1 < self.per_second {
            window.1 += 1;
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sampler_says_how_much_it_held_back() {
        let start = Instant::now();
        let sampler = Sampler::new(2);
        assert_eq!(sampler.admit(start), Some(0));
        assert_eq!(sampler.admit(start), Some(0));
        assert_eq!(sampler.admit(start), None);
        assert_eq!(sampler.admit(start), None);
        assert_eq!(sampler.admit(start + Duration::from_secs(1)), Some(2));
    }
}
