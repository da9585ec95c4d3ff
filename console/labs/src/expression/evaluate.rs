//! What an expression comes to, as far as is known.

use super::{
    Expression, Filter, Node, Operator, Part, Path, Type, Value,
    check::{TIMES, literal},
};
use crate::{
    memory::Memory,
    record::{Measurement, Reading},
};

/// Why there is no value yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

type Result<T> = std::result::Result<T, Unknown>;

impl Expression {
    /// Its value now.
    ///
    /// # Errors
    /// When something that it needs is not known.
    pub fn value(&self, memory: &Memory) -> Result<Value> {
        value(&self.root, memory)
    }

    /// Whether it holds now.
    ///
    /// # Errors
    /// When something that it needs is not known.
    pub fn holds(&self, memory: &Memory) -> Result<bool> {
        truth(&self.root, memory)
    }
}

/// Its comparisons with both sides as they are now, and the left side of the first as a number.
#[must_use]
pub fn readings(expression: &Expression, memory: &Memory) -> (Vec<Reading>, Option<f64>) {
    let (mut readings, mut first) = (Vec::new(), None);
    collect(&expression.root, memory, &mut readings, &mut first);
    (readings, first)
}

fn collect(part: &Part, memory: &Memory, readings: &mut Vec<Reading>, first: &mut Option<f64>) {
    match &part.node {
        Node::And(left, right) | Node::Or(left, right) => {
            collect(left, memory, readings, first);
            collect(right, memory, readings, first);
        }
        Node::Compare(comparison, left, right) => {
            let (one, other) = (value(left, memory), value(right, memory));
            if first.is_none()
                && let Ok(value) = &one
            {
                *first = value.number();
            }
            readings.push(Reading {
                what: left.to_string(),
                seen: words(&one),
                operator: comparison.sign().to_owned(),
                bound: words(&other),
                holds: matches!((one, other), (Ok(one), Ok(other)) if comparison.of(one.order(&other))),
            });
        }
        _ => {
            let value = value(part, memory);
            if first.is_none()
                && let Ok(Value::Truth(truth)) = value
            {
                *first = Some(f64::from(u8::from(truth)));
            }
            readings.push(Reading {
                what: part.to_string(),
                seen: words(&value),
                operator: String::new(),
                bound: String::new(),
                holds: value == Ok(Value::Truth(true)),
            });
        }
    }
}

fn words(value: &Result<Value>) -> String {
    match value {
        Ok(value) => value.words(),
        Err(unknown) => unknown.to_string(),
    }
}

fn unknown<T>(reason: impl Into<String>) -> Result<T> {
    Err(Unknown(reason.into()))
}

fn truth(part: &Part, memory: &Memory) -> Result<bool> {
    match value(part, memory)? {
        Value::Truth(truth) => Ok(truth),
        other => unknown(format!("{} is {}", part, other.words())),
    }
}

fn number(part: &Part, memory: &Memory) -> Result<f64> {
    let value = value(part, memory)?;
    let number = value.number();
    number.map_or_else(|| unknown(format!("{part} is {}", value.words())), Ok)
}

fn value(part: &Part, memory: &Memory) -> Result<Value> {
    Ok(match &part.node {
        Node::Number(number) => Value::Number(*number),
        Node::Time(time) => Value::Time(*time),
        Node::Text(text) => Value::Text(text.clone()),
        Node::Truth(truth) => Value::Truth(*truth),
        Node::Not(inner) => Value::Truth(!truth(inner, memory)?),
        // What is certain by one side does not wait for the other.
        Node::And(left, right) => Value::Truth(match (truth(left, memory), truth(right, memory)) {
            (Ok(false), _) | (_, Ok(false)) => false,
            (left, right) => left? && right?,
        }),
        Node::Or(left, right) => Value::Truth(match (truth(left, memory), truth(right, memory)) {
            (Ok(true), _) | (_, Ok(true)) => true,
            (left, right) => left? || right?,
        }),
        Node::Negative(inner) => match value(inner, memory)? {
            Value::Time(time) => Value::Time(-time),
            _ => Value::Number(-number(inner, memory)?),
        },
        Node::Compare(comparison, left, right) => {
            let (one, other) = (value(left, memory)?, value(right, memory)?);
            if one.kind() != other.kind() {
                return unknown(format!("{left} is {}", one.words()));
            }
            Value::Truth(comparison.of(one.order(&other)))
        }
        Node::Arithmetic(operator, left, right) => arithmetic(*operator, left, right, memory)?,
        Node::Path(path) => match path.metric() {
            Some((role, metric)) => Value::Number(
                memory
                    .history
                    .now(role, metric, &path.labels)
                    .ok_or_else(|| Unknown(format!("no {role} has been asked yet")))?,
            ),
            None => figure(path, memory)?,
        },
        Node::Call(name, arguments) => function(name, arguments, memory)?,
    })
}

fn arithmetic(operator: Operator, left: &Part, right: &Part, memory: &Memory) -> Result<Value> {
    let (one, other) = (value(left, memory)?, value(right, memory)?);
    let (a, b) = (number(left, memory)?, number(right, memory)?);
    let result = match operator {
        Operator::Plus => a + b,
        Operator::Minus => a - b,
        Operator::Times => a * b,
        Operator::Over => a / b,
    };
    if !result.is_finite() {
        return unknown(format!("{right} is {}", other.words()));
    }
    let times = (one.kind() == Type::Time, other.kind() == Type::Time);
    Ok(match (operator, times) {
        (Operator::Over, (true, true)) | (_, (false, false)) => Value::Number(result),
        _ => Value::Time(result),
    })
}

/// A figure of a measurement.
fn figure(path: &Path, memory: &Memory) -> Result<Value> {
    let measured = measurement(path, memory)?;
    let calls = chosen(measured, &path.filters);
    let count = |meant: &dyn Fn(u16) -> bool| {
        let meant = calls.iter().filter(|call| meant(measured.status[**call]));
        Value::Number(meant.count() as f64)
    };
    let tail: Vec<&str> = path.tail.iter().map(String::as_str).collect();
    Ok(match tail.as_slice() {
        ["count"] => Value::Number(calls.len() as f64),
        ["ok"] => count(&|status| (200..400).contains(&status)),
        ["refused"] => count(&|status| (400..500).contains(&status)),
        ["errors"] => count(&|status| status == 0 || status >= 500),
        ["unanswered"] => count(&|status| status == 0),
        ["attempts"] => {
            let sent = calls.iter().map(|call| f64::from(measured.attempts[*call]));
            Value::Number(sent.sum())
        }
        ["rate"] => {
            let seconds = memory.lasted(measured) / 1e3;
            if seconds <= 0.0 {
                return unknown(format!("{} has just begun", path.head));
            }
            Value::Number(calls.len() as f64 / seconds)
        }
        ["took"] => Value::Time(memory.lasted(measured)),
        ["service", time] => Value::Time(statistic(time, &measured.service_ms, &calls, path)?),
        [time] if TIMES.contains(time) => {
            Value::Time(statistic(time, &measured.latency_ms, &calls, path)?)
        }
        _ => return unknown(format!("{path} has no meaning")),
    })
}

fn measurement<'a>(path: &Path, memory: &'a Memory) -> Result<&'a Measurement> {
    let found = memory.measurements.get(&path.head);
    found.ok_or_else(|| Unknown(format!("{} was not measured", path.head)))
}

/// The calls that meet the filters.
fn chosen(measured: &Measurement, filters: &[Filter]) -> Vec<usize> {
    (0..measured.len())
        .filter(|call| filters.iter().all(|filter| meets(measured, *call, filter)))
        .collect()
}

fn meets(measured: &Measurement, call: usize, filter: &Filter) -> bool {
    let value = match filter.column.as_str() {
        "status" => Value::Number(f64::from(measured.status[call])),
        "call" => Value::Number(f64::from(measured.call[call]) + 1.0),
        "nth" => Value::Number(call as f64 + 1.0),
        "attempts" => Value::Number(f64::from(measured.attempts[call])),
        "at" => Value::Time(measured.at_ms[call] - measured.started_ms),
        "latency" => Value::Time(measured.latency_ms[call]),
        "service" => Value::Time(measured.service_ms[call]),
        text => Value::Text(measured.text(text, call).unwrap_or_default().to_owned()),
    };
    filter.comparison.of(value.order(&filter.value))
}

fn statistic(name: &str, of: &[f64], calls: &[usize], path: &Path) -> Result<f64> {
    let mut values: Vec<f64> = calls.iter().map(|call| of[*call]).collect();
    if values.is_empty() {
        return unknown(format!("{} has no such calls", path.head));
    }
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    // The nearest rank.
    let at = |share: f64| {
        values[((values.len() as f64 * share).ceil() as usize)
            .saturating_sub(1)
            .min(last)]
    };
    Ok(match name {
        "p50" => at(0.5),
        "p90" => at(0.9),
        "p95" => at(0.95),
        "p99" => at(0.99),
        "max" => values[last],
        "min" => values[0],
        _ => values.iter().sum::<f64>() / values.len() as f64,
    })
}

fn function(name: &str, arguments: &[Part], memory: &Memory) -> Result<Value> {
    Ok(match (name, arguments) {
        ("rate", [metric, time]) => {
            let Node::Time(time) = time.node else {
                return unknown("rate");
            };
            let since = (memory.now_ms - time).max(0.0);
            let grown = grown(metric, since, memory)?;
            let seconds = (memory.now_ms - since).min(memory.now_ms) / 1e3;
            if seconds <= 0.0 {
                return unknown("the lab has just begun");
            }
            Value::Number(grown / seconds)
        }
        ("increase", [metric]) => Value::Number(grown(metric, 0.0, memory)?),
        ("increase" | "during", [metric, since]) => {
            let Node::Path(path) = &since.node else {
                return unknown(name);
            };
            let measured = measurement(path, memory)?;
            let mut increase = grown(metric, measured.started_ms, memory)?;
            if name == "during" && measured.took_ms > 0.0 {
                increase -= grown(metric, measured.started_ms + measured.took_ms, memory)?;
            }
            Value::Number(increase)
        }
        ("share" | "most" | "least" | "distinct", [column, ..]) => {
            let Node::Path(path) = &column.node else {
                return unknown(name);
            };
            let text = arguments.get(1).and_then(literal);
            Value::Number(texts(name, path, text, memory)?)
        }
        ("tier", [measured, tier]) => {
            let (Node::Path(path), Some(tier)) = (&measured.node, literal(tier)) else {
                return unknown(name);
            };
            let measured = measurement(path, memory)?;
            let column = measured.tiers.get(tier);
            let calls = chosen(measured, &path.filters);
            let told: Vec<f64> = calls
                .iter()
                .filter_map(|call| *column?.get(*call)?)
                .collect();
            let all: Vec<usize> = (0..told.len()).collect();
            if told.is_empty() {
                return unknown(format!("no answer of {} names {tier}", path.head));
            }
            Value::Time(statistic("p50", &told, &all, path)?)
        }
        ("status" | "header" | "json", [answer, ..]) => {
            let Node::Path(path) = &answer.node else {
                return unknown(name);
            };
            memory.answer(name, &path.head, arguments.get(1).and_then(literal))?
        }
        ("holds", [number]) => {
            let Node::Number(number) = number.node else {
                return unknown(name);
            };
            match memory.invariants.get(&(number as usize)) {
                Some(Ok(holds)) => Value::Truth(*holds),
                Some(Err(reason)) => return unknown(reason.clone()),
                None => return unknown("it has not been looked at yet"),
            }
        }
        ("instances", [role]) => {
            let Node::Path(path) = &role.node else {
                return unknown(name);
            };
            Value::Number(memory.history.instances(&path.head) as f64)
        }
        ("min" | "max", [left, right]) => {
            let (one, other) = (value(left, memory)?, value(right, memory)?);
            let less = number(left, memory)? <= number(right, memory)?;
            if less == (name == "min") { one } else { other }
        }
        _ => return unknown(format!("{name} has no meaning")),
    })
}

fn grown(metric: &Part, since: f64, memory: &Memory) -> Result<f64> {
    let Node::Path(path) = &metric.node else {
        return unknown("a metric");
    };
    let Some((role, name)) = path.metric() else {
        return unknown("a metric");
    };
    let grown = memory.history.increase(role, name, &path.labels, since);
    grown.ok_or_else(|| Unknown(format!("no {role} has been asked yet")))
}

fn texts(name: &str, path: &Path, text: Option<&str>, memory: &Memory) -> Result<f64> {
    let measured = measurement(path, memory)?;
    let column = path.tail.first().map_or("", String::as_str);
    let calls = chosen(measured, &path.filters);
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for call in &calls {
        if let Some(text) = measured.text(column, *call) {
            *counts.entry(text).or_default() += 1;
        }
    }
    if name == "distinct" {
        return Ok(counts.len() as f64);
    }
    if calls.is_empty() {
        return unknown(format!("{} has no such calls", path.head));
    }
    let count = match name {
        "share" => text.and_then(|text| counts.get(text)).copied(),
        "most" => counts.values().max().copied(),
        _ => counts.values().min().copied(),
    };
    Ok(count.unwrap_or_default() as f64 / calls.len() as f64)
}
