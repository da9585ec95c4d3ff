//! Where the operator is in a table: a row that stays the same row when others come and go, what is marked, sorted and hidden.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

/// A pattern that rows are held against, `!` before it turns it round.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    inverted: bool,
    pattern: Regex,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Filter {
    /// None for an empty text. What is no regular expression is looked for as it stands.
    pub fn new(text: &str) -> Option<Self> {
        let (inverted, wanted) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if wanted.is_empty() {
            return None;
        }
        let build = |wanted: &str| {
            RegexBuilder::new(wanted)
                .case_insensitive(!wanted.chars().any(char::is_uppercase))
                .size_limit(1 << 20)
                .build()
        };
        let pattern = build(wanted)
            .or_else(|_| build(&regex::escape(wanted)))
            .ok()?;
        Some(Self {
            text: text.to_owned(),
            inverted,
            pattern,
        })
    }

    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn lets_through(&self, row: &str) -> bool {
        self.pattern.is_match(row) != self.inverted
    }

    /// Where it matches; what only keeps things out is to be seen nowhere.
    pub fn matches<'r>(&'r self, row: &'r str) -> impl Iterator<Item = std::ops::Range<usize>> {
        let found = self
            .pattern
            .find_iter(row)
            .map(|found| found.start()..found.end());
        found.filter(|range| !self.inverted && !range.is_empty())
    }
}

/// A place among the rows of one panel. Rows are known by a key of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cursor {
    key: Option<String>,
    /// Where that row was last, for when it is gone.
    row: usize,
    marked: BTreeSet<String>,
    /// Which column rows are ordered by; the panel's own order without.
    pub sort: Option<usize>,
    pub reversed: bool,
    pub filter: Option<Filter>,
}

impl Cursor {
    /// The key that was chosen, whether it is on show or not; none as long as the first row will do.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The chosen row's place among `rows`; none where there are no rows.
    pub fn place(&self, rows: &[String]) -> Option<usize> {
        let by_key = self
            .key
            .as_ref()
            .and_then(|key| rows.iter().position(|row| row == key));
        by_key.or_else(|| rows.len().checked_sub(1).map(|last| self.row.min(last)))
    }

    /// The chosen row's key.
    pub fn chosen<'a>(&self, rows: &'a [String]) -> Option<&'a str> {
        self.place(rows).map(|place| rows[place].as_str())
    }

    /// Moves by so many rows, not beyond the ends.
    pub fn step(&mut self, rows: &[String], by: isize) {
        if let Some(place) = self.place(rows) {
            self.go(rows, place.saturating_add_signed(by));
        }
    }

    pub fn go(&mut self, rows: &[String], to: usize) {
        let Some(last) = rows.len().checked_sub(1) else {
            return;
        };
        self.row = to.min(last);
        self.key = Some(rows[self.row].clone());
    }

    pub fn choose(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// Marks the chosen row or takes the mark away, and goes to the next.
    pub fn mark(&mut self, rows: &[String]) {
        if let Some(key) = self.chosen(rows).map(str::to_owned) {
            if !self.marked.remove(&key) {
                self.marked.insert(key);
            }
            self.step(rows, 1);
        }
    }

    pub fn is_marked(&self, key: &str) -> bool {
        self.marked.contains(key)
    }

    /// What an action is about: the marked rows that are still among those shown, or else the chosen one. Never a row that is
    /// not on show.
    pub fn meant<'a>(&self, rows: &'a [String]) -> Vec<&'a str> {
        let marked: Vec<&str> = rows
            .iter()
            .map(String::as_str)
            .filter(|row| self.is_marked(row))
            .collect();
        if marked.is_empty() {
            self.chosen(rows).into_iter().collect()
        } else {
            marked
        }
    }

    pub fn unmark(&mut self) {
        self.marked.clear();
    }

    /// The first row to show so that the chosen one is among `room` of them, near the middle where there are more.
    pub fn first_shown(&self, rows: &[String], room: usize) -> usize {
        let place = self.place(rows).unwrap_or(0);
        place
            .saturating_sub(room / 2)
            .min(rows.len().saturating_sub(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_row_stays_chosen_when_others_come_and_go() {
        let mut cursor = Cursor::default();
        let before = rows(&["a", "b", "c"]);
        assert_eq!(cursor.chosen(&before), Some("a"));
        cursor.step(&before, 1);
        assert_eq!(cursor.chosen(&rows(&["0", "a", "b", "c"])), Some("b"));
        assert_eq!(cursor.chosen(&rows(&["a", "c"])), Some("c"), "its place");
        assert_eq!(cursor.chosen(&rows(&["a"])), Some("a"));
        assert_eq!(cursor.chosen(&[]), None);
        cursor.step(&before, 100);
        assert_eq!(cursor.chosen(&before), Some("c"));
        cursor.step(&before, -100);
        assert_eq!(cursor.chosen(&before), Some("a"));
    }

    #[test]
    fn pitfall_03_all_means_no_more_than_is_on_show() {
        let mut cursor = Cursor::default();
        let all = rows(&["a", "b", "c"]);
        cursor.mark(&all);
        cursor.mark(&all);
        assert_eq!(cursor.meant(&all), ["a", "b"]);
        // A filter hides one of the marked.
        assert_eq!(cursor.meant(&rows(&["b", "c"])), ["b"]);
        // None of the marked is on show: the chosen row, which is, is meant.
        assert_eq!(cursor.meant(&rows(&["c"])), ["c"]);
        cursor.unmark();
        assert_eq!(cursor.meant(&all), ["c"]);
    }

    #[test]
    fn filters_are_expressions_or_else_plain_text() {
        let passes = |filter: &str, row: &str| Filter::new(filter).unwrap().lets_through(row);
        assert!(passes("gate.*2", "gateway-2") && !passes("gate.*2", "gateway-1"));
        assert!(passes("!gate", "cache-1") && !passes("!gate", "gateway-1"));
        assert!(passes("GET", "GET /x") && !passes("GET", "get /x"));
        assert!(passes("get", "GET /x"));
        assert!(passes("[", "a[0]") && !passes("[", "a"));
        assert_eq!(Filter::new(""), None);
        assert_eq!(Filter::new("!"), None);
    }

    #[test]
    fn what_is_shown_holds_the_chosen_row() {
        let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let mut cursor = Cursor::default();
        for place in 0..100 {
            cursor.go(&all, place);
            for room in 1..20 {
                let first = cursor.first_shown(&all, room);
                assert!(first <= place && place < first + room, "{place} {room}");
            }
        }
    }
}
