//! The baseline: everything up and unbroken, nobody else at work. Restored, looked at, and said.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use actions::{Action, Place};
use futures::future::join_all;
use serde_json::{Map, Value, json};

use super::{Field, lock};
use crate::{
    metrics::parse,
    record::{Baseline, Finding},
};

/// How long the lab may take to be in its baseline.
const WITHIN: Duration = Duration::from_secs(10);
/// Between two looks; traffic is judged by what comes in between.
const LOOK: Duration = Duration::from_millis(300);
/// What is wrong is put right again at most this often.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests a second at the front door that are nobody's traffic.
const QUIET: f64 = 5.0;

/// What one instance says of itself.
#[derive(Debug, Default)]
struct Seen {
    name: String,
    role: String,
    running: bool,
    ready: bool,
    info: Value,
    /// By pool; empty for the balancer's own.
    pools: Vec<(String, Value, Value)>,
    /// Requests so far, of a balancer.
    requests: Option<f64>,
}

/// One look at everything.
#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    instances: Vec<Seen>,
    roles: BTreeMap<String, usize>,
    paused_queues: Vec<String>,
}

impl Field {
    /// Ends what runs, carries out what takes back, and puts right whatever else differs; says what it saw at the end.
    pub(super) async fn restore(&self, undo: Vec<Action>) -> Baseline {
        let began = self.now_ms();
        let mut restored = Vec::new();
        self.stop_all().await;
        if self.stop_traffic().await {
            restored.push("the lab's traffic is stopped".to_owned());
        }
        let spare = std::mem::take(&mut *lock(&self.spare));
        for action in spare.into_iter().chain(undo) {
            for single in action.all() {
                match self.perform(single).await {
                    Ok(done) => restored.push(done.text),
                    Err(reason) => {
                        restored.push(format!("{single} could not be done: {reason}"));
                    }
                }
            }
        }
        let started = Instant::now();
        let mut before = self.look_around().await;
        self.learn_defaults(&before, &mut restored).await;
        let mut put_right: Option<Instant> = None;
        let findings = loop {
            tokio::time::sleep(LOOK).await;
            let now = self.look_around().await;
            let findings = self.judge(&before, &now);
            let good = findings.iter().all(|finding| finding.good);
            if good || started.elapsed() >= WITHIN {
                break findings;
            }
            if put_right.is_none_or(|at| at.elapsed() >= PATIENCE) {
                self.put_right(&now, &mut restored).await;
                put_right = Some(Instant::now());
            }
            before = now;
        };
        restored.dedup();
        let at_ms = self.now_ms();
        Baseline {
            at_ms,
            took_ms: at_ms - began,
            verified: findings.iter().all(|finding| finding.good),
            restored,
            findings,
        }
    }

    async fn look_around(&self) -> Look {
        let Ok(lab) = (self.setup.place)() else {
            return Look::default();
        };
        let mut roles = BTreeMap::<String, usize>::new();
        for place in &lab.instances {
            *roles.entry(place.role.clone()).or_default() += 1;
        }
        let seen = lab.instances.iter().map(|place| self.see(place));
        let queues = self.http.get(format!("{}/queues", lab.queue_url));
        let queues = async {
            let answer = queues.timeout(PATIENCE).send().await.ok()?;
            answer.json::<Value>().await.ok()
        };
        let (instances, queues) = tokio::join!(join_all(seen), queues);
        let queues = queues.unwrap_or_default();
        let paused = queues["queues"].as_array().into_iter().flatten();
        Look {
            at: Some(Instant::now()),
            instances,
            roles,
            paused_queues: paused
                .filter(|queue| queue["paused"] == true)
                .filter_map(|queue| queue["name"].as_str().map(str::to_owned))
                .collect(),
        }
    }

    async fn see(&self, place: &Place) -> Seen {
        let mut seen = Seen {
            name: place.name.clone(),
            role: place.role.clone(),
            running: place.running,
            ..Seen::default()
        };
        let (ready, info) = tokio::join!(
            self.text(place, "/readyz"),
            self.document(place, "/admin/info")
        );
        seen.ready = ready.is_some();
        seen.info = info.unwrap_or_default();
        match place.role.as_str() {
            "balancer" => {
                let (upstreams, settings, metrics) = tokio::join!(
                    self.document(place, "/admin/upstreams"),
                    self.document(place, "/admin/balancing"),
                    self.text(place, "/metrics")
                );
                let pool = (
                    String::new(),
                    upstreams.unwrap_or_default(),
                    settings.unwrap_or_default(),
                );
                seen.pools.push(pool);
                let wanted = |name: &str| name == "recarga_http_requests_total";
                seen.requests = metrics.map(|text| {
                    let series = parse(&text, wanted);
                    series.iter().map(|series| series.value).sum()
                });
            }
            "gateway" => {
                let pools = self.document(place, "/admin/upstreams").await;
                let pools = match pools {
                    Some(Value::Array(pools)) => pools,
                    _ => Vec::new(),
                };
                let with_settings = pools.into_iter().map(|pool| async {
                    let name = pool["pool"].as_str().unwrap_or_default().to_owned();
                    let path = format!("/admin/balancing?pool={name}");
                    let settings = self.document(place, &path).await.unwrap_or_default();
                    (name, pool, settings)
                });
                seen.pools = join_all(with_settings).await;
            }
            _ => {}
        }
        seen
    }

    async fn document(&self, place: &Place, path: &str) -> Option<Value> {
        serde_json::from_str(&self.text(place, path).await?).ok()
    }

    /// The first time, all settings of balancing are set to their defaults, which so become known.
    async fn learn_defaults(&self, look: &Look, restored: &mut Vec<String>) {
        if !lock(&self.balancing).is_empty() {
            return;
        }
        let mut known = BTreeMap::new();
        for seen in &look.instances {
            for (pool, _, settings) in &seen.pools {
                if let Some(default) = self.reset_balancing(&seen.name, pool, settings).await {
                    if default != *settings {
                        restored.push(format!("{} balances by its defaults again", seen.name));
                    }
                    known.insert((seen.name.clone(), pool.clone()), default);
                }
            }
        }
        *lock(&self.balancing) = known;
    }

    /// Sets every member of a pool's settings to its default; the settings after it.
    async fn reset_balancing(&self, name: &str, pool: &str, settings: &Value) -> Option<Value> {
        let members = settings.as_object()?.keys();
        let nulls: Map<String, Value> = members
            .map(|member| (member.clone(), Value::Null))
            .collect();
        let query = if pool.is_empty() {
            String::new()
        } else {
            format!("?pool={pool}")
        };
        self.order(
            name,
            &format!("/admin/balancing{query}"),
            &Value::Object(nulls),
        )
        .await
    }

    /// A `PUT` to an instance's admin surface.
    async fn order(&self, name: &str, path: &str, body: &Value) -> Option<Value> {
        let lab = (self.setup.place)().ok()?;
        let place = lab.instances.iter().find(|place| place.name == name)?;
        let token = self.setup.rights.operator_token.as_ref()?;
        let request = self
            .http
            .put(format!("http://{}{path}", place.admin))
            .bearer_auth(token)
            .timeout(PATIENCE)
            .json(body);
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        answer.json().await.ok()
    }

    fn judge(&self, before: &Look, now: &Look) -> Vec<Finding> {
        let defaults = lock(&self.balancing);
        let default = |seen: &Seen, pool: &str| {
            let own = defaults.get(&(seen.name.clone(), pool.to_owned()));
            // One that came later has the defaults of its role.
            let alike = || {
                let mut all = defaults.iter();
                let found = all.find(|((name, of), _)| {
                    of == pool && name.starts_with(&format!("{}-", seen.role))
                });
                found.map(|(_, settings)| settings)
            };
            own.or_else(alike).cloned()
        };
        let names = |meant: &dyn Fn(&Seen) -> bool| -> Vec<String> {
            let meant = now.instances.iter().filter(|seen| meant(seen));
            meant.map(|seen| seen.name.clone()).collect()
        };
        let away = names(&|seen| !seen.running || !seen.ready);
        let faulty = names(&|seen| {
            seen.info["faults"]
                .as_array()
                .is_some_and(|f| !f.is_empty())
        });
        let draining = names(&|seen| seen.info["draining"] == true);
        let uncached = names(&|seen| seen.info["levers"]["cache_enabled"] == false);
        let paused = names(&|seen| seen.info["levers"]["paused"] == true);
        let unsafe_ones = names(&|seen| {
            let off = seen.info["safeguards_off"].as_array();
            off.is_some_and(|off| !off.is_empty())
        });
        let unlike = names(&|seen| {
            let mut pools = seen.pools.iter();
            pools.any(|(pool, _, settings)| {
                default(seen, pool).is_some_and(|default| default != *settings)
            })
        });
        let mut apart = Vec::new();
        for seen in &now.instances {
            for (_, pool, _) in &seen.pools {
                for upstream in pool["upstreams"].as_array().into_iter().flatten() {
                    let state = upstream["state"].as_str().unwrap_or("unknown");
                    let name = upstream["name"].as_str().unwrap_or_default();
                    if state != "up" {
                        apart.push(format!("{name} is {state} for {}", seen.name));
                    } else if upstream["ejected"] == true {
                        apart.push(format!("{name} is ejected by {}", seen.name));
                    } else if upstream["breaker"] == "open" {
                        apart.push(format!("the breaker of {} for {name} is open", seen.name));
                    }
                }
            }
        }
        let scaled: Vec<String> = self
            .roles
            .iter()
            .filter(|(role, count)| now.roles.get(*role) != Some(*count))
            .map(|(role, count)| {
                let there = now.roles.get(role).copied().unwrap_or_default();
                format!("{role}: {there} instead of {count}")
            })
            .collect();
        let count = now.instances.len();
        let mut findings = vec![
            finding(
                "instances",
                &away,
                &format!("{count} run and are ready"),
                "not ready: ",
            ),
            finding("scale", &scaled, "every role as at the beginning", ""),
            finding("upstreams", &apart, "everybody reaches everybody", ""),
            finding("faults", &faulty, "none", "at "),
            finding("drained", &draining, "none", ""),
            finding("cache", &uncached, "on in every gateway", "off in "),
            finding("consumers", &paused, "all take work", "paused: "),
            finding("queues", &now.paused_queues, "none is paused", "paused: "),
            finding(
                "balancing",
                &unlike,
                "default policy, weights and settings",
                "changed at ",
            ),
            finding("safeguards", &unsafe_ones, "all on", "off at "),
        ];
        findings.push(traffic(before, now));
        findings
    }

    /// Puts right what can be.
    async fn put_right(&self, now: &Look, restored: &mut Vec<String>) {
        let mut lines = Vec::new();
        for seen in &now.instances {
            let (name, info) = (&seen.name, &seen.info);
            if info["faults"]
                .as_array()
                .is_some_and(|faults| !faults.is_empty())
            {
                lines.push(format!("clear-faults {name}"));
            }
            if info["draining"] == true {
                lines.push(format!("restore {name}"));
            }
            if info["levers"]["cache_enabled"] == false {
                lines.push(format!("cache on {name}"));
            }
            if info["levers"]["paused"] == true {
                lines.push(format!("resume-consumers {name}"));
            }
            for safeguard in info["safeguards_off"].as_array().into_iter().flatten() {
                let line = format!("safeguard {} on", safeguard.as_str().unwrap_or_default());
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
            for (pool, upstreams, settings) in &seen.pools {
                self.put_pool_right(seen, pool, upstreams, settings, restored)
                    .await;
            }
        }
        for queue in &now.paused_queues {
            lines.push(format!("resume-queue {queue}"));
        }
        for (role, count) in &self.roles {
            if now.roles.get(role) != Some(count) {
                lines.push(format!("scale {role} {count}"));
            }
        }
        for line in lines {
            if let Ok(action) = Action::parse(&line) {
                match self.perform(&action).await {
                    Ok(done) => restored.push(done.text),
                    Err(reason) => restored.push(format!("{line} could not be done: {reason}")),
                }
            }
        }
    }

    async fn put_pool_right(
        &self,
        seen: &Seen,
        pool: &str,
        upstreams: &Value,
        settings: &Value,
        restored: &mut Vec<String>,
    ) {
        let default = lock(&self.balancing)
            .get(&(seen.name.clone(), pool.to_owned()))
            .cloned();
        if default.is_some_and(|default| default != *settings) {
            self.reset_balancing(&seen.name, pool, settings).await;
            restored.push(format!("{} balances by its defaults again", seen.name));
        }
        let mut members = upstreams["upstreams"].as_array().into_iter().flatten();
        if members.any(|upstream| upstream["ejected"] == true) {
            let query = if pool.is_empty() {
                String::new()
            } else {
                format!("?pool={pool}")
            };
            let path = format!("/admin/balancing{query}");
            // An ejection is over where none is allowed.
            let none = json!({"outlier": {"max_ejection_percent": 0}});
            self.order(&seen.name, &path, &none).await;
            self.order(&seen.name, &path, &json!({"outlier": null}))
                .await;
            restored.push(format!("{} takes back whom it had ejected", seen.name));
        }
    }
}

fn finding(what: &str, bad: &[String], good: &str, prefix: &str) -> Finding {
    Finding {
        what: what.to_owned(),
        good: bad.is_empty(),
        seen: if bad.is_empty() {
            good.to_owned()
        } else {
            format!("{prefix}{}", bad.join(", "))
        },
    }
}

/// Whether the front door is quiet.
fn traffic(before: &Look, now: &Look) -> Finding {
    let count = |look: &Look| -> f64 {
        let requests = look.instances.iter().filter_map(|seen| seen.requests);
        requests.sum()
    };
    let between = match (before.at, now.at) {
        (Some(before), Some(now)) => now.saturating_duration_since(before).as_secs_f64(),
        _ => 0.0,
    };
    // A balancer that was just started counts from zero.
    let rate = ((count(now) - count(before)) / between.max(1e-3)).max(0.0);
    Finding {
        what: "traffic".to_owned(),
        good: between > 0.0 && rate <= QUIET,
        seen: if rate <= QUIET {
            "none".to_owned()
        } else {
            format!("somebody sends {rate:.0} requests a second; stop that first")
        },
    }
}
