//! The answer to a call, with its waterfall.

use std::time::Duration;

use serde::Serialize;

/// The most bytes of a body that are kept.
pub(crate) const BODY: usize = 1 << 20;

/// What came back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    pub method: &'static str,
    pub url: String,
    pub status: u16,
    /// In the order they came, with repetitions.
    pub headers: Vec<(String, String)>,
    /// What is no UTF-8 in it is replaced.
    pub body: String,
    /// Whether there was more of the body than is kept.
    pub truncated: bool,
    /// From the first byte sent to the last received.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub elapsed: Duration,
    /// The hops and stores that the request passed, outermost first.
    pub waterfall: Vec<Span>,
}

impl Answer {
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of a name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1e3)
}

/// One bar of a waterfall.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// A hop (`gateway`) or a store (`pg`).
    pub name: String,
    pub milliseconds: f64,
    /// 0 for the outermost hop; what a hop does is one deeper than it.
    pub depth: usize,
    pub is_hop: bool,
    /// Where it begins, in milliseconds from the request's beginning. A `start` in `Server-Timing` counts from the first hop that
    /// tells none behind the outermost. Where it is not told, a hop is put into the middle of the one around it, and stores one after
    /// the other from their hop's beginning.
    pub starts_at: f64,
}

/// The names that hops go by; all others are stores.
const HOPS: [&str; 9] = [
    "balancer",
    "gateway",
    "travel",
    "search",
    "booking",
    "exercise",
    "worker",
    "notification",
    "queue",
];

/// The most bars.
const SPANS: usize = 64;

/// Reads `Server-Timing` headers, the outermost hop first. What has no duration is left out.
#[must_use]
pub fn waterfall<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut hops = 0;
    // Where the present hop begins, and where the one begins that told starts count from.
    let (mut begins, mut zero, mut around, mut next_store) = (0.0, 0.0, None, 0.0);
    let entries = headers.into_iter().flat_map(|header| header.split(','));
    for entry in entries.take(SPANS) {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let (mut duration, mut start) = (None, None);
        for part in parts {
            match part.split_once('=') {
                Some(("dur", text)) => duration = sensible(text),
                Some(("start", text)) => start = sensible(text),
                _ => {}
            }
        }
        let (Some(milliseconds), false) = (duration, name.is_empty()) else {
            continue;
        };
        let told = start.map(|start: f64| zero + start);
        let is_hop = HOPS.contains(&name);
        let starts_at = if is_hop {
            let middle = around.map_or(0.0, |around: f64| (around - milliseconds).max(0.0) / 2.0);
            begins = told.unwrap_or(begins + middle);
            if told.is_none() {
                zero = begins;
            }
            around = Some(milliseconds);
            hops += 1;
            begins
        } else {
            told.unwrap_or(next_store)
        };
        next_store = if is_hop {
            starts_at
        } else {
            starts_at + milliseconds
        };
        spans.push(Span {
            name: name.chars().filter(|c| !c.is_control()).take(40).collect(),
            milliseconds,
            depth: if is_hop { hops - 1 } else { hops },
            is_hop,
            starts_at,
        });
    }
    spans
}

/// A number of milliseconds up to a day.
fn sensible(text: &str) -> Option<f64> {
    let number: f64 = text.trim_matches('"').parse().ok()?;
    (0.0..=86_400_000.0).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_waterfall_nests_hops_and_lines_up_stores() {
        let header = "balancer;dur=10.000, gateway;dur=8.000, l1;dur=0.5, cache;dur=1.5;desc=\"x\", travel;dur=4, pg;dur=3.5";
        let spans = waterfall([header]);
        let short: Vec<_> = spans
            .iter()
            .map(|span| (span.name.as_str(), span.depth, span.starts_at))
            .collect();
        assert_eq!(
            short,
            [
                ("balancer", 0, 0.0),
                ("gateway", 1, 1.0),
                ("l1", 2, 1.0),
                ("cache", 2, 1.5),
                ("travel", 2, 3.0),
                ("pg", 3, 3.0),
            ]
        );
    }

    #[test]
    fn told_starts_are_taken() {
        let header = "balancer;dur=10, gateway;dur=8, cache;dur=1;start=2, travel;dur=3;start=4, pg;dur=1;start=5";
        let starts: Vec<f64> = waterfall([header])
            .iter()
            .map(|span| span.starts_at)
            .collect();
        assert_eq!(starts, [0.0, 1.0, 3.0, 5.0, 6.0]);
    }

    #[test]
    fn nonsense_is_left_out() {
        assert!(waterfall(["", ";dur=1", "a", "a;dur=x", "a;dur=NaN", "a;dur=-1"]).is_empty());
        assert_eq!(waterfall(["a;desc=q;dur=\"2\""]).len(), 1);
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "[a-z;=,. \"0-9]{0,60}|.{0,40}") {
            for span in waterfall([text.as_str()]) {
                prop_assert!(span.milliseconds >= 0.0 && span.starts_at.is_finite());
            }
        }
    }
}
