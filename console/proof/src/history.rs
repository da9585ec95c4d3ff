//! Judges histories: whether what clients were told can have happened. Pure, and hard on purpose to satisfy by accident.

pub mod bookings;
pub mod cards;
pub mod naive;
pub mod queue;
mod subsets;

use serde::Serialize;

/// Something that cannot have happened, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Offender {
    /// Such as `recharge 17` or `card 3`.
    pub what: String,
    /// In a sentence without its end.
    pub why: String,
}

impl Offender {
    #[must_use]
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
        }
    }
}

/// What a checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// How much was looked at, by what it is.
    pub checked: Vec<(&'static str, u64)>,
    pub offenders: Vec<Offender>,
    /// What the search gave up on: neither good nor bad.
    pub undecided: Vec<Offender>,
}

impl Findings {
    /// Counts something that was looked at.
    pub fn count(&mut self, what: &'static str, by: u64) {
        match self.checked.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += by,
            None => self.checked.push((what, by)),
        }
    }

    pub fn offend(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.offenders.push(Offender::new(what, why));
    }

    /// Adds what another checker found.
    pub fn merge(&mut self, other: Self) {
        for (what, count) in other.checked {
            self.count(what, count);
        }
        self.offenders.extend(other.offenders);
        self.undecided.extend(other.undecided);
    }
}
