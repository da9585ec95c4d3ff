//! What the header must say: each alert is one fact, worst first.

use super::{
    State,
    instance::{Instance, Role, Status},
    overview::{STORES, Store},
    sample::Gauge,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Critical,
    Warning,
    Notice,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub severity: Severity,
    pub text: String,
}

/// Whole seconds as a short age: `12s`, `3m`, `2h`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=359_999 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

impl State {
    /// All that is wrong now; empty when all is well.
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let mut say = |severity, text| alerts.push(Alert { severity, text });
        if let Some(problem) = &self.topology_problem {
            say(Severity::Critical, format!("topology: {problem}"));
        }
        for (name, gauge) in STORES {
            if let Store::Away { failing, users } = self.store(&gauge) {
                say(
                    Severity::Critical,
                    format!("{name} away for {failing} of {users}"),
                );
            }
        }
        if let Some(text) = self.slo_breach() {
            say(Severity::Warning, text);
        }
        // A store that is away makes its users not ready: told once is enough.
        let told: Vec<&str> = [
            ("postgres", Gauge::PostgresUp),
            ("redis", Gauge::RedisUp),
            ("queue", Gauge::QueueRedisUp),
        ]
        .into_iter()
        .filter(|(_, gauge)| matches!(self.store(gauge), Store::Away { .. }))
        .map(|(check, _)| check)
        .collect();
        let mut starting = 0;
        for instance in &self.instances {
            if matches!(instance.status(self.at()), Status::NotReady(check) if told.contains(&check.as_str()))
            {
                continue;
            }
            let up = instance.status(self.at()) == Status::Up;
            if up && instance.place.role == Role::Gateway && self.share(instance).is_left_out() {
                alerts.push(Alert {
                    severity: Severity::Warning,
                    text: format!("{} left out by the balancer", instance.name()),
                });
            }
            let faults = instance.faults(self.at());
            if faults > 0 {
                let s = if faults == 1 { "" } else { "s" };
                alerts.push(Alert {
                    severity: Severity::Notice,
                    text: format!("{} {faults} fault{s}", instance.name()),
                });
            }
            match self.one(instance) {
                Ok(Some(alert)) => alerts.push(alert),
                Ok(None) => {}
                Err(Starting) => starting += 1,
            }
        }
        if starting > 0 {
            alerts.push(Alert {
                severity: Severity::Notice,
                text: format!("{starting} starting"),
            });
        }
        alerts.sort_by_key(|alert| alert.severity);
        alerts
    }

    fn one(&self, instance: &Instance) -> Result<Option<Alert>, Starting> {
        let name = instance.name();
        let (severity, text) = match instance.status(self.at()) {
            Status::Up => {
                return Ok(instance.returned(self.at()).map(|down| Alert {
                    severity: Severity::Notice,
                    text: format!("{name} back after {}", age(down.as_secs().max(1))),
                }));
            }
            Status::Starting => return Err(Starting),
            Status::Down { since, .. } => (
                Severity::Critical,
                format!("{name} down {}", age(since.as_secs())),
            ),
            Status::Stale(old) => (
                Severity::Warning,
                format!("{name} stale {}", age(old.as_secs())),
            ),
            Status::NotReady(check) if check.is_empty() => {
                (Severity::Warning, format!("{name} not ready"))
            }
            Status::NotReady(check) => (Severity::Warning, format!("{name} not ready: {check}")),
            Status::Draining => (Severity::Notice, format!("{name} draining")),
        };
        Ok(Some(Alert { severity, text }))
    }
}

/// Counted together, not told one by one.
struct Starting;
