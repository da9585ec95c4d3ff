//! What clients asked for and what they were told, as an append-only file of JSON lines.
//!
//! Each request is one operation: a line when it is sent and a line when its outcome is known. An operation without a
//! second line has an unknown outcome, as have those whose answer never came or was a server's error.

mod read;
mod record;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use read::{Error, Journal};
pub use record::Recorder;

/// The format that this build writes and reads.
pub const FORMAT: u32 = 1;

/// One line of the file. Times are microseconds of a clock that never goes back, from the journal's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    Start(Start),
    Invoke {
        at_us: u64,
        operation: u64,
        #[serde(flatten)]
        action: Action,
    },
    /// It was answered with success.
    Ok {
        at_us: u64,
        operation: u64,
        #[serde(flatten)]
        answer: Answer,
    },
    /// It was answered with a refusal: it has no effect.
    Refused {
        at_us: u64,
        operation: u64,
        status: u16,
        reason: String,
    },
    /// It may have an effect, now or later.
    Unknown {
        at_us: u64,
        operation: u64,
        reason: String,
    },
    /// What else happened, for whoever reads the file.
    Note {
        at_us: u64,
        words: String,
    },
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub format: u32,
    pub at: DateTime<Utc>,
    /// What the run was started with, if that decides what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Cards that nobody else used while the journal was written. Their histories are complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
}

/// A card as it was when the journal was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub card: i64,
    pub balance: i64,
    /// The newest recharge on it, 0 without one.
    pub newest_recharge: i64,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    Recharge {
        card: i64,
        amount: i64,
        key: String,
    },
    Balance {
        card: i64,
    },
    Book {
        student: i64,
        tutor: i64,
        key: String,
    },
    Task {
        key: String,
        /// It asks to fail at every attempt.
        fails: bool,
    },
    /// Each value is a message and its dedupe id.
    Send {
        queue: String,
        values: Vec<String>,
    },
    Receive {
        queue: String,
    },
    Acknowledge {
        queue: String,
        message: String,
        delivery: u32,
    },
    /// The naive pair of older clients.
    Enqueue {
        value: String,
    },
    Dequeue,
}

/// What a success says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Recharged {
        recharge: i64,
        balance: i64,
        replayed: bool,
    },
    Balance {
        balance: i64,
        /// `X-Cache`.
        cache: String,
    },
    Booked {
        booking: i64,
        tutor: i64,
        starts_at: DateTime<Utc>,
        ends_at: DateTime<Utc>,
        replayed: bool,
    },
    Accepted {
        task: i64,
        replayed: bool,
    },
    Sent {
        messages: Vec<String>,
    },
    Received {
        deliveries: Vec<Delivery>,
    },
    /// Too late means that the message was somebody else's, or ended, by then.
    Acknowledged {
        late: bool,
    },
    Enqueued {
        message: String,
    },
    /// Nothing when the queue was empty.
    Dequeued {
        message: Option<String>,
    },
}

/// One message in a receive's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub message: String,
    pub delivery: u32,
    pub value: String,
}

/// A request with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub id: u64,
    pub action: Action,
    pub invoked_us: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok { at_us: u64, answer: Answer },
    Refused { at_us: u64, status: u16 },
    Unknown,
}

impl Operation {
    /// The answer and when it came, of a success.
    #[must_use]
    pub fn answer(&self) -> Option<(&Answer, u64)> {
        match &self.outcome {
            Outcome::Ok { at_us, answer } => Some((answer, *at_us)),
            Outcome::Refused { .. } | Outcome::Unknown => None,
        }
    }

    /// Whether it surely had no effect.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { .. })
    }
}
