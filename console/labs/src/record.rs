//! What a run of a lab leaves behind: everything that a report is made from, as one JSON document.
//!
//! All moments (`at_ms`, `started_ms`) are milliseconds since the run began; all durations are milliseconds or seconds as their names
//! say. A reader must ignore members that it does not know; members are added, never taken away, as long as [`FORMAT`] stays.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of this document's form.
pub const FORMAT: u32 = 1;

/// One run of one lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    pub lab: About,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// From the first look at the baseline to the last.
    pub seconds: f64,
    /// Of the program.
    pub version: String,
    /// What chance grew from: the numbers drawn for `<1..100>` in calls.
    pub seed: u64,
    pub machine: Machine,
    /// What the lab ran on: `gateways` = `3`, `public_url`, `policy`, …
    pub settings: BTreeMap<String, String>,
    pub outcome: Outcome,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The looks at the baseline: before the first step and after the last.
    pub baselines: Vec<Baseline>,
    /// In the order of the lab; those that were not reached are `skipped`.
    pub steps: Vec<Step>,
    pub measurements: Vec<Measurement>,
    pub series: Vec<Series>,
    /// What was done, for the charts over time.
    pub marks: Vec<Mark>,
}

/// The lab, as its file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub name: String,
    pub title: String,
    pub goal: String,
    /// The file that it was read from; none for one that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's own name; empty where it has none.
    pub cpu: String,
    /// Logical processors.
    pub cores: u32,
    pub memory_bytes: u64,
    /// Such as `Debian GNU/Linux 13`.
    pub system: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every condition held, and the baseline was there again.
    Passed,
    /// A condition did not hold.
    Failed,
    /// Something could not be done: the lab did not have what it needs, an action was refused, the baseline did not come back.
    Broken,
    /// Somebody stopped it.
    Interrupted,
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One look at the baseline, after it was restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// When the look was complete.
    pub at_ms: f64,
    /// How long restoring and looking took.
    pub took_ms: f64,
    /// Whether everything was as it must be.
    pub verified: bool,
    /// What had to be put back first, in sentences.
    pub restored: Vec<String>,
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Such as `faults`, `instances`, `cache`.
    pub what: String,
    pub good: bool,
    /// What was seen, in words.
    pub seen: String,
}

/// What became of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// From 1.
    pub number: usize,
    /// `predict`, `act`, `measure`, `stop`, `observe` or `explain`.
    pub kind: String,
    /// Empty when the step has none.
    pub title: String,
    /// What was told or, for a step that does something, what it is.
    pub text: String,
    pub outcome: StepOutcome,
    pub started_ms: f64,
    pub took_ms: f64,
    /// What the lab answered to an action, or why the step failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// The measurement that it made or ended, a key of [`Run::measurements`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Not reached, or a question that nobody answered.
    #[default]
    Skipped,
    /// Told, done or measured.
    Done,
    /// An observation whose condition held.
    Passed,
    /// An observation whose condition did not hold, or a step that could not be done.
    Failed,
}

/// A question, what was said to it, and what is so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    pub question: String,
    pub choices: Vec<String>,
    /// Counted from 1.
    pub right: usize,
    /// Counted from 1; none when nobody said.
    pub chosen: Option<usize>,
}

/// A condition and what was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// As the lab says it.
    pub expression: String,
    /// How long it had; 0 is one look.
    pub within_ms: f64,
    /// The last look at each of its comparisons.
    pub readings: Vec<Reading>,
    /// The left side of its first comparison over time: moment and value.
    pub history: Vec<(f64, f64)>,
}

/// One comparison inside of a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The left side as it is written.
    pub what: String,
    /// Its value in words (`812 ms`), or why there is none.
    pub seen: String,
    /// `<`, `<=`, `==`, `!=`, `>=`, `>`; empty for what is true or false by itself.
    pub operator: String,
    /// The value of the right side in words.
    pub bound: String,
    pub holds: bool,
}

/// A small table of figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The head, the first being that of the rows' names.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub cells: Vec<Cell>,
}

/// A figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// As it is shown: `1.27 ms`, `42 %`, `gateway-1`.
    pub text: String,
    /// Where it is a number; times are milliseconds.
    pub number: Option<f64>,
}

/// The calls of one measurement, in columns of the same length: the calls in the order in which they were due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub name: String,
    /// What was called, as the lab says it.
    pub calls: Vec<String>,
    /// `anonymous`, `demo`, `student1`, `student2` or `operator`.
    pub caller: String,
    /// The most calls in flight at once.
    pub at_once: u32,
    /// Calls a second where the schedule sets the pace (open loop); none where the answers do (closed loop).
    pub rate: Option<f64>,
    /// When it began.
    pub started_ms: f64,
    pub took_ms: f64,
    /// When each call should have started. In a closed loop, when it did.
    pub at_ms: Vec<f64>,
    /// From that moment to the end of the answer.
    pub latency_ms: Vec<f64>,
    /// From the moment it really started.
    pub service_ms: Vec<f64>,
    /// 0 where there was no answer.
    pub status: Vec<u16>,
    /// Which of `calls`, from 0.
    pub call: Vec<u16>,
    /// How often it was sent: more than once where the lab's client retries.
    pub attempts: Vec<u16>,
    /// `gateway`, `cache`, `error` and whatever the lab keeps of the answers.
    pub texts: BTreeMap<String, TextColumn>,
    /// The milliseconds that each tier says it took (`Server-Timing`); none where an answer does not name it.
    pub tiers: BTreeMap<String, Vec<Option<f64>>>,
}

impl Measurement {
    #[must_use]
    pub fn len(&self) -> usize {
        self.at_ms.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at_ms.is_empty()
    }

    /// A text of a call.
    #[must_use]
    pub fn text(&self, column: &str, index: usize) -> Option<&str> {
        let column = self.texts.get(column)?;
        let value = (*column.index.get(index)?)?;
        column.values.get(usize::from(value)).map(String::as_str)
    }
}

/// Texts, each written once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextColumn {
    pub values: Vec<String>,
    /// Per call the place of its text in `values`.
    pub index: Vec<Option<u16>>,
}

/// A figure over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    /// As the lab says it.
    pub expression: String,
    pub unit: String,
    /// Moment and value, twice a second; times are milliseconds.
    pub points: Vec<(f64, f64)>,
}

/// Something that was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub at_ms: f64,
    /// When it was over; the same moment where it took no time.
    pub until_ms: f64,
    /// The action's line, such as `kill gateway-2`, or `measure slow`.
    pub text: String,
}
