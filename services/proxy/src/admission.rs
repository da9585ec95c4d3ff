//! Admission: how many requests may be in flight in a pool at once, and a short queue for those that must wait.

use std::time::{Duration, Instant};

/// Who goes first when there is not room for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Operators and health checks.
    Operator,
    /// Everybody else.
    #[default]
    Normal,
}

/// What became of an admitted request, as far as it tells whether the pool keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered: its latency is the measure.
    Answered,
    /// It was turned away or not answered in time (429, 503, a timeout): a sign of overload.
    Overloaded,
    /// It failed for another reason, or the client left: this says nothing.
    Ignored,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShedReason {
    /// The queue was full.
    QueueFull,
    /// It waited as long as anybody may.
    WaitedTooLong,
    /// It could not be answered before its deadline any more.
    Deadline,
}

/// A request that was not let in: 503 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are on their way")]
pub struct Shed {
    pub reason: ShedReason,
    /// When the client should try again.
    pub retry_after: Duration,
}

/// Lets requests in; see [`Pool::admission`](crate::Pool::admission).
#[derive(Debug, Default)]
pub struct Admission {}

impl Admission {
    /// Waits for a place, within the queue's bounds and the request's own deadline. Free while admission is switched off.
    pub async fn acquire(&self, priority: Priority, deadline: Instant) -> Result<Ticket, Shed> {
        let _ = (priority, deadline);
        std::future::ready(Ok(Ticket {})).await
    }
}

/// A place among the requests in flight, given back when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Ticket {}

impl Ticket {
    /// Says how the request went: call it when the head of the answer is there, and keep the ticket until its end.
    pub fn finish(&mut self, outcome: Outcome) {
        let _ = outcome;
    }
}
