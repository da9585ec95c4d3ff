//! Labs whose cache, queues, processes and stores tell everything they can.

use serde_json::{Value, json};

use super::{at, busy, degraded, places, reading, vanish};
use crate::state::{
    State, Update,
    details::Topic,
    instance::{Place, Reason, Role},
    marks::Kind,
    sample::{Cause, Counter, Gauge, Keeper, Level, Lookup, Sample, Sum},
};

fn port(place: &Place) -> u64 {
    let (_, port) = place.admin.rsplit_once(':').expect("a port");
    port.parse().expect("a number")
}

/// The reading of [`reading`], and what it leaves out; new counters begin at second forty.
fn told(place: &Place, second: u64) -> Sample {
    let mut sample = reading(place, second);
    let number = f64::from(place.name.bytes().last().unwrap_or(b'1') - b'0');
    let since = second.saturating_sub(40) as f64;
    let seconds = second as f64;
    let mut counters: Vec<(Counter, f64)> = Vec::new();
    let mut gauges = vec![
        (Gauge::OpenFiles, 100.0 + number),
        (Gauge::MostFiles, 1024.0),
        (Gauge::Sockets, 40.0 + number),
        (Gauge::Threads, 6.0),
        (Gauge::RuntimeTasks, 31.0),
    ];
    match place.role {
        Role::Gateway => {
            let misses = sample.counters[&Counter::Lookup(Lookup::Miss)];
            counters.extend([
                (Counter::FirstLevelHits, since * 9.0),
                (Counter::FirstLevelMisses, since * 3.0),
                (Counter::Lookup(Lookup::Stale), since * 0.2),
                (Counter::Lookup(Lookup::Bypass), since * 0.1),
                (Counter::Missed(Cause::Bypass), since * 0.1),
                (Counter::Bypassed("away".into()), since * 0.1),
                (Counter::Rebuilds, misses),
                (Counter::RebuildSeconds, misses * 0.02),
            ]);
            gauges.extend([
                (Gauge::FirstLevelEntries, 180.0),
                (Gauge::FirstLevelBytes, 90_000.0),
            ]);
        }
        Role::Cache => {
            let causes = [
                (Cause::Expired, 1.2),
                (Cause::Invalidated, 0.7),
                (Cause::Flushed, 0.4),
                (Cause::Evicted, 0.0),
            ];
            for (cause, rate) in causes {
                counters.push((Counter::Missed(cause), since * rate));
            }
            let cold = sample.counters[&Counter::CacheMisses];
            let more: f64 = causes.iter().map(|(_, rate)| since * rate).sum();
            counters.extend([
                (Counter::CacheMisses, cold + more),
                (Counter::CacheEarly, since * 0.3),
                (Counter::CacheFills, since * 2.0),
                (Counter::CacheInvalidations, since * 0.7),
                (Counter::CacheLeaseWaits, since * 0.1),
                (Counter::CacheEvictions, 0.0),
                (Counter::CacheFlushes, 1.0),
            ]);
            redis(Keeper::Shared, seconds, &mut counters, &mut gauges);
        }
        Role::Queue => {
            for (queue, depth, sent, ended) in [
                ("bookings", 0.0, 0.5, 0.5),
                ("recharges", 3.0, 0.5, 0.2),
                ("tasks", 80.0, 1.0, 3.0),
            ] {
                let name = || queue.to_owned();
                counters.extend([
                    (Counter::QueueSent(name()), 20.0 + since * sent),
                    (Counter::QueueAcknowledged(name()), since * ended),
                    (Counter::QueueReceived(name()), since * ended),
                    (Counter::QueueRedelivered(name()), 0.0),
                ]);
                let dead = if queue == "tasks" { 3.0 } else { 0.0 };
                gauges.extend([
                    (Gauge::QueueDepth(name()), depth),
                    (
                        Gauge::QueueDelayed(name()),
                        if dead > 0.0 { 2.0 } else { 0.0 },
                    ),
                    (Gauge::QueueBehind(name()), 0.0),
                    (Gauge::QueueBytes(name()), depth * 420.0),
                    (Gauge::QueueDead(name()), dead),
                ]);
            }
            gauges.push((Gauge::QueueRedisUp, 1.0));
            redis(Keeper::Queue, seconds, &mut counters, &mut gauges);
        }
        Role::Travel => {
            for (sum, rate) in [
                (Sum::Committed, 120.0),
                (Sum::RolledBack, 0.4),
                (Sum::Found, 990.0),
                (Sum::Missing, 10.0),
                (Sum::WalBytes, 204_800.0),
                (Sum::TemporaryBytes, 0.0),
                (Sum::Deadlocks, 0.0),
                (Sum::Checkpoints, 0.01),
            ] {
                counters.push((Counter::Postgres(sum), seconds * rate));
            }
            for (state, count) in [
                ("active", 4.0),
                ("idle", 18.0),
                ("idle_in_transaction", 1.0),
            ] {
                let level = Level::Connections(state.into());
                gauges.push((Gauge::Postgres(level), count));
            }
            for (level, value) in [
                (Level::MostConnections, 100.0),
                (Level::LocksWaiting, 0.0),
                (Level::OldestTransaction, 0.02),
                (Level::Bytes, 48.0 * 1_048_576.0),
            ] {
                gauges.push((Gauge::Postgres(level), value));
            }
            counters.extend([
                (Counter::CommitGroups, since * 10.0),
                (Counter::CommitWrites, since * 34.0),
            ]);
            gauges.extend([(Gauge::OutboxPending, 6.0), (Gauge::OutboxOldestAge, 2.4)]);
        }
        _ => {}
    }
    sample.counters.extend(counters);
    sample.gauges.extend(gauges);
    sample
}

fn redis(
    keeper: Keeper,
    seconds: f64,
    counters: &mut Vec<(Counter, f64)>,
    gauges: &mut Vec<(Gauge, f64)>,
) {
    let durable = f64::from(u8::from(keeper == Keeper::Queue));
    for (sum, rate) in [
        (Sum::Commands, 900.0),
        (Sum::Found, 80.0),
        (Sum::Missing, 20.0),
        (Sum::Evicted, 0.0),
        (Sum::Expired, 1.5),
        (Sum::Rejected, 0.0),
        (Sum::ReceivedBytes, 80_000.0),
        (Sum::SentBytes, 240_000.0),
        (Sum::DelayedSyncs, 0.0),
    ] {
        counters.push((Counter::Redis(keeper, sum), seconds * rate));
    }
    for (level, value) in [
        (Level::Bytes, 3.2 * 1_048_576.0),
        (Level::ResidentBytes, 11.0 * 1_048_576.0),
        (Level::MostBytes, 256.0 * 1_048_576.0 * (1.0 - durable)),
        (Level::Keys, 412.0),
        (Level::Connections(String::new()), 14.0),
        (Level::Blocked, 2.0),
        (Level::AofEnabled, durable),
        (Level::AofOk, 1.0),
        (Level::AofBytes, 640_000.0 * durable),
        (Level::SnapshotOk, 1.0),
        (Level::LastFork, 0.000_4),
    ] {
        gauges.push((Gauge::Redis(keeper, level), value));
    }
}

fn entries() -> Value {
    let entry = |key: &str, ttl: f64, size: u64, leased: bool| {
        json!({"key": key, "variants": 1, "ttl_seconds": ttl, "kept_seconds": ttl + 600.0,
            "age_seconds": 300.0 - ttl, "size_bytes": size, "absent": 0, "leased": leased,
            "lease_seconds": leased.then_some(2.5)})
    };
    let mut entries: Vec<Value> = (1..=9_u32)
        .map(|card| {
            let key = format!("card:{card}:balance");
            entry(&key, f64::from(card) * 27.0, 58, false)
        })
        .collect();
    entries.push(entry("card:3:movements", 41.0, 18_422, false));
    entries.push(entry("routes:all", 0.0, 7_310, false));
    entries.push(entry("stations", 3.0, 41_007, true));
    json!({"entries": entries, "cursor": "17"})
}

fn queues() -> Value {
    let queue = |name: &str, paused: bool, settings: Value| json!({"name": name, "paused": paused, "settings": settings});
    json!({"queues": [
        queue("bookings", false, json!({"durability": "durable"})),
        queue("recharges", true, json!({"durability": "fast", "max_deliveries": 3})),
        queue("tasks", false, json!({"max_depth": 100_000})),
    ]})
}

fn letters() -> Value {
    let letter = |number: u32, reason: &str| {
        json!({"position": format!("1767225600000-{number}"), "id": format!("0197f3a2-77aa-4c55-9c1e-00000000000{number}"),
        "body": {"kind": "study", "task_id": 88 + number, "card": {"id": 7, "name": "estación"}},
        "deliveries": 5, "redrives": 0, "crashes": 1,
        "sent_at": "2026-03-02T14:01:00Z", "died_at": format!("2026-03-02T14:05:0{number}Z"), "reason": reason,
        "history": [
            {"delivery": 4, "at": "2026-03-02T14:04:00Z", "event": "expired"},
            {"delivery": 5, "at": "2026-03-02T14:05:00Z", "event": "dead", "reason": reason},
        ]})
    };
    json!({"messages": [
        letter(0, "the estación does not exist"),
        letter(1, "the estación does not exist"),
        letter(2, "delivered 5 times, the last one ended by a timeout"),
    ]})
}

fn inform(state: &mut State, second: u64) {
    for instance in &mut state.instances {
        instance.info.version = Some("0.5.0".into());
        instance.info.pid = Some(port(&instance.place) - 5_000);
        instance.info.log_level = Some("info".into());
        instance.info.uptime_seconds = Some(7_200 + second);
    }
}

fn answer(state: &mut State) {
    for (topic, value) in [
        (Topic::Keys(String::new()), entries()),
        (Topic::Queues, queues()),
        (Topic::DeadLetters("tasks".into()), letters()),
        (
            Topic::DeadLetters("bookings".into()),
            json!({"messages": []}),
        ),
    ] {
        state.apply(Update::Detail {
            topic,
            answer: Ok(value),
        });
    }
}

/// The busy lab half a minute later, with everything told.
pub fn stocked() -> State {
    let mut state = busy();
    for second in 43..=72 {
        state.tick(at(second));
        state.used(second as f64 * 0.004, 14 << 20);
        if second == 60 {
            state.marks.add(at(60), Kind::Action, "flush prefix=card:");
        }
        for place in places() {
            let sample = Box::new(told(&place, second - 2));
            state.apply(Update::Sample {
                admin: place.admin,
                sample,
            });
        }
    }
    inform(&mut state, 72);
    answer(&mut state);
    state
        .cursor_mut(crate::state::view::Panel::Queues)
        .choose("tasks");
    state
}

/// The degraded lab some seconds later: stores away, faults, a consumer that takes nothing, answers that are missing.
pub fn troubled() -> State {
    let mut state = degraded();
    answer(&mut state);
    for second in 55..=60 {
        state.tick(at(second));
        for place in places() {
            let admin = place.admin.clone();
            match place.name.as_str() {
                "gateway-2" => state.apply(Update::Unreachable {
                    admin,
                    reason: Reason::Refused,
                }),
                "worker-1" => {}
                name => {
                    let mut sample = told(&place, second - 2);
                    if matches!(name, "cache-1" | "queue-1") {
                        sample.gauges.insert(Gauge::RedisUp, 0.0);
                        sample
                            .gauges
                            .retain(|gauge, _| !matches!(gauge, Gauge::Redis(..)));
                    }
                    if name == "queue-1" {
                        sample.gauges.insert(Gauge::QueueRedisUp, 0.0);
                    }
                    let sample = Box::new(sample);
                    state.apply(Update::Sample { admin, sample });
                }
            }
        }
    }
    inform(&mut state, 60);
    for instance in &mut state.instances {
        let told: &[(&str, Option<u64>)] = match instance.place.name.as_str() {
            "travel-2" => &[
                ("latency_ms=200 route=/recharges", Some(41)),
                ("hang", None),
            ],
            "exercise-1" => &[("error_rate=0.2", Some(41))],
            _ => &[],
        };
        let info = &mut instance.info;
        info.faults = told.len();
        info.faults_told = told
            .iter()
            .map(|(text, left)| ((*text).to_owned(), *left))
            .collect();
        if instance.place.role == Role::Travel {
            info.checks = [("postgres".to_owned(), true)].into();
        }
        if instance.place.role == Role::Notification {
            info.levers = vec![("paused".into(), "true".into())];
        }
    }
    for topic in [
        Topic::Keys(String::new()),
        Topic::Queues,
        Topic::DeadLetters("tasks".into()),
    ] {
        state.apply(Update::Detail {
            topic,
            answer: Err("status 503".into()),
        });
    }
    state
        .cursor_mut(crate::state::view::Panel::Queues)
        .choose("tasks");
    state
}

/// Everything was known, and now nobody answers.
pub fn lost() -> State {
    let mut state = stocked();
    vanish(&mut state, 73..=90);
    for topic in [
        Topic::Keys(String::new()),
        Topic::Queues,
        Topic::DeadLetters("tasks".into()),
    ] {
        state.apply(Update::Detail {
            topic,
            answer: Err("connection refused".into()),
        });
    }
    state
}
