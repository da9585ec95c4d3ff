//! What is one setting of many instances: the cache on or off, delays, consumers, log levels.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Done, Levers};
use crate::{Action, Delayed, Failure, Place, number::span};

/// The roles that take work off queues.
const CONSUMERS: [&str; 2] = ["worker", "notification"];

impl Levers {
    pub(super) async fn switch_cache(&self, name: Option<&str>, on: bool) -> Result<Done, Failure> {
        let places = match name {
            Some(name) => vec![self.gateway(name)?],
            None => self.running("gateway")?,
        };
        let wanted = json!({"enabled": on});
        let before = self
            .each(&places, |place| {
                let wanted = &wanted;
                async move {
                    let was = self.order(place, Method::GET, "/admin/cache", None).await?;
                    self.order(place, Method::PUT, "/admin/cache", Some(wanted))
                        .await?;
                    Ok((was["enabled"].as_bool() != Some(on)).then_some(()))
                }
            })
            .await?;
        let undo = changed(&places, &before, name.is_none(), |instance, ()| {
            Action::CacheSwitch { instance, on: !on }
        });
        let state = if on {
            "on"
        } else {
            "off: every read goes to the services"
        };
        Ok(Done::new(format!(
            "the cache of {} is {state}",
            named(&places, "gateways")
        ))
        .undone_by(undo))
    }

    fn gateway(&self, name: &str) -> Result<&Place, Failure> {
        let place = self.place(name)?;
        if place.role == "gateway" {
            return Ok(place);
        }
        Err(Failure::Impossible {
            reason: format!("{name} is no gateway; only gateways ask the cache"),
        })
    }

    pub(super) async fn set_delay(&self, of: Delayed, lasts: Duration) -> Result<Done, Failure> {
        let milliseconds = lasts.as_millis() as u64;
        let (role, path, body) = match of {
            Delayed::Data => (
                "exercise",
                "/admin/delays",
                json!({"data_ms": milliseconds}),
            ),
            Delayed::Process => (
                "exercise",
                "/admin/delays",
                json!({"process_ms": milliseconds}),
            ),
            Delayed::Task => (
                "worker",
                "/admin/settings",
                json!({"task_seconds": lasts.as_secs_f64()}),
            ),
        };
        let places = self.running(role)?;
        let before = self
            .each(&places, |place| {
                let body = &body;
                async move {
                    let was = self.order(place, Method::GET, path, None).await?;
                    self.order(place, Method::PUT, path, Some(body)).await?;
                    Ok(match of {
                        Delayed::Data => was["data_ms"].as_u64(),
                        Delayed::Process => was["process_ms"].as_u64(),
                        Delayed::Task => was["task_seconds"]
                            .as_f64()
                            .map(|seconds| (seconds * 1e3) as u64),
                    })
                }
            })
            .await?;
        // One value for all of a role: those of the first.
        let was = before.first().copied().flatten().map(Duration::from_millis);
        let undo = was
            .filter(|was| *was != lasts)
            .map(|was| Action::Delay { of, lasts: was });
        let before = was.map_or(String::new(), |was| format!(", before {}", span(was)));
        Ok(Done::new(format!("{} takes {}{before}", of.name(), span(lasts))).undone_by(undo))
    }

    pub(super) async fn set_capacity(&self, places: u32) -> Result<Done, Failure> {
        let path = "/admin/delays";
        let body = json!({"process_places": places});
        let before = self
            .each(&self.running("exercise")?, |place| {
                let body = &body;
                async move {
                    let changed = self.order(place, Method::PUT, path, Some(body)).await?;
                    Ok(changed["previous"]["process_places"].as_u64())
                }
            })
            .await?;
        // One value for all of a role: that of the first.
        let was = before.first().copied().flatten().map(|was| was as u32);
        let undo = was.filter(|was| *was != places).map(Action::Capacity);
        let text = match places {
            0 => "any number of requests are worked on at a time".to_owned(),
            places => format!("each exercise instance works on {places} requests at a time"),
        };
        Ok(Done::new(text).undone_by(undo))
    }

    pub(super) async fn switch_consumers(
        &self,
        target: Option<&str>,
        pause: bool,
    ) -> Result<Done, Failure> {
        let places = self.consumers(target)?;
        let verb = if pause {
            "/admin/pause"
        } else {
            "/admin/resume"
        };
        let before = self
            .each(&places, |place| async move {
                let was = self.order(place, Method::GET, "/admin/pause", None).await?;
                self.order(place, Method::POST, verb, None).await?;
                Ok((was["paused"].as_bool() != Some(pause)).then_some(()))
            })
            .await?;
        let undo = changed(&places, &before, target.is_none(), |target, ()| {
            if pause {
                Action::ResumeConsumers { target }
            } else {
                Action::PauseConsumers { target }
            }
        });
        let state = if pause {
            "take no more work"
        } else {
            "take work"
        };
        Ok(Done::new(format!("{} {state}", named(&places, "consumers"))).undone_by(undo))
    }

    /// The consumers that are meant.
    pub(super) fn consumers(&self, target: Option<&str>) -> Result<Vec<&Place>, Failure> {
        let consumers = self
            .lab
            .instances
            .iter()
            .filter(|place| CONSUMERS.contains(&place.role.as_str()));
        let Some(target) = target else {
            let places: Vec<&Place> = consumers.filter(|place| place.running).collect();
            return if places.is_empty() {
                Err(Failure::None { what: "consumer" })
            } else {
                Ok(places)
            };
        };
        let known: Vec<&Place> = consumers.collect();
        let meant =
            |place: &&Place| place.name == target || (place.role == target && place.running);
        let places: Vec<&Place> = known.iter().copied().filter(meant).collect();
        if places.is_empty() {
            return Err(Failure::Unknown {
                what: "consumer",
                name: target.to_owned(),
                known: known.iter().map(|place| place.name.clone()).collect(),
            });
        }
        Ok(places)
    }

    pub(super) async fn set_log_level(
        &self,
        name: Option<&str>,
        level: &str,
    ) -> Result<Done, Failure> {
        let places: Vec<&Place> = match name {
            Some(name) => vec![self.place(name)?],
            None => self
                .lab
                .instances
                .iter()
                .filter(|place| place.running)
                .collect(),
        };
        let wanted = json!({"level": level});
        let before = self
            .each(&places, |place| {
                let wanted = &wanted;
                async move {
                    let info = self.look(place, "/admin/info").await?;
                    self.order(place, Method::PUT, "/admin/log-level", Some(wanted))
                        .await?;
                    let was = info["log_level"].as_str().unwrap_or_default();
                    Ok((was != level && !was.is_empty()).then(|| was.to_owned()))
                }
            })
            .await?;
        let undo = changed(&places, &before, name.is_none(), |instance, was| {
            Action::LogLevel {
                instance,
                level: was.clone(),
            }
        });
        Ok(Done::new(format!("{} log {level}", named(&places, "instances"))).undone_by(undo))
    }
}

/// What puts back what was before: one action where all had the same, one for each otherwise. Those that had it already (`None`)
/// are left alone.
fn changed<T: PartialEq>(
    places: &[&Place],
    before: &[Option<T>],
    all: bool,
    undo: impl Fn(Option<String>, &T) -> Action,
) -> Option<Action> {
    let others: Vec<(&Place, &T)> = places
        .iter()
        .zip(before)
        .filter_map(|(place, was)| was.as_ref().map(|was| (*place, was)))
        .collect();
    let same = others.windows(2).all(|pair| pair[0].1 == pair[1].1);
    match others.first() {
        Some((_, was)) if all && same && others.len() == places.len() => Some(undo(None, was)),
        _ => Action::several(
            others
                .into_iter()
                .map(|(place, was)| undo(Some(place.name.clone()), was))
                .collect(),
        ),
    }
}

fn named(places: &[&Place], all: &str) -> String {
    match places {
        [one] => one.name.clone(),
        more => format!("{} {all}", more.len()),
    }
}
