//! What an action would do, counted before it is done.

use super::{Levers, instances::STORES, queues::redriven, scope};
use crate::{
    Action, Failure, FlushScope, Place, fault,
    number::{counted, grouped, span},
};

impl Levers {
    /// What would happen, in a sentence or two. Nothing is changed by asking.
    pub async fn impact(&self, action: &Action) -> Result<String, Failure> {
        let mut texts = Vec::new();
        for action in action.all() {
            texts.push(self.impact_of(action).await?);
        }
        let mut text = texts.join(" ");
        if self.rights.read_only && action.changes() {
            text.push_str(" It would be refused: this is read-only.");
        }
        Ok(text)
    }

    async fn impact_of(&self, action: &Action) -> Result<String, Failure> {
        let public = &self.lab.public_url;
        Ok(match action {
            Action::Recharge { card, amount } => {
                let card = card.map_or("A card".to_owned(), |card| format!("Card {card}"));
                let amount = amount.map_or("2,000 to 40,000".to_owned(), |amount| {
                    grouped(amount.unsigned_abs())
                });
                format!("{card} gets {amount} pesos more. Money is not taken back.")
            }
            Action::Burst { requests } => format!(
                "{} at once go to {public}, a tenth of them writes.",
                counted((*requests).into(), "request", "requests")
            ),
            Action::Call { method, target, .. } => {
                let keeps = if action.changes() {
                    "It may change something."
                } else {
                    "It reads."
                };
                format!("{} {target} is sent once. {keeps}", method.name())
            }
            Action::Traffic(plan) => format!(
                "{} traffic, up to {} requests a second for {}, goes to {public}: {}.",
                plan.profile,
                plan.rate,
                span(std::time::Duration::from_secs(plan.seconds)),
                plan.profile.meaning()
            ),
            Action::TrafficRate(rate) => {
                format!("The traffic that runs goes on at {rate} requests a second.")
            }
            Action::TrafficMix(mix) => {
                format!("The traffic that runs goes on with other calls: {mix}.")
            }
            Action::StopTraffic => "The traffic that runs ends.".to_owned(),
            Action::Flush(what) => self.impact_of_flush(what).await?,
            Action::CacheSwitch { instance, on } => {
                let whose = instance.as_deref().unwrap_or("All gateways");
                if *on {
                    format!("{whose} may answer reads from the cache again.")
                } else {
                    let size = self.contents().await?.size;
                    format!(
                        "{whose} will ask the services for every read, past {}.",
                        counted(size, "cached entry", "cached entries")
                    )
                }
            }
            Action::Drain(name) => {
                let place = self.place(name)?;
                format!("{} {}", self.busy(place).await, self.remaining(place).await)
            }
            Action::Kill(name) if STORES.contains(&name.as_str()) => {
                "Whoever needs it waits or refuses until the supervisor has started it again."
                    .to_owned()
            }
            Action::Kill(name) => {
                let place = self.place(name)?;
                let again = if self.lab.supervised {
                    "The supervisor starts it again."
                } else {
                    "Whether something starts it again is not known here."
                };
                let busy = self.busy(place).await;
                format!(
                    "{busy} Those are lost with it. {} {again}",
                    self.remaining(place).await
                )
            }
            Action::Restore(name) => {
                self.place(name)?;
                format!("{name} gets new requests as soon as its callers see it.")
            }
            Action::Restart(target) => self.impact_of_restart(target),
            Action::Scale { role, count } => self.impact_of_scale(role, *count),
            Action::Fault { instance, fault } => {
                let place = self.place(instance)?;
                let count = self.faults(place).await?.len() as u64;
                let there = match count {
                    0 => String::new(),
                    _ => format!(
                        " Beside {}.",
                        counted(count, "fault that is there", "faults that are there")
                    ),
                };
                format!("{instance}, {}.{there}", fault::describe(fault))
            }
            Action::ClearFaults {
                instance: Some(name),
            } => {
                let count = self.faults(self.place(name)?).await?.len() as u64;
                format!("{} of {name} end.", counted(count, "fault", "faults"))
            }
            Action::ClearFaults { instance: None } | Action::StopEverything => {
                let places = self.lab.instances.iter();
                let faults =
                    futures::future::join_all(places.map(|place| self.faults(place))).await;
                let count: usize = faults.iter().flatten().map(Vec::len).sum();
                let traffic = if *action == Action::StopEverything {
                    "The traffic that runs ends, and "
                } else {
                    ""
                };
                let instances = counted(faults.len() as u64, "instance", "instances");
                let back = if *action == Action::StopEverything {
                    self.impact_on_safeguards().await
                } else {
                    String::new()
                };
                format!(
                    "{traffic}{} on {instances} end.{back}",
                    counted(count as u64, "fault", "faults")
                )
            }
            Action::Safeguard { safeguard, off } => {
                self.impact_of_safeguard(*safeguard, *off).await?
            }
            Action::Policy { policy, pool } => {
                let hops = self.hops(pool.as_deref())?.len() as u64;
                let whom = pool.as_deref().unwrap_or("gateway");
                let hops = counted(hops, "instance picks", "instances pick");
                format!("From the next request on, {hops} its {whom} by {policy}.")
            }
            Action::Weight { instance, weight } => {
                let pool = Self::pool_of(self.place(instance)?)?;
                let hops = counted(
                    self.hops(pool.as_deref())?.len() as u64,
                    "balancer",
                    "balancers",
                );
                format!("{hops} give {instance} the weight {weight}; the others keep theirs.")
            }
            Action::Balancing { pool, settings } => {
                let hops = counted(
                    self.hops(pool.as_deref())?.len() as u64,
                    "instance balances",
                    "instances balance",
                );
                let settings: Vec<String> = settings
                    .iter()
                    .map(|(path, value)| format!("{path} = {value}"))
                    .collect();
                format!(
                    "From the next request on, {hops} with {}.",
                    settings.join(", ")
                )
            }
            Action::Delay { of, lasts } => {
                format!("Each {} takes {} from now on.", of.name(), span(*lasts))
            }
            Action::Capacity(0) => {
                "Any number of requests for /process are worked on at a time.".to_owned()
            }
            Action::Capacity(places) => {
                let instances = counted(
                    self.running("exercise")?.len() as u64,
                    "exercise instance works",
                    "exercise instances work",
                );
                format!("{instances} on {places} requests for /process at a time; others wait.")
            }
            Action::PauseQueue(queue) | Action::ResumeQueue(queue) => {
                let figures = self.queue(queue).await?;
                let depth = figures["depth"].as_u64().unwrap_or_default();
                let wait = counted(depth, "message waits", "messages wait");
                match action {
                    Action::PauseQueue(_) => {
                        format!("{wait} in {queue}, and more will until it is resumed.")
                    }
                    _ => format!("{wait} in {queue} and can be received again."),
                }
            }
            Action::PauseConsumers { target } => {
                let consumers = self.consumers(target.as_deref())?.len() as u64;
                format!(
                    "{} no more work; queues fill.",
                    counted(consumers, "consumer takes", "consumers take")
                )
            }
            Action::ResumeConsumers { target } => {
                let consumers = self.consumers(target.as_deref())?.len() as u64;
                format!(
                    "{} work again.",
                    counted(consumers, "consumer takes", "consumers take")
                )
            }
            Action::Redrive {
                queue,
                ids,
                rate,
                limit,
            } => {
                let answer = self.try_redrive(queue, ids, *rate, *limit, true).await?;
                format!("{}.", redriven(&answer, "would be sent again"))
            }
            Action::PurgeDead { queue, ids } => {
                let dead = self.queue(queue).await?["dead"]
                    .as_u64()
                    .unwrap_or_default();
                let count = if ids.is_empty() {
                    dead
                } else {
                    ids.len() as u64
                };
                format!(
                    "{} of {} in {queue} end for good.",
                    grouped(count),
                    counted(dead, "dead letter", "dead letters")
                )
            }
            Action::PurgeQueue(queue) => {
                let figures = self.queue(queue).await?;
                let count = |name: &str| figures[name].as_u64().unwrap_or_default();
                format!(
                    "{} of {queue}, {} in flight, end for good; {} stay.",
                    counted(count("depth") + count("in_flight"), "message", "messages"),
                    grouped(count("in_flight")),
                    counted(count("dead"), "dead letter", "dead letters")
                )
            }
            Action::LogLevel { instance, level } => {
                let whose = match instance {
                    Some(name) => self.place(name)?.name.clone(),
                    None => counted(self.lab.instances.len() as u64, "instance", "instances"),
                };
                format!("{whose} log {level} until told otherwise.")
            }
            Action::Several(_) => String::new(),
        })
    }

    async fn impact_of_flush(&self, what: &FlushScope) -> Result<String, Failure> {
        let contents = self.contents().await?;
        let more = if contents.truncated { "at least " } else { "" };
        Ok(match what {
            FlushScope::All => match contents.size {
                0 => "The cache is empty already.".to_owned(),
                1 => "The one entry goes; whoever reads it next waits for a service.".to_owned(),
                size => format!(
                    "All {} entries go; whoever reads them next waits for a service.",
                    grouped(size)
                ),
            },
            FlushScope::Prefix(prefix) => {
                let count = contents
                    .keys
                    .iter()
                    .filter(|key| key.starts_with(prefix))
                    .count() as u64;
                format!(
                    "{more}{} of {} go: {}.",
                    grouped(count),
                    counted(contents.size, "entry", "entries"),
                    scope(what)
                )
            }
            FlushScope::Key(key) if contents.keys.contains(key) => {
                format!("{key} goes; whoever reads it next waits for a service.")
            }
            FlushScope::Key(key) if contents.truncated => {
                format!(
                    "{key} goes, if it is there; not all {} keys are listed.",
                    grouped(contents.size)
                )
            }
            FlushScope::Key(key) => format!("{key} is not in the cache now."),
        })
    }

    async fn busy(&self, place: &Place) -> String {
        let name = &place.name;
        match self.in_flight(place).await {
            Ok(count) => format!(
                "{name} has {} in flight.",
                counted(count, "request", "requests")
            ),
            Err(_) => format!("{name} does not tell how busy it is."),
        }
    }

    /// Who is left of its role when it is gone.
    async fn remaining(&self, place: &Place) -> String {
        let others = self.others_up(place).await;
        if others == 0 {
            return format!(
                "IT IS THE LAST {} THAT IS UP: nobody is left to do its work.",
                place.role.to_uppercase()
            );
        }
        counted(others, "other stays up.", "others stay up.")
    }

    fn impact_of_restart(&self, target: &str) -> String {
        let count = self
            .lab
            .instances
            .iter()
            .filter(|place| place.role == target || place.name == target)
            .count();
        let alone = self
            .lab
            .instances
            .iter()
            .filter(|place| place.role == target)
            .count()
            == 1
            || self
                .lab
                .instances
                .iter()
                .find(|place| place.name == target)
                .is_some_and(|place| self.lab.of_role(&place.role).count() == 1);
        let gap = if alone {
            " IT IS THE ONLY ONE: nobody does its work meanwhile."
        } else {
            " The others go on."
        };
        format!(
            "{} drained, stopped and started, one after the other.{gap}",
            counted(count as u64, "instance is", "instances are")
        )
    }

    fn impact_of_scale(&self, role: &str, count: u32) -> String {
        let before = self.lab.of_role(role).count() as u32;
        match count {
            0 => format!(
                "ALL {before} OF {} STOP: nobody is left to do that work.",
                role.to_uppercase()
            ),
            _ if count < before => {
                format!("{before} run; {} of them drain and stop.", before - count)
            }
            _ if count > before => format!("{before} run; {} more start.", count - before),
            _ => format!("{before} run already."),
        }
    }
}
