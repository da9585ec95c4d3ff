//! What matters most of each role, in as many words as there is room for.

use super::format;
use crate::state::{
    State,
    instance::{Instance, Role},
    overview::{CacheView, QueueView, Share},
    sample::{Counter, Gauge},
};

/// What a row says at its end; longer where there is room.
#[derive(Clone, Debug)]
pub enum Remark {
    None,
    Text {
        /// Where there is hardly any room.
        tiny: String,
        short: String,
        long: String,
    },
    Share(Share),
    Cache(CacheView),
}

impl Remark {
    pub fn text(short: impl Into<String>) -> Self {
        let short = short.into();
        Self::Text {
            tiny: short.clone(),
            long: short.clone(),
            short,
        }
    }
}

/// What matters most of a role, summed over the given instances.
pub fn of_role(state: &State, role: &Role, members: &[&Instance]) -> Remark {
    let now = state.at();
    let gauge = |gauge: Gauge| {
        members
            .iter()
            .filter_map(|i| i.gauge(&gauge, now))
            .reduce(|a, b| a + b)
    };
    let total = |counter: Counter| {
        members
            .iter()
            .filter_map(|i| i.history.total(&counter))
            .reduce(|a, b| a + b)
    };
    match role {
        Role::Gateway => match members {
            [gateway] => Remark::Share(state.share(gateway)),
            _ => Remark::None,
        },
        Role::Cache => Remark::Cache(state.cache()),
        Role::Queue => of_queue(&state.queue_total()),
        Role::Notification => Remark::text(format!(
            "{} notified",
            format::count(total(Counter::NotificationsSent))
        )),
        Role::Worker => Remark::Text {
            tiny: format!("{} done", format::count(total(Counter::TasksCompleted))),
            short: format!(
                "{} running {} done",
                format::count(gauge(Gauge::TasksRunning)),
                format::count(total(Counter::TasksCompleted))
            ),
            long: format!(
                "{} tasks running · {} completed",
                format::count(gauge(Gauge::TasksRunning)),
                format::count(total(Counter::TasksCompleted))
            ),
        },
        _ => {
            let slowest = members
                .iter()
                .filter_map(|instance| state.latency_of(instance))
                .map(|percentiles| percentiles.p95)
                .reduce(f64::max);
            let p95 = format!("p95 {}", format::latency(slowest));
            let groups = groups(state, members);
            // Who shares a table tells of the same events.
            let pending = members
                .iter()
                .filter_map(|i| i.gauge(&Gauge::OutboxPending, now))
                .reduce(f64::max);
            match pending {
                Some(pending) if pending > 0.0 => {
                    let oldest = members
                        .iter()
                        .filter_map(|i| i.gauge(&Gauge::OutboxOldestAge, now))
                        .filter(|age| *age >= 0.5)
                        .reduce(f64::max)
                        .map_or_else(String::new, |age| format!(" {}", format::age(Some(age))));
                    let pending = format::count(Some(pending));
                    Remark::Text {
                        tiny: p95.clone(),
                        short: format!("{p95} +{pending} out{oldest}"),
                        long: format!("{p95} · {pending} in the outbox{oldest}{groups}"),
                    }
                }
                _ => Remark::Text {
                    tiny: p95.clone(),
                    long: format!("{p95}{groups}"),
                    short: p95,
                },
            }
        }
    }
}

/// How many writes were committed together on average, where writes are committed in groups.
fn groups(state: &State, members: &[&Instance]) -> String {
    let grown = |counter: Counter| {
        members
            .iter()
            .filter_map(|i| i.grown(&counter, state.lens()))
            .reduce(|a, b| a + b)
    };
    match (grown(Counter::CommitWrites), grown(Counter::CommitGroups)) {
        (Some(writes), Some(groups)) if groups > 0.0 => {
            format!(" · {:.1} writes a commit", writes / groups)
        }
        _ => String::new(),
    }
}

pub fn of_queue(queue: &QueueView) -> Remark {
    let depth = format::count(queue.depth);
    let in_flight = format::count(queue.in_flight);
    // An empty queue has no oldest message; its age is not zero but none.
    let oldest = format::age(queue.oldest_age.filter(|age| *age > 0.0));
    let dead = match queue.dead {
        Some(dead) if dead > 0.0 => format!(" · {} dead", format::count(Some(dead))),
        _ => String::new(),
    };
    Remark::Text {
        tiny: format!("{depth} waiting"),
        short: format!("{depth} wait {in_flight} fly {oldest}"),
        long: format!("depth {depth} · in flight {in_flight} · oldest {oldest}{dead}"),
    }
}
