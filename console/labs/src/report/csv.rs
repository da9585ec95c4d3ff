//! Comma-separated values (RFC 4180): samples and series, for spreadsheets and notebooks.

use crate::record::{Measurement, Run, Series};

/// A row for each call.
#[must_use]
pub fn samples(measurement: &Measurement) -> String {
    let mut head = vec![
        "at_ms".to_owned(),
        "latency_ms".to_owned(),
        "service_ms".to_owned(),
        "status".to_owned(),
        "call".to_owned(),
        "attempts".to_owned(),
    ];
    head.extend(measurement.texts.keys().cloned());
    head.extend(
        measurement
            .tiers
            .keys()
            .map(|tier| format!("tier_{tier}_ms")),
    );
    let mut text = row(&head);
    for call in 0..measurement.len() {
        let time = |times: &[f64]| times.get(call).copied().map_or_else(String::new, figure);
        let whole = |column: &[u16]| column.get(call).map_or_else(String::new, u16::to_string);
        let called = measurement
            .call
            .get(call)
            .and_then(|call| measurement.calls.get(usize::from(*call)));
        let mut cells = vec![
            time(&measurement.at_ms),
            time(&measurement.latency_ms),
            time(&measurement.service_ms),
            whole(&measurement.status),
            called.map_or_else(String::new, |called| guarded(called)),
            whole(&measurement.attempts),
        ];
        cells.extend(
            measurement
                .texts
                .keys()
                .map(|column| guarded(measurement.text(column, call).unwrap_or_default())),
        );
        cells.extend(measurement.tiers.values().map(|times| {
            times
                .get(call)
                .copied()
                .flatten()
                .map_or_else(String::new, figure)
        }));
        text.push_str(&row(&cells));
    }
    text
}

/// A row for each moment.
#[must_use]
pub fn series(series: &Series) -> String {
    let unit = if series.unit.is_empty() {
        "value".to_owned()
    } else {
        guarded(&series.unit)
    };
    let mut text = row(&["at_ms".to_owned(), unit]);
    for (at, value) in &series.points {
        text.push_str(&row(&[figure(*at), figure(*value)]));
    }
    text
}

/// What was done when.
#[must_use]
pub fn marks(run: &Run) -> String {
    let mut text = row(&["at_ms".to_owned(), "until_ms".to_owned(), "what".to_owned()]);
    for mark in &run.marks {
        text.push_str(&row(&[
            figure(mark.at_ms),
            figure(mark.until_ms),
            guarded(&mark.text),
        ]));
    }
    text
}

/// A number; nothing for what is none.
#[must_use]
pub fn figure(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        String::new()
    }
}

/// A text that no spreadsheet takes for a formula.
#[must_use]
pub fn guarded(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// A line with its end.
#[must_use]
pub fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    format!("{}\r\n", cells.join(","))
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads one document, to see that what was written can be read.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
        let mut letters = text.chars().peekable();
        let mut inside = false;
        while let Some(letter) = letters.next() {
            match letter {
                '"' if inside && letters.peek() == Some(&'"') => {
                    letters.next();
                    cell.push('"');
                }
                '"' => inside = !inside,
                ',' if !inside => cells.push(std::mem::take(&mut cell)),
                '\r' if !inside => {
                    letters.next();
                    cells.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut cells));
                }
                other => cell.push(other),
            }
        }
        rows
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            rows in prop::collection::vec(prop::collection::vec(any::<String>(), 1..5), 0..9),
        ) {
            let text: String = rows.iter().map(|cells| row(cells)).collect();
            prop_assert_eq!(parse(&text), rows);
        }
    }

    #[test]
    fn nothing_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert!(guarded(text).starts_with('\''), "{text}");
        }
        assert_eq!(guarded("GET /a"), "GET /a");
        assert_eq!(figure(f64::NAN), "");
    }

    #[test]
    fn samples_have_a_row_for_each_call() {
        let measured =
            crate::report::samples::measurement("reads", &[(&["gateway-1", "gateway-2"], 4)]);
        let rows = parse(&samples(&measured));
        assert_eq!(rows.len(), 9);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        assert_eq!(rows[0][..3], ["at_ms", "latency_ms", "service_ms"]);
    }
}
