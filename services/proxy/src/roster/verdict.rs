//! Verdicts: what an attempt tells of its upstream, and what follows from it.

use std::fmt;
use std::time::{Duration, Instant};

use kit::safeguards::Safeguard;

use super::Roster;
use crate::{
    breaker::Probe,
    health::Observation,
    metrics::FailureReason,
    outlier::{self, EjectionReason, Room},
};

/// One attempt that came to a verdict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub upstream: u64,
    pub started: Instant,
    pub probe: Option<Probe>,
}

impl Roster {
    /// The head of an answer arrived.
    pub fn answered(
        &mut self,
        attempt: Attempt,
        status: u16,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let took = now.saturating_duration_since(attempt.started);
        let settings = self.balancing.p2c;
        let mean = self.mean.seconds();
        let Some(position) = self.position(attempt.upstream) else {
            return;
        };
        let host = &mut self.hosts[position];
        if host.breaker.answered(attempt.probe) {
            tracing::info!(pool = %self.pool, upstream = %host.name, "the circuit breaker closed");
            host.latency = crate::latency::Latency::default();
            host.started = Some(now);
        }
        let is_failure = status >= 500;
        if is_failure || status == 429 {
            // However fast it said no, that is not how fast it works.
            host.latency.failed(took, retry_after, now, mean, &settings);
        } else {
            host.latency.succeeded(took, now, &settings);
            if let Some(estimate) = host.latency.measured() {
                self.mean.observe(estimate, now, &settings);
            }
        }
        if is_failure {
            host.series.failures(FailureReason::Status).inc();
            self.charge(position, now);
        } else {
            host.outlier.succeeded();
        }
        self.sweep_if_due(now);
    }

    /// There was no answer, or it broke off after its head. Whether that took the upstream down.
    pub fn failed(
        &mut self,
        attempt: Attempt,
        reason: FailureReason,
        cause: &dyn fmt::Display,
        was_answered: bool,
        now: Instant,
    ) -> bool {
        // How long the body had been coming says nothing about latency.
        let took = if was_answered {
            Duration::ZERO
        } else {
            now.saturating_duration_since(attempt.started)
        };
        let settings = self.balancing.p2c;
        let mean = self.mean.seconds();
        let chance = self.chance.unit();
        let Some(position) = self.position(attempt.upstream) else {
            return false;
        };
        let host = &mut self.hosts[position];
        host.series.failures(reason).inc();
        host.latency.failed(took, None, now, mean, &settings);
        if !was_answered
            && Safeguard::RetryBudget.is_on()
            && host
                .breaker
                .failed(attempt.probe, now, chance, &self.balancing.breaker)
        {
            host.series.breaker_opened.inc();
            let pause = host.breaker.opens_until(now).map(|until| until - now);
            tracing::warn!(pool = %self.pool, upstream = %host.name, ?pause, "the circuit breaker opened");
        }
        self.charge(position, now);
        self.sweep_if_due(now);
        reason == FailureReason::Connect
            && self.observe(
                attempt.upstream,
                Observation::Unreachable(cause.to_string()),
                now,
            )
    }

    /// An attempt ended without a verdict.
    pub fn abandoned(&mut self, attempt: Attempt, now: Instant) {
        if let Some(host) = self.host_mut(attempt.upstream) {
            host.breaker.abandoned(attempt.probe, now);
        }
    }

    /// Counts a failure against a host, and ejects it if it is time and there is room.
    fn charge(&mut self, position: usize, now: Instant) {
        let settings = self.balancing.outlier;
        if !self.hosts[position].outlier.failed(&settings)
            || self.hosts[position].outlier.is_ejected(now)
        {
            return;
        }
        let mut room = Room::default();
        for (other, host) in self.hosts.iter().enumerate() {
            room.count(&host.outlier, host.is_usable(now), other != position, now);
        }
        if room.allows(EjectionReason::ConsecutiveFailures, &settings) {
            let time = self.hosts[position]
                .outlier
                .eject(now, self.chance.unit(), &settings);
            self.note_ejection(position, EjectionReason::ConsecutiveFailures, time);
        }
    }

    /// Compares the success rates once in an interval. There is no timer: without attempts there is nothing to compare.
    fn sweep_if_due(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        let settings = self.balancing.outlier;
        self.next_sweep = now + settings.interval();
        let mut hosts: Vec<outlier::Host<'_>> = self
            .hosts
            .iter_mut()
            .map(|host| outlier::Host {
                usable: host.is_usable(now),
                record: &mut host.outlier,
            })
            .collect();
        let chance = &mut self.chance;
        let ejected = outlier::sweep(&mut hosts, now, || chance.unit(), &settings);
        for (position, time) in ejected {
            self.note_ejection(position, EjectionReason::SuccessRate, time);
        }
    }

    fn note_ejection(&self, position: usize, reason: EjectionReason, time: Duration) {
        let host = &self.hosts[position];
        host.series.ejections(reason).inc();
        tracing::warn!(
            pool = %self.pool, upstream = %host.name, reason = reason.as_str(), seconds = time.as_secs_f64(),
            "upstream is ejected: it fails more than the others"
        );
    }
}
