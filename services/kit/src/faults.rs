//! Faults on purpose: latency, errors, hangs and refusals on chosen routes, until they expire or are cleared.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// What `PUT /admin/faults` takes: the whole new list; an empty one clears all faults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultList {
    pub faults: Vec<Fault>,
}

/// One fault. Several that match a request all apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Requests whose path starts with this; every request without it. Health and admin paths are never touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Milliseconds added to each matching request.
    pub latency_ms: u64,
    /// Up to this many more milliseconds, evenly spread.
    pub jitter_ms: u64,
    /// Milliseconds that the answer to each matching request is held back after the work was done.
    pub hold_ms: u64,
    /// The share of matching requests that fail, 0 to 1.
    pub error_rate: f64,
    /// The status of those failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_status: Option<u16>,
    /// The share of matching requests that are carried out and whose answer is lost, 0 to 1: the connection closes instead.
    pub lose_rate: f64,
    /// Never answer.
    pub hang: bool,
    /// Close the connection without an answer.
    pub refuse: bool,
    /// Seconds until the fault ends by itself; it stays until cleared without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// What a fault does to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub delay: Duration,
    pub error: Option<StatusCode>,
    /// How long the answer is held back.
    pub hold: Duration,
    pub lose: bool,
    pub hang: bool,
    pub refuse: bool,
}

/// A fault that makes no sense, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidFault {
    pub field: &'static str,
    pub reason: &'static str,
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults {
    active: RwLock<Vec<(Fault, Option<Instant>)>>,
}

impl Faults {
    /// Replaces all faults, or none when one of them is invalid. Those that were in force, as [`list`](Self::list) tells them.
    pub fn replace(&self, faults: Vec<Fault>, now: Instant) -> Result<Vec<Fault>, InvalidFault> {
        for fault in &faults {
            fault.validate()?;
        }
        let timed = faults
            .into_iter()
            .map(|fault| {
                let end = fault
                    .expires_in_seconds
                    .map(|seconds| now + Duration::from_secs(seconds));
                (fault, end)
            })
            .collect();
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut *active, timed);
        Ok(in_force(&previous, now))
    }

    /// The faults in force, with the seconds they have left.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Fault> {
        in_force(
            &self.active.read().unwrap_or_else(PoisonError::into_inner),
            now,
        )
    }

    /// What happens to a request for `path`; `chance` gives numbers in 0..1.
    #[must_use]
    pub fn effect(&self, path: &str, now: Instant, mut chance: impl FnMut() -> f64) -> Effect {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let mut effect = Effect::default();
        for (fault, end) in active.iter() {
            let matches = fault
                .route
                .as_deref()
                .is_none_or(|prefix| path.starts_with(prefix));
            if !matches || end.is_some_and(|end| end <= now) {
                continue;
            }
            effect.delay += Duration::from_millis(fault.latency_ms);
            if fault.jitter_ms > 0 {
                effect.delay += Duration::from_millis(fault.jitter_ms).mul_f64(chance());
            }
            if fault.error_rate > 0.0 && chance() < fault.error_rate {
                let status = fault
                    .error_status
                    .and_then(|status| StatusCode::from_u16(status).ok());
                effect.error = Some(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            }
            effect.hold += Duration::from_millis(fault.hold_ms);
            effect.lose |= fault.lose_rate > 0.0 && chance() < fault.lose_rate;
            effect.hang |= fault.hang;
            effect.refuse |= fault.refuse;
        }
        effect
    }
}

fn in_force(active: &[(Fault, Option<Instant>)], now: Instant) -> Vec<Fault> {
    active
        .iter()
        .filter(|(_, end)| end.is_none_or(|end| end > now))
        .map(|(fault, end)| Fault {
            // Rounded up, but never beyond what may be asked for: it can be put back as it is told.
            expires_in_seconds: end.map(|end| (end - now).as_secs_f64().ceil() as u64),
            ..fault.clone()
        })
        .collect()
}

impl Fault {
    fn validate(&self) -> Result<(), InvalidFault> {
        let invalid = |field, reason| Err(InvalidFault { field, reason });
        if !(0.0..=1.0).contains(&self.error_rate) {
            return invalid("error_rate", "must be between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.lose_rate) {
            return invalid("lose_rate", "must be between 0 and 1");
        }
        if self
            .error_status
            .is_some_and(|status| !(400..=599).contains(&status))
        {
            return invalid("error_status", "must be between 400 and 599");
        }
        if self.latency_ms.max(self.jitter_ms).max(self.hold_ms) > 600_000 {
            return invalid(
                "latency_ms",
                "latency, jitter and hold must be at most 600000 (ten minutes)",
            );
        }
        if self
            .expires_in_seconds
            .is_some_and(|seconds| seconds == 0 || seconds > 86_400)
        {
            return invalid("expires_in_seconds", "must be between 1 and 86400 (a day)");
        }
        if self
            .route
            .as_deref()
            .is_some_and(|route| !route.starts_with('/'))
        {
            return invalid("route", "must start with /");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fault: Fault) -> Faults {
        let faults = Faults::default();
        faults.replace(vec![fault], Instant::now()).expect("valid");
        faults
    }

    #[test]
    fn only_matching_routes_are_touched() {
        let faults = with(Fault {
            route: Some("/data".into()),
            latency_ms: 200,
            ..Fault::default()
        });
        assert_eq!(
            faults.effect("/data", Instant::now(), || 0.5).delay,
            Duration::from_millis(200)
        );
        assert_eq!(
            faults.effect("/process", Instant::now(), || 0.5),
            Effect::default()
        );
    }

    #[test]
    fn errors_follow_their_rate() {
        let faults = with(Fault {
            error_rate: 0.25,
            error_status: Some(503),
            ..Fault::default()
        });
        assert_eq!(
            faults.effect("/", Instant::now(), || 0.2).error,
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(faults.effect("/", Instant::now(), || 0.3).error, None);
    }

    #[test]
    fn faults_expire() {
        let faults = with(Fault {
            hang: true,
            expires_in_seconds: Some(5),
            ..Fault::default()
        });
        assert!(faults.effect("/", Instant::now(), || 0.0).hang);
        assert!(
            !faults
                .effect("/", Instant::now() + Duration::from_secs(6), || 0.0)
                .hang
        );
        assert!(
            faults
                .list(Instant::now() + Duration::from_secs(6))
                .is_empty()
        );
    }

    #[test]
    fn what_was_replaced_can_be_put_back() {
        let fault = Fault {
            hang: true,
            expires_in_seconds: Some(86_400),
            ..Fault::default()
        };
        let now = Instant::now();
        let faults = Faults::default();
        assert_eq!(faults.replace(vec![fault.clone()], now), Ok(Vec::new()));
        let previous = faults.replace(Vec::new(), now).expect("valid");
        assert_eq!(previous, [fault]);
        assert_eq!(faults.replace(previous, now), Ok(Vec::new()));
        let later = now + Duration::from_millis(1_500);
        let previous = faults.replace(Vec::new(), later).expect("valid");
        assert_eq!(previous[0].expires_in_seconds, Some(86_399));
    }

    #[test]
    fn one_bad_fault_changes_nothing() {
        let faults = with(Fault {
            latency_ms: 5,
            ..Fault::default()
        });
        let bad = Fault {
            error_rate: 1.5,
            ..Fault::default()
        };
        assert!(
            faults
                .replace(vec![Fault::default(), bad], Instant::now())
                .is_err()
        );
        assert_eq!(faults.list(Instant::now()).len(), 1);
    }
}
