//! Traces, where an operator wants them: spans of what a request, a message and their calls took, sent to a collector by OTLP.
//!
//! ```text
//!  a request ─► Tracer::serve ─► Hop ──┬─ Call: an attempt at another tier, a visit to a store, a message made
//!                                      └─ its own span, when the answer's head is there ─► Waiting ─► export ─► collector
//! ```
//!
//! A hop keeps its spans to itself until it ends, so that a poll that found nothing leaves none, and the threads of a service
//! meet once a request. What waits for the collector is bounded; what finds no room is dropped and counted, and no request waits for it.
//!
//! The wire types are OpenTelemetry's own (`opentelemetry-proto`). Its SDK is not used: it tells nobody what it dropped, reads
//! the environment wherever it needs something, and takes no second look at the spans of a poll.

mod export;
mod hop;
mod http;
mod messages;
mod record;
mod sampling;
mod settings;
mod traceparent;
mod waiting;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::{HeaderMap, HeaderValue};

pub use self::{
    hop::{Call, Hop, Serving},
    http::Attempt,
    messages::{Created, Operation, Together, create, unrecorded},
    record::{Attributes, Kind, Value, text},
    settings::{Settings, TracesArgs},
    traceparent::{Place, SpanId, TraceId},
};

use self::{export::Collector, waiting::Waiting};
use crate::{
    Error,
    context::{TRACEPARENT, TRACESTATE},
    metrics::Metrics,
};

/// Makes an instance's spans and sends them; cheap to clone.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    settings: Settings,
    collector: Collector,
    waiting: Waiting,
}

/// What became of the question whether a hop is recorded.
pub enum Begun {
    Recorded(Serving),
    /// It is not, and neither are those behind it that leave it to us: what they are told.
    Unrecorded(HeaderValue),
}

/// The parent that a request names, if it names one that is valid.
#[derive(Clone, Debug, Default)]
pub struct Parent {
    pub place: Option<Place>,
    /// `tracestate`, which is of no use without a parent.
    pub state: Option<HeaderValue>,
}

impl Parent {
    /// Reads the two headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let (value, more) = (given.next(), given.next());
        let place = value
            .filter(|_| more.is_none())
            .and_then(|value| Place::parse(value.as_bytes()));
        Self {
            state: place.and_then(|_| state(headers)),
            place,
        }
    }

    /// Reads what a message carries.
    #[must_use]
    pub fn of_message(traceparent: Option<&str>) -> Self {
        Self {
            place: traceparent.and_then(|text| Place::parse(text.as_bytes())),
            state: None,
        }
    }
}

/// `tracestate`, which may come in several parts.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut parts = headers.get_all(TRACESTATE).iter();
    let first = parts.next()?;
    let mut whole = None;
    for part in parts {
        let whole = whole.get_or_insert_with(|| first.as_bytes().to_vec());
        whole.push(b',');
        whole.extend_from_slice(part.as_bytes());
    }
    match whole {
        Some(whole) => HeaderValue::from_bytes(&whole).ok(),
        None => Some(first.clone()),
    }
}

impl Tracer {
    /// What the settings say, or nothing when there are to be no spans.
    pub(crate) fn new(
        role: &str,
        instance: &str,
        args: &TracesArgs,
        metrics: &Metrics,
    ) -> Result<Option<Self>, Error> {
        let Some(settings) = args.settings()? else {
            return Ok(None);
        };
        Ok(Some(Self(Arc::new(Inner {
            collector: Collector::new(role, instance, &settings)?,
            waiting: Waiting::new(settings.queue_size, settings.batch_size, metrics),
            settings,
        }))))
    }

    /// Begins a hop that continues its parent's trace, or a trace of its own.
    #[must_use]
    pub fn begin(
        &self,
        kind: Kind,
        parent: Parent,
        started: Instant,
        attributes: Attributes,
    ) -> Begun {
        let Parent { place, state } = parent;
        let trace = place.map_or_else(|| TraceId::draw(rand::random), |place| place.trace);
        let sampled = self.0.settings.sampling.records(trace, place);
        let own = Place {
            trace,
            span: SpanId::draw(rand::random),
            sampled,
            random: place.is_none_or(|place| place.random),
        };
        if sampled {
            let hop = Hop::new(self.clone(), own, place, state, kind, started, attributes);
            Begun::Recorded(Serving::new(hop))
        } else {
            Begun::Unrecorded(header(own))
        }
    }

    /// Sends what waits until [`Exporting::end`]; to be called once, in a runtime that lives as long as the instance.
    pub(crate) fn export(&self) -> Exporting {
        Exporting::begin(self.clone())
    }
}

/// The task that sends spans.
pub(crate) struct Exporting {
    stop: tokio_util::sync::CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Exporting {
    fn begin(tracer: Tracer) -> Self {
        let stop = tokio_util::sync::CancellationToken::new();
        let task = tokio::spawn(export::run(tracer, stop.clone()));
        Self { stop, task }
    }

    /// Sends what waits, for as long as `limit`, and ends.
    pub async fn end(mut self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector took too long: the last spans are lost");
        }
    }
}

/// A parent that is not recorded.
fn nobody() -> HeaderValue {
    header(Place {
        trace: TraceId::draw(rand::random),
        span: SpanId::draw(rand::random),
        sampled: false,
        random: true,
    })
}

/// As `traceparent` says it.
fn header(place: Place) -> HeaderValue {
    // Digits and dashes.
    HeaderValue::from_bytes(&place.write()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_parent_is_one_valid_header_and_its_state() {
        let parent = Parent::of(&headers(&[
            ("traceparent", VALID),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ]));
        assert_eq!(parent.place, Place::parse(VALID.as_bytes()));
        assert_eq!(parent.state.unwrap(), "a=1,b=2");
    }

    #[test]
    fn two_parents_or_a_wrong_one_are_none_and_their_state_goes_with_them() {
        for lines in [
            &[
                ("traceparent", VALID),
                ("traceparent", VALID),
                ("tracestate", "a=1"),
            ][..],
            &[("traceparent", "00-1-2-3"), ("tracestate", "a=1")],
            &[("tracestate", "a=1")],
        ] {
            let parent = Parent::of(&headers(lines));
            assert!(
                parent.place.is_none() && parent.state.is_none(),
                "{lines:?}"
            );
        }
    }
}
