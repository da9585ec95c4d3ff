//! Labs for tests: the same numbers every time.

pub mod trace;

use std::{ops::RangeInclusive, time::Duration};

use actions::Action;

use super::{
    Finished, Moment, State, Update,
    instance::{Info, Place, Reason, Role, Supervised},
    logs::{Level, Line},
    sample::{Builder, Sample},
    traffic::Seen,
};

pub mod balancer;
pub mod lab;
pub mod latency;
pub mod stores;

const LAB: [(&str, u16); 10] = [
    ("balancer", 1),
    ("gateway", 3),
    ("cache", 1),
    ("travel", 2),
    ("exercise", 3),
    ("search", 1),
    ("booking", 1),
    ("notification", 1),
    ("worker", 1),
    ("queue", 1),
];

pub fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

pub fn places() -> Vec<Place> {
    let mut port = 8100;
    let mut places = Vec::new();
    for (role, count) in LAB {
        for number in 1..=count {
            port += 1;
            places.push(Place {
                role: Role::parse(role),
                name: format!("{role}-{number}"),
                listen: Some(format!("127.0.0.1:{port}")),
                admin: format!("127.0.0.1:{}", port + 1000),
                restarts: 0,
                supervised: Supervised::Running,
            });
        }
    }
    places
}

/// The topology is known, nobody has answered.
pub fn starting() -> State {
    let mut state = State::default();
    state.tick(at(1));
    state.apply(Update::Topology {
        public_url: "http://127.0.0.1:8000".into(),
        places: places(),
        read_only: false,
    });
    state.tick(at(2));
    state
}

/// What an instance would export after so many seconds of steady traffic.
pub fn reading(place: &Place, second: u64) -> Sample {
    let mut builder = Builder::default();
    let seconds = second as f64;
    let number = f64::from(place.name.bytes().last().unwrap_or(b'1') - b'0');
    let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
        builder.add(name, value, |wanted| {
            labels
                .iter()
                .find(|(label, _)| *label == wanted)
                .map(|(_, value)| *value)
        });
    };
    let rate = match place.role {
        Role::Balancer => 48.0,
        Role::Gateway => 15.0 + number,
        Role::Cache => 36.0,
        Role::Travel => 4.5,
        Role::Exercise => 2.0,
        _ => 1.0,
    };
    let requests = rate * seconds;
    add(
        "recarga_http_requests_total",
        &[("status", "200")],
        requests,
    );
    if place.role == Role::Balancer {
        let errors = if second > 20 {
            (second - 20) as f64 * 0.3
        } else {
            0.0
        };
        add("recarga_http_requests_total", &[("status", "503")], errors);
    }
    add("recarga_http_requests_in_flight", &[], 2.0);
    add(
        "process_cpu_seconds_total",
        &[],
        seconds * 0.01 * (1.0 + number),
    );
    add(
        "process_resident_memory_bytes",
        &[],
        (12.0 + number) * 1_048_576.0,
    );
    add("process_start_time_seconds", &[], 1_700_000_000.0);
    add("recarga_draining", &[], 0.0);
    let hit_part = match place.role {
        Role::Gateway | Role::Balancer => 0.8,
        _ => 0.0,
    };
    for (label, part, scale) in [("hit", hit_part, 1.0), ("miss", 1.0 - hit_part, 6.0)] {
        let mut below = 0.0_f64;
        let shape = [
            (0.000_5, 0.3),
            (0.001, 0.4),
            (0.002, 0.2),
            (0.004, 0.08),
            (0.012, 0.02),
        ];
        for (bound, fraction) in shape {
            below += (requests * part * fraction).floor();
            let bound = (bound * scale).to_string();
            add(
                "recarga_http_request_duration_seconds_bucket",
                &[("cache", label), ("le", &bound)],
                below,
            );
        }
        add(
            "recarga_http_request_duration_seconds_bucket",
            &[("cache", label), ("le", "+Inf")],
            below,
        );
    }
    if matches!(
        place.role,
        Role::Travel | Role::Search | Role::Booking | Role::Notification | Role::Worker
    ) {
        add("recarga_store_up", &[("store", "postgres")], 1.0);
        add("recarga_outbox_pending", &[], 0.0);
    }
    if matches!(place.role, Role::Cache | Role::Queue) {
        add("recarga_store_up", &[("store", "redis")], 1.0);
    }
    match place.role {
        Role::Balancer => {
            latency::add_routes(&mut add, requests);
            for (gateway, share) in [(1_u16, 16.0), (2, 17.0), (3, 15.0)] {
                let upstream = format!("127.0.0.1:{}", 8101 + gateway);
                let labels = [("pool", "gateway"), ("upstream", upstream.as_str())];
                add("recarga_upstream_requests_total", &labels, share * seconds);
                add("recarga_upstream_up", &labels, 1.0);
                add("recarga_upstream_weight", &labels, 1.0);
            }
            add("recarga_host_cpu_ratio", &[], 0.34);
            add("recarga_host_memory_used_bytes", &[], 2.1 * 1_073_741_824.0);
            add(
                "recarga_host_memory_total_bytes",
                &[],
                7.8 * 1_073_741_824.0,
            );
            add("recarga_host_cores", &[], 2.0);
        }
        Role::Gateway => {
            // Warming up: misses get fewer.
            let misses = (120.0 * (1.0 - (-seconds / 8.0).exp()) + seconds * 2.0) / 3.0;
            let hits = (12.0 * seconds - misses).max(0.0);
            for (result, count) in [("hit", hits), ("miss", misses)] {
                add("recarga_cache_lookups_total", &[("result", result)], count);
            }
        }
        Role::Cache => {
            // Warming up: misses get fewer.
            let misses = 120.0 * (1.0 - (-seconds / 8.0).exp()) + seconds * 2.0;
            add("recarga_cache_misses_total", &[("cause", "cold")], misses);
            add(
                "recarga_cache_hits_total",
                &[],
                (36.0 * seconds - misses).max(0.0),
            );
            add("recarga_cache_entries", &[], 231.0);
            add("recarga_cache_bytes", &[], 187_000.0);
        }
        Role::Queue => {
            for (queue, depth, age) in [
                ("bookings", 0.0, 0.0),
                ("recharges", 3.0, 1.2),
                ("tasks", 12.0, 41.0),
            ] {
                add("recarga_queue_depth", &[("queue", queue)], depth);
                add("recarga_queue_in_flight", &[("queue", queue)], 1.0);
                add("recarga_queue_oldest_age_seconds", &[("queue", queue)], age);
                add("recarga_queue_dead", &[("queue", queue)], 0.0);
                add(
                    "recarga_queue_sent_total",
                    &[("queue", queue)],
                    seconds * 0.5,
                );
            }
        }
        Role::Worker => {
            add("recarga_tasks_running", &[], 1.0);
            add(
                "recarga_tasks_completed_total",
                &[],
                (seconds / 5.0).floor(),
            );
        }
        Role::Notification => add("recarga_notifications_sent_total", &[], seconds),
        _ => {}
    }
    builder.build()
}

/// Forty seconds of steady traffic from here, everything up.
pub fn busy() -> State {
    let mut state = starting();
    state.traffic.start(state.traffic.plan().clone());
    for second in 3..=42 {
        state.tick(at(second));
        for place in places() {
            let sample = Box::new(reading(&place, second - 2));
            state.apply(Update::Sample {
                admin: place.admin,
                sample,
            });
        }
    }
    for place in places() {
        state.apply(Update::Info {
            admin: place.admin,
            info: Info {
                instance: Some(place.name),
                ready: Some(true),
                ..Info::default()
            },
        });
    }
    state.apply(Update::Traffic(Some(Seen {
        rate: Some(49.8),
        answered: 1_987,
        errors: 6,
        p95: Some(0.006_4),
        ..Seen::default()
    })));
    for (second, level, instance, message) in [
        (
            1,
            Level::Info,
            "balancer-1",
            "listening  listen=127.0.0.1:8000",
        ),
        (
            2,
            Level::Info,
            "gateway-2",
            "GET /cards/7/balance 200 0.8 ms",
        ),
        (
            3,
            Level::Debug,
            "cache-1",
            "lease granted  key=card:7:balance",
        ),
        (4, Level::Info, "travel-1", "POST /recharges 201 6.1 ms"),
        (
            5,
            Level::Warn,
            "gateway-3",
            "search is slow, asking another  upstream=search-1  waited_ms=250",
        ),
        (
            6,
            Level::Error,
            "worker-1",
            "task failed for good  task_id=88  reason=the estación does not exist",
        ),
        (
            7,
            Level::Info,
            "gateway-1",
            "GET /data 200 0.6 ms  (and 41 more like it)",
        ),
    ] {
        state.log(Line {
            failed: false,
            timestamp: format!("2026-03-02T14:05:{second:02}.120Z"),
            level,
            instance: instance.into(),
            request_id: Some("0197f3a2-77aa-4c55-9c1e-000000000001".into()),
            message: message.into(),
        });
    }
    state
}

/// The busy lab after a recharge.
pub fn recharged() -> State {
    let mut state = busy();
    state.ask(Action::Recharge {
        card: Some(42),
        amount: Some(10_000),
    });
    state.apply(Update::Finished {
        number: 1,
        result: Ok(Finished {
            text: "card 42 recharged with $10,000: $12,500 → $22,500 by gateway-2 in 8.1 ms".into(),
            undo: None,
            answer: None,
        }),
    });
    state.take_commands();
    state
}

/// The busy lab twelve seconds after much went wrong.
pub fn degraded() -> State {
    let mut state = busy();
    state.logs.add_dropped(1_234);
    for second in 43..=54 {
        state.tick(at(second));
        for place in places() {
            let admin = place.admin.clone();
            match place.name.as_str() {
                "gateway-2" => state.apply(Update::Unreachable {
                    admin,
                    reason: Reason::Refused,
                }),
                // Hangs: no answer and no refusal.
                "worker-1" if second > 48 => {}
                name => {
                    let mut sample = reading(&place, second - 2);
                    if matches!(name, "cache-1" | "queue-1") {
                        sample.gauges.insert(super::sample::Gauge::RedisUp, 0.0);
                    }
                    if name == "exercise-2" {
                        sample.gauges.insert(super::sample::Gauge::Draining, 1.0);
                    }
                    let sample = Box::new(sample);
                    state.apply(Update::Sample { admin, sample });
                }
            }
        }
    }
    let mut again = places();
    for place in &mut again {
        place.restarts = match place.name.as_str() {
            "gateway-2" => 2,
            "gateway-3" | "exercise-2" => 1,
            _ => 0,
        };
    }
    state.apply(Update::Topology {
        public_url: "http://127.0.0.1:8000".into(),
        places: again,
        read_only: false,
    });
    let travel = places().into_iter().find(|p| p.name == "travel-2");
    state.apply(Update::Info {
        admin: travel.expect("the lab has it").admin,
        info: Info {
            instance: Some("travel-2".into()),
            ready: Some(true),
            faults: 1,
            ..Info::default()
        },
    });
    for name in ["cache-1", "queue-1"] {
        let place = places().into_iter().find(|p| p.name == name);
        state.apply(Update::Info {
            admin: place.expect("the lab has it").admin,
            info: Info {
                instance: Some(name.into()),
                ready: Some(false),
                checks: [("redis".to_owned(), false)].into(),
                ..Info::default()
            },
        });
    }
    state
}

/// All of the lab is gone, and so is its topology file.
pub fn disconnected() -> State {
    let mut state = busy();
    vanish(&mut state, 43..=60);
    state
}

/// Nobody answers in these seconds, and there is no topology file.
fn vanish(state: &mut State, seconds: RangeInclusive<u64>) {
    state.apply(Update::Traffic(None));
    state.apply(Update::TopologyLost(
        "cannot read .recarga/topology.json".into(),
    ));
    for second in seconds {
        state.tick(at(second));
        for place in places() {
            state.apply(Update::Unreachable {
                admin: place.admin,
                reason: Reason::Refused,
            });
        }
    }
}
