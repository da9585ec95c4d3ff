//! What operators are told of a pool's members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Roster;
use crate::{
    explain::{ExplainedPick, Standing},
    health::State,
    host::Host,
    metrics::FailureReason,
    snapshot::{Failures, Rounded, UpstreamSnapshot},
};

impl Roster {
    pub fn upstreams(&self, now: Instant) -> Vec<UpstreamSnapshot> {
        let panic = self.is_panic(now);
        let takes_requests = |host: &Host| match host.standing(now) {
            Standing::Candidate => true,
            Standing::Ejected => panic,
            _ => false,
        };
        let all_slow = self
            .hosts
            .iter()
            .filter(|host| takes_requests(host))
            .all(|host| host.slow_start(now, &self.balancing).is_some());
        let slow_start = |host: &Host| {
            let factor = host.slow_start(now, &self.balancing)?;
            (!all_slow).then_some(factor)
        };
        let effective = |host: &Host| f64::from(host.weight) * slow_start(host).unwrap_or(1.0);
        let share = |host: &Host| match self.balancing.policy.shares_by_weight() {
            Some(true) => Some(effective(host)),
            Some(false) => Some(1.0),
            None => None,
        };
        let total: f64 = self
            .hosts
            .iter()
            .filter(|host| takes_requests(host))
            .filter_map(share)
            .sum();
        self.hosts
            .iter()
            .map(|host| {
                let failures = |reason| host.series.failures(reason).get();
                let ejected_until = host.outlier.ejected_until();
                let expected_share = match share(host) {
                    Some(share) if takes_requests(host) => Some((share / total).rounded()),
                    Some(_) => Some(0.0),
                    None => (!takes_requests(host)).then_some(0.0),
                };
                let latency = host.latency.measured().map(|_| {
                    let seconds =
                        host.latency
                            .seconds(now, self.mean.seconds(), &self.balancing.p2c);
                    (seconds * 1_000.0).rounded()
                });
                UpstreamSnapshot {
                    name: host.name.to_string(),
                    address: host.upstream.address,
                    state: host.state(),
                    reason: host.reason(),
                    since_seconds: now
                        .saturating_duration_since(host.health.since())
                        .as_secs_f64(),
                    in_flight: host.upstream.in_flight(),
                    weight: host.weight,
                    effective_weight: effective(host).rounded(),
                    expected_share,
                    ejected: host.outlier.is_ejected(now),
                    ejected_for_seconds: ejected_until
                        .filter(|until| *until > now)
                        .map(|until| (until - now).as_secs_f64().rounded()),
                    breaker: host.breaker.state(now),
                    slow_start: slow_start(host).map(Rounded::rounded),
                    ewma_ms: latency,
                    requests: host.series.requests.get(),
                    failures: Failures {
                        connect: failures(FailureReason::Connect),
                        timeout: failures(FailureReason::Timeout),
                        reset: failures(FailureReason::Reset),
                        status: failures(FailureReason::Status),
                    },
                    last_check_ms: host.last_check.map(|took| took.as_secs_f64() * 1_000.0),
                }
            })
            .collect()
    }

    /// The last picks, the newest first.
    pub fn explain(&self, limit: usize, now: Instant) -> Vec<ExplainedPick> {
        self.explain
            .read(limit, now, |id| self.name_of(id).to_string())
    }

    fn name_of(&self, id: u64) -> Arc<str> {
        let departed = || {
            let known = self.departed.iter().find(|(known, _)| *known == id);
            known.map(|(_, name)| Arc::clone(name))
        };
        self.position(id)
            .map(|position| Arc::clone(&self.hosts[position].name))
            .or_else(departed)
            .unwrap_or_else(|| Arc::from("(left)"))
    }

    pub fn retries_denied(&self) -> u64 {
        self.retries_denied.get()
    }

    /// Whether anyone takes requests, as far as health goes.
    pub fn is_healthy(&self) -> bool {
        self.hosts.iter().any(|host| host.state() == State::Up)
    }

    /// How long until a breaker lets one try again, when breakers are all that stands in the way.
    pub fn breakers_open_for(&self, now: Instant) -> Option<Duration> {
        let admits = |host: &&Host| {
            matches!(
                host.standing(now),
                Standing::Candidate | Standing::Ejected | Standing::Unchecked
            )
        };
        if self.hosts.iter().find(admits).is_some() {
            return None;
        }
        let open = self
            .hosts
            .iter()
            .filter_map(|host| host.breaker.opens_until(now));
        open.min().map(|until| until - now)
    }
}
