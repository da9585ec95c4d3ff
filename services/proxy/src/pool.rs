//! A pool: the upstreams of one role as discovery knows them, and the way to one of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kit::{discovery::Endpoint, safeguards::Safeguard, tls::Tiers};
use prometheus_client::metrics::counter::Counter;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    admission::Admission,
    check::{self, CheckSettings},
    explain::ExplainedPick,
    health::{Observation, State, Thresholds},
    host::Host,
    lease::Lease,
    metrics::{FailureReason, Metrics},
    policy::PolicyKind,
    roster::{Attempt, Roster},
    selection::{HashOn, Selection, Unavailable},
    settings::{Balancing, Invalid},
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
    /// How it balances at first; see [`Pool::update_balancing`]. What is not [valid](Balancing::validate) is not used well.
    pub balancing: Balancing,
    /// Given: the upstreams are spoken to by TLS, and checked as well.
    pub tls: Option<Arc<ClientConfig>>,
}

impl PoolSettings {
    /// Checks every 500 ms, down after two failures, up after one pass; round robin.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            thresholds: Thresholds::default(),
            check: CheckSettings::default(),
            balancing: Balancing::default(),
            tls: None,
        }
    }

    /// The same, over the tiers' own way to speak with that role.
    pub fn among(name: &str, tiers: &Tiers) -> Result<Self, kit::Error> {
        Ok(Self {
            tls: tiers.client(name)?,
            ..Self::new(name)
        })
    }
}

/// The upstreams of one role; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// A pool that may be gone.
#[derive(Clone, Debug)]
pub(crate) struct WeakPool(Weak<Shared>);

impl WeakPool {
    pub fn upgrade(&self) -> Option<Pool> {
        self.0.upgrade().map(|shared| Pool { shared })
    }
}

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    check: CheckSettings,
    tls: Option<Arc<ClientConfig>>,
    retries: Counter,
    admission: Admission,
    /// Requests that the retry budget does not know of yet; the next pick tells it.
    requests: AtomicU64,
    face: ArcSwap<Face>,
    roster: Mutex<Roster>,
    /// Held while settings change, so that of two changes none is lost.
    changing: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// What every request asks for before it picks.
#[derive(Debug)]
struct Face {
    hash_on: Option<Arc<HashOn>>,
    sticky: bool,
}

impl Face {
    fn new(balancing: &Balancing) -> Self {
        let hashes = balancing.policy == PolicyKind::ConsistentHash;
        Self {
            hash_on: hashes.then(|| Arc::new(balancing.hash_on.clone())),
            sticky: balancing.sticky,
        }
    }
}

impl Pool {
    /// A pool that knows nobody yet: give it to [`Pool::run`], or set its endpoints by hand.
    #[must_use]
    pub fn new(settings: PoolSettings, metrics: &Metrics) -> Self {
        let name: Arc<str> = Arc::from(settings.name.as_str());
        let balancing = settings.balancing;
        let pool = Self {
            shared: Arc::new(Shared {
                retries: metrics.retries(&name),
                admission: Admission::new(&balancing.admission, metrics.shed(&name)),
                requests: AtomicU64::new(0),
                face: ArcSwap::from_pointee(Face::new(&balancing)),
                roster: Mutex::new(Roster::new(
                    &name,
                    settings.thresholds,
                    balancing,
                    metrics,
                    rand::random(),
                    Instant::now(),
                )),
                changing: Mutex::new(()),
                check: settings.check,
                tls: settings.tls,
                name,
                changes: watch::Sender::new(0),
            }),
        };
        metrics.watch(&pool);
        pool
    }

    pub(crate) fn downgrade(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.shared))
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
        if self.roster().set_endpoints(endpoints, Instant::now()) {
            self.changed();
        }
    }

    /// Picks an upstream for one attempt and counts it as in flight there until the lease is dropped.
    ///
    /// Those that are up come first; when there are none, those of which nothing is known yet, then those that are ejected. One
    /// of `avoid` is picked only if nobody else is left and `last_resort` allows it.
    pub fn pick(&self, selection: &Selection<'_>, now: Instant) -> Result<Lease, Unavailable> {
        let mut roster = self.roster();
        let requests = self.shared.requests.swap(0, Ordering::Relaxed);
        if requests > 0 {
            roster.count_requests(requests, now);
        }
        let picked = roster.pick(selection, now);
        drop(roster);
        Ok(Lease::new(self.clone(), picked?, now))
    }

    /// What the upstreams are shown, and must show, if they are spoken to by TLS.
    #[must_use]
    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.shared.tls.as_ref()
    }

    /// What of a request a pick depends on: what [`Selection::key`] is made of (`None` unless the policy hashes), and whether
    /// clients are to be sent back to the upstream that served them first, by the cookie
    /// [`STICKY_COOKIE`](crate::STICKY_COOKIE).
    #[must_use]
    pub fn depends_on(&self) -> (Option<Arc<HashOn>>, bool) {
        let face = self.shared.face.load();
        (face.hash_on.clone(), face.sticky)
    }

    /// Asks the retry budget for one retry of a request that was sent; a refusal is counted. One that was never sent needs no
    /// budget: it adds load to nobody, and its attempts are limited.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        let now = Instant::now();
        let mut roster = self.roster();
        roster.count_requests(self.shared.requests.swap(0, Ordering::Relaxed), now);
        roster.may_retry(Safeguard::RetryBudget.is_on(), now)
    }

    /// Earns retries: once for each request of a client, however many attempts it takes.
    pub fn count_request(&self) {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one retry in the metrics.
    pub fn count_retry(&self) {
        self.shared.retries.inc();
    }

    /// What lets requests in, while the pool keeps up with them; off unless switched on.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    pub(crate) fn answered(
        &self,
        attempt: Attempt,
        status: u16,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.roster().answered(attempt, status, retry_after, now);
    }

    pub(crate) fn failed(
        &self,
        attempt: Attempt,
        reason: FailureReason,
        cause: &dyn fmt::Display,
        was_answered: bool,
    ) {
        let changed = self
            .roster()
            .failed(attempt, reason, cause, was_answered, Instant::now());
        if changed {
            self.changed();
        }
    }

    pub(crate) fn abandoned(&self, attempt: Attempt) {
        self.roster().abandoned(attempt, Instant::now());
    }

    /// Takes in what was seen of an upstream.
    pub(crate) fn observe(&self, upstream: &Upstream, observation: Observation) {
        let changed = self
            .roster()
            .observe(upstream.id, observation, Instant::now());
        if changed {
            self.changed();
        }
    }

    pub(crate) fn checked(&self, upstream: &Upstream, took: Duration) {
        self.roster().checked(upstream.id, took);
    }

    pub(crate) fn learn_name(&self, upstream: &Upstream, name: &str) {
        let learnt = self.roster().learn_name(upstream.id, name);
        if learnt {
            self.changed();
        }
    }

    pub(crate) fn check_settings(&self) -> &CheckSettings {
        &self.shared.check
    }

    /// The name of the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How long a client should wait before it tries again when nobody can be picked: one round of checks, or until a circuit
    /// breaker lets one try, rounded up to a second.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let breakers = self.roster().breakers_open_for(Instant::now());
        let wait = breakers.unwrap_or(self.shared.check.interval);
        Duration::from_secs(wait.as_secs_f64().ceil() as u64).max(Duration::from_secs(1))
    }

    /// Whether anyone takes requests.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.roster().is_healthy()
    }

    /// Every upstream by name, and whether it takes requests.
    #[must_use]
    pub fn health(&self) -> BTreeMap<String, bool> {
        let is_up = |host: &Host| (host.name.to_string(), host.state() == State::Up);
        self.roster().hosts().iter().map(is_up).collect()
    }

    /// The addresses of those that take requests, for calls that go to all of them.
    #[must_use]
    pub fn healthy_addresses(&self) -> Vec<SocketAddr> {
        self.roster()
            .hosts()
            .iter()
            .filter(|host| host.state() == State::Up)
            .map(|host| host.upstream.address)
            .collect()
    }

    /// Everything an operator may want to see.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let now = Instant::now();
        let admission = self.shared.admission.snapshot();
        let roster = self.roster();
        PoolSnapshot {
            pool: self.shared.name.to_string(),
            policy: roster.balancing().policy,
            sticky: roster.balancing().sticky,
            panic: roster.is_panic(now),
            retries: self.shared.retries.get(),
            retries_denied: roster.retries_denied(),
            admission,
            upstreams: roster.upstreams(now),
        }
    }

    /// Why the last picks fell as they did, the newest first; at most 128 are remembered.
    #[must_use]
    pub fn explain(&self, limit: usize) -> Vec<ExplainedPick> {
        self.roster().explain(limit, Instant::now())
    }

    /// The settings in force.
    #[must_use]
    pub fn balancing(&self) -> Arc<Balancing> {
        Arc::clone(self.roster().balancing())
    }

    /// Merges a partial document over the settings in force (JSON Merge Patch) and applies the whole at once; requests on their
    /// way are not touched. An invalid document changes nothing.
    pub fn update_balancing(&self, patch: &Value) -> Result<Balancing, Invalid> {
        let _changing = self
            .shared
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let merged = self.balancing().merged(patch)?;
        self.roster().apply(merged.clone(), Instant::now());
        self.shared.face.store(Arc::new(Face::new(&merged)));
        self.shared.admission.set(&merged.admission);
        tracing::warn!(
            pool = self.name(),
            policy = merged.policy.name(),
            "the balancing settings were changed"
        );
        self.changed();
        Ok(merged)
    }

    /// Tells an upstream that it gets no new requests (what it has is finished), or that it does again; whether it got none
    /// before, or `None` when there is none of this name. It holds until it is taken back, also when the instance comes back at another address.
    #[must_use]
    pub fn drain(&self, upstream: &str, drain: bool) -> Option<bool> {
        let previous = self.roster().drain(upstream, drain);
        if previous.is_some() {
            self.changed();
        }
        previous
    }

    /// Changes whenever an upstream comes, goes or changes state, and with the settings.
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
        let roster = self.roster();
        let upstreams = roster.hosts().iter();
        upstreams.map(|host| Arc::clone(&host.upstream)).collect()
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.shared
            .roster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests;
