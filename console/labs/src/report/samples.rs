//! Runs that were never run, for the tests of reports.

use std::collections::BTreeMap;

use crate::record::{
    About, Baseline, Cell, Condition, FORMAT, Machine, Mark, Measurement, Outcome, Prediction,
    Reading, Row, Run, Series, Step, StepOutcome, Table, TextColumn,
};

/// Calls that each gateway of a group answered, one after the other; every third is computed and slow.
pub fn measurement(name: &str, groups: &[(&[&str], usize)]) -> Measurement {
    let mut measured = Measurement {
        name: name.to_owned(),
        calls: vec!["GET /tutors/search?subject=algebra".to_owned()],
        caller: "demo".to_owned(),
        at_once: 10,
        started_ms: 1_000.0,
        took_ms: 2_000.0,
        ..Measurement::default()
    };
    let mut gateways = TextColumn::default();
    let mut cache = TextColumn {
        values: vec!["HIT".to_owned(), "MISS".to_owned()],
        index: Vec::new(),
    };
    let mut tier = Vec::new();
    for (names, times) in groups {
        for name in *names {
            let place = gateways.values.len() as u16;
            gateways.values.push((*name).to_owned());
            for _ in 0..*times {
                let number = measured.at_ms.len();
                let is_miss = number.is_multiple_of(3);
                let time = if is_miss { 12.0 } else { 1.5 } + (number % 7) as f64 / 4.0;
                measured.at_ms.push(1_000.0 + number as f64 * 10.0);
                measured.latency_ms.push(time);
                measured.service_ms.push(time);
                measured.status.push(200);
                measured.call.push(0);
                measured.attempts.push(1);
                gateways.index.push(Some(place));
                cache.index.push(Some(u16::from(is_miss)));
                tier.push(is_miss.then_some(time * 0.6));
            }
        }
    }
    measured.texts.insert("gateway".to_owned(), gateways);
    measured.texts.insert("cache".to_owned(), cache);
    measured.tiers.insert("pg".to_owned(), tier);
    measured
}

/// A run with one of everything.
pub fn run() -> Run {
    Run {
        format: FORMAT,
        lab: About {
            name: "caching".to_owned(),
            title: "What a cache saves".to_owned(),
            goal: "See how much faster an answer is that was kept.".to_owned(),
            file: None,
        },
        started_at: "2026-11-21T22:46:07Z".to_owned(),
        seconds: 12.5,
        version: "0.1.0".to_owned(),
        seed: 1,
        machine: Machine {
            cpu: "Ryzen".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            system: "Debian GNU/Linux 13".to_owned(),
        },
        settings: BTreeMap::from([("gateways".to_owned(), "3".to_owned())]),
        outcome: Outcome::Passed,
        reason: None,
        baselines: vec![Baseline {
            at_ms: 300.0,
            took_ms: 250.0,
            verified: true,
            restored: vec!["the cache was emptied".to_owned()],
            findings: Vec::new(),
        }],
        steps: steps(),
        measurements: vec![measurement(
            "reads",
            &[(&["gateway-1", "gateway-2", "gateway-3"], 20)],
        )],
        series: vec![Series {
            name: "reads that reach the service".to_owned(),
            expression: "rate(exercise.recarga_http_requests_total, 2s)".to_owned(),
            unit: "requests/s".to_owned(),
            points: (0..20)
                .map(|n| (f64::from(n) * 500.0, f64::from(n % 6)))
                .collect(),
        }],
        marks: vec![Mark {
            at_ms: 1_000.0,
            until_ms: 3_000.0,
            text: "measure reads".to_owned(),
        }],
    }
}

fn steps() -> Vec<Step> {
    vec![
        Step {
            number: 1,
            kind: "predict".to_owned(),
            text: "How much faster is a hit?".to_owned(),
            outcome: StepOutcome::Done,
            prediction: Some(Prediction {
                question: "How much faster is a hit?".to_owned(),
                choices: vec!["not at all".to_owned(), "about 6 times".to_owned()],
                right: 2,
                chosen: Some(1),
            }),
            ..Step::default()
        },
        Step {
            number: 2,
            kind: "measure".to_owned(),
            title: "Read the same again and again".to_owned(),
            text: "GET /tutors/search, 60 times".to_owned(),
            outcome: StepOutcome::Done,
            started_ms: 1_000.0,
            took_ms: 2_000.0,
            measurement: Some("reads".to_owned()),
            table: Some(Table {
                columns: ["calls", "p50"].map(ToOwned::to_owned).to_vec(),
                rows: vec![Row {
                    name: "hit".to_owned(),
                    cells: vec![Cell {
                        text: "2.25 ms".to_owned(),
                        number: Some(2.25),
                    }],
                }],
            }),
            ..Step::default()
        },
        Step {
            number: 3,
            kind: "observe".to_owned(),
            text: "A hit is much faster.".to_owned(),
            outcome: StepOutcome::Passed,
            took_ms: 0.4,
            condition: Some(Condition {
                expression: "reads[cache == 'HIT'].p50 < 5ms".to_owned(),
                readings: vec![Reading {
                    what: "reads[cache == 'HIT'].p50".to_owned(),
                    seen: "2.25 ms".to_owned(),
                    operator: "<".to_owned(),
                    bound: "5 ms".to_owned(),
                    holds: true,
                }],
                ..Condition::default()
            }),
            ..Step::default()
        },
    ]
}
