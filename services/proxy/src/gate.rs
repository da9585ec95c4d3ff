//! The gate in front of a pool: who is let in, who waits, who is turned away. Pure; the time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limit::{Bounds, GradientLimit, Sample};

/// Who goes first when there is not room for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Operators and health checks.
    Operator,
    /// Everybody else.
    #[default]
    Normal,
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

impl ShedReason {
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::WaitedTooLong, Self::Deadline];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WaitedTooLong => "waited_too_long",
            Self::Deadline => "deadline",
        }
    }
}

/// How many may wait, and how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateSettings {
    pub bounds: Bounds,
    pub queue: usize,
    pub max_wait: Duration,
}

/// A queue that was never empty for this long is not a burst any more but overload.
const OVERLOAD_AFTER: Duration = Duration::from_millis(100);

/// A limit on the requests in flight and a bounded queue in front of it; `T` is whatever wakes one who waits.
///
/// * A short burst is served in the order it came. In overload (the queue has not been empty for a tenth of a second) the
///   newest goes first and, when the queue is full, the oldest is turned away: in the order of arrival everybody would be served
///   at the end of his patience, this way those who are served are served at once, and the others know early.
/// * [`Priority::Operator`] goes before all others, and pushes the others out of a full queue.
/// * Who cannot be answered in time any more is turned away rather than let in.
///
/// Nobody waits while there is room: after each call that may make room, call [`next`](Self::next) until it gives nothing.
#[derive(Debug)]
pub struct Gate<T> {
    settings: GateSettings,
    limit: GradientLimit,
    in_flight: usize,
    operators: VecDeque<Waiter<T>>,
    others: VecDeque<Waiter<T>>,
    /// Since when `others` has not been empty.
    waiting_since: Option<Instant>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter<T> {
    number: u64,
    since: Instant,
    deadline: Instant,
    waker: T,
}

/// The answer to one who asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is in, and counted.
    Admitted,
    /// It must [`wait`](Gate::wait).
    Full,
    /// Its deadline cannot be met.
    Late,
}

/// The outcome for one who waited.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// It is in, and counted.
    Admitted(T),
    /// It is turned away.
    Shed(T, ShedReason),
}

/// One who waits, to be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    priority: Priority,
    number: u64,
    /// When it will have waited too long, or could not be answered in time any more.
    pub until: Instant,
    /// Which of the two.
    pub reason: ShedReason,
}

impl<T> Gate<T> {
    #[must_use]
    pub fn new(settings: GateSettings, now: Instant) -> Self {
        Self {
            settings,
            limit: GradientLimit::new(settings.bounds, now),
            in_flight: 0,
            operators: VecDeque::new(),
            others: VecDeque::new(),
            waiting_since: None,
            tickets: 0,
        }
    }

    /// Other settings from now on. A queue that is longer than the new bound is not cut, it only takes nobody in.
    pub fn set(&mut self, settings: GateSettings) {
        self.settings = settings;
        self.limit.set(settings.bounds);
    }

    /// Lets one in at once, if there is room and nobody waits for it already.
    pub fn enter(&mut self, deadline: Instant, now: Instant) -> Entry {
        if !self.in_time(deadline, now) {
            return Entry::Late;
        }
        if self.in_flight < self.limit.limit() && self.queued() == 0 {
            self.admit(now);
            Entry::Admitted
        } else {
            Entry::Full
        }
    }

    /// Lets one wait, and pushes another one out if it must; or gives it back, when there is no place for it.
    pub fn wait(
        &mut self,
        waker: T,
        priority: Priority,
        deadline: Instant,
        now: Instant,
    ) -> Result<(Place, Option<T>), T> {
        let mut pushed_out = None;
        if self.queued() >= self.settings.queue {
            let overloaded = self.is_overloaded(now);
            if priority == Priority::Normal && !overloaded {
                return Err(waker);
            }
            let out = if overloaded {
                self.others.pop_front()
            } else {
                self.others.pop_back()
            };
            match out {
                Some(waiter) => pushed_out = Some(waiter.waker),
                None => return Err(waker),
            }
        }
        self.tickets += 1;
        let waiter = Waiter {
            number: self.tickets,
            since: now,
            deadline,
            waker,
        };
        let hopeless = deadline.checked_sub(self.limit.fastest()).unwrap_or(now);
        let patience = now + self.settings.max_wait;
        let (until, reason) = if hopeless < patience {
            (hopeless, ShedReason::Deadline)
        } else {
            (patience, ShedReason::WaitedTooLong)
        };
        let place = Place {
            priority,
            number: waiter.number,
            until,
            reason,
        };
        match priority {
            Priority::Operator => self.operators.push_back(waiter),
            Priority::Normal => {
                self.waiting_since.get_or_insert(now);
                self.others.push_back(waiter);
            }
        }
        Ok((place, pushed_out))
    }

    /// The next who is let in or turned away, if anybody is.
    pub fn next(&mut self, now: Instant) -> Option<Next<T>> {
        if self.in_flight >= self.limit.limit() {
            return None;
        }
        let waiter = if let Some(operator) = self.operators.pop_front() {
            operator
        } else if self.is_overloaded(now) {
            self.others.pop_back()?
        } else {
            self.others.pop_front()?
        };
        self.note_empty();
        if !self.in_time(waiter.deadline, now) {
            return Some(Next::Shed(waiter.waker, ShedReason::Deadline));
        }
        if now.saturating_duration_since(waiter.since) > self.settings.max_wait {
            return Some(Next::Shed(waiter.waker, ShedReason::WaitedTooLong));
        }
        self.admit(now);
        Some(Next::Admitted(waiter.waker))
    }

    /// Takes one out of the queue that does not want to wait any more; `None` when it does not wait any more already.
    pub fn cancel(&mut self, place: Place) -> Option<T> {
        let queue = match place.priority {
            Priority::Operator => &mut self.operators,
            Priority::Normal => &mut self.others,
        };
        // Numbers grow from front to back.
        let position = queue
            .binary_search_by_key(&place.number, |waiter| waiter.number)
            .ok()?;
        let waiter = queue.remove(position)?;
        self.note_empty();
        Some(waiter.waker)
    }

    /// A request that was let in is done.
    pub fn observe(&mut self, sample: Sample, now: Instant) {
        self.limit.observe(sample, self.in_flight, now);
    }

    /// One that was let in gives its place back.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Empties the queue: the gate is taken away.
    pub fn dissolve(&mut self) -> Vec<T> {
        let all = self.operators.drain(..).chain(self.others.drain(..));
        let all: Vec<T> = all.map(|waiter| waiter.waker).collect();
        self.waiting_since = None;
        // Those let in while there is no gate do not count, so neither may those from before.
        self.in_flight += all.len();
        all
    }

    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.limit()
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    #[must_use]
    pub fn queued(&self) -> usize {
        self.operators.len() + self.others.len()
    }

    fn admit(&mut self, now: Instant) {
        self.in_flight += 1;
        self.limit.begin(now);
    }

    fn in_time(&self, deadline: Instant, now: Instant) -> bool {
        now + self.limit.fastest() < deadline
    }

    fn is_overloaded(&self, now: Instant) -> bool {
        self.waiting_since
            .is_some_and(|since| now.saturating_duration_since(since) >= OVERLOAD_AFTER)
    }

    fn note_empty(&mut self) {
        if self.others.is_empty() {
            self.waiting_since = None;
        }
    }
}

#[cfg(test)]
mod tests;
