//! What happened when: every action and every change of state leaves a mark on the charts.

use std::collections::VecDeque;

use super::Moment;

/// Marks kept.
const MOST: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something the operator did.
    Action,
    /// Something that went wrong, or was made to.
    Fault,
    /// Something that came back.
    Recovery,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: Moment,
    pub kind: Kind,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Marks {
    marks: VecDeque<Mark>,
    /// How many there ever were.
    count: u64,
}

impl Marks {
    pub fn add(&mut self, at: Moment, kind: Kind, text: impl Into<String>) {
        if self.marks.len() == MOST {
            self.marks.pop_front();
        }
        self.count += 1;
        let text = text.into();
        self.marks.push_back(Mark { at, kind, text });
    }

    /// How many there ever were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those that came when there had been so many, oldest first.
    pub fn since(&self, count: u64) -> impl Iterator<Item = &Mark> {
        let fresh = usize::try_from(self.count - count.min(self.count));
        let fresh = fresh.unwrap_or(usize::MAX).min(self.marks.len());
        self.marks.range(self.marks.len() - fresh..)
    }

    /// The marks between two moments, oldest first.
    pub fn between(&self, from: Moment, to: Moment) -> impl DoubleEndedIterator<Item = &Mark> {
        self.marks
            .iter()
            .filter(move |mark| mark.at >= from && mark.at <= to)
    }

    /// The newest mark up to a moment.
    pub fn last(&self, kind: Kind, at: Moment) -> Option<&Mark> {
        self.marks
            .iter()
            .rev()
            .find(|mark| mark.kind == kind && mark.at <= at)
    }
}
