//! The steps of a file: which fields each kind takes, and what they refer to.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use actions::{Action, nearest};
use toml::Spanned;

use super::{Notes, fields, words};
use crate::{
    expression::{Expression, Scope},
    script::{Amount, Call, Caller, Keep, Kept, Key, Kind, Measure, Step, Table},
};

/// The kinds with the fields that they need and those that they may have; `title` and `text` may be everywhere.
pub(crate) const KINDS: [(&str, &[&str], &[&str]); 6] = [
    ("explain", &["text"], &["table"]),
    ("predict", &["question", "choices", "right"], &[]),
    ("act", &["do"], &["name"]),
    (
        "measure",
        &["name", "calls"],
        &[
            "as",
            "times",
            "for",
            "at_once",
            "rate",
            "key",
            "timeout",
            "retries",
            "budget",
            "pause",
            "keep",
            "background",
        ],
    ),
    ("stop", &["name"], &[]),
    ("observe", &["that"], &["within", "call", "as", "table"]),
];

/// The most calls of one measurement.
const TIMES: i64 = 20_000;
/// The most in flight.
const AT_ONCE: i64 = 500;
/// The most calls a second.
const RATE: f64 = 2_000.0;
/// The longest measurement.
const LONGEST: Duration = Duration::from_mins(5);
/// The longest observation.
const WITHIN: Duration = Duration::from_mins(2);

pub(super) fn check(
    steps: &[Spanned<fields::Step>],
    scope: &mut Scope,
    notes: &mut Notes,
) -> Vec<Step> {
    let mut running = BTreeSet::new();
    let mut checked = Vec::new();
    for step in steps {
        if let Some(kind) = kind(step, scope, &mut running, notes) {
            let raw = step.get_ref();
            let text = |value: Option<&Spanned<String>>| {
                value.map_or(String::new(), |text| text.get_ref().trim().to_owned())
            };
            checked.push(Step {
                title: text(raw.title.as_ref()),
                text: text(raw.text.as_ref()),
                kind,
            });
        }
    }
    checked
}

fn kind(
    step: &Spanned<fields::Step>,
    scope: &mut Scope,
    running: &mut BTreeSet<String>,
    notes: &mut Notes,
) -> Option<Kind> {
    let raw = step.get_ref();
    let wanted = raw.kind.get_ref().as_str();
    let Some((name, needed, allowed)) = KINDS.iter().find(|(kind, ..)| *kind == wanted) else {
        let names = KINDS.map(|(kind, ..)| kind);
        let hint = nearest(wanted, names.into_iter())
            .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        let reason = format!(
            "there is no kind {wanted:?}: there are {}{hint}",
            names.join(", ")
        );
        notes.inside(&raw.kind, 0, reason);
        return None;
    };
    let present = raw.present();
    for (field, place) in &present {
        let known = needed.contains(field) || allowed.contains(field);
        if !known && !["title", "text"].contains(field) {
            notes.add(
                place.clone(),
                format!("a step of kind {name:?} has no {field:?}"),
            );
        }
    }
    let missing: Vec<&str> = needed
        .iter()
        .filter(|field| !present.iter().any(|(there, _)| there == *field))
        .copied()
        .collect();
    if !missing.is_empty() {
        let reason = format!("a step of kind {name:?} needs {}", missing.join(", "));
        notes.add(step.span(), reason);
        return None;
    }
    match *name {
        "explain" => Some(Kind::Explain {
            table: raw
                .table
                .as_ref()
                .and_then(|rows| table(rows, scope, notes)),
        }),
        "predict" => predict(raw, notes),
        "act" => act(raw, scope, notes),
        "measure" => {
            let measure = measure(raw, scope, notes)?;
            let kept = measure.keep.iter().map(|keep| keep.name.clone()).collect();
            scope.measurements.insert(measure.name.clone(), kept);
            if measure.background {
                running.insert(measure.name.clone());
            }
            Some(Kind::Measure(measure))
        }
        "stop" => {
            let name = raw.name.as_ref()?;
            if running.remove(name.get_ref()) {
                return Some(Kind::Stop {
                    name: name.get_ref().clone(),
                });
            }
            let hint = nearest(name.get_ref(), running.iter().map(String::as_str))
                .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            let reason = format!(
                "no measurement {:?} runs in the background here{hint}",
                name.get_ref()
            );
            notes.inside(name, 0, reason);
            None
        }
        _ => observe(raw, scope, notes),
    }
}

fn predict(raw: &fields::Step, notes: &mut Notes) -> Option<Kind> {
    let (question, choices, right) = (
        raw.question.as_ref()?,
        raw.choices.as_ref()?,
        raw.right.as_ref()?,
    );
    if !(2..=6).contains(&choices.get_ref().len()) {
        notes.add(choices.span(), "2 to 6 choices are wanted");
        return None;
    }
    let number = usize::try_from(*right.get_ref()).ok();
    let Some(right) = number.filter(|right| (1..=choices.get_ref().len()).contains(right)) else {
        let reason = format!(
            "the right choice is a number from 1 to {}",
            choices.get_ref().len()
        );
        notes.add(right.span(), reason);
        return None;
    };
    Some(Kind::Predict {
        question: question.get_ref().trim().to_owned(),
        choices: choices.get_ref().clone(),
        right,
    })
}

fn act(raw: &fields::Step, scope: &mut Scope, notes: &mut Notes) -> Option<Kind> {
    let action = notes.action(raw.action.as_ref()?, scope)?;
    let mut kept = None;
    if let Some(name) = &raw.name {
        if !matches!(action, Action::Call { .. } | Action::Recharge { .. }) {
            notes.add(
                name.span(),
                "only the answer of a call or a recharge is kept under a name",
            );
            return None;
        }
        fresh(name, scope, notes)?;
        scope.answers.insert(name.get_ref().clone());
        kept = Some(name.get_ref().clone());
    }
    Some(Kind::Act { action, name: kept })
}

/// A name that is sound and new.
fn fresh(name: &Spanned<String>, scope: &Scope, notes: &mut Notes) -> Option<()> {
    let text = name.get_ref();
    if let Err(reason) = words::name(text) {
        notes.inside(name, 0, reason);
        return None;
    }
    if scope.measurements.contains_key(text) || scope.answers.contains(text) {
        notes.inside(name, 0, format!("a step before has the name {text:?}"));
        return None;
    }
    Some(())
}

fn measure(raw: &fields::Step, scope: &Scope, notes: &mut Notes) -> Option<Measure> {
    let before = notes.mistakes.len();
    let (name, lines) = (raw.name.as_ref()?, raw.calls.as_ref()?);
    fresh(name, scope, notes);
    let calls: Vec<Call> = lines
        .get_ref()
        .iter()
        .filter_map(|line| call(line, scope, notes))
        .collect();
    if lines.get_ref().is_empty() || lines.get_ref().len() > 50 {
        notes.add(lines.span(), "1 to 50 calls are wanted");
    }
    let amount = match (&raw.times, &raw.lasts) {
        (None, None) => Amount::Times(1),
        (Some(times), None) => Amount::Times(number(times, 1..=TIMES, notes).unwrap_or(1) as u32),
        (None, Some(lasts)) => Amount::For(time(lasts, LONGEST, notes).unwrap_or_default()),
        (Some(_), Some(lasts)) => {
            notes.add(lasts.span(), "either times or for is wanted, not both");
            Amount::Times(1)
        }
    };
    let rate = raw.rate.as_ref().map(|rate| {
        if !(0.1..=RATE).contains(rate.get_ref()) {
            notes.add(
                rate.span(),
                format!("0.1 to {RATE} calls a second are wanted"),
            );
        }
        *rate.get_ref()
    });
    // An open loop must be able to have many in flight.
    let usual = if rate.is_some() { 64 } else { 1 };
    let at_once = match &raw.at_once {
        None => usual,
        Some(at_once) => number(at_once, 1..=AT_ONCE, notes).unwrap_or(1) as u32,
    };
    let key = match raw.key.as_ref().map(|key| (key, key.get_ref().as_str())) {
        None | Some((_, "each")) => Key::Each,
        Some((_, "same")) => Key::Same,
        Some((_, "none")) => Key::None,
        Some((key, other)) => {
            notes.inside(
                key,
                0,
                format!("a key is \"each\", \"same\" or \"none\", not {other:?}"),
            );
            Key::Each
        }
    };
    let timeout = raw
        .timeout
        .as_ref()
        .map_or(Some(Duration::from_secs(10)), |text| {
            time(text, Duration::from_mins(1), notes)
        });
    let pause = raw.pause.as_ref().map_or(Some(Duration::ZERO), |text| {
        time(text, Duration::from_mins(1), notes)
    });
    let retries = match &raw.retries {
        None => 0,
        Some(retries) => number(retries, 0..=20, notes).unwrap_or(0) as u32,
    };
    let budget = raw
        .budget
        .as_ref()
        .map(|budget| number(budget, 0..=100, notes).unwrap_or(0) as u32);
    let background = raw.background.as_ref().is_some_and(|it| *it.get_ref());
    let measure = Measure {
        name: name.get_ref().clone(),
        calls,
        caller: caller(raw, notes),
        amount,
        at_once,
        rate,
        key,
        timeout: timeout.unwrap_or_default(),
        retries,
        budget,
        pause: pause.unwrap_or_default(),
        keep: keep(raw, notes),
        background,
    };
    (notes.mistakes.len() == before).then_some(measure)
}

fn keep(raw: &fields::Step, notes: &mut Notes) -> Vec<Keep> {
    let mut kept = Vec::new();
    for (name, what) in raw.keep.iter().flat_map(Spanned::get_ref) {
        if let Err(reason) = words::name(name.get_ref()) {
            notes.add(name.span(), reason);
        }
        let words: Vec<&str> = what.get_ref().split_whitespace().collect();
        let what = match words.as_slice() {
            ["header", header] => Kept::Header(header.to_ascii_lowercase()),
            ["json", pointer] if pointer.starts_with('/') => Kept::Body((*pointer).to_owned()),
            _ => {
                notes.inside(
                    what,
                    0,
                    "what is kept is \"json /POINTER\" or \"header NAME\"",
                );
                continue;
            }
        };
        kept.push(Keep {
            name: name.get_ref().clone(),
            what,
        });
    }
    kept
}

fn observe(raw: &fields::Step, scope: &Scope, notes: &mut Notes) -> Option<Kind> {
    let that = raw.that.as_ref()?;
    let caller = caller(raw, notes);
    let own = match &raw.call {
        None => None,
        Some(line) => Some((call(line, scope, notes)?, caller)),
    };
    let mut inner = scope.clone();
    if own.is_some() {
        inner.answers.insert("response".to_owned());
    } else if let Some(at) = &raw.caller {
        notes.add(at.span(), "\"as\" is for a step with a call");
    }
    let within = match &raw.within {
        None => Duration::ZERO,
        Some(text) => time(text, WITHIN, notes)?,
    };
    Some(Kind::Observe {
        condition: notes.expression(that, &inner, true)?,
        within,
        call: own,
        table: raw
            .table
            .as_ref()
            .and_then(|rows| table(rows, &inner, notes)),
    })
}

fn table(raw: &Spanned<fields::Table>, scope: &Scope, notes: &mut Notes) -> Option<Table> {
    let wanted = raw.get_ref().columns.len();
    let mut rows = Vec::new();
    for row in &raw.get_ref().rows {
        let cells = row.get_ref();
        if cells.len() != wanted || wanted < 2 {
            notes.add(
                row.span(),
                format!(
                    "a row has a name and an expression for each other column: {wanted} in all"
                ),
            );
            return None;
        }
        let name = cells[0].get_ref().clone();
        let cells = cells[1..]
            .iter()
            .map(|cell| notes.expression(cell, scope, false))
            .collect::<Option<Vec<Expression>>>()?;
        rows.push((name, cells));
    }
    Some(Table {
        columns: raw.get_ref().columns.clone(),
        rows,
    })
}

fn call(line: &Spanned<String>, scope: &Scope, notes: &mut Notes) -> Option<Call> {
    let text = line.get_ref();
    match Action::parse(&format!("call {text}")) {
        Ok(Action::Call {
            method,
            target,
            body,
            token,
        }) => {
            if !token {
                notes.inside(line, 0, "say as = \"anonymous\" instead");
                return None;
            }
            let before = notes.mistakes.len();
            for text in [Some(&target.path), body.as_ref()].into_iter().flatten() {
                if let Err((word, reason)) = words::check_placeholders(text, scope) {
                    let at = line.get_ref().find(&word).unwrap_or(0);
                    notes.inside(line, at, reason);
                }
            }
            (notes.mistakes.len() == before).then(|| Call {
                line: text.clone(),
                method,
                target,
                body,
            })
        }
        Ok(_) => {
            notes.inside(line, 0, "one call is wanted, such as GET /data?key=a");
            None
        }
        Err(error) => {
            notes.inside(line, text.find(&error.word).unwrap_or(0), error.to_string());
            None
        }
    }
}

fn caller(raw: &fields::Step, notes: &mut Notes) -> Caller {
    let Some(text) = &raw.caller else {
        return Caller::Demo;
    };
    let found = Caller::ALL
        .into_iter()
        .find(|caller| caller.name() == text.get_ref());
    found.unwrap_or_else(|| {
        let names = Caller::ALL.map(Caller::name).join(", ");
        notes.inside(text, 0, format!("calls are made as one of {names}"));
        Caller::Demo
    })
}

fn number(
    value: &Spanned<i64>,
    range: std::ops::RangeInclusive<i64>,
    notes: &mut Notes,
) -> Option<i64> {
    if range.contains(value.get_ref()) {
        return Some(*value.get_ref());
    }
    let reason = format!("{} to {} is wanted", range.start(), range.end());
    notes.add(value.span(), reason);
    None
}

fn time(value: &Spanned<String>, most: Duration, notes: &mut Notes) -> Option<Duration> {
    match words::time(value.get_ref()) {
        Ok(time) if time <= most => Some(time),
        Ok(_) => {
            notes.inside(value, 0, format!("at most {} s", most.as_secs()));
            None
        }
        Err(reason) => {
            notes.inside(value, 0, reason);
            None
        }
    }
}

impl Step {
    /// Every expression in it.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let (condition, table) = match &self.kind {
            Kind::Observe {
                condition, table, ..
            } => (Some(condition), table.as_ref()),
            Kind::Explain { table } => (None, table.as_ref()),
            _ => (None, None),
        };
        let cells = table
            .into_iter()
            .flat_map(|table| table.rows.iter().flat_map(|(_, cells)| cells));
        condition.into_iter().chain(cells)
    }
}

/// Where the first step is that asks for an invariant.
pub(super) fn asks_the_database(
    steps: &[Step],
    raw: &[Spanned<fields::Step>],
) -> Option<Range<usize>> {
    let asks = |step: &Step| step.expressions().any(|it| !it.invariants().is_empty());
    let at = steps.iter().position(asks)?;
    Some(raw.get(at)?.get_ref().that.as_ref()?.span())
}
