//! What one process does for one request or message, and the calls it makes meanwhile.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use http::HeaderValue;

use super::{
    Tracer, header,
    record::{Attributes, Kind, Record, Value},
    traceparent::{Place, SpanId},
};

/// A hop with more calls than this loses the rest of them, which are counted as dropped.
const CALLS: usize = 1_000;
/// Somebody stopped waiting: the client left, or another attempt was quicker.
const CANCELLED: &str = "cancelled";

/// One span that others begin under. It is shared by all that works for it.
pub struct Hop {
    tracer: Tracer,
    place: Place,
    parent: Option<Place>,
    state: Option<HeaderValue>,
    kind: Kind,
    started: Instant,
    /// The same, as nanoseconds since 1970: all times of a hop are counted from here, so that they agree.
    start: u64,
    course: Mutex<Course>,
}

enum Course {
    /// Going on: the calls that have ended, and what is known of the hop itself.
    On(Vec<Record>, Attributes),
    /// Over. What ends later goes the way of the rest.
    Over { kept: bool },
}

impl std::fmt::Debug for Hop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Hop")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Hop {
    pub(super) fn new(
        tracer: Tracer,
        place: Place,
        parent: Option<Place>,
        state: Option<HeaderValue>,
        kind: Kind,
        started: Instant,
        attributes: Attributes,
    ) -> Arc<Self> {
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(started.elapsed());
        Arc::new(Self {
            tracer,
            place,
            parent,
            state,
            kind,
            started,
            start: since_1970.as_nanos() as u64,
            course: Mutex::new(Course::On(Vec::new(), attributes)),
        })
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// What `tracestate` goes on with.
    #[must_use]
    pub fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    /// Begins a span under this one, `started` then.
    #[must_use]
    pub fn call(
        self: &Arc<Self>,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        started: Instant,
        attributes: Attributes,
    ) -> Call {
        Call(Some(Open {
            hop: Arc::clone(self),
            span: SpanId::draw(rand::random),
            name: name.into(),
            kind,
            started,
            attributes,
        }))
    }

    fn at(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.started);
        self.start.saturating_add(since.as_nanos() as u64)
    }

    /// A span under this one has ended.
    fn take(&self, record: Record) {
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *course {
            Course::On(calls, _) if calls.len() < CALLS => calls.push(record),
            Course::On(..) => self.tracer.0.waiting.lost(1),
            Course::Over { kept: true } => self.tracer.0.waiting.push([record]),
            Course::Over { kept: false } => {}
        }
    }

    /// Ends it, unless it has ended.
    fn end(
        &self,
        name: impl FnOnce(&Attributes) -> Cow<'static, str>,
        more: impl FnOnce(&mut Attributes),
        failed: bool,
        end: Instant,
    ) {
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let Course::On(calls, attributes) = &mut *course else {
            return;
        };
        let (calls, mut attributes) = (std::mem::take(calls), std::mem::take(attributes));
        *course = Course::Over { kept: true };
        drop(course);
        more(&mut attributes);
        let own = Record {
            trace: self.place.trace,
            span: self.place.span,
            parent: self.parent.map(|parent| parent.span),
            is_remote: self.parent.is_some(),
            state: self.state.clone(),
            name: name(&attributes),
            kind: self.kind,
            start: self.start,
            end: self.at(end),
            attributes,
            failed,
        };
        self.tracer.0.waiting.push(calls.into_iter().chain([own]));
    }
}

/// Whoever serves a hop: it ends with this, one way or another.
pub struct Serving {
    hop: Arc<Hop>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.hop.fmt(formatter)
    }
}

impl Serving {
    pub(super) fn new(hop: Arc<Hop>) -> Self {
        Self { hop }
    }

    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.hop
    }

    /// It is done. Only the first word counts.
    pub fn end(
        &self,
        name: impl FnOnce(&Attributes) -> Cow<'static, str>,
        more: impl FnOnce(&mut Attributes),
        failed: bool,
        end: Instant,
    ) {
        self.hop.end(name, more, failed, end);
    }

    /// It was nothing: neither it nor what was called for it is told.
    pub fn forget(&self) {
        let mut course = self
            .hop
            .course
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if matches!(*course, Course::On(..)) {
            *course = Course::Over { kept: false };
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let kind = self.hop.kind;
        let name = |said: &Attributes| unfinished(kind, said);
        let why = |attributes: &mut Attributes| attributes.push(("error.type", CANCELLED.into()));
        self.hop.end(name, why, true, Instant::now());
    }
}

/// What is called by its method, or by what was done with a message, when nobody came to say more.
fn unfinished(kind: Kind, said: &Attributes) -> Cow<'static, str> {
    let by = match kind {
        Kind::Server => "http.request.method",
        _ => "messaging.operation.name",
    };
    let found = said.iter().find(|(name, _)| *name == by);
    match found {
        Some((_, Value::Text(text))) => text.clone(),
        _ => "unfinished".into(),
    }
}

/// A span under a hop. Dropped without a word, it was cancelled.
#[derive(Debug)]
pub struct Call(Option<Open>);

#[derive(Debug)]
struct Open {
    hop: Arc<Hop>,
    span: SpanId,
    name: Cow<'static, str>,
    kind: Kind,
    started: Instant,
    attributes: Attributes,
}

impl Call {
    /// Where it stands, for `traceparent`.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.0.as_ref().map(|open| Place {
            span: open.span,
            ..open.hop.place
        })
    }

    /// What the other side is told.
    #[must_use]
    pub fn traceparent(&self) -> Option<HeaderValue> {
        self.place().map(header)
    }

    /// Says one thing more of it.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.0 {
            open.attributes.push((name, value.into()));
        }
    }

    /// It was answered then, with a status of HTTP.
    pub fn answered(mut self, status: u16, now: Instant) {
        self.note("http.response.status_code", status);
        let failed = status >= 400;
        if failed {
            self.note("error.type", status.to_string());
        }
        self.end(failed, now);
    }

    /// It went well, until then.
    pub fn done(mut self, now: Instant) {
        self.end(false, now);
    }

    /// It did not.
    pub fn failed(mut self, error_type: impl Into<Value>) {
        self.note("error.type", error_type);
        self.end(true, Instant::now());
    }

    /// It was nothing.
    pub fn forget(mut self) {
        self.0 = None;
    }

    fn end(&mut self, failed: bool, now: Instant) {
        let Some(open) = self.0.take() else {
            return;
        };
        let hop = &open.hop;
        hop.take(Record {
            trace: hop.place.trace,
            span: open.span,
            parent: Some(hop.place.span),
            is_remote: false,
            state: hop.state.clone(),
            name: open.name,
            kind: open.kind,
            start: hop.at(open.started),
            end: hop.at(now),
            attributes: open.attributes,
            failed,
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.note("error.type", CANCELLED);
        self.end(true, Instant::now());
    }
}
