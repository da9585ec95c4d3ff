//! Labs with requests, traffic and logs worth looking at.

use load::Kind;
use serde_json::{Value, json};

use super::{at, busy};
use crate::state::{
    State, Update,
    details::Topic,
    logs::{Level, Line},
    traffic::{Seen, SeenCall},
};

/// A request that gateway 2 answered out of the cache, and others that did worse.
fn requests() -> Value {
    let timing = |parts: &[(&str, f64, f64)]| -> Value {
        parts
            .iter()
            .map(|(name, start, ms)| json!({"name": name, "start_ms": start, "duration_ms": ms}))
            .collect()
    };
    let kinds = [
        (
            "GET",
            "/cards/7/balance",
            200,
            "hit",
            "gateway-2",
            timing(&[
                ("balancer", 0.0, 0.913),
                ("gateway", 0.204, 0.61),
                ("l1", 0.3, 0.02),
            ]),
        ),
        (
            "POST",
            "/recharges",
            201,
            "none",
            "gateway-1",
            timing(&[
                ("balancer", 0.0, 8.13),
                ("gateway", 0.31, 7.62),
                ("travel", 0.7, 6.9),
                ("pg", 1.1, 5.4),
                ("cache", 6.6, 0.8),
            ]),
        ),
        (
            "GET",
            "/search",
            503,
            "miss",
            "gateway-3",
            timing(&[
                ("balancer", 0.0, 412.0),
                ("gateway", 0.4, 411.2),
                ("search", 1.0, 409.0),
            ]),
        ),
    ];
    let samples: Vec<Value> = (1..=12_u64)
        .map(|id| {
            let (method, path, status, cache, gateway, timing) = &kinds[id as usize % 3];
            let why = match status {
                503 => "error",
                _ => "regular",
            };
            json!({
                "id": id, "request_id": format!("0197f3a2-77aa-4c55-9c1e-{id:012}"),
                "at": format!("2026-03-02T14:05:{id:02}.120500Z"), "why": why,
                "method": method, "path": path, "route": path, "status": status, "cache": cache,
                "duration_ms": timing[0]["duration_ms"], "upstream": gateway,
                "attempts": if *status == 503 { 3 } else { 1 }, "timing": timing,
            })
        })
        .collect();
    json!({"balancer-1": {
        "last": 12, "skipped": 0, "capacity": 256, "per_second": 10, "slow_ms": 250, "requests": samples,
    }})
}

/// The busy lab with what its balancer sampled.
pub fn sampled() -> State {
    let mut state = busy();
    state.apply(Update::Detail {
        topic: Topic::Requests,
        answer: Ok(requests()),
    });
    state
}

/// The busy lab with forty seconds of one's own traffic.
pub fn trafficked() -> State {
    let mut state = busy();
    for second in 43..=82 {
        let behind = if second > 70 { 9.0 } else { 0.0 };
        state.apply(Update::Traffic(Some(Seen {
            asked: Some(50.0),
            rate: Some(49.8 - behind),
            answered: 50 * second,
            errors: second.saturating_sub(70),
            error_rate: Some(behind / 9.0),
            skipped: 0,
            p95: Some(0.006_4 + behind / 30.0),
            raw_p95: Some(0.005_1),
            left: Some(3_600.0 - second as f64),
            calls: [(Kind::Balance, 9), (Kind::Data, 7), (Kind::Recharge, 2)]
                .into_iter()
                .map(|(kind, part)| SeenCall {
                    kind,
                    sent: part * second,
                    failed: if kind == Kind::Data {
                        second.saturating_sub(70)
                    } else {
                        0
                    },
                    p95: Some(0.003 * part as f64),
                })
                .collect(),
            ..Seen::default()
        })));
        state.tick(at(second));
    }
    state
}

/// The busy lab with lines of one request among others.
pub fn told() -> State {
    let mut state = busy();
    for (micros, level, instance, message) in [
        (
            1_200,
            Level::Debug,
            "balancer-1",
            "picked  upstream=gateway-2  policy=p2c",
        ),
        (
            1_900,
            Level::Debug,
            "gateway-2",
            "miss  key=card:7:balance  cause=cold",
        ),
        (
            14_300,
            Level::Warn,
            "travel-1",
            "slow statement  ms=12.4  sql=select balance from cards where id = $1",
        ),
        (
            16_000,
            Level::Info,
            "gateway-2",
            "GET /cards/7/balance 200 14.1 ms",
        ),
        (
            16_700,
            Level::Info,
            "balancer-1",
            "GET /cards/7/balance 200 15.5 ms",
        ),
    ] {
        state.log(Line {
            failed: false,
            timestamp: format!("2026-03-02T14:05:08.{micros:06}Z"),
            level,
            instance: instance.into(),
            request_id: Some("0197f3a2-77aa-4c55-9c1e-000000000042".into()),
            message: message.into(),
        });
    }
    state
}
