//! Admission: how many requests may be in flight in a pool at once, and a short queue for those that must wait.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use kit::safeguards::Safeguard;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    gate::{Entry, Gate, GateSettings, Next, Place},
    hash::mix,
    limit::{Bounds, Sample},
    settings::{Invalid, within},
};
pub use crate::{
    gate::{Priority, ShedReason},
    limit::Outcome,
};

/// Whether and how the requests in flight of a pool are limited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSettings {
    /// Whether there is a limit at all.
    pub enabled: bool,
    /// The least that the limit may shrink to, in requests in flight. 1 to 100,000.
    pub min_limit: u32,
    /// The most that it may grow to. `min_limit` to 100,000.
    pub max_limit: u32,
    /// What it is at first. `min_limit` to `max_limit`.
    pub initial_limit: u32,
    /// How many times the latency of a pool that is not busy may be exceeded before the limit shrinks. 1.1 to 10.
    pub tolerance: f64,
    /// How many requests may wait. 0 to 100,000.
    pub queue: u32,
    /// How long one may wait, in milliseconds. 1 to 60,000.
    pub max_wait_ms: u64,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            min_limit: 8,
            max_limit: 2_000,
            initial_limit: 64,
            tolerance: 2.0,
            queue: 128,
            max_wait_ms: 500,
        }
    }
}

impl AdmissionSettings {
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        within("admission.min_limit", self.min_limit, 1..=100_000)?;
        within(
            "admission.max_limit",
            self.max_limit,
            self.min_limit..=100_000,
        )?;
        within(
            "admission.initial_limit",
            self.initial_limit,
            self.min_limit..=self.max_limit,
        )?;
        within("admission.tolerance", self.tolerance, 1.1..=10.0)?;
        within("admission.queue", self.queue, 0..=100_000)?;
        within("admission.max_wait_ms", self.max_wait_ms, 1..=60_000)
    }

    fn gate(&self) -> GateSettings {
        GateSettings {
            bounds: Bounds {
                min: self.min_limit,
                max: self.max_limit,
                initial: self.initial_limit,
                tolerance: self.tolerance,
            },
            queue: self.queue as usize,
            max_wait: Duration::from_millis(self.max_wait_ms),
        }
    }
}

/// A request that was not let in: 503 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are on their way")]
pub struct Shed {
    pub reason: ShedReason,
    /// When the client should try again: one to three seconds, by chance, so that those turned away do not come back at once.
    pub retry_after: Duration,
}

/// Lets requests in; see [`Pool::admission`](crate::Pool::admission). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    enabled: AtomicBool,
    gate: Mutex<Gate<Waker>>,
    chance: AtomicU64,
    shed: ShedCounters,
}

type Waker = oneshot::Sender<Result<Ticket, ShedReason>>;

/// How many were turned away, by reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShedCounters {
    pub queue_full: Counter,
    pub waited_too_long: Counter,
    pub deadline: Counter,
}

impl ShedCounters {
    pub fn of(&self, reason: ShedReason) -> &Counter {
        match reason {
            ShedReason::QueueFull => &self.queue_full,
            ShedReason::WaitedTooLong => &self.waited_too_long,
            ShedReason::Deadline => &self.deadline,
        }
    }
}

/// What operators see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdmissionSnapshot {
    pub enabled: bool,
    /// How many requests may be in flight now.
    pub limit: usize,
    /// How many are, of those that were let in since admission was switched on.
    pub in_flight: usize,
    /// How many wait.
    pub queued: usize,
    /// How many were turned away since the start.
    pub shed: u64,
}

impl Admission {
    pub(crate) fn new(settings: &AdmissionSettings, shed: ShedCounters) -> Self {
        Self {
            shared: Arc::new(Shared {
                enabled: AtomicBool::new(settings.enabled),
                gate: Mutex::new(Gate::new(settings.gate(), Instant::now())),
                chance: AtomicU64::new(rand::random()),
                shed,
            }),
        }
    }

    /// Waits for a place, within the queue's bounds and the request's own deadline. Free while admission or the safeguard
    /// `shedding` is switched off, and one short lock while there is room. Dropping the future gives up the wait.
    pub async fn acquire(&self, priority: Priority, deadline: Instant) -> Result<Ticket, Shed> {
        if !self.shared.enabled.load(Ordering::Relaxed) || !Safeguard::Shedding.is_on() {
            return Ok(Ticket { held: None });
        }
        let now = Instant::now();
        let (place, receiver, pushed_out) = {
            let mut gate = self.shared.gate();
            match gate.enter(deadline, now) {
                Entry::Admitted => return Ok(Ticket::new(&self.shared, now)),
                Entry::Late => return Err(self.shared.shed(ShedReason::Deadline)),
                Entry::Full => {}
            }
            let (sender, receiver) = oneshot::channel();
            match gate.wait(sender, priority, deadline, now) {
                Ok((place, pushed_out)) => (place, receiver, pushed_out),
                Err(_) => return Err(self.shared.shed(ShedReason::QueueFull)),
            }
        };
        if let Some(other) = pushed_out {
            let _ = other.send(Err(ShedReason::QueueFull));
        }
        // If this is dropped while it waits, it leaves the queue.
        let mut waiting = Waiting {
            shared: &self.shared,
            place: Some(place),
        };
        let verdict = tokio::time::timeout_at(place.until.into(), receiver).await;
        let verdict = match verdict {
            Ok(verdict) => {
                waiting.place = None;
                verdict
            }
            // The receiver is gone now: a ticket that was sent in this very moment has come back by being dropped.
            Err(_) => Ok(Err(place.reason)),
        };
        match verdict {
            Ok(Ok(ticket)) => Ok(ticket),
            Ok(Err(reason)) => Err(self.shared.shed(reason)),
            // Nobody drops a waker without a word.
            Err(_) => Err(self.shared.shed(ShedReason::QueueFull)),
        }
    }

    /// Other settings from now on; those who wait are let in when admission is switched off.
    pub(crate) fn set(&self, settings: &AdmissionSettings) {
        let waiting = {
            let mut gate = self.shared.gate();
            gate.set(settings.gate());
            self.shared
                .enabled
                .store(settings.enabled, Ordering::Relaxed);
            if settings.enabled {
                Vec::new()
            } else {
                gate.dissolve()
            }
        };
        for waker in waiting {
            let _ = waker.send(Ok(Ticket::new(&self.shared, Instant::now())));
        }
        self.shared.wake(|_, _| {});
    }

    #[must_use]
    pub fn snapshot(&self) -> AdmissionSnapshot {
        let gate = self.shared.gate();
        AdmissionSnapshot {
            enabled: self.shared.enabled.load(Ordering::Relaxed),
            limit: gate.limit(),
            in_flight: gate.in_flight(),
            queued: gate.queued(),
            shed: ShedReason::ALL
                .iter()
                .map(|&reason| self.shared.shed.of(reason).get())
                .sum(),
        }
    }
}

impl Shared {
    fn gate(&self) -> MutexGuard<'_, Gate<Waker>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shed(&self, reason: ShedReason) -> Shed {
        self.shed.of(reason).inc();
        let chance = mix(self.chance.fetch_add(1, Ordering::Relaxed));
        Shed {
            reason,
            retry_after: Duration::from_secs(1 + chance % 3),
        }
    }

    /// Makes a change, then lets in whoever has room now.
    fn wake(self: &Arc<Self>, change: impl FnOnce(&mut Gate<Waker>, Instant)) {
        let now = Instant::now();
        let mut gate = self.gate();
        change(&mut gate, now);
        while let Some(next) = gate.next(now) {
            // Sent without the lock: a ticket that nobody waits for any more comes back at once, and takes the lock.
            drop(gate);
            let _ = match next {
                Next::Admitted(waker) => waker.send(Ok(Ticket::new(self, now))),
                Next::Shed(waker, reason) => waker.send(Err(reason)),
            };
            gate = self.gate();
        }
    }
}

struct Waiting<'a> {
    shared: &'a Shared,
    place: Option<Place>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.shared.gate().cancel(place);
            drop(waker);
        }
    }
}

/// A place among the requests in flight, given back when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Ticket {
    /// `None` when it was free.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    started: Instant,
    class: u64,
    finished: bool,
}

impl Ticket {
    fn new(shared: &Arc<Shared>, now: Instant) -> Self {
        Self {
            held: Some(Held {
                shared: Arc::clone(shared),
                started: now,
                class: 0,
                finished: false,
            }),
        }
    }

    /// Whether it counts towards the limit: not while there is none.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.held.is_some()
    }

    /// Says which requests this one is like, such as by the hash of its route. The limit compares latencies within a class, so
    /// that more of a slow route does not look like overload.
    pub fn set_class(&mut self, class: impl FnOnce() -> u64) {
        if let Some(held) = &mut self.held {
            held.class = class();
        }
    }

    /// Says how the request went: call it when the head of the answer is there, and keep the ticket until the answer's end.
    /// Only the first word counts.
    pub fn finish(&mut self, outcome: Outcome) {
        let Some(held) = &mut self.held else { return };
        if std::mem::replace(&mut held.finished, true) || outcome == Outcome::Ignored {
            return;
        }
        let sample = Sample {
            class: held.class,
            started: held.started,
            outcome,
        };
        held.shared.wake(|gate, now| gate.observe(sample, now));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.shared.wake(|gate, _| gate.leave());
        }
    }
}

#[cfg(test)]
mod tests;
