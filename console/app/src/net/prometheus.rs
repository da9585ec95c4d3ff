//! The Prometheus text form, as much of it as our services write; anything else is skipped, never trusted.

use std::borrow::Cow;

use crate::state::sample::{Builder, Sample};

/// Reads a whole exposition. None when not one line of it is a series.
pub fn parse(text: &str) -> Option<Sample> {
    let mut builder = Builder::default();
    let mut found = false;
    // One list for all lines: there are hundreds of them in every reading.
    let mut labels = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        labels.clear();
        if let Some((name, value)) = series(line, &mut labels) {
            found = true;
            builder.add(name, value, |label| {
                labels
                    .iter()
                    .find(|(name, _)| *name == label)
                    .map(|(_, value)| value.as_ref())
            });
        }
    }
    found.then(|| builder.build())
}

/// `name{label="value",…} number`, and perhaps a time or an exemplar that nobody here needs. The name and the number.
fn series<'a>(line: &'a str, labels: &mut Vec<(&'a str, Cow<'a, str>)>) -> Option<(&'a str, f64)> {
    let end = line
        .bytes()
        .position(|byte| byte == b'{' || byte.is_ascii_whitespace())?;
    let (name, mut rest) = line.split_at(end);
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    if name.is_empty() || !name.bytes().all(valid) {
        return None;
    }
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            labels.push((label.trim(), value));
            rest = after.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None if rest.starts_with('}') => {}
                None => return None,
            }
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, value))
}

/// A quoted label value and what follows it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text.bytes().position(|byte| matches!(byte, b'"' | b'\\'))?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((Cow::Owned(unescape(&text[..end])), &text[end + 1..]))
}

fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => result.push('\n'),
            Some(other) => result.push(other),
            None => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::sample::{Counter, Gauge};

    #[test]
    fn reads_what_services_write() {
        let text = r#"# HELP recarga_http_requests Requests answered
# TYPE recarga_http_requests counter
recarga_http_requests_total{role="gateway",instance="gateway-1",route="/data",status="200"} 41
recarga_http_requests_total{role="gateway",instance="gateway-1",route="/data",status="503"} 2 1700000000
recarga_http_request_duration_seconds_bucket{cache="hit",le="0.001"} 30
recarga_http_request_duration_seconds_bucket{cache="hit",le="+Inf"} 40
recarga_http_request_duration_seconds_bucket{cache="miss",le="+Inf"} 3
recarga_upstream_requests_total{pool="gateway",upstream="127.0.0.1:8101"} 7
recarga_queue_depth{queue="a \"b\" \\ c\n"} 5
process_cpu_seconds_total 1.5e0
recarga_store_up{store="redis"} 1
# EOF
"#;
        let sample = parse(text).unwrap();
        let counters = [
            (Counter::Errors, 2.0),
            (Counter::Requests, 43.0),
            (Counter::CpuSeconds, 1.5),
            (Counter::Upstream("127.0.0.1:8101".into()), 7.0),
        ];
        for (counter, value) in counters {
            assert_eq!(sample.counters.get(&counter), Some(&value), "{counter:?}");
        }
        assert_eq!(sample.gauges.get(&Gauge::RedisUp), Some(&1.0));
        let queue = Gauge::QueueDepth("a \"b\" \\ c\n".into());
        assert_eq!(sample.gauges.get(&queue), Some(&5.0));
        assert_eq!(sample.cached.samples(), 40);
        assert_eq!(sample.uncached.samples(), 3);
        assert!(!sample.gauges.contains_key(&Gauge::PostgresUp));
    }

    #[test]
    fn hostile_lines_are_skipped() {
        let lines = [
            "",
            "{",
            "}",
            "x",
            "x{",
            "x{a",
            "x{a=",
            "x{a=\"",
            "x{a=\"b\"",
            "x{a=\"b\"}",
            "x{a=\"b\" c=\"d\"} 1",
            "x{a=\"\\",
            "process_cpu_seconds_total NaN",
            "process_cpu_seconds_total -1",
            "process_cpu_seconds_total 1e999",
            "<html> 1",
            "é{a=\"b\"} 1",
        ];
        for line in lines {
            let sample = parse(line).unwrap_or_default();
            assert_eq!(sample, Sample::default(), "{line:?}");
        }
        assert_eq!(parse("<html>\n<body>not metrics</body>"), None);
    }

    #[test]
    fn a_flood_of_labels_is_bounded() {
        use std::fmt::Write;
        let mut text = String::new();
        for n in 0..10_000 {
            writeln!(text, "recarga_queue_depth{{queue=\"q{n}\"}} 1").unwrap();
            writeln!(
                text,
                "recarga_http_request_duration_seconds_bucket{{le=\"{n}.5\"}} {n}"
            )
            .unwrap();
        }
        let sample = parse(&text).unwrap();
        assert!(sample.gauges.len() <= 256);
        assert!(sample.uncached.samples() <= 10_000);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "(recarga_[a-z_]{0,12}|\\PC{0,8})(\\{|)(\\PC{0,40}|[a-z]+=\"[^\"]{0,9}\"\\}) ?[0-9eE+.NaInf-]{0,9}") {
            let _ = parse(&text);
        }
    }
}
