//! What a run shows: the present step for whoever draws, and what happened for whoever prints lines.

use super::Engine;
use crate::{
    record::{self, Baseline, Reading, StepOutcome},
    script::{Amount, Kind, Step},
};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The baseline is put in place.
    Preparing,
    /// A step is shown and waits to be begun.
    Ready,
    /// A question waits for an answer.
    Asking,
    /// A step is under way.
    Working,
    /// A step is over and waits for the next.
    Settled,
    /// Everything is taken back.
    Restoring,
    Over,
}

/// What may be pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing but "back to baseline".
    Nothing,
    /// [`super::Command::Next`].
    Next,
    /// [`super::Command::Choose`], or [`super::Command::Next`] for no answer.
    Choice,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Baseline(Baseline),
    /// A step is shown, from 0.
    Began(usize),
    /// A condition was looked at and does not hold yet.
    Looked(usize),
    /// A step is over.
    Ended(usize),
    Restoring,
    Over,
}

/// What is to be seen now.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub phase: Phase,
    pub wants: Wants,
    /// The step that is shown, from 0; none before the first and after the last.
    pub at: Option<usize>,
    pub step: Option<&'a Step>,
    /// What has become of it so far: its answer, its prediction, its table.
    pub record: Option<&'a record::Step>,
    /// The outcome of every step, for an overview.
    pub outcomes: Vec<StepOutcome>,
    pub live: Option<Live<'a>>,
    /// Calls that came back of the measurement under way, and how many there will be where that is known.
    pub progress: Option<(usize, Option<u32>)>,
}

/// The condition that is looked at.
#[derive(Clone, Debug)]
pub struct Live<'a> {
    pub expression: &'a str,
    pub readings: &'a [Reading],
    /// Moment and value of the left side of the first comparison.
    pub history: &'a [(f64, f64)],
    /// Milliseconds that are left.
    pub left_ms: f64,
}

impl Engine {
    /// What is to be seen now.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let shown = !matches!(
            self.phase,
            Phase::Preparing | Phase::Restoring | Phase::Over
        );
        let step = self.lab.steps.get(self.at).filter(|_| shown);
        let record = self.run.steps.get(self.at).filter(|_| shown);
        let live = record.and_then(|record| {
            let condition = record.condition.as_ref()?;
            let spent = if self.phase == Phase::Working {
                self.now_ms - record.started_ms
            } else {
                record.took_ms
            };
            Some(Live {
                expression: &condition.expression,
                readings: &condition.readings,
                history: &condition.history,
                left_ms: (condition.within_ms - spent).max(0.0),
            })
        });
        let progress = match step.map(|step| &step.kind) {
            Some(Kind::Measure(measure)) => {
                let measured = self.memory.measurements.get(&measure.name);
                measured.map(|measured| {
                    let all = match measure.amount {
                        Amount::Times(times) => Some(times),
                        Amount::For(lasts) => measure
                            .rate
                            .map(|rate| (rate * lasts.as_secs_f64()).ceil() as u32),
                    };
                    (measured.len(), all)
                })
            }
            _ => None,
        };
        View {
            phase: self.phase,
            wants: match self.phase {
                Phase::Ready | Phase::Settled => Wants::Next,
                Phase::Asking => Wants::Choice,
                Phase::Preparing | Phase::Working | Phase::Restoring | Phase::Over => {
                    Wants::Nothing
                }
            },
            at: shown.then_some(self.at),
            step,
            record,
            outcomes: self.run.steps.iter().map(|step| step.outcome).collect(),
            live,
            progress,
        }
    }
}

/// What a step without a title is called.
pub(super) fn headline(kind: &Kind) -> String {
    match kind {
        Kind::Explain { .. } => String::new(),
        Kind::Predict { question, .. } => question.clone(),
        Kind::Act { action, .. } => action.to_string(),
        Kind::Measure(measure) => {
            let first = measure.calls.first().map_or("", |call| call.line.as_str());
            format!("measure {}: {first}", measure.name)
        }
        Kind::Stop { name } => format!("stop {name}"),
        Kind::Observe { condition, .. } => condition.text().to_owned(),
    }
}
