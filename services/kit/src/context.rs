//! What travels with a request through this process: its id, its deadline, its trace, and the time each hop took.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::traces::{Call, Hop, TraceId};

/// The header that names a request across all hops.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Milliseconds that the caller will still wait.
pub const DEADLINE: HeaderName = HeaderName::from_static("x-recarga-deadline-ms");
/// The authenticated user, set by the gateway only.
pub const USER: HeaderName = HeaderName::from_static("x-recarga-user");
/// The authenticated user's role, set by the gateway only.
pub const ROLE: HeaderName = HeaderName::from_static("x-recarga-role");
/// The operator's token, for requests that go first when there are too many; it never leaves the front door.
pub const OPERATOR: HeaderName = HeaderName::from_static("x-recarga-operator");
/// W3C trace context: where the caller stands in a trace. Passed through where none is recorded (see [`crate::traces`]).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What other systems want to be told of that trace; always passed through.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// One request's identity and limits, cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub id: Arc<str>,
    /// What those that are called are told, except by a span of their own.
    pub traceparent: Option<HeaderValue>,
    pub tracestate: Option<HeaderValue>,
    /// Where the request is recorded, if it is.
    pub hop: Option<Arc<Hop>>,
    pub deadline: Instant,
    /// When this hop had it.
    pub started: Instant,
    timings: Arc<Mutex<Vec<Timing>>>,
}

/// Time that a request spent in a store or another hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub name: &'static str,
    /// When the first visit began, counted from when this hop had the request.
    pub start: Duration,
    /// Of all visits together.
    pub duration: Duration,
}

impl RequestContext {
    /// Takes the id, trace and deadline from a request's headers; a missing or unusable id is replaced by a new one,
    /// and a missing or longer deadline by `limit`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, limit: Duration) -> Self {
        let id = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_sane_id(id))
            .map_or_else(|| Arc::from(uuid::Uuid::new_v4().to_string()), Arc::from);
        let budget = headers
            .get(DEADLINE)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map_or(limit, Duration::from_millis)
            .min(limit);
        let now = Instant::now();
        let traceparent = headers.get(TRACEPARENT).cloned();
        Self {
            id,
            tracestate: traceparent
                .as_ref()
                .and_then(|_| headers.get(TRACESTATE).cloned()),
            traceparent,
            hop: None,
            deadline: now + budget,
            started: now,
            timings: Arc::default(),
        }
    }

    /// A request that is known by its id alone.
    #[must_use]
    pub fn with_id(id: &str) -> Self {
        Self::within(id, Duration::ZERO)
    }

    /// One that is known by its id alone and may take so long.
    #[must_use]
    pub fn within(id: &str, limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            id: Arc::from(id),
            traceparent: None,
            tracestate: None,
            hop: None,
            deadline: now + limit,
            started: now,
            timings: Arc::default(),
        }
    }

    /// Runs a future with this context as the current one.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The context of the request being served by this task, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The current request's id, if this task serves one.
    #[must_use]
    pub fn current_id() -> Option<Arc<str>> {
        CURRENT.try_with(|context| context.id.clone()).ok()
    }

    /// Where the current request is recorded, if this task serves one and it is.
    #[must_use]
    pub fn current_hop() -> Option<Arc<Hop>> {
        CURRENT.try_with(|context| context.hop.clone()).ok()?
    }

    /// The trace that the current request is recorded in, if it is.
    #[must_use]
    pub fn current_trace() -> Option<TraceId> {
        CURRENT
            .try_with(|context| context.hop.as_ref().map(|hop| hop.place().trace))
            .ok()?
    }

    /// Tells whoever is called which request and which trace it is for.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(REQUEST_ID, id);
        }
        for (name, value) in self.trace(None) {
            headers.insert(name, value);
        }
    }

    /// The headers of the trace among those. An attempt that is recorded has a span of its own.
    pub fn trace(
        &self,
        attempt: Option<&Call>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let own = attempt.and_then(Call::traceparent);
        let traceparent = own.or_else(|| self.traceparent.clone());
        let traceparent = traceparent.map(|value| (TRACEPARENT, value));
        let state = self.tracestate.clone().map(|value| (TRACESTATE, value));
        traceparent.into_iter().chain(state)
    }

    /// What is left of the caller's patience.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Adds time spent in a store or another hop.
    pub fn record(&self, name: &'static str, since: Instant, until: Instant) {
        let start = since.saturating_duration_since(self.started);
        let duration = until.saturating_duration_since(since);
        let mut timings = self
            .timings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match timings.iter_mut().find(|timing| timing.name == name) {
            Some(timing) => timing.duration += duration,
            None => timings.push(Timing {
                name,
                start,
                duration,
            }),
        }
    }

    /// What was recorded so far, in order of first appearance.
    #[must_use]
    pub fn timings(&self) -> Vec<Timing> {
        self.timings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// Whether a client's request id may be kept: 1 to 128 letters, digits, dots, dashes and underscores.
#[must_use]
pub fn is_sane_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_only_when_sane() {
        let limit = Duration::from_secs(1);
        let with = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(id));
            RequestContext::from_headers(&headers, limit).id.to_string()
        };
        assert_eq!(with("abc-1.2_3"), "abc-1.2_3");
        assert_ne!(with("two words"), "two words");
        assert_ne!(with(""), "");
    }

    #[test]
    fn the_shorter_deadline_wins() {
        let mut headers = HeaderMap::new();
        headers.insert(DEADLINE, HeaderValue::from_static("999999"));
        assert!(
            RequestContext::from_headers(&headers, Duration::from_secs(1)).remaining()
                <= Duration::from_secs(1)
        );
        headers.insert(DEADLINE, HeaderValue::from_static("10"));
        assert!(
            RequestContext::from_headers(&headers, Duration::from_secs(1)).remaining()
                <= Duration::from_millis(10)
        );
    }

    #[test]
    fn repeated_visits_to_a_store_add_up() {
        let context = RequestContext::from_headers(&HeaderMap::new(), Duration::from_secs(1));
        let at = |millis| context.started + Duration::from_millis(millis);
        context.record("pg", at(1), at(3));
        context.record("redis", at(3), at(4));
        context.record("pg", at(4), at(7));
        let timings = context.timings();
        let told: Vec<_> = timings
            .iter()
            .map(|timing| (timing.name, timing.start, timing.duration))
            .collect();
        let millis = Duration::from_millis;
        assert_eq!(
            told,
            [
                ("pg", millis(1), millis(5)),
                ("redis", millis(3), millis(1))
            ]
        );
    }
}
