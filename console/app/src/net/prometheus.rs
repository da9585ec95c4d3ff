//! The Prometheus text form, as much of it as our services write; anything else is skipped, never trusted.

use actions::exposition::series;

use crate::state::sample::{Builder, Sample};

/// No line is longer; what is left of one that is counts for nothing.
const LONGEST_LINE: usize = 64 * 1024;

/// An exposition that comes in pieces.
#[derive(Default)]
pub struct Exposition {
    builder: Builder,
    found: bool,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Exposition {
    pub fn push(&mut self, mut piece: &[u8]) {
        if !self.begun.is_empty() {
            let end = piece.iter().position(|byte| *byte == b'\n');
            let (rest, after) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
            if self.begun.len() + rest.len() <= LONGEST_LINE {
                self.begun.extend_from_slice(rest);
            }
            if end.is_none() {
                return;
            }
            let mut line = std::mem::take(&mut self.begun);
            self.read(&line);
            line.clear();
            self.begun = line;
            piece = after;
        }
        let whole = piece.iter().rposition(|byte| *byte == b'\n');
        let (whole, rest) = piece.split_at(whole.map_or(0, |end| end + 1));
        self.read(whole);
        self.begun
            .extend_from_slice(&rest[..rest.len().min(LONGEST_LINE)]);
    }

    /// What was told. None when not one line of it is a series.
    pub fn finish(mut self) -> Option<Sample> {
        let last = std::mem::take(&mut self.begun);
        self.read(&last);
        self.found.then(|| self.builder.build())
    }

    /// Takes in whole lines.
    fn read(&mut self, lines: &[u8]) {
        let text = String::from_utf8_lossy(lines);
        // One list for all lines: there are hundreds of them in every reading.
        let mut labels = Vec::new();
        for line in text.lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            labels.clear();
            if let Some((name, value)) = series(line, &mut labels) {
                self.found = true;
                self.builder.add(name, value, |label| {
                    labels
                        .iter()
                        .find(|(name, _)| *name == label)
                        .map(|(_, value)| value.as_ref())
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::sample::{Counter, Gauge};

    fn parse(text: &str) -> Option<Sample> {
        let mut exposition = Exposition::default();
        exposition.push(text.as_bytes());
        exposition.finish()
    }

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
            "x{a=\"b\"",
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
        fn it_is_the_same_however_it_is_cut(cuts in proptest::collection::vec(0..200_usize, 0..6)) {
            let text = "# a\nrecarga_up 1\nrecarga_http_requests_total{role=\"gateway\",status=\"200\"} 41\n\nx{a=\"ü\"} 3\nlast 4";
            let mut exposition = Exposition::default();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut from = 0;
            for cut in cuts {
                exposition.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(exposition.finish(), parse(text));
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "(recarga_[a-z_]{0,12}|\\PC{0,8})(\\{|)(\\PC{0,40}|[a-z]+=\"[^\"]{0,9}\"\\}) ?[0-9eE+.NaInf-]{0,9}") {
            let _ = parse(&text);
        }
    }
}
