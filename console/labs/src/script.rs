//! A lab, read and checked: what the engine runs.

use std::{collections::BTreeSet, fmt, time::Duration};

use actions::{Action, Method, Target};

use crate::expression::Expression;

/// A lab.
#[derive(Clone, Debug, PartialEq)]
pub struct Lab {
    /// Letters, digits and `-`; what `recarga lab run` takes.
    pub name: String,
    pub title: String,
    pub goal: String,
    /// What it takes with somebody who reads and talks.
    pub minutes: u32,
    pub needs: Vec<Need>,
    pub steps: Vec<Step>,
    /// What is done at the end on top of taking back every action.
    pub clean_up: Vec<Action>,
    pub series: Vec<Series>,
    /// None for one that is built in.
    pub file: Option<String>,
    /// The metrics that its expressions ask for.
    pub metrics: BTreeSet<String>,
}

/// Something that must be there before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// So many instances of a role, at least.
    Instances { role: String, least: u32 },
    /// A supervisor that starts what dies, restarts and scales.
    Supervisor,
    /// The database's address, for `holds(…)`.
    Database,
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances { role, least } => write!(out, "{role} >= {least}"),
            Self::Supervisor => out.write_str("supervisor"),
            Self::Database => out.write_str("database"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Empty where it has none.
    pub title: String,
    /// What is told about it; empty where it says nothing.
    pub text: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Explain {
        table: Option<Table>,
    },
    Predict {
        question: String,
        choices: Vec<String>,
        /// Counted from 1.
        right: usize,
    },
    Act {
        action: Action,
        /// The name that the answer of a call is kept under.
        name: Option<String>,
    },
    Measure(Measure),
    /// Ends a measurement in the background.
    Stop {
        name: String,
    },
    Observe {
        condition: Expression,
        /// Zero: one look.
        within: Duration,
        /// Made before each look; its answer is `response`.
        call: Option<(Call, Caller)>,
        table: Option<Table>,
    },
}

impl Kind {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Explain { .. } => "explain",
            Self::Predict { .. } => "predict",
            Self::Act { .. } => "act",
            Self::Measure(_) => "measure",
            Self::Stop { .. } => "stop",
            Self::Observe { .. } => "observe",
        }
    }
}

/// Calls that are sent and timed.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    pub name: String,
    /// One after the other, and from the first again.
    pub calls: Vec<Call>,
    pub caller: Caller,
    pub amount: Amount,
    /// The most in flight.
    pub at_once: u32,
    /// Calls a second by a schedule (open loop); without it, as fast as the answers come (closed loop).
    pub rate: Option<f64>,
    pub key: Key,
    /// Without an answer after this time, a call is given up.
    pub timeout: Duration,
    /// How often a call is sent again that was not answered, or with 5xx.
    pub retries: u32,
    /// How many of a hundred calls may be sent again, over all of them.
    pub budget: Option<u32>,
    /// Before it is sent again.
    pub pause: Duration,
    pub keep: Vec<Keep>,
    /// Whether the next step begins while it runs.
    pub background: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Times(u32),
    For(Duration),
}

/// Which idempotency key a write carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One for each call, the same when it is sent again.
    Each,
    /// One for all calls of the measurement: a client that repeats itself.
    Same,
    None,
}

/// As whom calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    Anonymous,
    /// With the token that anybody gets.
    Demo,
    Student1,
    Student2,
    Operator,
}

impl Caller {
    pub const ALL: [Self; 5] = [
        Self::Anonymous,
        Self::Demo,
        Self::Student1,
        Self::Student2,
        Self::Operator,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Demo => "demo",
            Self::Student1 => "student1",
            Self::Student2 => "student2",
            Self::Operator => "operator",
        }
    }
}

/// One call. In path and body `<n>` is the call's number in its measurement from 1, `<1..100>` a number drawn by chance,
/// `<run>` a number that no other run has, and `<name:/pointer>` a value out of an answer before.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// As the lab says it.
    pub line: String,
    pub method: Method,
    pub target: Target,
    pub body: Option<String>,
}

/// A text that is kept of each answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    pub name: String,
    pub what: Kept,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Header(String),
    /// A JSON pointer.
    Body(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<(String, Vec<Expression>)>,
}

/// A figure to plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub of: Expression,
    pub unit: String,
}
