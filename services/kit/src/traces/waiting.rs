//! Spans that have ended and are not with the collector yet: a bounded number, and the count of those that found no room.

use std::sync::{Mutex, PoisonError};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::sync::Notify;

use super::record::Record;
use crate::metrics::Metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

pub struct Waiting {
    spans: Mutex<Vec<Record>>,
    room: usize,
    batch: usize,
    /// There is a batch.
    full: Notify,
    exported: Counter,
    no_room: Counter,
    not_taken: Counter,
    rejected: Counter,
}

impl Waiting {
    pub fn new(room: usize, batch: usize, metrics: &Metrics) -> Self {
        let exported = Counter::default();
        let dropped: Family<Why, Counter> = Family::default();
        metrics.register(|registry| {
            registry.register(
                "recarga_spans_exported",
                "Spans that the collector has taken",
                exported.clone(),
            );
            registry.register(
                "recarga_spans_dropped",
                "Spans that nobody will see: too many waited (no_room), the collector did not take them (not_taken), or \
                 took them and threw them away (rejected)",
                dropped.clone(),
            );
        });
        let of = |reason| dropped.get_or_create_owned(&Why { reason });
        Self {
            spans: Mutex::default(),
            room,
            batch,
            full: Notify::new(),
            exported,
            no_room: of("no_room"),
            not_taken: of("not_taken"),
            rejected: of("rejected"),
        }
    }

    pub fn push(&self, records: impl IntoIterator<Item = Record>) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let before = spans.len();
        let mut lost = 0;
        for record in records {
            if spans.len() < self.room {
                spans.push(record);
            } else {
                lost += 1;
            }
        }
        let is_full = before < self.batch && spans.len() >= self.batch;
        drop(spans);
        if is_full {
            self.full.notify_one();
        }
        if lost > 0 {
            self.lost(lost);
        }
    }

    /// Up to a batch of them, in the order in which they came.
    pub fn take(&self) -> Vec<Record> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() <= self.batch {
            return std::mem::take(&mut *spans);
        }
        spans.drain(..self.batch).collect()
    }

    /// Whether there is a whole batch.
    pub fn is_full(&self) -> bool {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.len() >= self.batch
    }

    /// Waits for a batch to be whole.
    pub async fn full(&self) {
        self.full.notified().await;
    }

    pub fn lost(&self, count: u64) {
        self.no_room.inc_by(count);
    }

    pub fn not_taken(&self, count: u64) {
        self.not_taken.inc_by(count);
    }

    /// The collector has these, except for those it threw away.
    pub fn taken(&self, count: u64, rejected: u64) {
        let rejected = rejected.min(count);
        self.exported.inc_by(count - rejected);
        self.rejected.inc_by(rejected);
    }
}
