//! Tells how a lab goes: steps with what was seen for people, one object a line for programs.

use std::path::Path;

use labs::{
    Engine,
    engine::News,
    record::{Baseline, Outcome, Reading, Run, Step, StepOutcome, Table},
    script::Lab,
};
use serde_json::{Value, json};

use crate::terminal::say;

/// The longest line of a step's own words that is told.
const WIDTH: usize = 100;

/// Tells of one run.
pub struct Voice {
    json: bool,
    name: String,
}

impl Voice {
    pub fn new(json: bool, lab: &Lab) -> Self {
        let voice = Self {
            json,
            name: lab.name.clone(),
        };
        if json {
            voice.event(
                "began",
                json!({"title": lab.title, "goal": lab.goal, "steps": lab.steps.len()}),
            );
        } else {
            say(format_args!("{} — {}", lab.name, lab.title));
        }
        voice
    }

    /// Tells what is new.
    pub fn hear(&mut self, engine: &mut Engine) {
        for news in engine.take_news() {
            let run = engine.run();
            match news {
                News::Baseline(baseline) if self.json => {
                    self.event("baseline", json!({"baseline": baseline}));
                }
                News::Baseline(baseline) => told_baseline(&baseline),
                News::Began(at) if self.json => {
                    let step = &run.steps[at];
                    self.event(
                        "step",
                        json!({"number": step.number, "kind": step.kind, "title": step.title}),
                    );
                }
                News::Looked(at) if self.json => {
                    let step = &run.steps[at];
                    let readings = step.condition.as_ref().map(|condition| &condition.readings);
                    self.event("look", json!({"number": step.number, "readings": readings}));
                }
                News::Ended(at) if self.json => {
                    self.event("outcome", json!({"step": run.steps[at]}));
                }
                News::Ended(at) => told_step(&run.steps[at]),
                News::Restoring if self.json => self.event("restoring", json!({})),
                News::Began(_) | News::Looked(_) | News::Restoring | News::Over => {}
            }
        }
    }

    /// Tells the end.
    pub fn end(&self, run: &Run, path: &Path) {
        if self.json {
            let (outcome, reason) = (run.outcome, &run.reason);
            self.event(
                "ended",
                json!({"outcome": outcome, "reason": reason, "seconds": run.seconds, "record": path}),
            );
            return;
        }
        say(verdict(run));
        say(format_args!("  record: {}", path.display()));
    }

    fn event(&self, event: &str, mut value: Value) {
        value["event"] = json!(event);
        value["lab"] = json!(self.name);
        say(value);
    }
}

/// One line for each of several runs.
pub fn summary(json: bool, runs: &[Run]) {
    if json {
        let passed = runs.iter().filter(|run| run.outcome == Outcome::Passed);
        let seconds: f64 = runs.iter().map(|run| run.seconds).sum();
        say(
            json!({"event": "summary", "labs": runs.len(), "passed": passed.count(), "seconds": seconds}),
        );
        return;
    }
    say("");
    for run in runs {
        say(format_args!("{:<18} {}", run.lab.name, verdict(run)));
    }
}

fn verdict(run: &Run) -> String {
    let mark = if run.outcome == Outcome::Passed {
        "✓"
    } else {
        "✗"
    };
    let reason = run
        .reason
        .as_deref()
        .map_or(String::new(), |reason| format!(": {reason}"));
    format!(
        "{mark} {} after {:.1} s{reason}",
        run.outcome.name(),
        run.seconds
    )
}

fn told_baseline(baseline: &Baseline) {
    for text in &baseline.restored {
        say(format_args!("  · {text}"));
    }
    if baseline.verified {
        let seconds = baseline.took_ms / 1e3;
        let instances = baseline
            .findings
            .iter()
            .find(|finding| finding.what == "instances");
        let seen = instances.map_or("", |finding| finding.seen.as_str());
        say(format_args!(
            "  ✓ baseline: {seen}; no fault, no traffic, default balancing, caches and consumers on ({seconds:.1} s)"
        ));
        return;
    }
    for finding in baseline.findings.iter().filter(|finding| !finding.good) {
        say(format_args!(
            "  ✗ baseline: {}: {}",
            finding.what, finding.seen
        ));
    }
}

fn told_step(step: &Step) {
    let seconds = step.took_ms / 1e3;
    let mark = match step.outcome {
        StepOutcome::Passed => "✓",
        StepOutcome::Failed => "✗",
        StepOutcome::Done | StepOutcome::Skipped => "·",
    };
    let first = step.text.lines().next().unwrap_or_default();
    let title = if step.title.is_empty() {
        first
    } else {
        &step.title
    };
    let title: String = title.chars().take(WIDTH).collect();
    match step.kind.as_str() {
        "explain" | "predict" => say(format_args!("  {mark} {title}")),
        _ => {
            let said = step
                .said
                .as_deref()
                .map_or(String::new(), |said| format!(" → {said}"));
            say(format_args!("  {mark} {title}{said} ({seconds:.1} s)"));
        }
    }
    if let Some(prediction) = &step.prediction
        && let Some(chosen) = prediction.chosen
    {
        let right = if chosen == prediction.right {
            "right"
        } else {
            "not so"
        };
        say(format_args!("      you said {chosen}: {right}"));
    }
    if let Some(condition) = &step.condition {
        for reading in &condition.readings {
            say(format_args!("      {}", words(reading)));
        }
    }
    if let Some(table) = &step.table {
        told_table(table);
    }
}

fn words(reading: &Reading) -> String {
    let mark = if reading.holds { "✓" } else { "✗" };
    if reading.operator.is_empty() {
        return format!("{mark} {} is {}", reading.what, reading.seen);
    }
    format!(
        "{mark} {} is {}, wanted {} {}",
        reading.what, reading.seen, reading.operator, reading.bound
    )
}

fn told_table(table: &Table) {
    let first = table.rows.iter().map(|row| row.name.chars().count());
    let name = first
        .chain(table.columns.first().map(|head| head.chars().count()))
        .max();
    let name = name.unwrap_or_default();
    let line = |head: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(|cell| format!("{cell:>12}")).collect();
        tell_line(&format!("      {head:<name$} {}", cells.join("")));
    };
    let mut heads = table.columns.iter().map(String::as_str);
    let head = heads.next().unwrap_or_default();
    line(head, &mut heads);
    for row in &table.rows {
        line(
            &row.name,
            &mut row.cells.iter().map(|cell| cell.text.as_str()),
        );
    }
}

fn tell_line(line: &str) {
    say(line.trim_end());
}
