//! `Server-Timing`: one entry per hop and per store, so that a browser or the console draws the waterfall.
//!
//! An entry is `name;dur=1.234;start=0.250`, both in milliseconds. The first entry that a hop writes is the hop itself. `start`
//! counts from when the first hop behind the front door (the gateway) had the request: each hop moves what it is told by the
//! time after which it asked. Nothing knows its own start, so the outermost entry has none.

use std::{
    fmt::{self, Display, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::{
    RequestContext,
    context::Timing,
    traces::{Call, Hop, Kind},
};

/// The response header that carries the entries.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// More entries than this are not read: no chain of ours has as many.
const ENTRIES: usize = 64;

/// One entry, as it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// Milliseconds from the start of the whole, where it is known.
    pub start_ms: Option<f64>,
    pub duration_ms: f64,
}

/// Awaits a future and records its time under `name` in the current request's `Server-Timing`.
pub async fn timed<F: Future>(name: &'static str, future: F) -> F::Output {
    let started = Instant::now();
    let visit = RequestContext::current_hop().and_then(|hop| visit(name, &hop, started));
    let output = future.await;
    let now = Instant::now();
    if let Some(visit) = visit {
        visit.done(now);
    }
    if let Some(context) = RequestContext::current() {
        context.record(name, started, now);
    }
    output
}

/// Records a visit that somebody else made for a request.
pub fn visited(context: &RequestContext, name: &'static str, since: Instant, until: Instant) {
    if let Some(visit) = context.hop.as_ref().and_then(|hop| visit(name, hop, since)) {
        visit.done(until);
    }
    context.record(name, since, until);
}

/// The span of a visit to a store; a call of another tier makes its own.
fn visit(name: &str, hop: &Arc<Hop>, started: Instant) -> Option<Call> {
    let system = match name {
        "pg" => "postgresql",
        // Where the queue waits for the disk of its Redis.
        "redis" | "disk" => "redis",
        _ => return None,
    };
    let mut visit = hop.call(Kind::Client, system, started, Vec::new());
    visit.note("db.system.name", system);
    if name == "disk" {
        visit.note("db.operation.name", "WAITAOF");
    }
    Some(visit)
}

/// Reads the entries of a header's value. What is no entry, or has no duration that makes sense, is left out.
#[must_use]
pub fn parse(value: &str) -> Vec<Entry> {
    value
        .split(',')
        .take(ENTRIES)
        .filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let (mut duration, mut start) = (None, None);
            for part in parts {
                match part.split_once('=') {
                    Some(("dur", text)) => duration = sensible(text),
                    Some(("start", text)) => start = sensible(text),
                    _ => {}
                }
            }
            Some(Entry {
                name: name.to_owned(),
                start_ms: start,
                duration_ms: duration?,
            })
        })
        .collect()
}

/// Tells the entries of an answer that was asked for `after` this hop had its own request: those are its starts now.
pub fn shift(headers: &mut HeaderMap, after: Duration) {
    if !headers.contains_key(SERVER_TIMING) {
        return;
    }
    let after = milliseconds(after);
    let mut shifted = String::new();
    for value in headers.get_all(SERVER_TIMING) {
        for entry in value.to_str().unwrap_or_default().split(',') {
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            if !shifted.is_empty() {
                shifted.push_str(", ");
            }
            let (kept, start) = match entry.rsplit_once(";start=") {
                Some((kept, start)) => (kept, sensible(start).unwrap_or(0.0)),
                None => (entry, 0.0),
            };
            let _ = write!(shifted, "{kept};start={:.3}", start + after);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&shifted) {
        headers.insert(SERVER_TIMING, value);
    }
}

/// Puts this hop's entries before those that an upstream already wrote.
pub(crate) fn prepend(headers: &mut HeaderMap, hop: &str, total: Duration, stores: &[Timing]) {
    let mut value = format!("{hop};dur={}", Milliseconds(total));
    for timing in stores {
        let _ = write!(
            value,
            ", {};dur={};start={}",
            timing.name,
            Milliseconds(timing.duration),
            Milliseconds(timing.start)
        );
    }
    for upstream in headers.get_all(SERVER_TIMING) {
        if let Ok(upstream) = upstream.to_str() {
            value.push_str(", ");
            value.push_str(upstream);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(SERVER_TIMING, value);
    }
}

/// To the microsecond, without the cost of a fraction.
struct Milliseconds(Duration);

impl Display for Milliseconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = (self.0.as_nanos() + 500) / 1000;
        write!(formatter, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A number of milliseconds up to a day.
fn sensible(text: &str) -> Option<f64> {
    let number: f64 = text.trim_matches('"').parse().ok()?;
    (0.0..=86_400_000.0).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_stands_before_what_it_called() {
        let mut headers = HeaderMap::new();
        headers.insert(
            SERVER_TIMING,
            HeaderValue::from_static("travel;dur=1.000, pg;dur=0.500;start=0.250"),
        );
        shift(&mut headers, Duration::from_micros(600));
        prepend(
            &mut headers,
            "gateway",
            Duration::from_millis(2),
            &[Timing {
                name: "cache",
                start: Duration::from_micros(100),
                duration: Duration::from_micros(250),
            }],
        );
        assert_eq!(
            headers[SERVER_TIMING],
            "gateway;dur=2.000, cache;dur=0.250;start=0.100, travel;dur=1.000;start=0.600, pg;dur=0.500;start=0.850"
        );
    }

    #[test]
    fn entries_are_read_and_nonsense_is_left_out() {
        let entry = |name: &str, start_ms, duration_ms| Entry {
            name: name.to_owned(),
            start_ms,
            duration_ms,
        };
        assert_eq!(
            parse("a;dur=1.5, b;dur=2;start=0.25,c ; desc=x; dur=3"),
            [
                entry("a", None, 1.5),
                entry("b", Some(0.25), 2.0),
                entry("c", None, 3.0)
            ]
        );
        for nonsense in [
            "",
            ",,,",
            ";dur=1",
            "a",
            "a;dur=",
            "a;dur=-1",
            "a;dur=NaN",
            "a;dur=inf",
            "a;dur=1e300",
            "\u{1b}[2J",
        ] {
            assert_eq!(parse(nonsense), [], "{nonsense:?}");
        }
        assert_eq!(parse(&"a;dur=1,".repeat(10_000)).len(), ENTRIES);
    }

    proptest::proptest! {
        #[test]
        fn whatever_an_upstream_writes_is_survived(value in "[ -~]{0,200}") {
            let mut headers = HeaderMap::new();
            headers.insert(SERVER_TIMING, HeaderValue::from_str(&value).unwrap());
            shift(&mut headers, Duration::from_millis(3));
            let text = headers[SERVER_TIMING].to_str().unwrap();
            for entry in parse(text) {
                proptest::prop_assert!(entry.start_ms.is_some_and(|start| start >= 3.0), "{}", text);
            }
        }
    }
}
