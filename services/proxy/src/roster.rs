//! The members of a pool and every decision about them, under one lock. No sockets; the time is passed in.

mod pick;
mod report;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use pick::Picked;
pub(crate) use verdict::Attempt;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use kit::discovery::Endpoint;
use prometheus_client::metrics::counter::Counter;

use crate::{
    budget::{Budget, RetrySettings},
    chance::Chance,
    explain::{Ring, Standing},
    health::{Observation, State, Thresholds},
    host::Host,
    latency::Mean,
    metrics::Metrics,
    policy::{Candidate, Policy},
    settings::Balancing,
    upstream::Upstream,
};

/// How many of those that left are remembered by name, for `explain`.
const DEPARTED: usize = 64;

#[derive(Debug)]
pub(crate) struct Roster {
    pool: Arc<str>,
    thresholds: Thresholds,
    metrics: Metrics,
    /// Ordered by id, which is the order of discovery.
    hosts: Vec<Host>,
    next_id: u64,
    /// The names the operator drained, also of those that are away just now.
    drained: BTreeSet<String>,
    departed: VecDeque<(u64, Arc<str>)>,
    balancing: Arc<Balancing>,
    policy: Box<dyn Policy>,
    budget: Budget,
    /// While the safeguard `retry-budget` is off: no share, only a bound that the machine survives.
    unbounded: Budget,
    retries_denied: Counter,
    chance: Chance,
    mean: Mean,
    next_sweep: Instant,
    explain: Ring,
    // Kept between picks so that a pick allocates nothing.
    candidates: Vec<Candidate>,
    positions: Vec<usize>,
    standings: Vec<(u64, usize, Standing)>,
    others: Vec<(u64, usize, Standing)>,
}

impl Roster {
    pub fn new(
        pool: &Arc<str>,
        thresholds: Thresholds,
        balancing: Balancing,
        metrics: &Metrics,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            retries_denied: metrics.retries_denied(pool),
            pool: Arc::clone(pool),
            thresholds,
            metrics: metrics.clone(),
            hosts: Vec::new(),
            next_id: 0,
            drained: BTreeSet::new(),
            departed: VecDeque::new(),
            policy: balancing.policy.build(&balancing),
            budget: Budget::new(balancing.retries, now),
            unbounded: Budget::new(RetrySettings::UNBOUNDED, now),
            next_sweep: now + balancing.outlier.interval(),
            balancing: Arc::new(balancing),
            chance: Chance::seeded(seed),
            mean: Mean::default(),
            explain: Ring::new(now),
            candidates: Vec::new(),
            positions: Vec::new(),
            standings: Vec::new(),
            others: Vec::new(),
        }
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.hosts.binary_search_by_key(&id, |host| host.id).ok()
    }

    fn host_mut(&mut self, id: u64) -> Option<&mut Host> {
        let position = self.position(id)?;
        self.hosts.get_mut(position)
    }

    /// Makes the members equal to `endpoints`. Upstreams that stay keep everything known of them. Whether anything changed.
    pub fn set_endpoints(&mut self, endpoints: &[Endpoint], now: Instant) -> bool {
        let is_same = |host: &Host, endpoint: &Endpoint| {
            host.upstream.address == endpoint.address
                && match &endpoint.name {
                    Some(name) => host.named && **name == *host.name,
                    None => !host.named,
                }
        };
        let (stay, leave): (Vec<_>, Vec<_>) = std::mem::take(&mut self.hosts)
            .into_iter()
            .partition(|host| endpoints.iter().any(|endpoint| is_same(host, endpoint)));
        let mut changed = !leave.is_empty();
        self.hosts = stay;
        for host in leave {
            // An instance that came back at another address goes on under its name, series included.
            let renewed = endpoints
                .iter()
                .any(|endpoint| endpoint.name.as_deref() == Some(&*host.name))
                || self.hosts.iter().any(|other| other.name == host.name);
            if !renewed {
                self.metrics.remove(&host.series.labels);
            }
            self.policy.forget(host.id);
            tracing::info!(pool = %self.pool, upstream = %host.name, address = %host.upstream.address, "upstream left");
            if self.departed.len() == DEPARTED {
                self.departed.pop_front();
            }
            self.departed.push_back((host.id, host.name));
        }
        for endpoint in endpoints {
            if self.hosts.iter().any(|host| is_same(host, endpoint)) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            let name: Arc<str> = match &endpoint.name {
                Some(name) => Arc::from(name.as_str()),
                None => Arc::from(endpoint.address.to_string()),
            };
            tracing::info!(pool = %self.pool, upstream = %name, address = %endpoint.address, "upstream discovered");
            let series = self.metrics.upstream(&self.pool, &name);
            let upstream = Upstream::new(id, endpoint.address, name);
            let mut host = Host::new(
                upstream,
                endpoint.name.is_some(),
                self.thresholds,
                series,
                now,
            );
            self.furnish(&mut host);
            self.hosts.push(host);
            changed = true;
        }
        changed
    }

    /// Gives a host what was said about its name.
    fn furnish(&self, host: &mut Host) {
        host.weight = self
            .balancing
            .weights
            .get(&*host.name)
            .copied()
            .unwrap_or(1);
        host.drained = self.drained.contains(&*host.name);
    }

    /// Takes in what was seen of an upstream, logs a change of state once, and says whether there was one.
    pub fn observe(&mut self, id: u64, observation: Observation, now: Instant) -> bool {
        let pool = Arc::clone(&self.pool);
        let Some(host) = self.host_mut(id) else {
            return false;
        };
        let Some(transition) = host.observe(observation, now) else {
            return false;
        };
        let (upstream, reason) = (&host.name, host.health.reason().to_string());
        match transition.to {
            State::Down => {
                tracing::warn!(%pool, %upstream, reason, "upstream is down");
            }
            State::Draining => {
                tracing::info!(%pool, %upstream, reason, "upstream takes no new requests");
            }
            State::Up | State::Unknown => {
                tracing::info!(%pool, %upstream, reason, "upstream is up");
            }
        }
        true
    }

    /// Remembers how long the last check took.
    pub fn checked(&mut self, id: u64, took: std::time::Duration) {
        if let Some(host) = self.host_mut(id) {
            host.last_check = Some(took);
        }
    }

    /// Takes the name an upstream gives itself, unless discovery knows it. Its series move to the new name; whether there was
    /// anything to learn.
    pub fn learn_name(&mut self, id: u64, name: &str) -> bool {
        let Some(position) = self.position(id) else {
            return false;
        };
        if self.hosts[position].named || *self.hosts[position].name == *name {
            return false;
        }
        let series = self.metrics.upstream(&self.pool, name);
        let old = self.hosts[position].series.labels.clone();
        self.hosts[position].rename(name, series);
        if !self.hosts.iter().any(|host| *host.name == *old.upstream) {
            self.metrics.remove(&old);
        }
        let mut host = self.hosts.remove(position);
        self.furnish(&mut host);
        self.hosts.insert(position, host);
        true
    }

    /// Tells an upstream that it gets no new requests, or that it does again; whether it got none before, or
    /// `None` when there is none of this name.
    pub fn drain(&mut self, name: &str, drain: bool) -> Option<bool> {
        let previous = self.drained.contains(name);
        if !previous && self.hosts.iter().all(|host| *host.name != *name) {
            return None;
        }
        if drain {
            self.drained.insert(name.to_owned());
        } else {
            self.drained.remove(name);
        }
        for host in &mut self.hosts {
            if *host.name == *name {
                host.drained = drain;
            }
        }
        tracing::warn!(pool = %self.pool, upstream = name, drain, "the operator changed where requests go");
        Some(previous)
    }

    pub fn balancing(&self) -> &Arc<Balancing> {
        &self.balancing
    }

    /// Applies valid settings. Requests on their way are not touched, what is known of the upstreams is kept.
    pub fn apply(&mut self, balancing: Balancing, now: Instant) {
        let before = std::mem::replace(&mut self.balancing, Arc::new(balancing));
        let balancing = Arc::clone(&self.balancing);
        if (before.policy, before.bound, before.p2c)
            != (balancing.policy, balancing.bound, balancing.p2c)
        {
            self.policy = balancing.policy.build(&balancing);
        }
        self.budget.set(balancing.retries);
        self.next_sweep = self.next_sweep.min(now + balancing.outlier.interval());
        let ejects = balancing.outlier.is_on();
        for host in &mut self.hosts {
            host.weight = balancing.weights.get(&*host.name).copied().unwrap_or(1);
            if balancing.breaker.failures == 0 {
                host.breaker.close();
            }
            if !ejects {
                host.outlier.pardon();
            }
        }
    }

    /// Requests of clients came in: they earn retries.
    pub fn count_requests(&mut self, requests: u64, now: Instant) {
        self.budget.deposit(requests, now);
    }

    /// Asks for one retry, of the budget or only of what the machine survives.
    pub fn may_retry(&mut self, is_budgeted: bool, now: Instant) -> bool {
        let may = if is_budgeted {
            self.budget.withdraw(now)
        } else {
            self.unbounded.withdraw(now)
        };
        if !may {
            self.retries_denied.inc();
        }
        may
    }
}
