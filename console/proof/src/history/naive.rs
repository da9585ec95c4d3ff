//! Whether the naive pair does what it can: what is dequeued was enqueued, comes once, and nothing disappears but what
//! a dequeue without an answer may have taken.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::journal::{Action, Answer, Operation};

/// `remaining` are the ids found in the queue at the end; without it, nothing is said about losses.
#[must_use]
pub fn check(operations: &[Operation], remaining: Option<&BTreeSet<String>>) -> Findings {
    let mut findings = Findings::default();
    let mut enqueued: BTreeMap<&str, u64> = BTreeMap::new();
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut perhaps_enqueued, mut perhaps_taken) = (0_u64, 0_usize);
    for operation in operations {
        match (&operation.action, operation.answer()) {
            (Action::Enqueue { .. }, Some((Answer::Enqueued { message }, _))) => {
                *enqueued.entry(message).or_default() += 1;
            }
            (Action::Enqueue { .. }, _) => perhaps_enqueued += u64::from(!operation.is_refused()),
            (
                Action::Dequeue,
                Some((
                    Answer::Dequeued {
                        message: Some(message),
                    },
                    _,
                )),
            ) => *taken.entry(message).or_default() += 1,
            // It was empty.
            (Action::Dequeue, Some(_)) => {}
            (Action::Dequeue, _) => perhaps_taken += usize::from(!operation.is_refused()),
            _ => {}
        }
    }
    findings.count("tasks enqueued", enqueued.len() as u64);
    findings.count("tasks dequeued", taken.len() as u64);
    findings.count("dequeues of unknown outcome", perhaps_taken as u64);
    for (id, times) in &taken {
        if *times > 1 {
            findings.offend(format!("task {id}"), format!("was dequeued {times} times"));
        }
    }
    for (id, times) in &enqueued {
        if *times > 1 {
            findings.offend(
                format!("task {id}"),
                format!("was the answer to {times} enqueues"),
            );
        }
    }
    let strangers: Vec<&&str> = taken
        .keys()
        .filter(|id| !enqueued.contains_key(**id))
        .collect();
    if strangers.len() as u64 > perhaps_enqueued {
        for id in strangers {
            findings.offend(format!("task {id}"), "was dequeued, and nobody enqueued it");
        }
    }
    if let Some(remaining) = remaining {
        let gone: Vec<&&str> = enqueued
            .keys()
            .filter(|id| !taken.contains_key(**id) && !remaining.contains(**id))
            .collect();
        if gone.len() > perhaps_taken {
            for id in &gone {
                findings.offend(
                    format!("task {id}"),
                    format!(
                        "was enqueued and is gone; {} are, and only {perhaps_taken} dequeues had no answer",
                        gone.len()
                    ),
                );
            }
        }
        for id in remaining
            .iter()
            .filter(|id| taken.contains_key(id.as_str()))
        {
            findings.offend(
                format!("task {id}"),
                "was dequeued and is still in the queue",
            );
        }
    }
    findings
}
