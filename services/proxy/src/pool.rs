//! A pool: the upstreams of one role as discovery knows them, who of them may be picked, and the policy that picks.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kit::discovery::Endpoint;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admission::Admission,
    check::{self, CheckSettings},
    health::{Observation, State, Thresholds},
    lease::Lease,
    metrics::Metrics,
    policy::{Candidate, Policy, RoundRobin},
    selection::{HashOn, Selection, Unavailable},
    snapshot::PoolSnapshot,
    upstream::Upstream,
};

/// How a pool behaves.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The role it balances over, such as `gateway`: the `pool` label of its metrics.
    pub name: String,
    pub thresholds: Thresholds,
    pub check: CheckSettings,
}

impl PoolSettings {
    /// Checks every 500 ms, down after two failures, up after one pass.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            thresholds: Thresholds::default(),
            check: CheckSettings::default(),
        }
    }
}

/// The upstreams of one role; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    settings: PoolSettings,
    metrics: Metrics,
    retries: Counter,
    admission: Admission,
    members: Mutex<Members>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Members {
    /// Ordered by id, which is the order of discovery.
    upstreams: Vec<Arc<Upstream>>,
    next_id: u64,
    policy: Box<dyn Policy>,
    /// Kept between picks so that a pick allocates nothing.
    candidates: Vec<Candidate>,
    positions: Vec<usize>,
}

impl Pool {
    /// A pool that knows nobody yet: give it to [`Pool::run`], or set its endpoints by hand.
    #[must_use]
    pub fn new(settings: PoolSettings, metrics: &Metrics) -> Self {
        let name: Arc<str> = Arc::from(settings.name.as_str());
        Self {
            shared: Arc::new(Shared {
                retries: metrics.retries(&name),
                name,
                settings,
                metrics: metrics.clone(),
                admission: Admission::default(),
                members: Mutex::new(Members {
                    upstreams: Vec::new(),
                    next_id: 0,
                    policy: Box::new(RoundRobin::default()),
                    candidates: Vec::new(),
                    positions: Vec::new(),
                }),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Follows discovery and checks every upstream, until `stop`. Run it as a background task of the service.
    pub async fn run(self, mut endpoints: watch::Receiver<Vec<Endpoint>>, stop: CancellationToken) {
        // Dropping a handle ends its check: with the pool's own end, they all end.
        let mut checks: HashMap<u64, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            let found = endpoints.borrow_and_update().clone();
            self.set_endpoints(&found);
            let members = self.upstreams();
            checks.retain(|id, _| members.iter().any(|upstream| upstream.id == *id));
            for upstream in members {
                checks.entry(upstream.id).or_insert_with(|| {
                    AbortOnDropHandle::new(tokio::spawn(check::watch(self.clone(), upstream)))
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = endpoints.changed() => if changed.is_err() {
                    // A source that ended leaves its last set standing.
                    stop.cancelled().await;
                    return;
                },
            }
        }
    }

    /// Makes the pool equal to `endpoints`. Upstreams that stay keep everything known of them.
    pub fn set_endpoints(&self, endpoints: &[Endpoint]) {
        let mut members = self.members();
        let is_same = |upstream: &Upstream, endpoint: &Endpoint| {
            upstream.address == endpoint.address
                && match &endpoint.name {
                    Some(name) => upstream.is_named() && **name == *upstream.name(),
                    None => !upstream.is_named(),
                }
        };
        let (stay, leave): (Vec<_>, Vec<_>) = std::mem::take(&mut members.upstreams)
            .into_iter()
            .partition(|upstream| endpoints.iter().any(|endpoint| is_same(upstream, endpoint)));
        let mut changed = !leave.is_empty();
        members.upstreams = stay;
        for upstream in leave {
            // An instance that came back at another address goes on under its name, series included.
            let name = upstream.name();
            let renewed = endpoints
                .iter()
                .any(|endpoint| endpoint.name.as_deref() == Some(&*name))
                || members
                    .upstreams
                    .iter()
                    .any(|upstream| upstream.name() == name);
            upstream.retire(renewed);
            tracing::info!(pool = %self.shared.name, upstream = %name, address = %upstream.address, "upstream left");
        }
        for endpoint in endpoints {
            if members
                .upstreams
                .iter()
                .any(|upstream| is_same(upstream, endpoint))
            {
                continue;
            }
            let id = members.next_id;
            members.next_id += 1;
            let shared = &self.shared;
            let upstream = Upstream::new(
                id,
                &shared.name,
                endpoint.address,
                endpoint.name.as_deref(),
                shared.settings.thresholds,
                &shared.metrics,
            );
            tracing::info!(pool = %shared.name, upstream = %upstream.name(), address = %endpoint.address, "upstream discovered");
            members.upstreams.push(Arc::new(upstream));
            changed = true;
        }
        drop(members);
        if changed {
            self.changed();
        }
    }

    /// Picks an upstream for one attempt and counts it as in flight there until the lease is dropped.
    ///
    /// Those that are up come first; when there are none, those of which nothing is known yet. One of `avoid` is picked only
    /// if nobody else is left and `last_resort` allows it.
    pub fn pick(&self, selection: &Selection<'_>) -> Result<Lease, Unavailable> {
        let &Selection {
            avoid, last_resort, ..
        } = selection;
        let mut members = self.members();
        let rounds = [
            (State::Up, false),
            (State::Unknown, false),
            (State::Up, true),
            (State::Unknown, true),
        ];
        let rounds = if last_resort {
            &rounds[..]
        } else {
            &rounds[..2]
        };
        for &(state, avoided_too) in rounds {
            let Members {
                upstreams,
                policy,
                candidates,
                positions,
                ..
            } = &mut *members;
            candidates.clear();
            positions.clear();
            for (position, upstream) in upstreams.iter().enumerate() {
                if upstream.state() == state && (avoided_too || !avoid.contains(&upstream.id)) {
                    candidates.push(Candidate {
                        id: upstream.id,
                        in_flight: upstream.in_flight(),
                        weight: upstream.weight(),
                    });
                    positions.push(position);
                }
            }
            if let Some(picked) = policy.pick(candidates) {
                return Ok(Lease::new(
                    self.clone(),
                    Arc::clone(&upstreams[positions[picked]]),
                ));
            }
        }
        Err(Unavailable::NoneHealthy)
    }

    /// What of a request [`Selection::key`] is made of; `None` unless the policy hashes.
    #[must_use]
    pub fn hash_on(&self) -> Option<Arc<HashOn>> {
        None
    }

    /// Whether clients are to be sent back to the upstream that served them first, by the cookie [`STICKY_COOKIE`](crate::STICKY_COOKIE).
    #[must_use]
    pub fn sticky(&self) -> bool {
        false
    }

    /// Asks the retry budget for one retry of a request that was sent; a refusal is counted.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        true
    }

    /// Earns retries: once for each request of a client, however many attempts it takes.
    pub fn count_request(&self) {}

    /// Counts one retry in the metrics.
    pub fn count_retry(&self) {
        self.shared.retries.inc();
    }

    /// What lets requests in, while the pool keeps up with them; off unless switched on.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// Takes in what was seen of an upstream.
    pub(crate) fn observe(&self, upstream: &Upstream, observation: Observation) {
        if upstream.observe(observation) {
            self.changed();
        }
    }

    pub(crate) fn learn_name(&self, upstream: &Upstream, name: &str) {
        if upstream.learn_name(name) {
            self.changed();
        }
    }

    pub(crate) fn check_settings(&self) -> &CheckSettings {
        &self.shared.settings.check
    }

    /// The name of the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How long a client should wait before it tries again when nobody is healthy: one round of checks, rounded up to a second.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(self.shared.settings.check.interval.as_secs().max(1))
    }

    /// Whether anyone takes requests.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.members()
            .upstreams
            .iter()
            .any(|upstream| upstream.state() == State::Up)
    }

    /// Every upstream by name, and whether it takes requests.
    #[must_use]
    pub fn health(&self) -> BTreeMap<String, bool> {
        self.members()
            .upstreams
            .iter()
            .map(|upstream| (upstream.name().to_string(), upstream.state() == State::Up))
            .collect()
    }

    /// The addresses of those that take requests, for calls that go to all of them.
    #[must_use]
    pub fn healthy_addresses(&self) -> Vec<SocketAddr> {
        self.members()
            .upstreams
            .iter()
            .filter(|upstream| upstream.state() == State::Up)
            .map(|upstream| upstream.address)
            .collect()
    }

    /// Everything an operator may want to see.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let members = self.members();
        let total_weight = members
            .upstreams
            .iter()
            .filter(|upstream| upstream.state() == State::Up)
            .map(|upstream| upstream.weight())
            .sum();
        PoolSnapshot {
            pool: self.shared.name.to_string(),
            policy: members.policy.name().to_owned(),
            retries: self.shared.retries.get(),
            upstreams: members
                .upstreams
                .iter()
                .map(|upstream| upstream.snapshot(total_weight))
                .collect(),
        }
    }

    /// Changes whenever an upstream comes, goes or changes state.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Waits until someone is healthy, at most `limit`; whether someone is.
    pub async fn wait_until_healthy(&self, limit: Duration) -> bool {
        let mut changes = self.changes();
        let healthy = async {
            while !self.is_healthy() {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(limit, healthy).await;
        self.is_healthy()
    }

    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.members().upstreams.clone()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.shared
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests;
