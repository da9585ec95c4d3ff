//! The course of a lab: a state machine without I/O and clock. It says what is to be done, and is told what became of it.
//!
//! Whoever drives it carries out each [`Order`] (that is what [`crate::Field`] does), tells it what happened ([`Engine::hear`]) and what
//! the person at the keys wants ([`Engine::command`]), and draws what [`Engine::view`] shows. [`crate::drive`] does all of it.

mod look;
mod news;

use std::collections::BTreeMap;

use actions::{Action, Answer as Told, Done};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

use crate::{
    memory::{Answer, Memory},
    metrics::{History, Scrape},
    record::{
        self, About, Baseline, FORMAT, Machine, Mark, Measurement, Outcome, Prediction, Run,
        StepOutcome,
    },
    render::{Filling, resolve_action, resolve_call},
    sample::Sample,
    script::{Call, Caller, Kind, Lab, Measure, Step},
};

pub use news::{Live, News, Phase, View, Wants};

/// What the person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin what is shown, or go on to the next step.
    Next,
    /// An answer to the question, counted from 1.
    Choose(usize),
    /// Give up, take everything back, and end.
    Baseline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// See that the lab's needs are met, and put the baseline in place.
    Prepare,
    Perform(Action),
    Measure(Measure),
    /// End a measurement in the background, and wait for its last answers.
    Stop(String),
    /// Scrape, make the call, look at the invariants.
    Look {
        call: Option<(Call, Caller)>,
        invariants: Vec<usize>,
        /// Not the first look: a moment may pass before it.
        again: bool,
    },
    /// End everything that runs, carry these out one after the other, and put the baseline in place.
    Restore(Vec<Action>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The settings of the lab, or why it cannot begin.
    Prepared {
        settings: Result<BTreeMap<String, String>, String>,
        baseline: Option<Baseline>,
    },
    Performed(Box<Result<Done, String>>),
    /// A measurement begins.
    Began(String),
    Sampled(String, Sample),
    /// The last answer of a measurement.
    Answered(String, Answer),
    Measured(String, Result<(), String>),
    Scraped(Vec<Scrape>),
    Looked {
        answer: Option<Answer>,
        invariants: Vec<(usize, Result<bool, String>)>,
    },
    Restored(Baseline),
}

/// What a run is about, apart from the lab.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// RFC 3339, UTC.
    pub started_at: String,
    pub version: String,
    pub seed: u64,
    /// Differs from run to run.
    pub number: u64,
    pub machine: Machine,
}

/// One run of a lab.
#[derive(Debug)]
pub struct Engine {
    lab: Lab,
    memory: Memory,
    run: Run,
    phase: Phase,
    /// The step that is shown.
    at: usize,
    /// Takes back what was done, the last first at the end.
    undo: Vec<Action>,
    /// Measurements in the background, and since when.
    background: BTreeMap<String, f64>,
    number: u64,
    chance: ChaCha8Rng,
    news: Vec<News>,
    now_ms: f64,
}

impl Engine {
    #[must_use]
    pub fn new(lab: Lab, setting: Setting) -> Self {
        let steps = lab.steps.iter().enumerate();
        let run = Run {
            format: FORMAT,
            lab: About {
                name: lab.name.clone(),
                title: lab.title.clone(),
                goal: lab.goal.clone(),
                file: lab.file.clone(),
            },
            started_at: setting.started_at,
            seconds: 0.0,
            version: setting.version,
            seed: setting.seed,
            machine: setting.machine,
            settings: BTreeMap::new(),
            outcome: Outcome::Passed,
            reason: None,
            baselines: Vec::new(),
            steps: steps.map(|(index, step)| blank(index, step)).collect(),
            measurements: Vec::new(),
            series: lab
                .series
                .iter()
                .map(|series| record::Series {
                    name: series.name.clone(),
                    expression: series.of.text().to_owned(),
                    unit: series.unit.clone(),
                    points: Vec::new(),
                })
                .collect(),
            marks: Vec::new(),
        };
        let memory = Memory {
            history: History::of(lab.metrics.clone()),
            ..Memory::default()
        };
        Self {
            lab,
            memory,
            run,
            phase: Phase::Preparing,
            at: 0,
            undo: Vec::new(),
            background: BTreeMap::new(),
            number: setting.number,
            chance: ChaCha8Rng::seed_from_u64(setting.seed),
            news: Vec::new(),
            now_ms: 0.0,
        }
    }

    /// The first orders.
    pub fn begin(&mut self) -> Vec<Order> {
        vec![Order::Prepare]
    }

    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The record so far; complete when [`Engine::is_over`].
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// What takes back what was done so far, in the order in which it is to be done.
    #[must_use]
    pub fn undo(&self) -> Vec<Action> {
        self.undo.iter().rev().cloned().collect()
    }

    /// What happened since this was last asked.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Does what the person wants; `now_ms` are the milliseconds since the run began.
    pub fn command(&mut self, command: Command, now_ms: f64) -> Vec<Order> {
        self.clock(now_ms);
        match (command, self.phase) {
            (Command::Baseline, Phase::Restoring | Phase::Over) => Vec::new(),
            // It is being put in place: the run ends when it is.
            (Command::Baseline, Phase::Preparing) => {
                self.fail(Outcome::Interrupted, "stopped before its beginning");
                Vec::new()
            }
            (Command::Baseline, _) => {
                self.fail(Outcome::Interrupted, "stopped before its end");
                self.restore()
            }
            (Command::Next, Phase::Ready) => self.start(),
            (Command::Next, Phase::Asking | Phase::Settled) => self.advance(),
            (Command::Choose(choice), Phase::Asking) => self.choose(choice),
            _ => Vec::new(),
        }
    }

    /// Takes in what happened.
    pub fn hear(&mut self, heard: Heard, now_ms: f64) -> Vec<Order> {
        self.clock(now_ms);
        match heard {
            Heard::Prepared { settings, baseline } => self.prepared(settings, baseline),
            Heard::Performed(result) => self.performed(*result),
            Heard::Began(name) => {
                if let Some(measured) = self.memory.measurements.get_mut(&name) {
                    measured.started_ms = now_ms;
                }
                Vec::new()
            }
            Heard::Sampled(name, sample) => {
                if let Some(measured) = self.memory.measurements.get_mut(&name) {
                    measured.add(sample);
                }
                Vec::new()
            }
            Heard::Answered(name, answer) => {
                self.memory.answers.insert(name, answer);
                Vec::new()
            }
            Heard::Measured(name, result) => self.measured(&name, result),
            Heard::Scraped(scrapes) => {
                self.memory.history.add(now_ms, &scrapes);
                self.plot();
                Vec::new()
            }
            Heard::Looked { answer, invariants } => self.looked(answer, invariants),
            Heard::Restored(baseline) => {
                self.restored(baseline);
                Vec::new()
            }
        }
    }

    fn clock(&mut self, now_ms: f64) {
        self.now_ms = now_ms;
        self.memory.now_ms = now_ms;
    }

    fn prepared(
        &mut self,
        settings: Result<BTreeMap<String, String>, String>,
        baseline: Option<Baseline>,
    ) -> Vec<Order> {
        if self.phase != Phase::Preparing {
            return Vec::new();
        }
        let verified = baseline.as_ref().is_some_and(|baseline| baseline.verified);
        if let Some(baseline) = baseline {
            self.news.push(News::Baseline(baseline.clone()));
            self.run.baselines.push(baseline);
        }
        match settings {
            Err(reason) => self.fail(Outcome::Broken, &reason),
            Ok(settings) => {
                self.run.settings = settings;
                if verified && self.run.outcome == Outcome::Passed {
                    return self.enter(0);
                }
                self.fail(Outcome::Broken, "the lab is not in its baseline");
            }
        }
        self.end();
        Vec::new()
    }

    /// Shows a step. Questions and deeds wait for the person; a condition is looked at at once.
    fn enter(&mut self, at: usize) -> Vec<Order> {
        let Some(step) = self.lab.steps.get(at) else {
            return self.restore();
        };
        self.at = at;
        self.run.steps[at].started_ms = self.now_ms;
        self.news.push(News::Began(at));
        match &step.kind {
            Kind::Explain { table } => {
                self.run.steps[at].table =
                    table.as_ref().map(|table| look::fill(table, &self.memory));
                self.settle(StepOutcome::Done, None);
                Vec::new()
            }
            Kind::Predict { .. } => {
                self.phase = Phase::Asking;
                Vec::new()
            }
            Kind::Observe { .. } => self.start(),
            Kind::Act { .. } | Kind::Measure(_) | Kind::Stop { .. } => {
                self.phase = Phase::Ready;
                Vec::new()
            }
        }
    }

    fn choose(&mut self, choice: usize) -> Vec<Order> {
        let Some(prediction) = &mut self.run.steps[self.at].prediction else {
            return Vec::new();
        };
        if (1..=prediction.choices.len()).contains(&choice) {
            prediction.chosen = Some(choice);
            self.settle(StepOutcome::Done, None);
        }
        Vec::new()
    }

    fn advance(&mut self) -> Vec<Order> {
        self.enter(self.at + 1)
    }

    /// Begins what is shown.
    fn start(&mut self) -> Vec<Order> {
        self.phase = Phase::Working;
        self.run.steps[self.at].started_ms = self.now_ms;
        let order = match &self.lab.steps[self.at].kind {
            Kind::Act { action, .. } => {
                let mut filling = Filling {
                    number: 1,
                    run: self.number,
                    chance: &mut self.chance,
                };
                resolve_action(action, &self.memory, &mut filling).map(Order::Perform)
            }
            Kind::Measure(measure) => {
                let calls = measure.calls.iter();
                let calls: Result<Vec<Call>, String> =
                    calls.map(|call| resolve_call(call, &self.memory)).collect();
                calls.map(|calls| {
                    Order::Measure(Measure {
                        calls,
                        ..measure.clone()
                    })
                })
            }
            Kind::Stop { name } => Ok(Order::Stop(name.clone())),
            Kind::Observe {
                condition, call, ..
            } => {
                let resolved = call.as_ref().map(|(call, caller)| {
                    resolve_call(call, &self.memory).map(|call| (call, *caller))
                });
                resolved.transpose().map(|call| Order::Look {
                    call,
                    invariants: condition.invariants(),
                    again: false,
                })
            }
            Kind::Explain { .. } | Kind::Predict { .. } => return Vec::new(),
        };
        match order {
            Err(reason) => {
                self.break_step(&reason);
                Vec::new()
            }
            Ok(order) => {
                if let Order::Measure(measure) = &order {
                    self.begin_measurement(measure.clone());
                }
                vec![order]
            }
        }
    }

    fn begin_measurement(&mut self, measure: Measure) {
        let measured = Measurement {
            name: measure.name.clone(),
            calls: measure.calls.iter().map(|call| call.line.clone()).collect(),
            caller: measure.caller.name().to_owned(),
            at_once: measure.at_once,
            rate: measure.rate,
            started_ms: self.now_ms,
            ..Measurement::default()
        };
        self.memory
            .measurements
            .insert(measure.name.clone(), measured);
        self.run.steps[self.at].measurement = Some(measure.name.clone());
        if measure.background {
            self.background.insert(measure.name, self.now_ms);
            self.settle(
                StepOutcome::Done,
                Some("it runs in the background".to_owned()),
            );
        }
    }

    fn performed(&mut self, result: Result<Done, String>) -> Vec<Order> {
        // What was done counts also when nobody waits for it any more.
        if let Ok(Done {
            undo: Some(undo), ..
        }) = &result
        {
            self.undo.push(undo.clone());
        }
        let Some(Step {
            kind: Kind::Act { action, name },
            ..
        }) = self.lab.steps.get(self.at)
        else {
            return Vec::new();
        };
        if self.phase != Phase::Working {
            return Vec::new();
        }
        self.run.marks.push(Mark {
            at_ms: self.run.steps[self.at].started_ms,
            until_ms: self.now_ms,
            text: action.to_string(),
        });
        match result {
            Ok(done) => {
                if let (Some(name), Some(detail)) = (name, &done.detail) {
                    self.memory.answers.insert(name.clone(), answer(detail));
                }
                self.settle(StepOutcome::Done, Some(done.text));
            }
            Err(reason) => self.break_step(&reason),
        }
        Vec::new()
    }

    fn measured(&mut self, name: &str, result: Result<(), String>) -> Vec<Order> {
        let Some(measured) = self.memory.measurements.get_mut(name) else {
            return Vec::new();
        };
        // One that ended by itself is heard of again when it is stopped.
        if measured.took_ms <= 0.0 {
            measured.took_ms = (self.now_ms - measured.started_ms).max(0.001);
            measured.complete();
            self.run.marks.push(Mark {
                at_ms: measured.started_ms,
                until_ms: self.now_ms,
                text: format!("measure {name}"),
            });
        }
        let count = measured.len();
        self.background.remove(name);
        let waits = self.phase == Phase::Working
            && match &self.lab.steps[self.at].kind {
                Kind::Measure(measure) => measure.name == name,
                Kind::Stop { name: stopped } => stopped == name,
                _ => false,
            };
        match (waits, result) {
            (true, Ok(())) => {
                self.run.steps[self.at].measurement = Some(name.to_owned());
                self.settle(StepOutcome::Done, Some(format!("{count} calls")));
            }
            (true, Err(reason)) => self.break_step(&reason),
            (false, _) => {}
        }
        Vec::new()
    }

    /// Ends the step that is shown.
    fn settle(&mut self, outcome: StepOutcome, said: Option<String>) {
        let step = &mut self.run.steps[self.at];
        step.outcome = outcome;
        step.took_ms = self.now_ms - step.started_ms;
        if said.is_some() {
            step.said = said;
        }
        self.phase = Phase::Settled;
        self.news.push(News::Ended(self.at));
    }

    /// The step could not be done.
    fn break_step(&mut self, reason: &str) {
        self.settle(StepOutcome::Failed, Some(reason.to_owned()));
        let number = self.at + 1;
        self.fail(Outcome::Broken, &format!("step {number}: {reason}"));
    }

    /// The first failure counts.
    fn fail(&mut self, outcome: Outcome, reason: &str) {
        if self.run.outcome == Outcome::Passed {
            self.run.outcome = outcome;
            self.run.reason = Some(reason.to_owned());
        }
    }

    fn restore(&mut self) -> Vec<Order> {
        self.phase = Phase::Restoring;
        self.news.push(News::Restoring);
        let mut actions = self.lab.clean_up.clone();
        actions.extend(self.undo());
        vec![Order::Restore(actions)]
    }

    fn restored(&mut self, baseline: Baseline) {
        if self.phase == Phase::Over {
            return;
        }
        self.undo.clear();
        self.news.push(News::Baseline(baseline.clone()));
        if !baseline.verified {
            self.fail(Outcome::Broken, "the lab did not return to its baseline");
        }
        self.run.baselines.push(baseline);
        self.end();
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.run.seconds = (self.now_ms / 1e3 * 1e3).round() / 1e3;
        for measured in self.memory.measurements.values_mut() {
            if measured.took_ms <= 0.0 {
                measured.took_ms = (self.now_ms - measured.started_ms).max(0.001);
                measured.complete();
            }
        }
        let mut measurements: Vec<Measurement> =
            self.memory.measurements.values().cloned().collect();
        measurements.sort_by(|left, right| left.started_ms.total_cmp(&right.started_ms));
        self.run.measurements = measurements;
        self.news.push(News::Over);
    }
}

fn answer(told: &Told) -> Answer {
    Answer {
        status: told.status,
        headers: told.headers.clone(),
        body: serde_json::from_str(&told.body).unwrap_or_default(),
    }
}

/// A step's record before it began.
fn blank(index: usize, step: &Step) -> record::Step {
    let mut blank = record::Step {
        number: index + 1,
        kind: step.kind.name().to_owned(),
        title: step.title.clone(),
        text: step.text.clone(),
        ..record::Step::default()
    };
    match &step.kind {
        Kind::Predict {
            question,
            choices,
            right,
        } => {
            blank.prediction = Some(Prediction {
                question: question.clone(),
                choices: choices.clone(),
                right: *right,
                chosen: None,
            });
        }
        Kind::Observe {
            condition, within, ..
        } => {
            blank.condition = Some(record::Condition {
                expression: condition.text().to_owned(),
                within_ms: within.as_secs_f64() * 1e3,
                ..record::Condition::default()
            });
        }
        _ => {}
    }
    if blank.title.is_empty() {
        blank.title = news::headline(&step.kind);
    }
    blank
}

#[cfg(test)]
mod tests;
