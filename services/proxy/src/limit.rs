//! How many requests a pool can have in flight before they only wait for each other: found out from their latencies.

mod baseline;

use std::time::{Duration, Instant};

use self::baseline::{Baselines, Mean};
use crate::hash;

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

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests of one class take about the same time; 0 when nothing is known.
    pub class: u64,
    pub started: Instant,
    pub outcome: Outcome,
}

/// The class of a request of which only the head is known: its method and its path without the segments that hold digits,
/// which are ids more often than not. Two routes that fall into one class only share a baseline.
#[must_use]
pub fn class_of(method: &str, path: &str) -> u64 {
    path.split('/')
        .filter(|segment| !segment.bytes().any(|byte| byte.is_ascii_digit()))
        .fold(hash::of(method.as_bytes()), |class, segment| {
            hash::pair(class, hash::of(segment.as_bytes()))
        })
}

/// Between which bounds the limit is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
    pub initial: u32,
    /// How many times the latency of a pool that is not busy may be exceeded.
    pub tolerance: f64,
}

/// A window takes at least this long, and twice as long as a request: an earlier one would still show the limit before.
const WINDOW: Duration = Duration::from_millis(50);
const LONGEST_WINDOW: Duration = Duration::from_secs(1);
const WINDOW_SAMPLES: u32 = 50;
/// Requests that a probe measures.
const PROBE_SAMPLES: u32 = 64;
/// Between two probes, when the last one found what was known; and when it did not. However long a probe takes, it takes a
/// small part of the time.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBE_PART: u32 = 20;
const PROBE_AGAIN: Duration = Duration::from_secs(1);
const PROBE_AGAIN_PART: u32 = 4;

/// A gradient limit.
///
/// * For each class of requests it keeps a **baseline**: the mean latency (of its logarithm, so that one slow answer does not
///   count for a hundred) while the pool is not busy. Every sample counts relative to its own baseline, so that a change of the
///   mix of fast and slow routes is no sign of load.
/// * At the end of each **window** the limit shrinks by the factor by which the latency exceeds `tolerance` times the baseline,
///   by half at most. If it does not, and the limit is being used, it grows by its square root.
/// * A baseline learnt under load would make overload look normal, which is where limits that follow a moving average end. So
///   every ten seconds in which it is being used, and when it has lost half of what it was, the limit is lowered to **probe** the
///   latency anew: low enough that there is no queue if it was right, and less of one if it was too high; then the next probe
///   comes soon. Probes measure whole cohorts: of those that end first the fast ones are too many.
#[derive(Clone, Debug)]
pub struct GradientLimit {
    bounds: Bounds,
    limit: f64,
    baselines: Baselines,
    window: Window,
    phase: Phase,
    /// The limit at the end of the last probe.
    probed_at: f64,
    /// When the next probe may be at the earliest.
    probe_not_before: Instant,
    /// The mean latency lately, in seconds.
    typical: f64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    /// Relative to the baselines.
    latency: Mean,
    absolute: Mean,
    overloaded: u32,
    most_in_flight: usize,
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            latency: Mean::default(),
            absolute: Mean::default(),
            overloaded: 0,
            most_in_flight: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Open {
        probe_at: Instant,
    },
    /// Waiting for the requests in flight to become few enough.
    Draining {
        began: Instant,
    },
    Probing(Cohort),
}

/// The requests that a probe measures: the first ones that start from `began` on.
#[derive(Clone, Copy, Debug)]
struct Cohort {
    draining_since: Instant,
    began: Instant,
    started: u32,
    /// When the last one of them started.
    until: Option<Instant>,
    ended: u32,
}

impl Cohort {
    fn has(&self, started: Instant) -> bool {
        started >= self.began && self.until.is_none_or(|until| started <= until)
    }
}

impl GradientLimit {
    #[must_use]
    pub fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            limit: f64::from(bounds.initial),
            baselines: Baselines::default(),
            window: Window::new(now),
            phase: Phase::Open {
                probe_at: now + PROBE_AGAIN,
            },
            probed_at: 0.0,
            probe_not_before: now + PROBE_AGAIN,
            typical: 0.0,
        }
    }

    /// Other bounds from now on; what was learnt stays.
    pub fn set(&mut self, bounds: Bounds) {
        if self.bounds.initial != bounds.initial {
            self.limit = f64::from(bounds.initial);
        }
        self.bounds = bounds;
        self.clamp();
    }

    /// How many requests may be in flight now, at least 1.
    #[must_use]
    pub fn limit(&self) -> usize {
        let limit = match self.phase {
            Phase::Open { .. } => self.limit,
            // Where a limit that is too high stands, there is a queue, and the latency falls with it: by more than `tolerance`,
            // so that windows shrink the limit afterwards. Where it is right there is no queue any more.
            Phase::Draining { .. } | Phase::Probing(_) => {
                (self.limit / (2.0 * self.bounds.tolerance)).max(f64::from(self.bounds.min))
            }
        };
        (limit as usize).max(1)
    }

    /// The shortest time within which an answer may be hoped for: half of the fastest class's baseline.
    #[must_use]
    pub fn fastest(&self) -> Duration {
        let seconds = self.baselines.fastest().unwrap_or(0.0);
        Duration::from_secs_f64(seconds.min(3_600.0) / 2.0)
    }

    /// A request was let in.
    pub fn begin(&mut self, now: Instant) {
        if let Phase::Probing(cohort) = &mut self.phase
            && cohort.until.is_none()
        {
            cohort.started += 1;
            if cohort.started >= PROBE_SAMPLES {
                cohort.until = Some(now);
            }
        }
    }

    /// Takes in a finished request; `in_flight` counts it still.
    pub fn observe(&mut self, sample: Sample, in_flight: usize, now: Instant) {
        let is_probe = matches!(&self.phase, Phase::Probing(cohort) if cohort.has(sample.started));
        self.window.most_in_flight = self.window.most_in_flight.max(in_flight);
        match sample.outcome {
            Outcome::Ignored => {}
            Outcome::Overloaded => self.window.overloaded += 1,
            Outcome::Answered => {
                let took = now.saturating_duration_since(sample.started);
                let latency = took.as_secs_f64().max(1e-6).ln();
                self.window.absolute.add(took.as_secs_f64());
                let relative = self.baselines.observe(sample.class, latency, is_probe, now);
                if let Some(relative) = relative {
                    self.window.latency.add(relative);
                }
            }
        }
        self.probe(is_probe, in_flight, now);
        let samples = self.window.absolute.count + self.window.overloaded;
        let age = now.saturating_duration_since(self.window.began);
        let least = self.times(2.0).min(LONGEST_WINDOW);
        if age >= LONGEST_WINDOW || (samples >= WINDOW_SAMPLES && age >= least) {
            self.end_window(now);
        }
    }

    fn end_window(&mut self, now: Instant) {
        let window = std::mem::replace(&mut self.window, Window::new(now));
        if let Some(typical) = window.absolute.get() {
            self.typical = if self.typical > 0.0 {
                self.typical + (typical - self.typical) / 4.0
            } else {
                typical
            };
        }
        let is_busy = window.most_in_flight * 2 >= self.limit();
        self.baselines.end_window(is_busy);
        let Phase::Open { probe_at } = &mut self.phase else {
            return;
        };
        if !is_busy {
            return;
        }
        let slower = window.latency.at_least().map_or(1.0, f64::exp);
        let turned_away = f64::from(window.overloaded)
            / f64::from(window.overloaded + window.absolute.count).max(1.0);
        let gradient = (self.bounds.tolerance / slower)
            .min(1.0 - turned_away / 2.0)
            .clamp(0.5, 1.0);
        self.limit = self.limit * gradient + self.limit.sqrt();
        if self.limit < self.probed_at / 2.0 {
            *probe_at = self.probe_not_before;
        }
        self.clamp();
    }

    /// Begins, goes on with, or ends a probe.
    fn probe(&mut self, is_probe: bool, in_flight: usize, now: Instant) {
        let patience = self.times(4.0).max(LONGEST_WINDOW);
        let limit = self.limit();
        match &mut self.phase {
            Phase::Open { probe_at } => {
                // While the limit does not bind, what is learnt in passing is true enough.
                if now >= *probe_at && in_flight >= limit {
                    self.phase = Phase::Draining { began: now };
                }
            }
            Phase::Draining { began } => {
                // The one that has just finished is still counted.
                if in_flight <= limit + 1 {
                    self.phase = Phase::Probing(Cohort {
                        draining_since: *began,
                        began: now,
                        started: 0,
                        until: None,
                        ended: 0,
                    });
                } else if now.saturating_duration_since(*began) > patience {
                    let took = now.saturating_duration_since(*began);
                    self.end_probe(false, took, now);
                }
            }
            Phase::Probing(cohort) => {
                cohort.ended += u32::from(is_probe);
                let is_over = match cohort.until {
                    // Those whose clients left never end.
                    Some(until) => cohort.ended >= PROBE_SAMPLES || now > until + patience,
                    // And when there is little to do, few are enough.
                    None => now > cohort.began + patience * 2,
                };
                if is_over {
                    let took = now.saturating_duration_since(cohort.draining_since);
                    let is_settled = self.baselines.end_probe();
                    self.end_probe(is_settled, took, now);
                }
            }
        }
    }

    fn end_probe(&mut self, is_settled: bool, took: Duration, now: Instant) {
        // What it cost: nothing, where the limit could not be lowered.
        let lowered = 1.0 - (self.limit() as f64 / self.limit).min(1.0);
        let cost = took.mul_f64(lowered);
        self.probe_not_before = now + PROBE_AGAIN.max(cost * PROBE_AGAIN_PART);
        let probe_at = if is_settled {
            now + PROBE_INTERVAL.max(cost * PROBE_PART)
        } else {
            self.probe_not_before
        };
        self.phase = Phase::Open { probe_at };
        self.probed_at = self.limit;
        self.window = Window::new(now);
    }

    /// So many times what a request takes, and no less than a window.
    fn times(&self, count: f64) -> Duration {
        Duration::from_secs_f64(self.typical.min(10.0) * count).max(WINDOW)
    }

    fn clamp(&mut self) {
        self.limit = self
            .limit
            .clamp(f64::from(self.bounds.min), f64::from(self.bounds.max));
    }
}

#[cfg(test)]
mod tests;
