//! The views of traffic, of the log and of requests.

use actions::Answer;
use std::time::Duration;

use super::*;
use crate::state::{
    logs::Direction,
    testing::trace::{sampled, told, trafficked},
    view::{Panel, View},
};

fn on(view: View, mut state: State) -> State {
    state.go(view);
    state
}

/// The state after a call from here was answered.
fn fired() -> State {
    let mut state = on(View::Requests, sampled());
    let action = Action::parse("call GET /cards/7/balance").unwrap();
    state.ask(action);
    state.apply(Update::Finished {
        number: 1,
        result: Ok(crate::state::Finished {
            text: "200 in 8.1 ms".into(),
            undo: None,
            answer: Some(Box::new(Answer {
                method: "GET",
                url: "http://127.0.0.1:8000/cards/7/balance".into(),
                status: 200,
                headers: vec![
                    ("content-type".into(), "application/json".into()),
                    ("x-cache".into(), "MISS".into()),
                    ("x-gateway".into(), "gateway-2".into()),
                    ("x-request-id".into(), "0197f3a2-77aa".into()),
                ],
                body: r#"{"card_id":7,"balance":12500,"status":"active"}"#.into(),
                truncated: false,
                elapsed: Duration::from_micros(8_130),
                waterfall: actions::waterfall([
                    "balancer;dur=7.9, gateway;dur=7.1, l1;dur=0.01, cache;dur=0.9, travel;dur=4.4, pg;dur=3.9",
                ]),
            })),
        }),
    });
    state.take_commands();
    state
}

#[test]
fn traffic_that_could() {
    check("traffic_off", &on(View::Traffic, starting()));
    let mut state = on(View::Traffic, starting());
    state.intend(Intent::TrafficMenu);
    let screen = text(&buffer(&state, &look(), 80, 24));
    insta::assert_snapshot!("traffic_menu_80x24", screen);
}

#[test]
fn the_plan_is_always_in_sight() {
    for (width, height) in super::matrix::SIZES {
        for panel in View::Traffic.panels() {
            let mut state = trafficked();
            state.focus_on(*panel);
            let screen = text(&buffer(&state, &look(), width, height));
            for word in ["constant 50.0/s", "left of 1h"] {
                assert!(screen.contains(word), "{word} {panel:?}\n{screen}");
            }
        }
    }
}

#[test]
fn one_request_over_all_tiers() {
    let mut state = on(View::Logs, told());
    state.intend(Intent::Open);
    assert!(state.logs.request().is_some());
    check("logs_followed", &state);
    state.intend(Intent::Open);
    let screen = text(&buffer(&state, &look(), 80, 24));
    insta::assert_snapshot!("logs_whole_80x24", screen);
}

#[test]
fn a_filter_and_a_pause() {
    let mut state = on(View::Logs, told());
    state.logs.set_filter("gateway-[12]|slow");
    state.logs.scroll(1);
    state.logs.wrap = true;
    state.log(Line {
        failed: false,
        timestamp: "2026-03-02T14:05:09.5Z".into(),
        level: Level::Warn,
        instance: "travel-2".into(),
        request_id: None,
        message: "slow again".into(),
    });
    check("logs_filtered", &state);
}

#[test]
fn a_long_line_is_wrapped_or_cut_but_never_lost() {
    let mut state = on(View::Logs, told());
    state.log(Line {
        failed: false,
        timestamp: "2026-03-02T14:05:30Z".into(),
        level: Level::Error,
        instance: "travel-2".into(),
        request_id: None,
        message: format!("begins {} ends", "0123456789 ".repeat(30)),
    });
    let cut = text(&buffer(&state, &look(), 80, 24));
    assert!(cut.contains("begins") && !cut.contains("ends"));
    state.intend(Intent::Wrap);
    let wrapped = text(&buffer(&state, &look(), 80, 24));
    assert!(
        wrapped.contains("begins") && wrapped.contains("ends"),
        "{wrapped}"
    );
    state.intend(Intent::Wrap);
    state.intend(Intent::Expand);
    let whole = text(&buffer(&state, &look(), 80, 24));
    assert!(whole.contains("ends"), "{whole}");
}

#[test]
fn samples_that_are_not_fresh_are_said_to_be_so() {
    let mut state = on(View::Requests, sampled());
    state.apply(Update::Detail {
        topic: crate::state::details::Topic::Requests,
        answer: Err("balancer-1: connection refused".into()),
    });
    let screen = text(&buffer(&state, &look(), 120, 40));
    assert!(
        screen.contains("not fresh: balancer-1: connection refused"),
        "{screen}"
    );
    assert!(screen.contains("/cards/7/balance"), "what was known stays");
}

#[test]
fn a_call_from_here_and_its_answer() {
    let mut state = fired();
    check("requests_fired", &state);
    state.intend(Intent::Open);
    let screen = text(&buffer(&state, &look(), 80, 40));
    insta::assert_snapshot!("requests_page_80x40", screen);
}

#[test]
fn a_call_is_completed() {
    let mut state = on(View::Requests, sampled());
    state.intend(Intent::Call);
    let screen = text(&buffer(&state, &look(), 80, 24));
    insta::assert_snapshot!("requests_palette_80x24", screen);
}

#[test]
fn at_the_error_before() {
    let mut state = on(View::Logs, told());
    state.logs.seek_error(Direction::Earlier);
    check("logs_error", &state);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_size_breaks_these_views(
        width in 1_u16..=300,
        height in 1_u16..=100,
        which in 0..6,
        panel in 0_usize..6,
        expanded: bool,
        ascii: bool,
    ) {
        let mut state = match which {
            0 => State::default(),
            1 => sampled(),
            2 => trafficked(),
            3 => fired(),
            4 => disconnected(),
            _ => told(),
        };
        let panels = [
            Panel::Plan,
            Panel::TrafficRate,
            Panel::Calls,
            Panel::Lines,
            Panel::Samples,
            Panel::Waterfall,
        ];
        let look = Look::new(Scheme::Dark, Depth::True, ascii);
        state.focus_on(panels[panel]);
        state.expanded = expanded;
        state.logs.wrap = expanded;
        buffer(&state, &look, width, height);
        state.intend(Intent::Open);
        buffer(&state, &look, width, height);
        state.overlay = None;
        state.intend(Intent::Down);
        state.intend(Intent::Menu);
        buffer(&state, &look, width, height);
    }
}
