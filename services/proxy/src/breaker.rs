//! The circuit breaker of one upstream: a pure state machine, time and chance passed in.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::settings::{Invalid, within};

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// Attempts in a row without an answer (no connection, broken connection, timeout) that open it. 0 to 1,000; 0 switches
    /// breakers off.
    pub failures: u32,
    /// Milliseconds it stays open the first time, a fifth more or less by chance; each further time in a row twice as long.
    /// 10 to 600,000.
    pub base_ms: u64,
    /// The longest it stays open, in milliseconds. `base_ms` to 3,600,000.
    pub max_ms: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            base_ms: 1_000,
            max_ms: 30_000,
        }
    }
}

impl BreakerSettings {
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        within("breaker.failures", self.failures, 0..=1_000)?;
        within("breaker.base_ms", self.base_ms, 10..=600_000)?;
        within("breaker.max_ms", self.max_ms, self.base_ms..=3_600_000)
    }

    /// How long it stays open the `trips`th time in a row; `chance` is uniform in 0..1.
    fn pause(&self, trips: u32, chance: f64) -> Duration {
        let doubled = self.base_ms.saturating_mul(
            1_u64
                .checked_shl(trips.saturating_sub(1))
                .unwrap_or(u64::MAX),
        );
        Duration::from_millis(doubled.min(self.max_ms)).mul_f64(0.8 + 0.4 * chance)
    }
}

/// What operators see, in the textbook's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// None passes.
    Open,
    /// One at a time may try.
    HalfOpen,
}

/// Marks the attempt that tries a half-open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe(u32);

/// The state machine.
///
/// * Closed: counts attempts in a row without an answer; `failures` of them open it. Any answer starts the count again: an
///   upstream that answers 500 is [`outlier`](crate::outlier)'s business.
/// * Open: lets nothing pass until its time is over.
/// * Half open: lets one attempt pass and waits for its verdict. An answer closes it, none opens it again, for twice as long;
///   without a verdict the next attempt may try.
///
/// Verdicts of attempts that began before it opened change nothing: they tell of the past.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    inner: Inner,
    /// How often it has opened in a row.
    trips: u32,
    probes: u32,
}

#[derive(Clone, Debug)]
enum Inner {
    Closed { failures: u32 },
    Open { until: Instant },
    Trying(Probe),
}

impl Default for Inner {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.inner {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::Open { until } if now < until => BreakerState::Open,
            Inner::Open { .. } | Inner::Trying(_) => BreakerState::HalfOpen,
        }
    }

    /// Whether an attempt may be made.
    #[must_use]
    pub fn admits(&self, now: Instant) -> bool {
        match self.inner {
            Inner::Closed { .. } => true,
            Inner::Open { until } => now >= until,
            Inner::Trying(_) => false,
        }
    }

    /// When an attempt may be made again; `None` when one may now, or when that hangs on the attempt that is trying.
    #[must_use]
    pub fn opens_until(&self, now: Instant) -> Option<Instant> {
        match self.inner {
            Inner::Open { until } if now < until => Some(until),
            _ => None,
        }
    }

    /// An attempt begins, one that [`admits`](Self::admits) allowed. Hand the probe back with its verdict.
    #[must_use]
    pub fn begin(&mut self) -> Option<Probe> {
        if let Inner::Open { .. } = self.inner {
            self.probes = self.probes.wrapping_add(1);
            let probe = Probe(self.probes);
            self.inner = Inner::Trying(probe);
            return Some(probe);
        }
        None
    }

    /// An answer came, whatever it was; whether that closed the breaker.
    pub fn answered(&mut self, probe: Option<Probe>) -> bool {
        match (&mut self.inner, probe) {
            (Inner::Closed { failures }, _) => {
                *failures = 0;
                false
            }
            (Inner::Trying(trying), Some(probe)) if *trying == probe => {
                self.inner = Inner::default();
                self.trips = 0;
                true
            }
            _ => false,
        }
    }

    /// No answer came; whether that opened the breaker. `chance` is uniform in 0..1.
    pub fn failed(
        &mut self,
        probe: Option<Probe>,
        now: Instant,
        chance: f64,
        settings: &BreakerSettings,
    ) -> bool {
        match (&mut self.inner, probe) {
            (Inner::Closed { failures }, _) => {
                *failures = failures.saturating_add(1);
                if settings.failures == 0 || *failures < settings.failures {
                    return false;
                }
            }
            (Inner::Trying(trying), Some(probe)) if *trying == probe => {}
            _ => return false,
        }
        self.trips = self.trips.saturating_add(1);
        self.inner = Inner::Open {
            until: now + settings.pause(self.trips, chance),
        };
        true
    }

    /// The attempt ended without a verdict: the next one may try.
    pub fn abandoned(&mut self, probe: Option<Probe>, now: Instant) {
        if let (Inner::Trying(trying), Some(probe)) = (&self.inner, probe)
            && *trying == probe
        {
            self.inner = Inner::Open { until: now };
        }
    }

    /// The upstream is known to be back: it need not wait, but must still prove itself.
    pub fn hasten(&mut self, now: Instant) {
        if let Inner::Open { until } = &mut self.inner {
            *until = now.min(*until);
        }
    }

    /// Breakers were switched off.
    pub fn close(&mut self) {
        self.inner = Inner::default();
        self.trips = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failures: 3,
        base_ms: 1_000,
        max_ms: 8_000,
    };

    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for failure in 1..=3 {
            assert_eq!(breaker.failed(None, now, 0.5, &SETTINGS), failure == 3);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_starts_the_count_again() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert!(!breaker.failed(None, now, 0.5, &SETTINGS));
            assert!(!breaker.failed(None, now, 0.5, &SETTINGS));
            assert!(!breaker.answered(None));
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        assert!(!open(now).admits(now));
    }

    #[test]
    fn half_open_lets_one_try_at_a_time() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + Duration::from_secs(1);
        assert_eq!(
            breaker.state(now + Duration::from_millis(999)),
            BreakerState::Open
        );
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert!(breaker.admits(later));
        let probe = breaker.begin();
        assert!(probe.is_some() && !breaker.admits(later));
        // The client left: the next one may try.
        breaker.abandoned(probe, later);
        assert!(breaker.admits(later));
        let next = breaker.begin();
        // A late word of the first, or of somebody who began before it opened, changes nothing.
        assert!(!breaker.answered(probe) && !breaker.answered(None));
        assert!(!breaker.failed(None, later, 0.5, &SETTINGS));
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert!(breaker.answered(next));
        assert_eq!(breaker.state(later), BreakerState::Closed);
    }

    #[test]
    fn each_failed_try_doubles_the_wait_up_to_the_limit() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        for expected in [1, 2, 4, 8, 8, 8] {
            let until = breaker.opens_until(now).expect("it is open");
            assert_eq!(until - now, Duration::from_secs(expected));
            now = until;
            let probe = breaker.begin();
            assert!(breaker.failed(probe, now, 0.5, &SETTINGS));
        }
        now = breaker.opens_until(now).expect("it is open");
        let probe = breaker.begin();
        assert!(breaker.answered(probe));
        for _ in 0..3 {
            breaker.failed(None, now, 0.5, &SETTINGS);
        }
        let again = breaker.opens_until(now).expect("it is open");
        assert_eq!(again - now, Duration::from_secs(1), "closing forgets");
    }

    #[test]
    fn one_that_came_back_need_not_wait_and_none_is_off() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.hasten(now);
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        let off = BreakerSettings {
            failures: 0,
            ..SETTINGS
        };
        let mut breaker = Breaker::default();
        assert!((0..1_000).all(|_| !breaker.failed(None, now, 0.5, &off)));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Begin,
        /// Of the attempt at this place among those on the way.
        Answered(usize),
        Failed(usize),
        Abandoned(usize),
        Pass(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Begin),
            2 => (0_usize..8).prop_map(Event::Answered),
            4 => (0_usize..8).prop_map(Event::Failed),
            1 => (0_usize..8).prop_map(Event::Abandoned),
            1 => (0_u64..5_000).prop_map(Event::Pass),
        ]
    }

    proptest! {
        #[test]
        fn while_it_is_not_closed_one_at_a_time_passes_and_it_never_gets_stuck(
            events in prop::collection::vec(event(), 0..200), chance in 0.0_f64..1.0,
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::default();
            let mut on_the_way: Vec<Option<Probe>> = Vec::new();
            for event in events {
                match event {
                    Event::Begin if breaker.admits(now) => {
                        let closed = breaker.state(now) == BreakerState::Closed;
                        let probe = breaker.begin();
                        prop_assert_eq!(probe.is_none(), closed);
                        on_the_way.push(probe);
                    }
                    Event::Answered(at) if at < on_the_way.len() => { breaker.answered(on_the_way.swap_remove(at)); }
                    Event::Failed(at) if at < on_the_way.len() => { breaker.failed(on_the_way.swap_remove(at), now, chance, &SETTINGS); }
                    Event::Abandoned(at) if at < on_the_way.len() => breaker.abandoned(on_the_way.swap_remove(at), now),
                    Event::Begin | Event::Answered(_) | Event::Failed(_) | Event::Abandoned(_) => {}
                    Event::Pass(time) => now += Duration::from_millis(time),
                }
                let trying = matches!(breaker.inner, Inner::Trying(_));
                let probes = on_the_way.iter().flatten().filter(|probe| matches!(&breaker.inner, Inner::Trying(trying) if trying == *probe)).count();
                prop_assert_eq!(probes, usize::from(trying), "the one that tries is on its way");
            }
            for probe in on_the_way {
                breaker.abandoned(probe, now);
            }
            prop_assert!(breaker.admits(now + Duration::from_millis(SETTINGS.max_ms * 6 / 5)));
        }
    }
}
