//! One running instance: who it is, how it feels, and the tasks it must finish.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::{
    Common, Error, Problem, Shutdown,
    config::Secret,
    discovery::{Endpoint, Source},
    faults::Faults,
    metrics::Metrics,
    safeguards::Safeguard,
    tls::Tiers,
    traces::Tracer,
};

/// Shared by everything in the process that serves one role; cheap to clone.
#[derive(Clone)]
pub struct Instance(Arc<Inner>);

struct Inner {
    role: &'static str,
    name: String,
    started_at: DateTime<Utc>,
    started: Instant,
    metrics: Metrics,
    faults: Faults,
    draining: AtomicBool,
    checks: RwLock<BTreeMap<&'static str, bool>>,
    operator_token: Secret,
    addresses: OnceLock<(SocketAddr, SocketAddr)>,
    tasks: TaskTracker,
    shutdown: Shutdown,
    access_log_rate: u32,
    dns_max: Duration,
    read_only: bool,
    levers: RwLock<BTreeMap<&'static str, Lever>>,
    safeguards: OnceLock<&'static [Safeguard]>,
    tiers: Tiers,
    /// It has a server of its own, which does not hold an answer back until it is whole.
    streams: AtomicBool,
    tracer: Option<Tracer>,
}

/// Tells how a lever stands.
type Lever = Box<dyn Fn() -> Value + Send + Sync>;

impl Instance {
    pub(crate) fn new(
        role: &'static str,
        common: &Common,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        let tiers = Tiers::load(&common.mtls)?;
        let name = common.instance_name(role);
        let metrics = Metrics::new(role, &name);
        let tracer = Tracer::new(role, &name, &common.traces, &metrics)?;
        let instance = Self(Arc::new(Inner {
            role,
            metrics,
            name,
            started_at: Utc::now(),
            started: Instant::now(),
            faults: Faults::default(),
            draining: AtomicBool::new(false),
            checks: RwLock::default(),
            operator_token: common.operator_token.clone(),
            addresses: OnceLock::new(),
            tasks: TaskTracker::new(),
            shutdown,
            access_log_rate: common.access_log_rate,
            dns_max: Duration::from_secs(common.dns_max_seconds),
            read_only: common.read_only,
            levers: RwLock::default(),
            safeguards: OnceLock::new(),
            tiers,
            streams: AtomicBool::new(false),
            tracer,
        }));
        instance.tiers().follow(&instance);
        Ok(instance)
    }

    #[must_use]
    pub fn role(&self) -> &'static str {
        self.0.role
    }

    /// The whole name, such as `gateway-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What stands after the last dash of the name: the `gateway_id` and `service_id` of answers.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.name.rsplit('-').next().unwrap_or(&self.0.name)
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Who makes spans here, where an operator wants them.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.0.tracer.as_ref()
    }

    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Whether every lever is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    /// Asked before a lever is pulled: 403 where the lab is only to be looked at.
    pub fn levers_allowed(&self) -> Result<(), Problem> {
        if self.0.read_only {
            Err(Problem::read_only())
        } else {
            Ok(())
        }
    }

    /// Has `/admin/info` tell how a lever of the service's own stands.
    pub fn tell_lever(
        &self,
        name: &'static str,
        state: impl Fn() -> Value + Send + Sync + 'static,
    ) {
        let mut levers = self
            .0
            .levers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        levers.insert(name, Box::new(state));
    }

    pub(crate) fn levers(&self) -> BTreeMap<&'static str, Value> {
        let levers = self.0.levers.read().unwrap_or_else(PoisonError::into_inner);
        levers
            .iter()
            .map(|(name, state)| (*name, state()))
            .collect()
    }

    /// The safeguards that matter to this service.
    #[must_use]
    pub fn safeguards(&self) -> &'static [Safeguard] {
        self.0.safeguards.get().copied().unwrap_or_default()
    }

    /// Whether a fault can lose an answer here, or hold it back.
    pub(crate) fn loses_answers(&self) -> bool {
        !self.0.streams.load(Ordering::Relaxed)
    }

    pub(crate) fn set_streams(&self) {
        self.0.streams.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_safeguards(&self, safeguards: &'static [Safeguard]) {
        let _ = self.0.safeguards.set(safeguards);
    }

    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Whether this is the operator's token, in the same time for every wrong one.
    #[must_use]
    pub fn is_operator_token(&self, token: &[u8]) -> bool {
        token.ct_eq(self.0.operator_token.0.as_bytes()).into()
    }

    /// How this process and the other tiers speak with each other.
    #[must_use]
    pub fn tiers(&self) -> &Tiers {
        &self.0.tiers
    }

    pub(crate) fn access_log_rate(&self) -> u32 {
        self.0.access_log_rate
    }

    pub(crate) fn set_addresses(&self, listen: SocketAddr, admin: SocketAddr) {
        let _ = self.0.addresses.set((listen, admin));
    }

    /// The addresses of the public and the admin port, once bound.
    #[must_use]
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.0.addresses.get().copied()
    }

    /// Whether no new work is wanted.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub fn set_draining(&self, draining: bool) {
        self.0.draining.store(draining, Ordering::Relaxed);
        self.0.metrics.draining.set(i64::from(draining));
    }

    /// Reports whether something this instance needs is there; readiness is all of them.
    pub fn set_check(&self, name: &'static str, up: bool) {
        let before = self
            .0
            .checks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, up);
        self.0
            .metrics
            .stores
            .get_or_create(&crate::metrics::StoreLabels {
                store: name.to_owned(),
            })
            .set(i64::from(up));
        match (before, up) {
            (Some(true), false) => tracing::warn!(store = name, "{name} is away"),
            (Some(false), true) => tracing::info!(store = name, "{name} is back"),
            (None, false) => tracing::warn!(store = name, "{name} does not answer yet"),
            _ => {}
        }
    }

    /// Whether a reported need is met; true for one that was never reported.
    #[must_use]
    pub fn check(&self, name: &str) -> bool {
        self.checks().get(name).copied().unwrap_or(true)
    }

    #[must_use]
    pub fn checks(&self) -> BTreeMap<&'static str, bool> {
        self.0
            .checks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether this instance should get new work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.checks().values().all(|up| *up)
    }

    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Where the instances of another service are, watched until the shutdown.
    pub async fn discover(&self, source: Source) -> watch::Receiver<Vec<Endpoint>> {
        source
            .watch_within(self.0.dns_max, self.shutdown().clone())
            .await
    }

    /// Starts a background task that a graceful stop waits for; it must end soon after the shutdown is requested.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.tasks.spawn(task);
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }
}
