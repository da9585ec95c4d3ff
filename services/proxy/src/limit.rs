//! How many requests a pool can have in flight before they only wait for each other: found out from their latencies.

use std::time::{Duration, Instant};

use crate::hash::{self, mix};

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

const CLASSES: usize = 32;
/// A window of samples takes at least this long, and as long as a request takes: an earlier one would still show the limit
/// before.
const WINDOW: Duration = Duration::from_millis(50);
const LONGEST_WINDOW: Duration = Duration::from_secs(1);
const WINDOW_SAMPLES: u32 = 10;
/// How much of what a window shows goes into a baseline.
const DRIFT: f64 = 0.1;
/// Between two probes, as long as each finds what the one before found; and while they do not.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBE_AGAIN: Duration = Duration::from_secs(1);
const PROBE_SAMPLES: u32 = 50;

/// A gradient limit.
///
/// * For each class of requests it keeps a **baseline**: the mean latency (of its logarithm, so that one slow answer does not
///   count for a hundred) while the pool is not busy. Every sample counts relative to its own baseline, so that a change of the
///   mix of fast and slow routes is no sign of load.
/// * At the end of each **window** the limit shrinks by the factor by which the latency exceeds `tolerance` times the baseline,
///   by half at most. If it does not, and the limit is being used, it grows by its square root.
/// * A baseline learnt under load would make overload look normal, which is where limits that follow a moving average end. So
///   every ten seconds in which it is being used the limit is halved until as many requests have come and gone as it takes to
///   **probe** the latency anew. Half of a limit that is right leaves no queue; half of one that is too high leaves less, and the
///   next probe comes soon.
#[derive(Clone, Debug)]
pub struct GradientLimit {
    bounds: Bounds,
    limit: f64,
    classes: [Class; CLASSES],
    window: Window,
    phase: Phase,
    /// The geometric mean of the last window's latencies, in seconds.
    typical: f64,
}

/// Sums of logarithms of seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sum: f64,
    count: u32,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Class {
    /// The logarithm of seconds; `None` before the first sample.
    baseline: Option<f64>,
    /// Samples it was learnt from, up to [`WINDOW_SAMPLES`].
    learnt: u32,
    window: Sum,
    probe: Sum,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    /// Relative to the baselines.
    latency: Sum,
    absolute: Sum,
    overloaded: u32,
    most_in_flight: usize,
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            latency: Sum::default(),
            absolute: Sum::default(),
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
    Probing {
        began: Instant,
        samples: u32,
    },
}

impl GradientLimit {
    #[must_use]
    pub fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            limit: f64::from(bounds.initial),
            classes: [Class::default(); CLASSES],
            window: Window::new(now),
            phase: Phase::Open {
                probe_at: now + PROBE_AGAIN,
            },
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
            Phase::Draining { .. } | Phase::Probing { .. } => self.limit / 2.0,
        };
        (limit as usize).max(1)
    }

    /// The shortest time within which an answer may be hoped for: half of the fastest class's baseline.
    #[must_use]
    pub fn fastest(&self) -> Duration {
        let baselines = self.classes.iter().filter_map(|class| class.baseline);
        let fastest = baselines.fold(f64::INFINITY, f64::min);
        if fastest.is_finite() {
            Duration::from_secs_f64(fastest.exp().min(3_600.0) / 2.0)
        } else {
            Duration::ZERO
        }
    }

    /// Takes in a finished request; `in_flight` counts it still.
    pub fn observe(&mut self, sample: Sample, in_flight: usize, now: Instant) {
        self.window.most_in_flight = self.window.most_in_flight.max(in_flight);
        match sample.outcome {
            Outcome::Ignored => return,
            Outcome::Overloaded => self.window.overloaded += 1,
            Outcome::Answered => self.learn(sample, now),
        }
        self.probe(in_flight, now);
        let samples = self.window.absolute.count + self.window.overloaded;
        let age = now.saturating_duration_since(self.window.began);
        let least = Duration::from_secs_f64(self.typical.min(1.0)).clamp(WINDOW, LONGEST_WINDOW);
        if age >= LONGEST_WINDOW || (samples >= WINDOW_SAMPLES && age >= least) {
            self.close_window(now);
        }
    }

    fn learn(&mut self, sample: Sample, now: Instant) {
        let took = now.saturating_duration_since(sample.started);
        let latency = took.as_secs_f64().max(1e-6).ln();
        let class = &mut self.classes[mix(sample.class) as usize % CLASSES];
        self.window.absolute.add(latency);
        class.window.add(latency);
        let baseline = *class.baseline.get_or_insert(latency);
        if class.learnt < WINDOW_SAMPLES {
            class.learnt += 1;
            class.baseline = Some(baseline + (latency - baseline) / f64::from(class.learnt));
        } else {
            self.window.latency.add(latency - baseline);
        }
        if let Phase::Probing { began, samples } = &mut self.phase
            && sample.started >= *began
        {
            *samples += 1;
            class.probe.add(latency);
        }
    }

    fn close_window(&mut self, now: Instant) {
        let window = std::mem::replace(&mut self.window, Window::new(now));
        if let Some(typical) = window.absolute.mean() {
            self.typical = typical.exp();
        }
        let is_used = window.most_in_flight * 2 >= self.limit();
        for class in &mut self.classes {
            let seen = std::mem::take(&mut class.window).mean();
            if let (Some(seen), Some(baseline)) = (seen, &mut class.baseline)
                // A pool that is not busy shows its true latency; a busy one at least none that is too low.
                && (seen < *baseline || !is_used)
            {
                *baseline += (seen - *baseline) * DRIFT;
            }
        }
        if !is_used || !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        let slower = window.latency.mean().map_or(1.0, f64::exp);
        let turned_away = f64::from(window.overloaded)
            / f64::from(window.overloaded + window.absolute.count).max(1.0);
        let gradient = (self.bounds.tolerance / slower)
            .min(1.0 - turned_away / 2.0)
            .clamp(0.5, 1.0);
        if gradient < 1.0 {
            self.limit *= gradient;
        } else {
            self.limit += self.limit.sqrt();
        }
        self.clamp();
    }

    /// Begins, goes on with, or ends a probe.
    fn probe(&mut self, in_flight: usize, now: Instant) {
        let patience = Duration::from_secs_f64(self.typical.min(10.0) * 4.0).max(LONGEST_WINDOW);
        match self.phase {
            Phase::Open { probe_at } => {
                if now >= probe_at && in_flight * 2 >= self.limit() {
                    self.phase = Phase::Draining { began: now };
                }
            }
            Phase::Draining { began } => {
                // The one that has just finished is still counted.
                if in_flight <= self.limit() + 1 {
                    self.phase = Phase::Probing {
                        began: now,
                        samples: 0,
                    };
                } else if now.saturating_duration_since(began) > patience {
                    self.end_probe(now, PROBE_AGAIN);
                }
            }
            Phase::Probing { began, samples } => {
                if samples >= PROBE_SAMPLES || now.saturating_duration_since(began) > patience {
                    let mut moved: f64 = 0.0;
                    for class in &mut self.classes {
                        if let (Some(seen), Some(baseline)) =
                            (class.probe.mean(), &mut class.baseline)
                            && class.probe.count >= 3
                        {
                            let by = (seen - *baseline) / 2.0;
                            *baseline += by;
                            moved = moved.max(by.abs());
                        }
                    }
                    let settled = moved < 0.15;
                    self.end_probe(now, if settled { PROBE_INTERVAL } else { PROBE_AGAIN });
                }
            }
        }
    }

    fn end_probe(&mut self, now: Instant, pause: Duration) {
        for class in &mut self.classes {
            class.probe = Sum::default();
            class.window = Sum::default();
        }
        // However slow the requests, probing takes a small part of the time.
        let pause = pause.max(Duration::from_secs_f64(self.typical.min(60.0) * 20.0));
        self.phase = Phase::Open {
            probe_at: now + pause,
        };
        self.window = Window::new(now);
    }

    fn clamp(&mut self) {
        self.limit = self
            .limit
            .clamp(f64::from(self.bounds.min), f64::from(self.bounds.max));
    }
}

#[cfg(test)]
mod tests;
