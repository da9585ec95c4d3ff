//! What the calls of a measurement come to: all of them, by cache state, by gateway.

use crate::record::Measurement;

use super::statistics::{is_time, mean, percentile, sorted};

/// Figures of some calls. Times are milliseconds, of all calls, also the failed ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub calls: usize,
    /// Without an answer, or with a status of 500 and above.
    pub errors: usize,
    /// With a status from 400 to 499.
    pub refused: usize,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

impl Figures {
    #[must_use]
    pub fn of(measurement: &Measurement, times: &[f64], calls: &[usize]) -> Self {
        let all = sorted(calls.iter().filter_map(|call| times.get(*call).copied()));
        Self {
            calls: calls.len(),
            errors: calls
                .iter()
                .filter(|call| is_error(measurement, **call))
                .count(),
            refused: calls
                .iter()
                .filter(|call| (400..500).contains(&status(measurement, **call)))
                .count(),
            mean: mean(&all),
            p50: percentile(&all, 0.5),
            p95: percentile(&all, 0.95),
            p99: percentile(&all, 0.99),
            max: all.last().copied(),
        }
    }
}

/// Whether a call had no answer, or one with a status of 500 and above.
#[must_use]
pub fn is_error(measurement: &Measurement, call: usize) -> bool {
    matches!(status(measurement, call), 0 | 500..)
}

/// 0 where there was no answer.
fn status(measurement: &Measurement, call: usize) -> u16 {
    measurement.status.get(call).copied().unwrap_or(0)
}

/// All calls.
#[must_use]
pub fn all(measurement: &Measurement) -> Vec<usize> {
    (0..measurement.len()).collect()
}

/// The calls by what a column says of them, in the order of the words; those of which it says nothing are left out.
#[must_use]
pub fn by(measurement: &Measurement, column: &str) -> Vec<(String, Vec<usize>)> {
    let mut groups: std::collections::BTreeMap<Natural, Vec<usize>> =
        std::collections::BTreeMap::new();
    for call in 0..measurement.len() {
        if let Some(text) = measurement.text(column, call) {
            groups.entry(natural(text)).or_default().push(call);
        }
    }
    groups
        .into_iter()
        .map(|((_, _, text), calls)| (text, calls))
        .collect()
}

/// So that `gateway-10` comes after `gateway-9`.
type Natural = (String, u64, String);

fn natural(text: &str) -> Natural {
    let words = text.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = text[words.len()..].parse().unwrap_or(0);
    (words.to_owned(), number, text.to_owned())
}

/// The columns that say who answered.
#[must_use]
pub fn answerers(measurement: &Measurement) -> Vec<&str> {
    const WORDS: [&str; 6] = [
        "gateway", "instance", "service", "worker", "replica", "server",
    ];
    let mut columns: Vec<&str> = measurement
        .texts
        .iter()
        .filter(|(name, column)| {
            WORDS.iter().any(|word| name.contains(word)) && (1..=40).contains(&column.values.len())
        })
        .map(|(name, _)| name.as_str())
        .collect();
    columns.sort_by_key(|name| (*name != "gateway", *name));
    columns
}

/// Whether the schedule set the pace and the two latencies therefore differ.
#[must_use]
pub fn is_corrected(measurement: &Measurement) -> bool {
    let pairs = measurement.latency_ms.iter().zip(&measurement.service_ms);
    let count = pairs.clone().count();
    let apart = pairs
        .filter(|(latency, service)| {
            is_time(**latency) && is_time(**service) && **latency - **service > 1.0
        })
        .count();
    measurement.rate.is_some() && apart * 100 > count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn groups_are_in_the_order_that_people_count() {
        let names = ["gateway-10", "gateway-9", "gateway-1"];
        let measured = samples::measurement("reads", &[(&names, 3)]);
        let groups = by(&measured, "gateway");
        let order: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(order, ["gateway-1", "gateway-9", "gateway-10"]);
    }

    #[test]
    fn columns_that_are_too_short_are_no_reason_to_fail() {
        let broken = Measurement {
            at_ms: vec![0.0, 1.0],
            latency_ms: vec![2.0],
            ..Measurement::default()
        };
        let figures = Figures::of(&broken, &broken.latency_ms, &all(&broken));
        assert_eq!((figures.calls, figures.errors), (2, 2));
        assert_eq!(figures.p99, Some(2.0));
    }
}
