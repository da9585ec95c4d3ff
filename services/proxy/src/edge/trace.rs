//! The front door's part in a trace, where traces are recorded: who the request's parent is, and what the upstream is told.

use std::time::Instant;

use http::HeaderValue;
use kit::traces::{Attempt, Begun, Call, Parent, Place, Serving, TraceId, Tracer};

use super::facts::Facts;
use crate::{
    Lease, Pool,
    http1::{Kind, RequestHead},
};

const TRACEPARENT: &[u8] = b"traceparent";
const TRACESTATE: &[u8] = b"tracestate";

/// Of one request.
#[derive(Debug)]
pub(super) struct Trace {
    /// `None`: not recorded.
    pub serving: Option<Serving>,
    /// What upstreams are told of a trace that is not.
    unrecorded: Option<HeaderValue>,
    /// Whether what came as `tracestate` goes on.
    keeps_state: bool,
}

impl Trace {
    /// Begins, with what the head says.
    pub fn begin(
        tracer: &Tracer,
        facts: &Facts,
        head: &RequestHead,
        bytes: &[u8],
        is_encrypted: bool,
    ) -> Option<Box<Self>> {
        let parent = parent(head, bytes);
        let keeps_state = parent.place.is_some();
        let begun = tracer.serve(
            parent,
            &facts.method,
            &facts.path,
            &facts.id,
            is_encrypted,
            facts.started,
        )?;
        let (serving, unrecorded) = match begun {
            Begun::Recorded(serving) => (Some(serving), None),
            Begun::Unrecorded(traceparent) => (None, Some(traceparent)),
        };
        Some(Box::new(Self {
            serving,
            unrecorded,
            keeps_state,
        }))
    }

    /// Whether a field that came is not passed on: we say something else.
    pub fn replaces(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(TRACEPARENT)
            || (!self.keeps_state && name.eq_ignore_ascii_case(TRACESTATE))
    }

    /// Begins another attempt.
    pub fn attempt(
        &self,
        facts: &Facts,
        pool: &Pool,
        lease: &Lease,
        resends: u32,
        now: Instant,
    ) -> Option<Box<Call>> {
        let serving = self.serving.as_ref()?;
        let address = lease.address();
        let attempt = Attempt {
            method: &facts.method,
            role: pool.name(),
            upstream: Some(&lease.name()),
            host: &address.ip().to_string(),
            port: address.port(),
            path: &facts.path,
            is_encrypted: pool.tls().is_some(),
            resends,
        };
        // Boxed: a request that is not recorded carries no room for it.
        Some(Box::new(attempt.begin(serving.hop(), now)))
    }

    /// What the upstream of an attempt is told.
    pub fn traceparent(&self, attempt: Option<&Call>) -> Option<HeaderValue> {
        attempt
            .and_then(Call::traceparent)
            .or_else(|| self.unrecorded.clone())
    }

    /// The trace it is recorded in.
    pub fn id(&self) -> Option<TraceId> {
        let serving = self.serving.as_ref()?;
        Some(serving.hop().place().trace)
    }
}

/// The parent that a head names, if that is one and valid.
fn parent(head: &RequestHead, bytes: &[u8]) -> Parent {
    let named = |name: &'static [u8]| {
        let fields = head.fields.iter();
        let fields = fields.filter(|field| field.kind == Kind::Other);
        fields
            .filter(move |field| field.name(bytes).eq_ignore_ascii_case(name))
            .map(|field| field.value(bytes))
    };
    let mut given = named(TRACEPARENT);
    let place = match (given.next(), given.next()) {
        (Some(value), None) => Place::parse(value),
        _ => None,
    };
    let state = place.and_then(|_| {
        let parts: Vec<&[u8]> = named(TRACESTATE).collect();
        let whole = parts.join(&b',');
        (!whole.is_empty()).then(|| HeaderValue::from_bytes(&whole).ok())?
    });
    Parent { place, state }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Progress};

    fn of(lines: &str) -> Parent {
        let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        let mut head = RequestHead::default();
        let parsed = head.parse(text.as_bytes(), &Limits::default());
        assert!(matches!(parsed, Ok(Progress::Complete)), "{lines}");
        parent(&head, text.as_bytes())
    }

    #[test]
    fn a_parent_is_one_valid_header_and_its_state() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let line = format!("TraceParent: {valid}\r\n");
        let parent = of(&format!("{line}tracestate: a=1\r\nTRACESTATE: b=2\r\n"));
        assert_eq!(parent.place, Place::parse(valid.as_bytes()));
        assert_eq!(parent.state.unwrap(), "a=1,b=2");
        assert!(of(&line).state.is_none());
        for lines in [
            String::new(),
            format!("{line}{line}"),
            "traceparent: 00-0-0-0\r\ntracestate: a=1\r\n".to_owned(),
            "tracestate: a=1\r\n".to_owned(),
        ] {
            let parent = of(&lines);
            assert!(parent.place.is_none() && parent.state.is_none(), "{lines}");
        }
    }
}
