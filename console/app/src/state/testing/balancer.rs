//! Balancers that tell of themselves.

use serde_json::{Value, json};

use super::super::{State, Update, details::Topic, marks::Kind, view::View};
use super::{at, busy, degraded};

/// An upstream that is well.
fn upstream(number: u16) -> Value {
    json!({
        "name": format!("gateway-{number}"),
        "address": format!("127.0.0.1:{}", 8101 + number),
        "state": "up",
        "reason": "check passed",
        "since_seconds": 188.4,
        "in_flight": 2 * number,
        "weight": 1,
        "effective_weight": 1.0,
        "expected_share": 0.333_333,
        "ejected": false,
        "ejected_for_seconds": null,
        "breaker": "closed",
        "slow_start": null,
        "ewma_ms": 0.4 * f64::from(number),
        "requests": 1_000,
        "failures": {"connect": 0, "timeout": 0, "reset": 0, "status": 0},
        "last_check_ms": 0.6,
    })
}

fn merged(mut of: Value, other: Value) -> Value {
    if let (Value::Object(of), Value::Object(other)) = (&mut of, other) {
        of.extend(other);
    }
    of
}

fn pool(policy: &str, upstreams: &[Value]) -> Value {
    json!({"balancer-1": {
        "pool": "gateway",
        "policy": policy,
        "sticky": false,
        "panic": false,
        "retries": 12,
        "retries_denied": 0,
        "admission": {"enabled": true, "limit": 64, "in_flight": 9, "queued": 0, "shed": 0},
        "upstreams": upstreams,
    }})
}

fn settings(policy: &str) -> Value {
    json!({"balancer-1": {
        "policy": policy,
        "hash_on": "address",
        "bound": 1.25,
        "sticky": false,
        "p2c": {"decay_ms": 10_000},
        "outlier": {"max_ejection_percent": 50},
        "breaker": {"failures": 5},
        "retries": {"percent": 20},
        "slow_start": {"window_ms": 10_000},
        "admission": {"enabled": true},
        "panic_threshold": 50,
        "weights": {},
    }})
}

fn pick(age: f64, picked: u16) -> Value {
    let candidates: Vec<Value> = (1..=3)
        .map(|number| {
            json!({
                "name": format!("gateway-{number}"),
                "score": (number < 3).then_some(0.000_4 * f64::from(number)),
                "weight": 1.0,
                "in_flight": number,
            })
        })
        .collect();
    json!({
        "age_seconds": age,
        "policy": "p2c",
        "decided_by": "policy",
        "fallback": null,
        "picked": format!("gateway-{picked}"),
        "key": null,
        "candidates": candidates,
        "others": [],
        "omitted": 0,
    })
}

/// The answers to the questions of this view.
pub fn tell(state: &mut State, upstreams: Value, settings: Value, picks: Value) {
    for (topic, answer) in [
        (Topic::Upstreams, upstreams),
        (Topic::Balancing, settings),
        (Topic::Picks, picks),
    ] {
        state.apply(Update::Detail {
            topic,
            answer: Ok(answer),
        });
    }
}

/// The busy lab under p2c, all well, after a change of weight.
pub fn spread() -> State {
    let mut state = busy();
    state.go(View::Balancer);
    state.marks.add(at(30), Kind::Action, "weight gateway-2 3");
    let well: Vec<Value> = (1..=3)
        .map(upstream)
        .map(|one| merged(one, json!({"expected_share": null})))
        .collect();
    let picks: Vec<Value> = (1..=9)
        .map(|number| pick(0.02 * f64::from(number), number % 3 + 1))
        .collect();
    tell(
        &mut state,
        pool("p2c", &well),
        settings("p2c"),
        json!({"balancer-1": {"pool": "gateway", "picks": picks}}),
    );
    state
}

/// One gateway is down, one ejected, one drains: weighted.
pub fn uneven() -> State {
    let mut state = degraded();
    state.go(View::Balancer);
    let upstreams = [
        merged(
            upstream(1),
            json!({
                "ejected": true, "ejected_for_seconds": 7.5, "expected_share": 0.0,
                "reason": "5 failures in a row", "since_seconds": 2.5,
            }),
        ),
        merged(
            upstream(2),
            json!({
                "state": "down", "reason": "unreachable: connection refused", "since_seconds": 11.0,
                "expected_share": 0.0, "in_flight": 0, "ewma_ms": null, "breaker": "open",
            }),
        ),
        merged(
            upstream(3),
            json!({
                "state": "draining", "reason": "drained by the operator", "since_seconds": 4.0,
                "in_flight": 3, "expected_share": 0.0, "weight": 3, "effective_weight": 1.2,
            }),
        ),
    ];
    let strange = json!({
        "age_seconds": 0.75,
        "policy": "weighted",
        "decided_by": "policy",
        "fallback": "panic",
        "picked": null,
        "key": "00000000000000ff",
        "candidates": [],
        "others": [
            {"name": "gateway-1", "why": "ejected", "in_flight": 0},
            {"name": "gateway-2", "why": "down", "in_flight": 0},
            {"name": "gateway-3", "why": "drained_by_operator", "in_flight": 3},
        ],
        "omitted": 2,
    });
    let mut told = pool("weighted", &upstreams);
    told["balancer-1"]["panic"] = json!(true);
    tell(
        &mut state,
        told,
        settings("weighted"),
        json!({"balancer-1": {"picks": [pick(0.5, 3), strange]}}),
    );
    state
}

/// Answers that no balancer gives.
pub fn nonsense() -> Vec<Value> {
    let long = "\u{1b}[2J地铁".repeat(400);
    vec![
        Value::Null,
        json!([]),
        json!("x"),
        json!({"balancer-1": null, "balancer-2": [], "balancer-3": [null, 7]}),
        json!({"balancer-1": {"upstreams": [null, 5, {"name": 7}, {"name": "gateway-1"}], "picks": 3}}),
        json!({"balancer-1": {"policy": long, "upstreams": [{
            "name": "gateway-1", "state": long, "reason": long, "since_seconds": -1e300,
            "in_flight": 1e300, "weight": "1", "ewma_ms": -5, "expected_share": 1e12,
        }], "picks": [null, {}, {"picked": long, "candidates": [{}, null], "others": [{}], "age_seconds": -1}]}}),
        json!({"balancer-1": {"policy": "p2c", "upstreams": [{
            "name": "gateway-1", "state": "up", "reason": long, "since_seconds": 1e300, "slow_start": -3,
        }], "picks": [{"policy": long, "decided_by": long, "fallback": long, "key": long}], "p2c": 4, "hash_on": 4}}),
    ]
}
