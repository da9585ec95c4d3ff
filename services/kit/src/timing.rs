//! `Server-Timing`: one entry per hop and per store, so that a browser draws the waterfall.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::RequestContext;

/// The response header that carries the entries.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Awaits a future and records its time under `name` in the current request's `Server-Timing`.
pub async fn timed<F: Future>(name: &'static str, future: F) -> F::Output {
    let started = Instant::now();
    let output = future.await;
    if let Some(context) = RequestContext::current() {
        context.record(name, started.elapsed());
    }
    output
}

/// Puts this hop's entries before those that an upstream already wrote.
pub(crate) fn prepend(
    headers: &mut HeaderMap,
    hop: &str,
    total: Duration,
    stores: &[(&'static str, Duration)],
) {
    let mut value = format!("{hop};dur={:.3}", milliseconds(total));
    for (name, duration) in stores {
        let _ = write!(value, ", {name};dur={:.3}", milliseconds(*duration));
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

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_stands_before_what_it_called() {
        let mut headers = HeaderMap::new();
        headers.insert(
            SERVER_TIMING,
            HeaderValue::from_static("travel;dur=1.000, pg;dur=0.500"),
        );
        prepend(
            &mut headers,
            "gateway",
            Duration::from_millis(2),
            &[("cache", Duration::from_micros(250))],
        );
        assert_eq!(
            headers[SERVER_TIMING],
            "gateway;dur=2.000, cache;dur=0.250, travel;dur=1.000, pg;dur=0.500"
        );
    }
}
