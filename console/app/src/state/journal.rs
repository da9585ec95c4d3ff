//! What the operator did: each action with the command line that does the same, what came of it, and how to undo it.

use std::collections::VecDeque;

use actions::Action;
use chrono::{DateTime, Utc};

/// Entries kept.
const MOST: usize = 500;

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    UnderWay,
    Done(String),
    Failed(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub number: u64,
    pub at: DateTime<Utc>,
    pub action: Action,
    pub end: End,
    /// What takes it back; gone when it was used.
    pub undo: Option<Action>,
}

#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    next: u64,
}

impl Journal {
    /// Writes an action down as begun; its number.
    pub fn begin(&mut self, action: Action, at: DateTime<Utc>) -> u64 {
        self.next += 1;
        if self.entries.len() == MOST {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            number: self.next,
            at,
            action,
            end: End::UnderWay,
            undo: None,
        });
        self.next
    }

    pub fn finish(&mut self, number: u64, end: End, undo: Option<Action>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) {
            entry.end = end;
            entry.undo = undo;
        }
    }

    /// Takes the newest undo out; it can be used once.
    pub fn take_undo(&mut self) -> Option<Action> {
        self.entries
            .iter_mut()
            .rev()
            .find_map(|entry| entry.undo.take())
    }

    /// What would be undone next.
    pub fn undo(&self) -> Option<&Action> {
        self.entries
            .iter()
            .rev()
            .find_map(|entry| entry.undo.as_ref())
    }

    /// The newest last.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_undo_is_used_once_the_newest_first() {
        let mut journal = Journal::default();
        let begin = |journal: &mut Journal, action: Action, undo: Option<Action>| {
            let number = journal.begin(action, DateTime::UNIX_EPOCH);
            journal.finish(number, End::Done(String::new()), undo);
        };
        let drain = |name: &str| Action::Drain(name.to_owned());
        let restore = |name: &str| Action::Restore(name.to_owned());
        begin(&mut journal, drain("a"), Some(restore("a")));
        begin(&mut journal, drain("b"), Some(restore("b")));
        begin(&mut journal, Action::StopTraffic, None);
        assert_eq!(journal.take_undo(), Some(restore("b")));
        assert_eq!(journal.undo(), Some(&restore("a")));
        assert_eq!(journal.take_undo(), Some(restore("a")));
        assert_eq!(journal.take_undo(), None);
    }
}
