//! A figure beside its target.

use serde::Serialize;

use crate::commands::bench::table::{Row, Table, decimal};

/// What was measured, in words and numbers; every target is an upper bound.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub what: String,
    pub unit: &'static str,
    pub value: Option<f64>,
    pub target: Option<f64>,
}

impl Measured {
    pub fn new(
        what: impl Into<String>,
        unit: &'static str,
        value: Option<f64>,
        target: impl Into<Option<f64>>,
    ) -> Self {
        Self {
            what: what.into(),
            unit,
            value,
            target: target.into(),
        }
    }

    pub fn has_target(&self) -> bool {
        self.target.is_some()
    }

    pub fn is_met(&self) -> bool {
        matches!((self.value, self.target), (Some(value), Some(target)) if value <= target)
    }

    /// What could not be measured is not met either.
    pub fn is_missed(&self) -> bool {
        self.has_target() && !self.is_met()
    }
}

pub fn table(measured: &[Measured]) -> Table {
    let row = |one: &Measured| {
        let verdict = match one.target {
            None => "",
            Some(_) if one.value.is_none() => "not measured",
            Some(_) if one.is_met() => "met",
            Some(_) => "MISSED",
        };
        let number = |number: Option<f64>| match number {
            Some(number) if number.fract() == 0.0 => format!("{number:.0} {}", one.unit),
            Some(_) => format!("{} {}", decimal(number, 2), one.unit),
            None => "–".to_owned(),
        };
        let target = one
            .target
            .map_or_else(|| "–".to_owned(), |_| format!("≤ {}", number(one.target)));
        Row::Cells(vec![
            one.what.clone(),
            number(one.value),
            target,
            verdict.to_owned(),
        ])
    };
    Table {
        title: "The console against its targets".to_owned(),
        header: vec!["what", "measured", "target", "verdict"],
        rows: measured.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_missed_or_not_measured() {
        let measured = [
            Measured::new("a", "ms", Some(49.5), 50.0),
            Measured::new("b", "bytes", Some(1.0), 0.0),
            Measured::new("c", "MiB", None, 20.0),
            Measured::new("d", "KiB/s", Some(3.0), None),
        ];
        let verdicts: Vec<_> = measured
            .iter()
            .map(|one| (one.is_met(), one.is_missed()))
            .collect();
        assert_eq!(
            verdicts,
            [(true, false), (false, true), (false, true), (false, false)]
        );
        let text = table(&measured).text();
        for line in ["49.50 ms", "≤ 50 ms", "MISSED", "not measured", "3 KiB/s"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
