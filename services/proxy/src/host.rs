//! All that a pool knows of one upstream, under the pool's lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::safeguards::Safeguard;

use crate::{
    breaker::{Breaker, BreakerState},
    explain::Standing,
    hash,
    health::{Health, Observation, State, Thresholds, Transition},
    latency::Latency,
    metrics::UpstreamSeries,
    outlier::Record,
    settings::Balancing,
    upstream::Upstream,
};

/// Keeps the sticky value apart from the name's hash, which `consistent_hash` uses.
const STICKY_SALT: u64 = 0x7374_6963_6b79;

#[derive(Debug)]
pub(crate) struct Host {
    pub upstream: Arc<Upstream>,
    /// The same as the upstream's: kept here so that finding a host touches no other memory.
    pub id: u64,
    pub name: Arc<str>,
    /// Whether discovery itself gave the name; otherwise it is learnt from the health check.
    pub named: bool,
    /// The hash of the name.
    pub hash: u64,
    pub sticky: u64,
    pub health: Health,
    /// The operator wants no new requests to go there.
    pub drained: bool,
    pub weight: u32,
    pub latency: Latency,
    pub outlier: Record,
    pub breaker: Breaker,
    /// When it (last) began to take requests.
    pub started: Option<Instant>,
    pub last_check: Option<Duration>,
    pub series: UpstreamSeries,
}

impl Host {
    pub fn new(
        upstream: Upstream,
        named: bool,
        thresholds: Thresholds,
        series: UpstreamSeries,
        now: Instant,
    ) -> Self {
        let name = upstream.name();
        let hash = hash::of(name.as_bytes());
        Self {
            id: upstream.id,
            upstream: Arc::new(upstream),
            name,
            named,
            hash,
            sticky: sticky_value(hash),
            health: Health::new(thresholds, now),
            drained: false,
            weight: 1,
            latency: Latency::default(),
            outlier: Record::default(),
            breaker: Breaker::default(),
            started: None,
            last_check: None,
            series,
        }
    }

    pub fn rename(&mut self, name: &str, series: UpstreamSeries) {
        self.name = Arc::from(name);
        self.upstream.rename(Arc::clone(&self.name));
        self.hash = hash::of(name.as_bytes());
        self.sticky = sticky_value(self.hash);
        self.series = series;
    }

    /// Takes in an observation of its health. One that comes back from the dead begins with a clean record, but must prove
    /// itself to its breaker.
    pub fn observe(&mut self, observation: Observation, now: Instant) -> Option<Transition> {
        let transition = self.health.observe(observation, now)?;
        if transition.to == State::Up {
            self.started = Some(now);
            if transition.from == State::Down {
                self.latency = Latency::default();
                self.outlier.pardon();
                self.breaker.hasten(now);
            }
        }
        Some(transition)
    }

    /// What it is for a request that does not care who was tried before.
    pub fn standing(&self, now: Instant) -> Standing {
        if self.drained {
            return Standing::DrainedByOperator;
        }
        match self.health.state() {
            State::Draining => Standing::Draining,
            State::Down => Standing::Down,
            State::Up | State::Unknown if !self.is_admitted(now) => Standing::BreakerOpen,
            State::Unknown => Standing::Unchecked,
            State::Up if self.outlier.is_ejected(now) => Standing::Ejected,
            State::Up => Standing::Candidate,
        }
    }

    /// Whether its breaker lets requests pass; without the retry budget all breakers do.
    fn is_admitted(&self, now: Instant) -> bool {
        self.breaker.admits(now) || !Safeguard::RetryBudget.is_on()
    }

    /// Whether requests go there, ejection left aside.
    pub fn is_usable(&self, now: Instant) -> bool {
        matches!(self.standing(now), Standing::Candidate | Standing::Ejected)
    }

    /// What operators see as its state.
    pub fn state(&self) -> State {
        match self.health.state() {
            State::Up | State::Unknown if self.drained => State::Draining,
            state => state,
        }
    }

    pub fn reason(&self) -> String {
        match self.health.state() {
            State::Up | State::Unknown if self.drained => "drained by the operator".to_owned(),
            _ => self.health.reason().to_string(),
        }
    }

    /// The part of its weight it has while it starts slowly; `None` once it has started.
    pub fn slow_start(&self, now: Instant, balancing: &Balancing) -> Option<f64> {
        let started = self.started?;
        // It starts anew after an ejection as well.
        let began = match self.outlier.ejected_until() {
            Some(until) if until <= now => until.max(started),
            _ => started,
        };
        let elapsed = now.saturating_duration_since(began);
        (elapsed < balancing.slow_start.window()).then(|| balancing.slow_start.factor(elapsed))
    }

    /// The latency the policies go by. One that tries again after not answering is as good as new.
    pub fn expected_latency(&self, now: Instant) -> Latency {
        match self.breaker.state(now) {
            BreakerState::Closed => self.latency,
            BreakerState::Open | BreakerState::HalfOpen => Latency::default(),
        }
    }
}

fn sticky_value(hash: u64) -> u64 {
    hash::pair(hash, STICKY_SALT)
}
