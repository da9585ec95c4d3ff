//! Requests by route, and labs that are slow.

use super::super::{State, Update, traffic::Seen, view::View};
use super::{at, busy};

/// What the balancer counted by route after so many requests.
pub fn add_routes(add: &mut impl FnMut(&str, &[(&str, &str)], f64), requests: f64) {
    for (route, part, slower) in [
        ("/cards/{id}/balance", 0.6, 1.0),
        ("/recharges", 0.25, 8.0),
        ("/data", 0.1, 2.0),
        ("/trips/{id}", 0.05, 40.0),
    ] {
        let mut below = 0.0_f64;
        let shape = [
            (0.000_4, 0.4),
            (0.000_8, 0.5),
            (0.001_6, 0.08),
            (0.003_2, 0.02),
        ];
        for (bound, fraction) in shape {
            below += (requests * part * fraction).floor();
            let bound = (bound * slower).to_string();
            add(
                "recarga_http_route_duration_seconds_bucket",
                &[("route", route), ("le", &bound)],
                below,
            );
        }
        add(
            "recarga_http_route_duration_seconds_bucket",
            &[("route", route), ("le", "+Inf")],
            below,
        );
    }
}

/// The busy lab, looked at for its latency.
pub fn quick() -> State {
    let mut state = busy();
    state.go(View::Latency);
    state
}

/// The same when p99 is above what it is held against, and the own traffic waits behind slow answers.
pub fn breached() -> State {
    let mut state = quick();
    state.run("slo 10ms").expect("it is a threshold");
    state.apply(Update::Traffic(Some(Seen {
        rate: Some(44.0),
        answered: 2_100,
        p95: Some(0.093),
        raw_p95: Some(0.031),
        ..Seen::default()
    })));
    state.tick(at(43));
    state
}
