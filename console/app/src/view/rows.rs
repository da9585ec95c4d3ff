//! The request's path as rows of data, in three levels of detail; what they look like is decided in `path`.

use super::{
    format,
    remarks::{self, Remark},
    status::{self, Mark},
    theme::Theme,
};
use crate::state::{
    State,
    instance::{Instance, Role, Status, Supervised},
    overview::{QueueView, Store},
    sample::{Counter, Gauge},
};

/// How much of the lab one row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A row for every instance and every queue.
    Queues,
    /// A row for every instance.
    Full,
    /// Gateways one by one, services by role.
    Grouped,
    /// A row for every tier, gateways one by one.
    Gateways,
    /// A row for every tier.
    Tiers,
}

/// One line of the path.
#[derive(Clone, Debug)]
pub struct Row {
    /// Branches before the name.
    pub tree: &'static str,
    pub name: String,
    pub mark: Mark,
    pub requests: Option<f64>,
    pub errors: Option<f64>,
    /// Of one core.
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    /// Whether the four numbers above mean anything here.
    pub measured: bool,
    /// How often the supervisor has started it anew.
    pub restarts: u32,
    /// Faults injected on purpose.
    pub faults: usize,
    pub remark: Remark,
}

/// All rows at a level of detail, in the order of a request's path.
pub fn rows(state: &State, detail: Detail, theme: &Theme) -> Vec<Row> {
    let mut rows = vec![client(state, theme)];
    let roles = roles(state);
    if matches!(detail, Detail::Tiers | Detail::Gateways) {
        tiers(state, detail, theme, &mut rows);
        return rows;
    }
    for role in roles {
        let members: Vec<_> = state
            .instances
            .iter()
            .filter(|instance| instance.place.role == role)
            .collect();
        let (first, last) = match role {
            Role::Balancer => ("", ""),
            Role::Gateway => ("├─ ", "╰┬ "),
            _ => (" ├─ ", " ├─ "),
        };
        if detail == Detail::Grouped && role.is_service() {
            let name = if members.len() > 1 {
                format!("{} ×{}", role.name(), members.len())
            } else {
                members[0].name().to_owned()
            };
            rows.push(group(state, first, &name, &members, theme));
            continue;
        }
        let count = members.len();
        for (index, instance) in members.into_iter().enumerate() {
            let tree = if index + 1 == count { last } else { first };
            rows.push(one(state, tree, instance, theme));
        }
        if role == Role::Queue && detail == Detail::Queues {
            rows.extend(state.queues().iter().map(|queue| of_queue(queue, theme)));
        }
    }
    if detail == Detail::Grouped {
        rows.push(both_stores(state, " ╰─ ", theme));
    } else {
        rows.push(of_store(
            state,
            " ├─ ",
            "PostgreSQL",
            &Gauge::PostgresUp,
            theme,
        ));
        if state.queue_has_own_store() {
            rows.push(of_store(state, " ├─ ", "Redis", &Gauge::RedisUp, theme));
            let gauge = &Gauge::QueueRedisUp;
            rows.push(of_store(state, " ╰─ ", "queue's Redis", gauge, theme));
        } else {
            rows.push(of_store(state, " ╰─ ", "Redis", &Gauge::RedisUp, theme));
        }
    }
    rows
}

/// One row per tier; gateways one by one where asked.
fn tiers(state: &State, detail: Detail, theme: &Theme, rows: &mut Vec<Row>) {
    let mut tier = |tree: &'static str, name: &str, belongs: &dyn Fn(&Role) -> bool| {
        let members: Vec<_> = state
            .instances
            .iter()
            .filter(|instance| belongs(&instance.place.role))
            .collect();
        if detail == Detail::Gateways && name == "gateways" {
            rows.extend(
                members
                    .iter()
                    .map(|gateway| one(state, tree, gateway, theme)),
            );
        } else if !members.is_empty() {
            rows.push(group(state, tree, name, &members, theme));
        }
    };
    tier("", "balancer", &|role| *role == Role::Balancer);
    tier("├ ", "gateways", &|role| *role == Role::Gateway);
    tier("├ ", "cache", &|role| *role == Role::Cache);
    tier("├ ", "services", &Role::is_service);
    tier("├ ", "queue", &|role| *role == Role::Queue);
    rows.push(both_stores(state, "╰ ", theme));
}

fn roles(state: &State) -> Vec<Role> {
    let mut roles: Vec<Role> = state
        .instances
        .iter()
        .map(|instance| instance.place.role.clone())
        .collect();
    roles.dedup();
    roles
}

fn client(state: &State, theme: &Theme) -> Row {
    let traffic = &state.traffic;
    let seen = traffic.seen.as_ref().filter(|_| traffic.is_on());
    let (mark, remark) = if traffic.is_on() {
        let asked = format!("{}/s asked", format::count(Some(traffic.rate())));
        let remark = match seen {
            None => Remark::text(asked),
            Some(seen) => Remark::Text {
                tiny: String::new(),
                short: if seen.errors > 0 {
                    format!(
                        "{asked}, {} failed",
                        format::count(Some(seen.errors as f64))
                    )
                } else {
                    asked.clone()
                },
                long: format!(
                    "{asked} · {} answered · {} errors · p95 {}",
                    format::count(Some(seen.answered as f64)),
                    format::count(Some(seen.errors as f64)),
                    format::latency(seen.p95),
                ),
            },
        };
        (Mark::new("▶", "steady", theme.good), remark)
    } else {
        (
            Mark::new("□", "idle", theme.dim),
            Remark::Text {
                tiny: "t: traffic".into(),
                short: "t starts traffic".into(),
                long: format!(
                    "t starts traffic at {}/s",
                    format::count(Some(traffic.rate()))
                ),
            },
        )
    };
    Row {
        tree: "",
        name: "client".into(),
        mark,
        requests: seen.and_then(|seen| seen.rate),
        errors: None,
        cpu: None,
        memory: None,
        measured: seen.is_some(),
        restarts: 0,
        faults: 0,
        remark,
    }
}

fn one(state: &State, tree: &'static str, instance: &Instance, theme: &Theme) -> Row {
    let now = state.at();
    let lens = state.lens();
    let status = instance.status(now);
    let fresh = instance.is_fresh(now);
    Row {
        tree,
        name: instance.name().to_owned(),
        mark: status::of(&status, theme),
        requests: instance.rate(&Counter::Requests, lens),
        errors: instance.rate(&Counter::Errors, lens),
        cpu: instance.rate(&Counter::CpuSeconds, lens),
        memory: instance.gauge(&Gauge::ResidentBytes, now),
        measured: true,
        restarts: instance.place.restarts,
        faults: instance.faults(now),
        remark: match (&status, fresh) {
            (Status::Down { reason, .. }, _) => match reason {
                Some(reason) => Remark::Text {
                    tiny: reason.short(),
                    short: reason.short(),
                    long: reason.to_string(),
                },
                None if instance.place.supervised == Supervised::Stopped => Remark::text("stopped"),
                None => Remark::text("restarting"),
            },
            (Status::NotReady(check), _) if !check.is_empty() => {
                Remark::text(format!("{check} away"))
            }
            (_, true) => remarks::of_role(state, &instance.place.role, &[instance]),
            _ => Remark::None,
        },
    }
}

fn group(
    state: &State,
    tree: &'static str,
    name: &str,
    members: &[&Instance],
    theme: &Theme,
) -> Row {
    let now = state.at();
    let lens = state.lens();
    let statuses: Vec<_> = members.iter().map(|i| i.status(now)).collect();
    let up = statuses.iter().filter(|s| **s == Status::Up).count();
    let mark = statuses
        .iter()
        .max_by_key(|status| status::weight(status))
        .map_or_else(
            || Mark::new("○", format::UNKNOWN, theme.dim),
            |worst| {
                let mut mark = status::of(worst, theme);
                if members.len() > 1 {
                    mark.word = if up == members.len() {
                        format!("{up} up")
                    } else {
                        format!("{up} of {} up", members.len())
                    };
                }
                mark
            },
        );
    let sum = |value: &dyn Fn(&Instance) -> Option<f64>| {
        members.iter().filter_map(|i| value(i)).reduce(|a, b| a + b)
    };
    Row {
        tree,
        name: name.to_owned(),
        mark,
        requests: sum(&|i| i.rate(&Counter::Requests, lens)),
        errors: sum(&|i| i.rate(&Counter::Errors, lens)),
        cpu: sum(&|i| i.rate(&Counter::CpuSeconds, lens)),
        memory: sum(&|i| i.gauge(&Gauge::ResidentBytes, now)),
        measured: true,
        restarts: members.iter().map(|i| i.place.restarts).sum(),
        faults: members.iter().map(|i| i.faults(now)).sum(),
        remark: match members {
            [only] => one(state, tree, only, theme).remark,
            [first, ..] if members.iter().all(|i| i.place.role == first.place.role) => {
                remarks::of_role(state, &first.place.role, members)
            }
            _ => Remark::None,
        },
    }
}

fn of_queue(queue: &QueueView, theme: &Theme) -> Row {
    let mark = match queue.dead {
        Some(dead) if dead > 0.0 => Mark::new(
            "▲",
            format!("{} dead", format::count(Some(dead))),
            theme.warning,
        ),
        _ => Mark::new(" ", "", theme.dim),
    };
    Row {
        tree: " │  ",
        name: queue.name.clone(),
        mark,
        requests: queue.sent,
        errors: None,
        cpu: None,
        memory: None,
        measured: false,
        restarts: 0,
        faults: 0,
        remark: remarks::of_queue(queue),
    }
}

fn of_store(state: &State, tree: &'static str, name: &str, gauge: &Gauge, theme: &Theme) -> Row {
    let store = state.store(gauge);
    Row {
        tree,
        name: name.to_owned(),
        mark: status::of_store(store, theme),
        requests: None,
        errors: None,
        cpu: None,
        memory: None,
        measured: false,
        restarts: 0,
        faults: 0,
        remark: match store {
            Store::Away { failing, users } => {
                Remark::text(format!("away for {failing} of {users}"))
            }
            Store::Up | Store::Unknown => Remark::None,
        },
    }
}

/// PostgreSQL and Redis in one row, the queue's own one with them.
fn both_stores(state: &State, tree: &'static str, theme: &Theme) -> Row {
    let postgres = state.store(&Gauge::PostgresUp);
    let redis = state.store(&Gauge::RedisUp);
    let queue = state.store(&Gauge::QueueRedisUp);
    let mark = match (postgres, redis, queue) {
        (Store::Away { .. }, ..) => status::of_store(postgres, theme),
        (_, Store::Away { .. }, _) => status::of_store(redis, theme),
        (.., Store::Away { .. }) => status::of_store(queue, theme),
        (Store::Unknown, ..) => status::of_store(postgres, theme),
        _ => status::of_store(redis, theme),
    };
    let word = |store: Store| status::of_store(store, theme).word;
    let own = |name: &str| match queue {
        Store::Unknown => String::new(),
        known => format!("{name} {}", word(known)),
    };
    Row {
        tree,
        name: "stores".into(),
        mark,
        requests: None,
        errors: None,
        cpu: None,
        memory: None,
        measured: false,
        restarts: 0,
        faults: 0,
        remark: Remark::Text {
            tiny: format!("pg {} redis {}", word(postgres), word(redis)),
            short: format!(
                "pg {} redis {}{}",
                word(postgres),
                word(redis),
                own(" queue")
            ),
            long: format!(
                "PostgreSQL {} · Redis {}{}",
                word(postgres),
                word(redis),
                own(" · queue's Redis")
            ),
        },
    }
}
