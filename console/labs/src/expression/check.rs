//! What names mean, and that types fit.
//!
//! Of a measurement `m`: `m.p50`, `.p90`, `.p95`, `.p99`, `.mean`, `.max`, `.min` are times from the intended start (`m.service.p99` from
//! the real one), `m.took` is how long it lasted; `m.count`, `.ok` (2xx), `.refused` (4xx), `.errors` (5xx or no answer), `.unanswered`,
//! `.attempts` and `.rate` (a second) are numbers. `m[status == 200 and nth > 1]` are some of its calls: by the numbers `status`, `call`
//! (which of its calls, from 1), `nth` (in which order, from 1), `attempts`, by the time `at` (since it began), by the times `latency` and
//! `service`, and by the texts `gateway`, `cache`, `error` and what it keeps.

use std::collections::{BTreeMap, BTreeSet};

use actions::nearest;

use super::{Flaw, Node, Operator, Part, Path, Type};
use crate::metrics::{self, ROLES};

/// What an expression may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Measurements, and the texts that they keep of answers.
    pub measurements: BTreeMap<String, BTreeSet<String>>,
    /// Actions whose answers are kept. `response` is the answer to an observation's own call.
    pub answers: BTreeSet<String>,
}

/// Every function, how it is written, and what it gives.
pub const FUNCTIONS: [(&str, &str, &str); 15] = [
    (
        "rate",
        "rate(METRIC, TIME)",
        "how much a counter grew a second over the last so long",
    ),
    (
        "increase",
        "increase(METRIC) or increase(METRIC, MEASUREMENT)",
        "how much a counter grew since the lab began, or since a measurement did",
    ),
    (
        "during",
        "during(METRIC, MEASUREMENT)",
        "how much a counter grew while a measurement ran",
    ),
    (
        "share",
        "share(MEASUREMENT.COLUMN, TEXT)",
        "the share of the calls with this text, 0 to 1",
    ),
    (
        "most",
        "most(MEASUREMENT.COLUMN)",
        "the largest share that one text has",
    ),
    (
        "least",
        "least(MEASUREMENT.COLUMN)",
        "the smallest share that one text has",
    ),
    (
        "distinct",
        "distinct(MEASUREMENT.COLUMN)",
        "how many different texts there are",
    ),
    (
        "tier",
        "tier(MEASUREMENT, TEXT)",
        "the median time that a hop or store took by itself and all behind it",
    ),
    (
        "status",
        "status(NAME)",
        "the status of the last answer; 0 where there was none",
    ),
    (
        "header",
        "header(NAME, TEXT)",
        "a header of the last answer; an empty text where there is none",
    ),
    (
        "json",
        "json(NAME, POINTER)",
        "a value out of the last answer's body, such as json(found, \"/data/0/id\")",
    ),
    (
        "holds",
        "holds(NUMBER)",
        "whether an invariant of `recarga verify` holds, 1 to 6",
    ),
    (
        "instances",
        "instances(ROLE)",
        "how many instances of a role answer and are ready",
    ),
    ("min", "min(A, B)", "the smaller one"),
    ("max", "max(A, B)", "the larger one"),
];

pub(super) const TIMES: [&str; 7] = ["p50", "p90", "p95", "p99", "mean", "max", "min"];
pub(super) const NUMBERS: [&str; 7] = [
    "count",
    "ok",
    "refused",
    "errors",
    "unanswered",
    "attempts",
    "rate",
];
const NUMBER_COLUMNS: [&str; 4] = ["status", "call", "nth", "attempts"];
const TIME_COLUMNS: [&str; 3] = ["at", "latency", "service"];
/// The texts that every measurement keeps.
pub(crate) const TEXT_COLUMNS: [&str; 3] = ["gateway", "cache", "error"];
/// The name of an observation's own answer.
pub(crate) const RESPONSE: &str = "response";

pub(super) fn check(part: &Part, scope: &Scope) -> Result<Type, Flaw> {
    let flaw = |reason: String| Err(Flaw::new(part.place.clone(), reason));
    match &part.node {
        Node::Number(_) => Ok(Type::Number),
        Node::Time(_) => Ok(Type::Time),
        Node::Text(_) => Ok(Type::Text),
        Node::Truth(_) => Ok(Type::Truth),
        Node::Not(inner) => {
            truth(inner, scope)?;
            Ok(Type::Truth)
        }
        Node::And(left, right) | Node::Or(left, right) => {
            truth(left, scope)?;
            truth(right, scope)?;
            Ok(Type::Truth)
        }
        Node::Negative(inner) => match check(inner, scope)? {
            number @ (Type::Number | Type::Time | Type::Any) => Ok(number),
            other => flaw(format!("{} has no negative", other.name())),
        },
        Node::Compare(_, left, right) => {
            let (one, other) = (check(left, scope)?, check(right, scope)?);
            if one == other || one == Type::Any || other == Type::Any {
                return Ok(Type::Truth);
            }
            let hint = if matches!(
                (one, other),
                (Type::Time, Type::Number) | (Type::Number, Type::Time)
            ) {
                "; a time is written with its unit, such as 200ms"
            } else {
                ""
            };
            flaw(format!(
                "{} cannot be compared with {}{hint}",
                one.name(),
                other.name()
            ))
        }
        Node::Arithmetic(operator, left, right) => {
            let (one, other) = (check(left, scope)?, check(right, scope)?);
            arithmetic(*operator, one, other).map_or_else(
                || {
                    flaw(format!(
                        "{} {} {} has no meaning",
                        one.name(),
                        operator.sign(),
                        other.name()
                    ))
                },
                Ok,
            )
        }
        Node::Path(path) => figure(path, part, scope),
        Node::Call(name, arguments) => function(name, arguments, part, scope),
    }
}

fn arithmetic(operator: Operator, left: Type, right: Type) -> Option<Type> {
    use Type::{Any, Number, Time};
    // What comes out of a body counts as a number.
    let known = |kind| if kind == Any { Number } else { kind };
    match (operator, known(left), known(right)) {
        (_, Number, Number) | (Operator::Over, Time, Time) => Some(Number),
        (Operator::Plus | Operator::Minus, Time, Time)
        | (Operator::Times | Operator::Over, Time, Number)
        | (Operator::Times, Number, Time) => Some(Time),
        _ => None,
    }
}

fn truth(part: &Part, scope: &Scope) -> Result<(), Flaw> {
    match check(part, scope)? {
        Type::Truth | Type::Any => Ok(()),
        other => Err(Flaw::new(
            part.place.clone(),
            format!("a condition is wanted here, and this is {}", other.name()),
        )),
    }
}

/// A path by itself: a metric, or a figure of a measurement.
fn figure(path: &Path, part: &Part, scope: &Scope) -> Result<Type, Flaw> {
    let flaw = |reason: String| Err(Flaw::new(part.place.clone(), reason));
    if is_metric(path, part)? {
        return Ok(Type::Number);
    }
    measurement(path, part, scope)?;
    let tail: Vec<&str> = path.tail.iter().map(String::as_str).collect();
    match tail.as_slice() {
        [time] | ["service", time] if TIMES.contains(time) => Ok(Type::Time),
        ["took"] if path.filters.is_empty() => Ok(Type::Time),
        [number] if NUMBERS.contains(number) => Ok(Type::Number),
        [] => flaw(format!(
            "{} has many calls; ask for a figure, such as {}.p99 or {}.count",
            path.head, path.head, path.head
        )),
        [column] if column_type(path, column, scope).is_some() => flaw(format!(
            "{column} is a column of many calls: use it in share( ), most( ), distinct( ), or inside of [ ]"
        )),
        [.., last] => {
            let known = TIMES.into_iter().chain(NUMBERS).chain(["took"]);
            flaw(format!(
                "a measurement has no figure {last:?}{}",
                perhaps(last, known)
            ))
        }
    }
}

/// Whether it is a metric; a role's name is never anything else.
fn is_metric(path: &Path, part: &Part) -> Result<bool, Flaw> {
    if !ROLES.contains(&path.head.as_str()) {
        return Ok(false);
    }
    let flaw = |reason: String| Err(Flaw::new(part.place.clone(), reason));
    let [metric] = path.tail.as_slice() else {
        return flaw(format!(
            "a metric is wanted after {}, such as {}.process_cpu_seconds_total",
            path.head, path.head
        ));
    };
    if !path.filters.is_empty() {
        return flaw("a metric is narrowed down by labels in { }, not by [ ]".to_owned());
    }
    if !metrics::is_known(metric) {
        return flaw(format!(
            "no instance exports a metric {metric:?}{}",
            perhaps(metric, metrics::known())
        ));
    }
    Ok(true)
}

fn measurement(path: &Path, part: &Part, scope: &Scope) -> Result<(), Flaw> {
    let flaw = |reason: String| Err(Flaw::new(part.place.clone(), reason));
    if !scope.measurements.contains_key(&path.head) {
        let known = scope.measurements.keys().map(String::as_str).chain(ROLES);
        let near = perhaps(&path.head, known);
        if scope.answers.contains(&path.head) || path.head == RESPONSE {
            return flaw(format!(
                "{} is an answer; use status({0}), header({0}, …) or json({0}, …)",
                path.head
            ));
        }
        return flaw(format!(
            "there is no measurement and no role {:?} before this step{near}",
            path.head
        ));
    }
    if !path.labels.is_empty() {
        return flaw("calls are narrowed down by [ ], not by labels in { }".to_owned());
    }
    for filter in &path.filters {
        let wrong = |reason: String| Err(Flaw::new(filter.place.clone(), reason));
        match column_type(path, &filter.column, scope) {
            Some(kind) if kind == filter.value.kind() => {}
            Some(kind) => {
                return wrong(format!(
                    "the column {} is {}, and is compared with {}",
                    filter.column,
                    kind.name(),
                    filter.value.kind().name()
                ));
            }
            None => {
                let kept = scope.measurements.get(&path.head).into_iter().flatten();
                let known = NUMBER_COLUMNS
                    .into_iter()
                    .chain(TIME_COLUMNS)
                    .chain(TEXT_COLUMNS)
                    .chain(kept.map(String::as_str));
                return wrong(format!(
                    "a measurement has no column {:?}{}",
                    filter.column,
                    perhaps(&filter.column, known)
                ));
            }
        }
    }
    Ok(())
}

fn column_type(path: &Path, column: &str, scope: &Scope) -> Option<Type> {
    let kept = scope.measurements.get(&path.head)?;
    if NUMBER_COLUMNS.contains(&column) {
        Some(Type::Number)
    } else if TIME_COLUMNS.contains(&column) {
        Some(Type::Time)
    } else if TEXT_COLUMNS.contains(&column) || kept.contains(column) {
        Some(Type::Text)
    } else {
        None
    }
}

fn function(name: &str, arguments: &[Part], part: &Part, scope: &Scope) -> Result<Type, Flaw> {
    let Some((_, form, _)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        let known = FUNCTIONS.iter().map(|(known, ..)| *known);
        return Err(Flaw::new(
            part.place.clone(),
            format!("there is no function {name:?}{}", perhaps(name, known)),
        ));
    };
    let wrong = |at: &Part| Err(Flaw::new(at.place.clone(), format!("it is written {form}")));
    match (name, arguments) {
        ("rate", [metric, time]) => {
            of_metric(metric, form)?;
            match time.node {
                Node::Time(time) if time > 0.0 => Ok(Type::Number),
                _ => wrong(time),
            }
        }
        ("increase", [metric]) => of_metric(metric, form),
        ("increase" | "during", [metric, since]) => {
            let kind = of_metric(metric, form)?;
            of_measurement(since, form, scope)?;
            Ok(kind)
        }
        ("share", [column, text]) => {
            of_column(column, form, scope)?;
            literal(text).map_or_else(|| wrong(text), |_| Ok(Type::Number))
        }
        ("most" | "least" | "distinct", [column]) => of_column(column, form, scope),
        ("tier", [measured, text]) => {
            of_measurement(measured, form, scope)?;
            literal(text).map_or_else(|| wrong(text), |_| Ok(Type::Time))
        }
        ("status", [answer]) => {
            of_answer(answer, form, scope)?;
            Ok(Type::Number)
        }
        ("header", [answer, text]) => {
            of_answer(answer, form, scope)?;
            literal(text).map_or_else(|| wrong(text), |_| Ok(Type::Text))
        }
        ("json", [answer, text]) => {
            of_answer(answer, form, scope)?;
            match literal(text) {
                Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => Ok(Type::Any),
                _ => wrong(text),
            }
        }
        ("holds", [number]) => match number.node {
            Node::Number(number) if (1.0..=6.0).contains(&number) && number.fract() == 0.0 => {
                Ok(Type::Truth)
            }
            _ => wrong(number),
        },
        ("instances", [role]) => match &role.node {
            Node::Path(path) if path.tail.is_empty() && ROLES.contains(&path.head.as_str()) => {
                Ok(Type::Number)
            }
            Node::Path(path) => Err(Flaw::new(
                role.place.clone(),
                format!(
                    "there is no role {:?}{}",
                    path.head,
                    perhaps(&path.head, ROLES)
                ),
            )),
            _ => wrong(role),
        },
        ("min" | "max", [left, right]) => {
            let (one, other) = (check(left, scope)?, check(right, scope)?);
            match (one, other) {
                (Type::Number | Type::Any, Type::Number | Type::Any) => Ok(Type::Number),
                (Type::Time, Type::Time) => Ok(Type::Time),
                _ => wrong(part),
            }
        }
        _ => wrong(part),
    }
}

fn of_metric(part: &Part, form: &str) -> Result<Type, Flaw> {
    match &part.node {
        Node::Path(path) if is_metric(path, part)? => Ok(Type::Number),
        _ => Err(Flaw::new(
            part.place.clone(),
            format!("a metric is wanted: it is written {form}"),
        )),
    }
}

fn of_measurement(part: &Part, form: &str, scope: &Scope) -> Result<(), Flaw> {
    match &part.node {
        Node::Path(path) if path.tail.is_empty() => measurement(path, part, scope),
        _ => Err(Flaw::new(
            part.place.clone(),
            format!("a measurement is wanted: it is written {form}"),
        )),
    }
}

fn of_column(part: &Part, form: &str, scope: &Scope) -> Result<Type, Flaw> {
    let wrong = |reason: String| Err(Flaw::new(part.place.clone(), reason));
    let Node::Path(path) = &part.node else {
        return wrong(format!("it is written {form}"));
    };
    measurement(path, part, scope)?;
    let [column] = path.tail.as_slice() else {
        return wrong(format!("a column is wanted: it is written {form}"));
    };
    if column_type(path, column, scope) == Some(Type::Text) {
        return Ok(Type::Number);
    }
    let kept = scope.measurements.get(&path.head).into_iter().flatten();
    let known = TEXT_COLUMNS.into_iter().chain(kept.map(String::as_str));
    wrong(format!(
        "{} keeps no text {column:?}{}",
        path.head,
        perhaps(column, known)
    ))
}

fn of_answer(part: &Part, form: &str, scope: &Scope) -> Result<(), Flaw> {
    let wrong = |reason: String| Err(Flaw::new(part.place.clone(), reason));
    let Node::Path(path) = &part.node else {
        return wrong(format!("it is written {form}"));
    };
    if !path.tail.is_empty() || !path.filters.is_empty() || !path.labels.is_empty() {
        return wrong(format!("only a name is wanted: it is written {form}"));
    }
    if scope.answers.contains(&path.head) || scope.measurements.contains_key(&path.head) {
        return Ok(());
    }
    let known = scope.answers.iter().chain(scope.measurements.keys());
    wrong(format!(
        "no step before this one keeps an answer {:?}{}",
        path.head,
        perhaps(&path.head, known.map(String::as_str))
    ))
}

pub(super) fn literal(part: &Part) -> Option<&str> {
    match &part.node {
        Node::Text(text) => Some(text),
        _ => None,
    }
}

/// `; did you mean "x"?`, or what there is where it is little.
pub(crate) fn perhaps<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(word, known.iter().copied()) {
        return format!("; did you mean {near:?}?");
    }
    // A long name is looked for by its parts.
    let parts: Vec<&str> = word.split('_').filter(|part| part.len() > 3).collect();
    let alike = |name: &&&str| parts.iter().filter(|part| name.contains(**part)).count();
    match known.iter().max_by_key(alike) {
        Some(near) if known.len() > 24 && alike(&near) > 1 => format!("; did you mean {near:?}?"),
        Some(_) if known.len() <= 24 => format!("; there are {}", known.join(", ")),
        _ => String::new(),
    }
}
