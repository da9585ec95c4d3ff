//! Whether the bookings that were answered are a set in which no tutor is in two places at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Findings;
use crate::journal::{Action, Answer, Operation};

/// A booking that was answered with success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked<'a> {
    pub key: &'a str,
    pub booking: i64,
    pub tutor: i64,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

/// The successes, one per answer.
pub fn answers(operations: &[Operation]) -> impl Iterator<Item = Booked<'_>> {
    operations.iter().filter_map(
        |operation| match (&operation.action, operation.answer()?.0) {
            (
                Action::Book { key, .. },
                Answer::Booked {
                    booking,
                    tutor,
                    starts_at,
                    ends_at,
                    ..
                },
            ) => Some(Booked {
                key,
                booking: *booking,
                tutor: *tutor,
                starts_at: *starts_at,
                ends_at: *ends_at,
            }),
            _ => None,
        },
    )
}

#[must_use]
pub fn check(operations: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let mut keys: BTreeMap<&str, Booked> = BTreeMap::new();
    let mut ids: BTreeMap<i64, &str> = BTreeMap::new();
    for booked in answers(operations) {
        if let Some(first) = keys.get(booked.key) {
            if *first != booked {
                findings.offend(
                    format!("key {}", booked.key),
                    format!(
                        "was answered with booking {} and with booking {}: booked twice",
                        first.booking, booked.booking
                    ),
                );
            }
            continue;
        }
        if let Some(other) = ids.insert(booked.booking, booked.key) {
            findings.offend(
                format!("booking {}", booked.booking),
                format!(
                    "was the answer to two requests, with keys {other} and {}",
                    booked.key
                ),
            );
        }
        keys.insert(booked.key, booked);
    }
    findings.count("bookings", keys.len() as u64);

    let mut tutors: BTreeMap<i64, Vec<&Booked>> = BTreeMap::new();
    for booked in keys.values() {
        tutors.entry(booked.tutor).or_default().push(booked);
    }
    findings.count("tutors", tutors.len() as u64);
    for (tutor, mut sessions) in tutors {
        sessions.sort_by_key(|session| (session.starts_at, session.ends_at));
        let mut busy: Option<&Booked> = None;
        for session in sessions {
            if let Some(other) = busy.filter(|busy| busy.ends_at > session.starts_at) {
                findings.offend(
                    format!("booking {}", session.booking),
                    format!(
                        "overlaps booking {} of the same tutor, {tutor}",
                        other.booking
                    ),
                );
            }
            if busy.is_none_or(|busy| session.ends_at > busy.ends_at) {
                busy = Some(session);
            }
        }
    }
    findings
}
