//! What a verification says: per invariant what was looked at, the verdict, and the offenders by name.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::history::{Findings, Offender};

/// Offenders that are told by name; all are counted.
const TOLD: usize = 20;

/// The promises by their numbers.
const PROMISES: [&str; 6] = [
    "a recharge answered 201 is in the ledger once, any other at most once",
    "a card's balance is opening + recharges - fares; the ledger sums to zero",
    "after a write's 2xx no gateway shows the value from before it",
    "one notification per booking and recharge; no tutor is booked twice",
    "every accepted task ends completed, or failed with its reason",
    "outbox = delivered + pending + dead",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    Violated,
    /// Neither: the words beside it say why.
    Unchecked,
}

/// One invariant, or one history.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Of the invariant; none for a history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<usize>,
    pub promise: String,
    pub verdict: Verdict,
    #[serde(serialize_with = "as_object")]
    pub checked: Vec<(&'static str, u64)>,
    /// The first of them.
    pub offenders: Vec<Offender>,
    pub offenders_total: usize,
    /// Why it could not be checked, or what could not be decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

fn as_object<S: Serializer>(
    pairs: &[(&'static str, u64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

impl Check {
    #[must_use]
    pub fn new(number: usize, findings: Findings) -> Self {
        Self {
            number: Some(number),
            ..Self::history(PROMISES[number - 1], findings)
        }
    }

    #[must_use]
    pub fn history(promise: &str, findings: Findings) -> Self {
        let verdict = if !findings.offenders.is_empty() {
            Verdict::Violated
        } else if !findings.undecided.is_empty() {
            Verdict::Unchecked
        } else {
            Verdict::Holds
        };
        let offenders_total = findings.offenders.len();
        let mut offenders = findings.offenders;
        offenders.truncate(TOLD);
        let undecided = findings.undecided.iter().take(TOLD);
        Self {
            number: None,
            promise: promise.to_owned(),
            verdict,
            checked: findings.checked,
            offenders,
            offenders_total,
            notes: undecided
                .map(|undecided| format!("{}: {}", undecided.what, undecided.why))
                .collect(),
        }
    }

    /// An invariant about which nothing can be said.
    #[must_use]
    pub fn unchecked(number: usize, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unchecked,
            notes: vec![why.into()],
            ..Self::new(number, Findings::default())
        }
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self
            .number
            .map_or_else(|| "-".to_owned(), |number| number.to_string());
        let verdict = match self.verdict {
            Verdict::Holds => "holds",
            Verdict::Violated => "VIOLATED",
            Verdict::Unchecked => "not checked",
        };
        let counts: Vec<String> = self
            .checked
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        write!(formatter, "{number:>2}  {verdict:11}  {}", self.promise)?;
        if !counts.is_empty() {
            write!(formatter, "\n{:17}{}", "", counts.join(", "))?;
        }
        for note in &self.notes {
            write!(formatter, "\n{:17}note: {note}", "")?;
        }
        for offender in &self.offenders {
            write!(formatter, "\n{:17}{}: {}", "", offender.what, offender.why)?;
        }
        let untold = self.offenders_total - self.offenders.len();
        if untold > 0 {
            write!(formatter, "\n{:17}and {untold} more", "")?;
        }
        Ok(())
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every invariant was checked and holds.
    pub holds: bool,
    pub live: bool,
    /// Operations in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// How long things took to come to rest.
    #[serde(serialize_with = "as_seconds")]
    pub waited: Duration,
    #[serde(serialize_with = "as_seconds")]
    pub took: Duration,
    pub checks: Vec<Check>,
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Report {
    /// Whether something is wrong for sure.
    #[must_use]
    pub fn is_violated(&self) -> bool {
        self.has(Verdict::Violated)
    }

    /// Whether something could not be checked.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.has(Verdict::Unchecked)
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.checks.iter().any(|check| check.verdict == verdict)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(formatter, "{check}")?;
        }
        let journal = self.operations.map_or_else(
            || "without a journal".to_owned(),
            |operations| format!("with a journal of {operations} operations"),
        );
        let lab = if self.live { "running" } else { "stopped" };
        let verdict = if self.is_violated() {
            "VIOLATED"
        } else if self.is_unchecked() {
            "what was checked holds"
        } else {
            "everything holds"
        };
        write!(
            formatter,
            "{verdict}: a {lab} lab {journal}, at rest after {:.1} s, checked in {:.1} s",
            self.waited.as_secs_f64(),
            self.took.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(offenders: usize, undecided: usize) -> Findings {
        let list = |count: usize| {
            (0..count)
                .map(|n| Offender::new(format!("recharge {n}"), "is lost"))
                .collect()
        };
        Findings {
            checked: vec![("recharges", 40)],
            offenders: list(offenders),
            undecided: list(undecided),
        }
    }

    #[test]
    fn verdicts() {
        for (offenders, undecided, verdict) in [
            (0, 0, Verdict::Holds),
            (1, 0, Verdict::Violated),
            (1, 1, Verdict::Violated),
            (0, 1, Verdict::Unchecked),
        ] {
            let check = Check::new(1, findings(offenders, undecided));
            assert_eq!(check.verdict, verdict, "{offenders} {undecided}");
        }
    }

    #[test]
    fn offenders_are_named_and_counted() {
        let check = Check::new(1, findings(33, 0));
        let text = check.to_string();
        assert!(text.contains("VIOLATED") && text.contains("40 recharges"));
        assert!(text.contains("recharge 19: is lost") && !text.contains("recharge 20"));
        assert!(text.contains("and 13 more"), "{text}");
        let json = serde_json::to_value(&check).unwrap();
        assert_eq!(json["offenders_total"], 33);
        assert_eq!(json["checked"]["recharges"], 40);
        assert_eq!(json["verdict"], "violated");
    }
}
