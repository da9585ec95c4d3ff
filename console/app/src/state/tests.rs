//! The model as a whole: what news and keys do to it.

use super::{
    action::{Action, Command, Overlay},
    alerts::Severity,
    instance::{Place, Role, Supervised},
    overview::{Share, Store},
    sample::{Counter, Gauge},
    testing::{at, busy, degraded, disconnected, starting},
    traffic::Outcome,
    *,
};

fn instance<'a>(state: &'a State, name: &str) -> &'a Instance {
    state
        .instances
        .iter()
        .find(|instance| instance.name() == name)
        .unwrap()
}

#[test]
fn before_anybody_answers_everything_is_unknown() {
    let state = starting();
    assert_eq!(state.request_rate(), None);
    assert_eq!(state.cache().now, None);
    assert_eq!(state.host().cpu, None);
    assert_eq!(state.store(&Gauge::PostgresUp), Store::Unknown);
    assert_eq!(state.latency().cached, None);
    assert_eq!(state.queue_total().depth, None);
    assert_eq!(state.share(instance(&state, "gateway-1")), Share::default());
    let alerts = state.alerts();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].text, "15 starting");
}

#[test]
fn shares_compare_what_was_sent_with_what_the_weights_promise() {
    let state = busy();
    let shares: Vec<_> = ["gateway-1", "gateway-2", "gateway-3"]
        .map(|name| state.share(instance(&state, name)))
        .into();
    let observed: Vec<_> = shares
        .iter()
        .map(|s| (s.observed.unwrap() * 48.0).round())
        .collect();
    assert_eq!(observed, [16.0, 17.0, 15.0]);
    for share in shares {
        assert!((share.expected.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    }
}

#[test]
fn ratios_are_of_the_window_and_since_the_start() {
    let cache = busy().cache();
    let now = cache.now.unwrap();
    let ever = cache.ever.unwrap();
    assert!(now.value > ever.value, "it warmed up: {now:?} {ever:?}");
    assert_eq!(now.events, 360);
    assert_eq!(ever.events, 36 * 40);
    assert_eq!(cache.entries, Some(231));
}

#[test]
fn percentiles_come_from_all_gateways_with_their_samples() {
    let latency = busy().latency();
    assert_eq!(latency.gateways, 3);
    let cached = latency.cached.unwrap();
    let uncached = latency.uncached.unwrap();
    // Three gateways, 16 + 17 + 18 requests a second, ten seconds, four of five cached.
    assert!(cached.samples.abs_diff(408) < 6, "{cached:?}");
    assert!(uncached.samples.abs_diff(102) < 6, "{uncached:?}");
    assert!(cached.p50 < cached.p95 && cached.p95 < cached.p99);
    assert!(uncached.p50 > cached.p50 * 5.0);
}

#[test]
fn the_queues_add_up_and_the_oldest_age_is_the_greatest() {
    let total = busy().queue_total();
    assert_eq!(total.depth, Some(15.0));
    assert_eq!(total.in_flight, Some(3.0));
    assert_eq!(total.oldest_age, Some(41.0));
}

#[test]
fn alerts_are_sorted_worst_first() {
    let alerts = degraded().alerts();
    let texts: Vec<_> = alerts.iter().map(|alert| alert.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Redis away for 2 of 2",
            "gateway-2 down 11s",
            "worker-1 stale 6s",
            "travel-2 1 fault",
            "exercise-2 draining",
        ]
    );
    assert_eq!(alerts[0].severity, Severity::Critical);
    assert_eq!(
        disconnected().alerts()[0].text,
        "topology: cannot read .recarga/topology.json"
    );
    assert_eq!(busy().alerts(), []);
}

#[test]
fn a_gateway_that_is_down_has_unknown_numbers_and_the_rest_is_not_lost() {
    let state = degraded();
    let down = instance(&state, "gateway-2");
    assert_eq!(down.rate(&Counter::Requests, state.now), None);
    assert!(state.request_rate().unwrap() > 40.0);
    assert_eq!(state.latency().gateways, 2);
}

#[test]
fn a_restarted_instance_keeps_its_place_and_a_removed_one_goes() {
    let mut state = busy();
    let before = state.instances.len();
    let mut places: Vec<Place> = state.instances.iter().map(|i| i.place.clone()).collect();
    places.retain(|place| place.name != "gateway-3");
    places[1].restarts = 1;
    places.push(Place {
        role: Role::Gateway,
        name: "gateway-10".into(),
        listen: None,
        admin: "127.0.0.1:9999".into(),
        restarts: 0,
        supervised: Supervised::Starting,
    });
    state.apply(Update::Topology {
        public_url: "http://127.0.0.1:8000".into(),
        places,
    });
    assert_eq!(state.instances.len(), before);
    let names: Vec<_> = state.instances[..4].iter().map(Instance::name).collect();
    assert_eq!(
        names,
        ["balancer-1", "gateway-1", "gateway-2", "gateway-10"]
    );
    assert!(
        instance(&state, "gateway-1")
            .rate(&Counter::Requests, state.now)
            .is_some()
    );
}

#[test]
fn traffic_is_started_steered_and_stopped() {
    let mut state = State::default();
    assert_eq!(state.act(Action::Faster), None);
    assert_eq!(
        state.act(Action::ToggleTraffic),
        Some(Command::Traffic { rate: 100.0 })
    );
    assert_eq!(
        state.act(Action::Slower),
        Some(Command::Traffic { rate: 50.0 })
    );
    assert_eq!(state.act(Action::StopTraffic), Some(Command::StopTraffic));
    assert!(!state.traffic.is_on());
    assert_eq!(
        state.act(Action::ToggleTraffic),
        Some(Command::Traffic { rate: 50.0 })
    );
    assert_eq!(state.act(Action::ToggleTraffic), Some(Command::StopTraffic));
}

#[test]
fn a_flush_is_asked_first_and_everything_but_yes_is_no() {
    let mut state = busy();
    assert_eq!(state.act(Action::Flush), None);
    assert_eq!(
        state.overlay,
        Some(Overlay::ConfirmFlush { entries: Some(231) })
    );
    assert_eq!(state.answer(false), None);
    assert_eq!(state.overlay, None);
    state.act(Action::Flush);
    assert_eq!(state.answer(true), Some(Command::Flush));
    assert_eq!(state.answer(true), None, "there is no question any more");
}

#[test]
fn q_goes_back_before_it_quits_and_esc_never_quits() {
    let mut state = State::default();
    state.act(Action::Help);
    assert_eq!(state.act(Action::Back), None);
    assert_eq!(state.act(Action::Close), None);
    assert_eq!(state.act(Action::Back), Some(Command::Quit));
    assert_eq!(state.act(Action::Quit), Some(Command::Quit));
}

#[test]
fn a_result_is_shown_for_a_while_and_work_until_it_ends() {
    let mut state = State::default();
    state.act(Action::Recharge);
    state.tick(at(60));
    assert!(state.notice().is_some(), "still under way");
    state.apply(Update::Outcome(Outcome::Failed {
        what: "recharge",
        why: "nobody \x1b[2J answers".into(),
    }));
    assert_eq!(
        state.notice().unwrap().text,
        "recharge failed: nobody \u{fffd}[2J answers"
    );
    state.tick(at(90));
    assert!(state.notice().is_none());
}

#[test]
fn without_its_store_the_queue_knows_nothing_of_now() {
    let total = degraded().queue_total();
    assert_eq!(total.depth, None);
    assert_eq!(total.oldest_age, None);
    assert_eq!(degraded().cache().entries, None);
    assert_eq!(busy().cache().entries, Some(231));
}
