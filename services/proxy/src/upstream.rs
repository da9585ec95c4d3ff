//! One upstream: its address and name, what is known of its health, what it is doing for us.

use std::net::SocketAddr;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::time::{Duration, Instant};

use http::uri::Authority;

use crate::{
    health::{Health, Observation, State, Thresholds},
    metrics::{FailureReason, Metrics, UpstreamMetrics},
    snapshot::{Failures, UpstreamSnapshot},
};

/// Shared by the pool, the checks and the requests on their way.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub id: u64,
    pub address: SocketAddr,
    pub authority: Authority,
    /// Whether discovery itself gave the name; otherwise it is learnt from the health check.
    named: bool,
    weight: u32,
    in_flight: AtomicUsize,
    retired: AtomicBool,
    facts: Mutex<Facts>,
    pool: Arc<str>,
    metrics: Metrics,
}

/// What changes together, under one lock.
#[derive(Debug)]
struct Facts {
    name: Arc<str>,
    health: Health,
    last_check: Option<Duration>,
    series: Arc<UpstreamMetrics>,
}

impl Upstream {
    pub fn new(
        id: u64,
        pool: &Arc<str>,
        address: SocketAddr,
        name: Option<&str>,
        thresholds: Thresholds,
        metrics: &Metrics,
    ) -> Self {
        let text = address.to_string();
        let shown = name.unwrap_or(&text);
        let series = metrics.upstream(pool, shown);
        series.weight.set(1);
        // An instance that moved goes on with its old series: what it was is not known to be true any more.
        series.up.set(0);
        Self {
            id,
            address,
            authority: text.parse().expect("a socket address is a valid authority"),
            named: name.is_some(),
            weight: 1,
            in_flight: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            facts: Mutex::new(Facts {
                name: Arc::from(shown),
                health: Health::new(thresholds, Instant::now()),
                last_check: None,
                series: Arc::new(series),
            }),
            pool: Arc::clone(pool),
            metrics: metrics.clone(),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.facts().name)
    }

    pub fn is_named(&self) -> bool {
        self.named
    }

    pub fn state(&self) -> State {
        self.facts().health.state()
    }

    pub fn weight(&self) -> u32 {
        self.weight
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes in an observation, logs a change of state once, and says whether there was one.
    pub fn observe(&self, observation: Observation) -> bool {
        let mut facts = self.facts();
        let Some(transition) = facts.health.observe(observation, Instant::now()) else {
            return false;
        };
        facts.series.up.set(i64::from(transition.to == State::Up));
        let (name, reason) = (Arc::clone(&facts.name), facts.health.reason().to_string());
        drop(facts);
        match transition.to {
            State::Down => {
                tracing::warn!(pool = %self.pool, upstream = %name, reason, "upstream is down");
            }
            State::Draining => {
                tracing::info!(pool = %self.pool, upstream = %name, reason, "upstream takes no new requests");
            }
            State::Up | State::Unknown => {
                tracing::info!(pool = %self.pool, upstream = %name, reason, "upstream is up");
            }
        }
        true
    }

    /// Remembers how long the last check took.
    pub fn checked(&self, took: Duration) {
        self.facts().last_check = Some(took);
    }

    /// Takes the name the upstream gives itself, unless discovery knows it. Its series move to the new name; whether there was
    /// anything to learn.
    pub fn learn_name(&self, name: &str) -> bool {
        if self.named {
            return false;
        }
        let mut facts = self.facts();
        if *facts.name == *name || self.retired.load(Ordering::Relaxed) {
            return false;
        }
        let old = Arc::clone(&facts.series);
        let series = self.metrics.upstream(&self.pool, name);
        series.weight.set(i64::from(self.weight));
        series.up.set(i64::from(facts.health.state() == State::Up));
        series
            .in_flight
            .set(i64::try_from(self.in_flight()).unwrap_or(i64::MAX));
        facts.name = Arc::from(name);
        facts.series = Arc::new(series);
        drop(facts);
        self.metrics.remove(&old.labels);
        true
    }

    /// It left discovery: its series go. Requests still on their way to it finish.
    pub fn retire(&self, survivor_has_same_name: bool) {
        self.retired.store(true, Ordering::Relaxed);
        if !survivor_has_same_name {
            let series = Arc::clone(&self.facts().series);
            self.metrics.remove(&series.labels);
        }
    }

    pub fn failed(&self, reason: FailureReason) {
        self.facts().series.failures(reason).inc();
    }

    pub fn snapshot(&self, total_weight: u32) -> UpstreamSnapshot {
        let facts = self.facts();
        let state = facts.health.state();
        let failures = |reason| facts.series.failures(reason).get();
        UpstreamSnapshot {
            name: facts.name.to_string(),
            address: self.address,
            state,
            reason: facts.health.reason().to_string(),
            since_seconds: facts.health.since().elapsed().as_secs_f64(),
            in_flight: self.in_flight(),
            weight: self.weight,
            expected_share: if state == State::Up && total_weight > 0 {
                f64::from(self.weight) / f64::from(total_weight)
            } else {
                0.0
            },
            requests: facts.series.requests.get(),
            failures: Failures {
                connect: failures(FailureReason::Connect),
                timeout: failures(FailureReason::Timeout),
                reset: failures(FailureReason::Reset),
                status: failures(FailureReason::Status),
            },
            last_check_ms: facts.last_check.map(|took| took.as_secs_f64() * 1000.0),
        }
    }
}

impl Upstream {
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let facts = self.facts();
        facts.series.requests.inc();
        facts.series.in_flight.inc();
    }

    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.facts().series.in_flight.dec();
    }
}
