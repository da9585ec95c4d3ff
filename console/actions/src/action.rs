//! The actions: a closed set, printed as they are read.

use std::{collections::BTreeMap, fmt, time::Duration};

use kit::{faults::Fault, safeguards::Safeguard};
use load::Mix;

use crate::{
    TrafficPlan, fault,
    number::{grouped, span},
    words,
};

/// Something that an operator does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// One recharge; what is absent is drawn by chance.
    Recharge {
        card: Option<u64>,
        /// Pesos.
        amount: Option<i64>,
    },
    /// So many requests at once.
    Burst {
        requests: u32,
    },
    /// Any call of the contract; the answer is shown.
    Call {
        method: Method,
        target: Target,
        body: Option<String>,
        /// Whether a token goes with it.
        token: bool,
    },
    /// Steady traffic; in the process that asks for it, see [`TrafficPlan::options`].
    Traffic(TrafficPlan),
    /// Another rate for the traffic that runs, in requests a second; zero pauses it.
    TrafficRate(f64),
    /// Other calls for the traffic that runs.
    TrafficMix(Mix),
    StopTraffic,
    Flush(FlushScope),
    /// The gateways' use of the cache, on or off; of all gateways where none is named.
    CacheSwitch {
        instance: Option<String>,
        on: bool,
    },
    Drain(String),
    Restore(String),
    Kill(String),
    /// An instance, or all of a role, one after the other.
    Restart(String),
    Scale {
        role: String,
        count: u32,
    },
    /// In addition to the faults that are there. The time it lasts is in the fault; none means until it is cleared.
    Fault {
        instance: String,
        fault: Fault,
    },
    ClearFaults {
        instance: Option<String>,
    },
    /// Everywhere where it matters. What is off comes back by itself.
    Safeguard {
        safeguard: Safeguard,
        /// How many seconds it is off, 1 to 3,600; none switches it on.
        off: Option<u64>,
    },
    /// The policy of the balancers, or of a pool of the gateways.
    Policy {
        policy: String,
        pool: Option<String>,
    },
    /// The weight of an instance with those that balance over it, 1 to 1,000.
    Weight {
        instance: String,
        weight: u32,
    },
    /// Any setting of balancing, by its path, such as `retries.percent`; the value `null` is the default.
    Balancing {
        pool: Option<String>,
        settings: BTreeMap<String, String>,
    },
    /// How long pretended work takes.
    Delay {
        of: Delayed,
        lasts: Duration,
    },
    /// How many requests for `/process` each exercise instance works on at a time; 0 for any number.
    Capacity(u32),
    PauseQueue(String),
    ResumeQueue(String),
    /// Consumers take no more work: of an instance, of a role, or all.
    PauseConsumers {
        target: Option<String>,
    },
    ResumeConsumers {
        target: Option<String>,
    },
    /// Dead letters are sent again: those named, or the oldest.
    Redrive {
        queue: String,
        ids: Vec<String>,
        /// How many a second; all at once when absent.
        rate: Option<f64>,
        /// The most where none is named; 1,000 when absent.
        limit: Option<u32>,
    },
    /// Dead letters end: those named, or all.
    PurgeDead {
        queue: String,
        ids: Vec<String>,
    },
    /// All messages end but the dead letters.
    PurgeQueue(String),
    LogLevel {
        instance: Option<String>,
        /// `info`, or directives such as `info,travel=debug`.
        level: String,
    },
    /// Own traffic stopped, all faults cleared and all safeguards on everywhere.
    StopEverything,
    /// One after the other, until one fails. Never nested, never fewer than two.
    Several(Vec<Action>),
}

/// How an HTTP call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Where a call goes: `/data?key=a`, `cache:/cache/stats`, `gateway-2:/data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub door: Door,
    /// Path and query; begins with `/`.
    pub path: String,
}

/// Whose port a call goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// The balancer's.
    Public,
    Cache,
    Queue,
    Worker,
    /// An instance's own, past the balancer.
    Instance(String),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.door {
            Door::Public => write!(out, "{path}"),
            Door::Cache => write!(out, "cache:{path}"),
            Door::Queue => write!(out, "queue:{path}"),
            Door::Worker => write!(out, "worker:{path}"),
            Door::Instance(name) => write!(out, "{name}:{path}"),
        }
    }
}

/// What is flushed from the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlushScope {
    Key(String),
    Prefix(String),
    All,
}

/// The pretended work of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delayed {
    /// `GET /data`, in milliseconds up to a minute.
    Data,
    /// `GET /process`, likewise.
    Process,
    /// A task of `POST /longtask`, up to ten minutes.
    Task,
}

impl Delayed {
    pub const ALL: [Self; 3] = [Self::Data, Self::Process, Self::Task];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Process => "process",
            Self::Task => "task",
        }
    }
}

/// How an action must be agreed to. In every dialog Enter means Cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Danger {
    /// In the safe direction, or easily taken back: no dialog.
    None,
    Confirm,
    /// Only typing this name does it.
    Typed(String),
}

impl Action {
    /// The command that does the same in a shell.
    #[must_use]
    pub fn command_line(&self) -> String {
        let actions = self.all();
        let line: Vec<String> = actions
            .iter()
            .map(|action| {
                let words: Vec<String> = action
                    .words()
                    .iter()
                    .map(|word| words::for_shell(word))
                    .collect();
                words.join(" ")
            })
            .collect();
        format!("recarga do {}", line.join(" ';' "))
    }

    /// The single actions, one after the other.
    #[must_use]
    pub fn all(&self) -> Vec<&Self> {
        match self {
            Self::Several(actions) => actions.iter().flat_map(Self::all).collect(),
            single => vec![single],
        }
    }

    /// Several as one; none when there is nothing to do.
    #[must_use]
    pub fn several(actions: Vec<Self>) -> Option<Self> {
        let mut flat: Vec<Self> = actions
            .into_iter()
            .flat_map(|action| match action {
                Self::Several(actions) => actions,
                single => vec![single],
            })
            .collect();
        match flat.len() {
            0 | 1 => flat.pop(),
            _ => Some(Self::Several(flat)),
        }
    }

    /// Whether it changes anything in the lab: what a read-only operator may not do.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Call { method, target, .. } => {
                // Receiving takes messages away from others.
                let path = target.path.split('?').next().unwrap_or_default();
                let receives = path == "/dequeue" || path.ends_with("/messages");
                *method != Method::Get || receives
            }
            Self::StopTraffic => false,
            Self::Several(actions) => actions.iter().any(Self::changes),
            _ => true,
        }
    }

    /// Whether it is about steady traffic, which belongs to the process that asks for it.
    #[must_use]
    pub fn is_traffic(&self) -> bool {
        matches!(
            self,
            Self::Traffic(_) | Self::TrafficRate(_) | Self::TrafficMix(_) | Self::StopTraffic
        )
    }

    /// How it must be agreed to.
    #[must_use]
    pub fn danger(&self) -> Danger {
        match self {
            Self::Kill(name) | Self::PurgeQueue(name) => Danger::Typed(name.clone()),
            Self::PurgeDead { queue, ids } if ids.is_empty() => Danger::Typed(queue.clone()),
            Self::Scale { role, count: 0 } => Danger::Typed(role.clone()),
            Self::Flush(_)
            | Self::CacheSwitch { on: false, .. }
            | Self::Drain(_)
            | Self::Restart(_)
            | Self::Scale { .. }
            | Self::Fault { .. }
            | Self::Safeguard { off: Some(_), .. }
            | Self::Balancing { .. }
            | Self::PauseQueue(_)
            | Self::PauseConsumers { .. }
            | Self::Redrive { .. }
            | Self::PurgeDead { .. } => Danger::Confirm,
            Self::Call { method, target, .. } => match (method, &target.door) {
                (Method::Get, _) | (Method::Post, Door::Public) => Danger::None,
                _ => Danger::Confirm,
            },
            Self::Recharge { .. }
            | Self::Burst { .. }
            | Self::Traffic(_)
            | Self::TrafficRate(_)
            | Self::TrafficMix(_)
            | Self::StopTraffic
            | Self::CacheSwitch { on: true, .. }
            | Self::Restore(_)
            | Self::ClearFaults { .. }
            | Self::Safeguard { off: None, .. }
            | Self::Policy { .. }
            | Self::Weight { .. }
            | Self::Delay { .. }
            | Self::Capacity(_)
            | Self::ResumeQueue(_)
            | Self::ResumeConsumers { .. }
            | Self::LogLevel { .. }
            | Self::StopEverything => Danger::None,
            Self::Several(actions) => {
                let dangers: Vec<Danger> = actions.iter().map(Self::danger).collect();
                let typed = dangers
                    .iter()
                    .find(|danger| matches!(danger, Danger::Typed(_)));
                match typed {
                    Some(typed) => typed.clone(),
                    None if dangers.contains(&Danger::Confirm) => Danger::Confirm,
                    None => Danger::None,
                }
            }
        }
    }

    /// One short sentence for a dialog's head.
    #[must_use]
    pub fn title(&self) -> String {
        let whose =
            |name: &Option<String>, all: &str| name.clone().unwrap_or_else(|| all.to_owned());
        let letters = |ids: &[String], all: &str| match ids.len() {
            0 => all.to_owned(),
            1 => "1 dead letter".to_owned(),
            more => format!("{} dead letters", grouped(more as u64)),
        };
        match self {
            Self::Recharge {
                card: Some(card), ..
            } => format!("Recharge card {card}?"),
            Self::Recharge { card: None, .. } => "Recharge a card?".to_owned(),
            Self::Burst { requests } => {
                format!("Send {} requests at once?", grouped((*requests).into()))
            }
            Self::Call { method, target, .. } => format!("Call {} {target}?", method.name()),
            Self::Traffic(plan) => format!("Start {} traffic at {}/s?", plan.profile, plan.rate),
            Self::TrafficRate(rate) => format!("Set the traffic to {rate}/s?"),
            Self::TrafficMix(mix) => format!("Change the traffic's calls to {mix}?"),
            Self::StopTraffic => "Stop the traffic?".to_owned(),
            Self::Flush(FlushScope::Key(key)) => format!("Delete {key} from the cache?"),
            Self::Flush(FlushScope::Prefix(prefix)) => {
                format!("Delete all of {prefix}… from the cache?")
            }
            Self::Flush(FlushScope::All) => "Empty the cache?".to_owned(),
            Self::CacheSwitch { instance, on } => {
                let state = if *on { "on" } else { "off" };
                format!(
                    "Switch the cache {state} for {}?",
                    whose(instance, "all gateways")
                )
            }
            Self::Drain(name) => format!("Drain {name}?"),
            Self::Restore(name) => format!("Let {name} take work again?"),
            Self::Kill(name) => format!("Kill {name}?"),
            Self::Restart(target) => format!("Restart {target}?"),
            Self::Scale { role, count } => format!("Run {count} of {role}?"),
            Self::Fault { instance, .. } => format!("Break {instance} on purpose?"),
            Self::ClearFaults { instance } => {
                format!("Clear the faults of {}?", whose(instance, "all instances"))
            }
            Self::Safeguard {
                safeguard,
                off: Some(seconds),
            } => {
                let lasts = Duration::from_secs(*seconds);
                format!("Go without {safeguard} for {}?", span(lasts))
            }
            Self::Safeguard {
                safeguard,
                off: None,
            } => format!("Switch {safeguard} on?"),
            Self::Policy { policy, pool } => {
                format!("Pick {} by {policy}?", whose(pool, "gateways"))
            }
            Self::Weight { instance, weight } => format!("Give {instance} the weight {weight}?"),
            Self::Balancing { pool, .. } => {
                format!("Change how {} are balanced?", whose(pool, "gateways"))
            }
            Self::Delay { of, lasts } => format!("Let {} take {}?", of.name(), span(*lasts)),
            Self::Capacity(0) => "Let any number of requests be worked on?".to_owned(),
            Self::Capacity(places) => {
                format!("Work on {places} at a time in each exercise instance?")
            }
            Self::PauseQueue(queue) => format!("Pause the queue {queue}?"),
            Self::ResumeQueue(queue) => format!("Resume the queue {queue}?"),
            Self::PauseConsumers { target } => format!("Pause {}?", whose(target, "all consumers")),
            Self::ResumeConsumers { target } => {
                format!("Resume {}?", whose(target, "all consumers"))
            }
            Self::Redrive { queue, ids, .. } => {
                format!(
                    "Send {} of {queue} again?",
                    letters(ids, "the dead letters")
                )
            }
            Self::PurgeDead { queue, ids } => {
                format!("End {} of {queue}?", letters(ids, "all dead letters"))
            }
            Self::PurgeQueue(queue) => format!("End all messages of {queue}?"),
            Self::LogLevel { instance, level } => {
                format!("Log {level} on {}?", whose(instance, "all instances"))
            }
            Self::StopEverything => {
                "Stop traffic, clear faults, switch all safeguards on?".to_owned()
            }
            Self::Several(actions) => format!("Do these {} things?", actions.len()),
        }
    }

    /// The words of a single action.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![self.verb().to_owned()];
        let mut say = |word: String| words.push(word);
        match self {
            Self::Recharge { card, amount } => {
                if let Some(card) = card {
                    say(format!("card={card}"));
                }
                if let Some(amount) = amount {
                    say(format!("amount={amount}"));
                }
            }
            Self::Burst { requests } => say(requests.to_string()),
            Self::Call {
                method,
                target,
                body,
                token,
            } => {
                say(method.name().to_owned());
                say(target.to_string());
                if !token {
                    say("anonymous".to_owned());
                }
                if let Some(body) = body {
                    say(format!("body={body}"));
                }
            }
            Self::Traffic(plan) => plan.words().into_iter().for_each(say),
            Self::TrafficRate(rate) => say(rate.to_string()),
            Self::TrafficMix(mix) => say(mix.to_string()),
            Self::Flush(FlushScope::Key(key)) => say(format!("key={key}")),
            Self::Flush(FlushScope::Prefix(prefix)) => say(format!("prefix={prefix}")),
            Self::Flush(FlushScope::All) => say("all".to_owned()),
            Self::CacheSwitch { instance, on } => {
                say(if *on { "on" } else { "off" }.to_owned());
                instance.iter().cloned().for_each(say);
            }
            Self::Drain(name)
            | Self::Restore(name)
            | Self::Kill(name)
            | Self::Restart(name)
            | Self::PauseQueue(name)
            | Self::ResumeQueue(name)
            | Self::PurgeQueue(name) => say(name.clone()),
            Self::Scale { role, count } => {
                say(role.clone());
                say(count.to_string());
            }
            Self::Fault { instance, fault } => {
                say(instance.clone());
                fault::words(fault).into_iter().for_each(say);
            }
            Self::ClearFaults { instance } => instance.iter().cloned().for_each(say),
            Self::Safeguard { safeguard, off } => {
                say(safeguard.name().to_owned());
                match off {
                    None => say("on".to_owned()),
                    Some(seconds) => {
                        say("off".to_owned());
                        say(format!("for={seconds}s"));
                    }
                }
            }
            Self::Policy { policy, pool } => {
                say(policy.clone());
                pool.iter().map(|pool| format!("pool={pool}")).for_each(say);
            }
            Self::Weight { instance, weight } => {
                say(instance.clone());
                say(weight.to_string());
            }
            Self::Balancing { pool, settings } => {
                pool.iter()
                    .map(|pool| format!("pool={pool}"))
                    .for_each(&mut say);
                settings
                    .iter()
                    .map(|(path, value)| format!("{path}={value}"))
                    .for_each(say);
            }
            Self::Delay { of, lasts } => {
                say(of.name().to_owned());
                say(span(*lasts));
            }
            Self::Capacity(places) => say(match places {
                0 => "any".to_owned(),
                places => places.to_string(),
            }),
            Self::PauseConsumers { target } | Self::ResumeConsumers { target } => {
                target.iter().cloned().for_each(say);
            }
            Self::Redrive {
                queue,
                ids,
                rate,
                limit,
            } => {
                say(queue.clone());
                ids.iter().cloned().for_each(&mut say);
                rate.iter()
                    .map(|rate| format!("rate={rate}"))
                    .for_each(&mut say);
                limit
                    .iter()
                    .map(|limit| format!("limit={limit}"))
                    .for_each(say);
            }
            Self::PurgeDead { queue, ids } => {
                say(queue.clone());
                ids.iter().cloned().for_each(say);
            }
            Self::LogLevel { instance, level } => {
                instance.iter().cloned().for_each(&mut say);
                say(level.clone());
            }
            Self::StopTraffic | Self::StopEverything | Self::Several(_) => {}
        }
        words
    }

    /// The word it begins with; the first one's of several.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Recharge { .. } => "recharge",
            Self::Burst { .. } => "burst",
            Self::Call { .. } => "call",
            Self::Traffic(_) => "traffic",
            Self::TrafficRate(_) => "traffic-rate",
            Self::TrafficMix(_) => "traffic-mix",
            Self::StopTraffic => "stop-traffic",
            Self::Flush(_) => "flush",
            Self::CacheSwitch { .. } => "cache",
            Self::Drain(_) => "drain",
            Self::Restore(_) => "restore",
            Self::Kill(_) => "kill",
            Self::Restart(_) => "restart",
            Self::Scale { .. } => "scale",
            Self::Fault { .. } => "fault",
            Self::ClearFaults { .. } => "clear-faults",
            Self::Safeguard { .. } => "safeguard",
            Self::Policy { .. } => "policy",
            Self::Weight { .. } => "weight",
            Self::Balancing { .. } => "balancing",
            Self::Delay { .. } => "delay",
            Self::Capacity(_) => "capacity",
            Self::PauseQueue(_) => "pause-queue",
            Self::ResumeQueue(_) => "resume-queue",
            Self::PauseConsumers { .. } => "pause-consumers",
            Self::ResumeConsumers { .. } => "resume-consumers",
            Self::Redrive { .. } => "redrive",
            Self::PurgeDead { .. } => "purge-dead",
            Self::PurgeQueue(_) => "purge-queue",
            Self::LogLevel { .. } => "log-level",
            Self::StopEverything => "stop-everything",
            Self::Several(actions) => actions.first().map_or("", Self::verb),
        }
    }
}

/// The line that [`Action::parse`] reads.
impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.all().into_iter().enumerate() {
            if index > 0 {
                write!(out, " {} ", words::SEPARATOR)?;
            }
            for (index, word) in action.words().iter().enumerate() {
                let blank = if index > 0 { " " } else { "" };
                write!(out, "{blank}{}", words::quoted(word))?;
            }
        }
        Ok(())
    }
}
