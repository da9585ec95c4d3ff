//! Instances: drained, restored, killed, restarted, more and fewer of them.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{Done, Levers, http::segment};
use crate::{Action, Failure, Place, number::counted};

/// How long a drain is waited for.
const DRAIN: Duration = Duration::from_secs(30);
/// What the supervisor runs that is no instance of ours. It can be killed, and comes back.
pub(super) const STORES: [&str; 3] = ["postgres", "redis", "queue"];
/// Between two looks at an instance that drains.
const LOOK: Duration = Duration::from_millis(150);

impl Levers {
    pub(super) async fn drain(&self, name: &str) -> Result<Done, Failure> {
        let place = self.place(name)?;
        let was = self.is_draining(place).await?;
        self.order(place, Method::POST, "/admin/drain", None)
            .await?;
        let started = Instant::now();
        let mut told = None;
        loop {
            let (in_flight, senders) = tokio::join!(self.in_flight(place), self.senders(place));
            // One that has no figures is not waited for.
            let in_flight = in_flight.unwrap_or_default();
            if in_flight == 0 && senders == 0 {
                break;
            }
            if started.elapsed() > DRAIN {
                return Err(Failure::StillBusy {
                    who: name.to_owned(),
                    in_flight,
                    seconds: DRAIN.as_secs(),
                });
            }
            if told != Some((in_flight, senders)) {
                told = Some((in_flight, senders));
                let who = match senders {
                    0 => String::new(),
                    _ => format!(
                        ", {} not noticed yet",
                        counted(senders, "caller has", "callers have")
                    ),
                };
                self.say(&format!(
                    "{name}: {} in flight{who}",
                    counted(in_flight, "request", "requests")
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        let text = format!(
            "{name} is drained: idle after {:.1} s",
            started.elapsed().as_secs_f64()
        );
        Ok(Done::new(text).undone_by((!was).then(|| Action::Restore(name.to_owned()))))
    }

    pub(super) async fn restore(&self, name: &str) -> Result<Done, Failure> {
        let place = self.place(name)?;
        let was = self.is_draining(place).await?;
        self.order(place, Method::POST, "/admin/undrain", None)
            .await?;
        let text = if was {
            format!("{name} takes work again")
        } else {
            format!("{name} was not drained")
        };
        Ok(Done::new(text).undone_by(was.then(|| Action::Drain(name.to_owned()))))
    }

    pub(super) async fn kill(&self, name: &str) -> Result<Done, Failure> {
        if !STORES.contains(&name) {
            self.place(name)?;
        }
        // The supervisor kills also what is frozen; without one, a process can only be asked to crash.
        let path = format!("/admin/processes/{}/kill", segment(name));
        if let Some(killed) = self.order_supervisor(Method::POST, &path, None).await {
            killed?;
            return Ok(Done::new(format!(
                "{name} is killed; the supervisor starts it again"
            )));
        }
        let place = self.place(name)?;
        self.order(place, Method::POST, "/admin/crash", None)
            .await?;
        let then = if self.lab.supervised {
            "the supervisor starts it again"
        } else {
            "whether something starts it again is not known here"
        };
        Ok(Done::new(format!("{name} crashes; {then}")))
    }

    pub(super) async fn restart(&self, target: &str) -> Result<Done, Failure> {
        let known = self
            .lab
            .instances
            .iter()
            .any(|place| place.name == target || place.role == target);
        if !known {
            return Err(self.unknown("instance or role", target, |place| place.name.clone()));
        }
        let kind = if self.lab.of_role(target).next().is_some() {
            "roles"
        } else {
            "processes"
        };
        let path = format!("/admin/{kind}/{}/restart", segment(target));
        let restarted = self.order_supervisor(Method::POST, &path, None).await;
        restarted.ok_or_else(|| Failure::NotSupervised {
            what: "a restart".to_owned(),
            command: format!("recarga restart {target}"),
        })??;
        Ok(Done::new(format!("restarted: {target}")))
    }

    pub(super) async fn scale(&self, role: &str, count: u32) -> Result<Done, Failure> {
        let before = self.lab.of_role(role).count() as u32;
        let undo = (before != count).then(|| Action::Scale {
            role: role.to_owned(),
            count: before,
        });
        let path = format!("/admin/roles/{}", segment(role));
        let body = json!({"count": count});
        let scaled = self.order_supervisor(Method::PUT, &path, Some(&body)).await;
        scaled.ok_or_else(|| Failure::NotSupervised {
            what: "another number of instances".to_owned(),
            command: format!("recarga scale {role}={count}"),
        })??;
        Ok(Done::new(format!("{role}: {count} run, before {before}")).undone_by(undo))
    }

    pub(super) async fn is_draining(&self, place: &Place) -> Result<bool, Failure> {
        let info = self.look(place, "/admin/info").await?;
        Ok(info["draining"].as_bool().unwrap_or_default())
    }

    /// Requests that it is answering now.
    pub(super) async fn in_flight(&self, place: &Place) -> Result<u64, Failure> {
        let request = self.http.get(format!("http://{}/metrics", place.admin));
        let (_, text) = self.text(&place.name, request).await?;
        Ok(sum_of(&text, "recarga_http_requests_in_flight"))
    }

    /// How many of those that balance over it would still send it new requests.
    async fn senders(&self, place: &Place) -> u64 {
        let Ok(pool) = Self::pool_of(place) else {
            return 0;
        };
        let Ok(hops) = self.hops(pool.as_deref()) else {
            return 0;
        };
        let path = pool.map_or_else(
            || "/admin/upstreams".to_owned(),
            |pool| format!("/admin/upstreams?pool={pool}"),
        );
        let pools = join_all(hops.iter().map(|hop| self.look(hop, &path))).await;
        let sends = |pool: &serde_json::Value| {
            let mut upstreams = pool["upstreams"].as_array().into_iter().flatten();
            upstreams.any(|upstream| {
                upstream["name"].as_str() == Some(&place.name)
                    && matches!(upstream["state"].as_str(), Some("up" | "unknown"))
            })
        };
        pools.iter().flatten().filter(|pool| sends(pool)).count() as u64
    }

    /// How many other instances of its role take work.
    pub(super) async fn others_up(&self, place: &Place) -> u64 {
        let others = self
            .lab
            .of_role(&place.role)
            .filter(|other| other.name != place.name);
        let ready = join_all(others.map(|other| self.is_ready(other))).await;
        ready.into_iter().filter(|ready| *ready).count() as u64
    }

    pub(super) async fn is_ready(&self, place: &Place) -> bool {
        self.look(place, "/readyz").await.is_ok()
    }
}

/// The sum of a gauge over all its labels in Prometheus text.
fn sum_of(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.chars().next()? {
            ' ' => rest,
            '{' => rest.rsplit_once('}')?.1,
            _ => return None,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(value).sum::<f64>().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_summed_over_its_labels() {
        let text = "# TYPE a gauge\na{x=\"}\"} 2\na{x=\"2\"} 3.0 17\nab 9\na 1\nb 4\n";
        assert_eq!(sum_of(text, "a"), 6);
        assert_eq!(sum_of(text, "c"), 0);
    }
}
