//! The model as a whole: what news and keys do to it.

use actions::{Action, FlushScope};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    alerts::Severity,
    instance::{Place, Role, Supervised},
    overview::{Share, Store},
    sample::{Counter, Gauge},
    testing::{at, busy, degraded, disconnected, starting},
    *,
};
use crate::state::intent::Intent;

/// Presses keys one after the other; what they ask of the world.
fn press(state: &mut State, keys: &str) -> Vec<Command> {
    for character in keys.chars() {
        let code = match character {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            character => KeyCode::Char(character),
        };
        state.key(Chord::new(KeyEvent::new(code, KeyModifiers::NONE)));
    }
    state.take_commands()
}

fn actions(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .filter_map(|command| match command {
            Command::Do { action, .. } => Some(action.to_string()),
            _ => None,
        })
        .collect()
}

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
    assert_eq!(down.rate(&Counter::Requests, state.lens()), None);
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
        read_only: false,
    });
    assert_eq!(state.instances.len(), before);
    let names: Vec<_> = state.instances[..4].iter().map(Instance::name).collect();
    assert_eq!(
        names,
        ["balancer-1", "gateway-1", "gateway-2", "gateway-10"]
    );
    assert!(
        instance(&state, "gateway-1")
            .rate(&Counter::Requests, state.lens())
            .is_some()
    );
}

#[test]
fn traffic_is_started_steered_and_stopped() {
    let mut state = State::default();
    assert_eq!(press(&mut state, ">"), [], "off: only the setting moves");
    assert!((state.traffic.rate() - 55.0).abs() < 1e-9);
    let started = actions(&press(&mut state, "tt"));
    assert!(
        started[0].starts_with("traffic constant rate=55 "),
        "{started:?}"
    );
    assert!(state.traffic.is_on());
    assert_eq!(actions(&press(&mut state, "<")), ["traffic-rate 50"]);
    assert_eq!(actions(&press(&mut state, "x")), ["stop-traffic"]);
    assert!(!state.traffic.is_on());
}

#[test]
fn what_destroys_asks_first_and_everything_but_yes_is_no() {
    let mut state = busy();
    state.go(View::Cache);
    for no in ["\n", "\u{1b}", "n", "f", " "] {
        let commands = press(&mut state, "af");
        assert_eq!(actions(&commands), [] as [&str; 0]);
        assert_eq!(commands, [Command::Weigh(Action::Flush(FlushScope::All))]);
        assert!(matches!(state.overlay, Some(Overlay::Confirm(_))));
        assert_eq!(actions(&press(&mut state, no)), [] as [&str; 0], "{no:?}");
        assert_eq!(state.overlay, None);
    }
    press(&mut state, "af");
    assert_eq!(actions(&press(&mut state, "y")), ["flush all"]);
    assert_eq!(actions(&press(&mut state, "y")), [] as [&str; 0]);
}

#[test]
fn killing_needs_the_name() {
    let mut state = busy();
    state.go(View::Balancer);
    press(&mut state, "j");
    let asked = press(&mut state, "ak");
    assert_eq!(asked, [Command::Weigh(Action::Kill("gateway-2".into()))]);
    assert_eq!(actions(&press(&mut state, "gateway-1\n")), [] as [&str; 0]);
    press(&mut state, "ak");
    assert_eq!(
        actions(&press(&mut state, "gateway-2\n")),
        ["kill gateway-2"]
    );
}

#[test]
fn a_read_only_console_does_nothing() {
    let mut state = State {
        read_only: true,
        ..busy()
    };
    for keys in ["r", "b", "tt", "X", "2ad", "3af", ":kill gateway-1\n"] {
        assert_eq!(press(&mut state, keys), [], "{keys:?}");
        assert!(
            state.notice().unwrap().text.contains("read-only"),
            "{keys:?}"
        );
        press(&mut state, "\u{1b}\u{1b}\u{1b}");
    }
}

#[test]
fn q_goes_back_before_it_quits_and_esc_never_quits() {
    let mut state = State::default();
    assert_eq!(press(&mut state, "?\u{1b}\u{1b}\u{1b}"), []);
    assert_eq!(press(&mut state, "2z"), []);
    assert!(state.expanded);
    assert_eq!(press(&mut state, "q"), []);
    assert!(!state.expanded);
    assert_eq!(press(&mut state, "7q"), []);
    assert_eq!(state.view, View::Balancer);
    assert_eq!(press(&mut state, "q"), []);
    assert_eq!(state.view, View::Overview);
    assert_eq!(press(&mut state, "q"), [Command::Quit]);
}

#[test]
fn escape_and_a_key_that_come_as_one_are_two() {
    let mut state = busy();
    press(&mut state, "2a");
    let together = KeyEvent::new(KeyCode::Char('7'), KeyModifiers::ALT);
    state.key(Chord::new(together));
    assert_eq!(state.overlay, None);
    assert_eq!(state.view, View::Logs);
}

#[test]
fn control_c_quits_from_everywhere() {
    for keys in ["", "?", ":", "/", "a", "t", "2z", "J", "g"] {
        let mut state = busy();
        press(&mut state, keys);
        let event = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        state.key(Chord::new(event));
        assert_eq!(state.take_commands(), [Command::Quit], "after {keys:?}");
    }
}

#[test]
fn a_result_is_shown_for_a_while_and_work_until_it_ends() {
    let mut state = State::default();
    state.intend(Intent::Recharge);
    state.tick(at(60));
    assert!(state.notice().is_some(), "still under way");
    state.apply(Update::Finished {
        number: 1,
        result: Err("nobody \x1b[2J answers".into()),
    });
    assert_eq!(state.notice().unwrap().text, "nobody \u{fffd}[2J answers");
    state.tick(at(90));
    assert!(state.notice().is_none());
}

#[test]
fn what_was_done_is_written_down_and_undone_once() {
    let mut state = busy();
    let done = press(&mut state, ":restore gateway-1\n");
    assert_eq!(actions(&done), ["restore gateway-1"]);
    state.apply(Update::Finished {
        number: 1,
        result: Ok(Finished {
            text: "gateway-1 takes requests".into(),
            undo: Some(Action::Drain("gateway-1".into())),
            answer: None,
        }),
    });
    assert!(state.notice().unwrap().text.contains("u undoes it"));
    assert_eq!(actions(&press(&mut state, "u")), ["drain gateway-1"]);
    assert_eq!(actions(&press(&mut state, "u")), [] as [&str; 0]);
    let lines: Vec<_> = state
        .journal
        .entries()
        .map(|e| e.action.command_line())
        .collect();
    assert_eq!(
        lines,
        ["recarga do restore gateway-1", "recarga do drain gateway-1"]
    );
}

#[test]
fn the_palette_completes_runs_and_explains() {
    let mut state = busy();
    press(&mut state, ":dra\t");
    let Some(Overlay::Palette(palette)) = &state.overlay else {
        panic!()
    };
    assert_eq!(palette.line.text(), "drain ");
    press(&mut state, "gateway-3\n");
    assert!(matches!(state.overlay, Some(Overlay::Confirm(_))));
    press(&mut state, "\n:drain gatway-9 now\n");
    let Some(Overlay::Palette(palette)) = &state.overlay else {
        panic!()
    };
    assert!(palette.problem.is_some());
    press(&mut state, "\u{1b}:window 5m\n");
    assert_eq!(state.sight.window(), Duration::from_mins(5));
    press(&mut state, ":system\n");
    assert_eq!(state.view, View::System);
}

#[test]
fn freezing_holds_all_numbers_still() {
    let mut state = busy();
    let before = (state.request_rate(), state.cache(), state.latency());
    press(&mut state, "f");
    for second in 43..60 {
        state.tick(at(second));
        for instance in &mut state.instances {
            instance.failed(at(second), Reason::Refused);
        }
    }
    assert_eq!(
        (state.request_rate(), state.cache(), state.latency()),
        before
    );
    assert_eq!(instance(&state, "gateway-1").status(state.at()), Status::Up);
    press(&mut state, "f");
    assert_eq!(state.request_rate(), None);
}

#[test]
fn what_changes_leaves_a_mark() {
    let mut state = busy();
    for second in 43..50 {
        state.tick(at(second));
        let admin = instance(&state, "gateway-2").place.admin.clone();
        state.apply(Update::Unreachable {
            admin,
            reason: Reason::Refused,
        });
    }
    let mut marks = state.marks.between(Moment::ZERO, state.now);
    let mark = marks.find(|mark| mark.text == "gateway-2 down").unwrap();
    assert_eq!(mark.kind, Kind::Fault);
}

#[test]
fn without_its_store_the_queue_knows_nothing_of_now() {
    let total = degraded().queue_total();
    assert_eq!(total.depth, None);
    assert_eq!(total.oldest_age, None);
    assert_eq!(degraded().cache().entries, None);
    assert_eq!(busy().cache().entries, Some(231));
}
