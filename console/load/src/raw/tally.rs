//! What a closed loop counts.

use std::time::Duration;

use super::request::Verdict;
use crate::{Latency, histogram::Histogram};

/// Counts of one run. Good answers count while the run is measured; what goes wrong counts always, warm-up included.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Answers with the expected status and length.
    pub good: u64,
    /// Answers with another status.
    pub wrong_status: u64,
    /// Answers with the right status and another length.
    pub wrong_length: u64,
    /// Exchanges without a whole answer, and connections that could not be opened.
    pub broken: u64,
    /// Requests still without an answer when the patience after the run was over.
    pub unanswered: u64,
    /// Connections opened again during the run.
    pub reconnects: u64,
    /// What went wrong first.
    pub first_error: Option<String>,
    histogram: Histogram,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            good: 0,
            wrong_status: 0,
            wrong_length: 0,
            broken: 0,
            unanswered: 0,
            reconnects: 0,
            first_error: None,
            histogram: Histogram::fine(),
        }
    }

    /// Everything that went wrong.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.wrong_status + self.wrong_length + self.broken + self.unanswered
    }

    /// How long the good answers took.
    #[must_use]
    pub fn latency(&self) -> Latency {
        self.histogram.summary()
    }

    pub(super) fn count(&mut self, verdict: &Verdict, took: Duration, measured: bool) {
        match verdict {
            Verdict::Good => {
                if measured {
                    self.good += 1;
                    self.histogram.record(took);
                }
            }
            Verdict::Status(status) => {
                self.wrong_status += 1;
                self.explain(|| format!("answered with status {status}"));
            }
            Verdict::Length { wanted, found } => {
                self.wrong_length += 1;
                self.explain(|| format!("answered with {found} bytes instead of {wanted}"));
            }
            Verdict::Broken(fault) => {
                self.broken += 1;
                self.explain(|| fault.to_string());
            }
        }
    }

    pub(super) fn without_answer(&mut self, requests: u64) {
        self.unanswered += requests;
        if requests > 0 {
            self.explain(|| "not answered at all".to_owned());
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.good += other.good;
        self.wrong_status += other.wrong_status;
        self.wrong_length += other.wrong_length;
        self.broken += other.broken;
        self.unanswered += other.unanswered;
        self.reconnects += other.reconnects;
        self.first_error = self.first_error.take().or(other.first_error);
        self.histogram.add(&other.histogram);
    }

    fn explain(&mut self, words: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(words);
    }
}
