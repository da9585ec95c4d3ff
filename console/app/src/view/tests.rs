//! Whole screens at the sizes that matter, and that no size breaks.

use actions::{Action, FlushScope};
use crossterm::event::KeyCode;
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Modifier};

use super::{
    Look, draw,
    theme::{Depth, Scheme},
};
use crate::keys::Chord;
use crate::state::{
    State, Update,
    intent::Intent,
    logs::{Level, Line},
    sample::Gauge,
    testing::{busy, degraded, disconnected, reading, recharged, starting},
    view::View,
};

mod balancer;
mod lab;
mod latency;
mod matrix;
mod stores;

use matrix::check;

fn look() -> Look {
    Look::new(Scheme::Dark, Depth::Indexed, false)
}

fn buffer(state: &State, look: &Look, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| drop(draw(frame, state, look)))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    buffer
        .content
        .chunks(width)
        .map(|row| {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned() + "\n"
        })
        .collect()
}

#[test]
fn a_lab_that_starts() {
    check("starting", &starting());
}

#[test]
fn a_recharge_and_its_result() {
    let screen = text(&buffer(&recharged(), &look(), 80, 24));
    insta::assert_snapshot!("recharged_80x24", screen);
}

/// Leases are off with the cache and the gateways, for so many seconds.
fn without_leases(mut state: State) -> State {
    for instance in &mut state.instances {
        if ["cache-1", "gateway-1", "gateway-2", "gateway-3"].contains(&instance.name()) {
            instance.info.safeguards_off = vec![("leases".into(), Some(42))];
            instance.info_at = state.now;
        }
    }
    state
}

#[test]
fn a_lab_without_a_safeguard_says_so_in_every_view_and_size() {
    let mut state = without_leases(busy());
    check("without_leases", &state);
    for view in View::ALL {
        state.go(view);
        for (width, height) in [(30, 6), (40, 12), (60, 20), (80, 24), (120, 40)] {
            let look = Look::new(Scheme::Mono, Depth::Monochrome, true);
            let screen = buffer(&state, &look, width, height);
            let first = text(&screen).lines().next().unwrap().to_owned();
            assert!(
                first.contains("! LEASES OFF 0:42"),
                "{view:?} {width}: {first}"
            );
            let at = first.find("LEASES").unwrap() as u16;
            let cell = &screen[(at, 0)];
            assert!(cell.modifier.contains(Modifier::REVERSED), "{cell:?}");
        }
    }
    let mut state = without_leases(degraded());
    check("degraded_without_leases", &state);
    let claim = ("claim".to_owned(), None);
    state.instances[0].info.safeguards_off.push(claim);
    let first = text(&buffer(&state, &look(), 40, 12));
    assert!(first.contains("▲ 2 SAFEGUARDS OFF"), "{first}");
}

#[test]
fn help() {
    let mut state = busy();
    state.intend(Intent::Help);
    check("help", &state);
}

#[test]
fn help_has_pages_where_it_does_not_fit() {
    let mut state = busy();
    state.intend(Intent::Help);
    let page = |state: &State| text(&buffer(state, &look(), 60, 14));
    let mut all = page(&state);
    for _ in 0..30 {
        state.key(Chord::new(KeyCode::PageDown.into()));
        all += &page(&state);
    }
    for binding in state.keymap.bindings() {
        let printed = binding.printed();
        assert!(all.contains(&printed), "{printed} is on no page");
    }
    for character in "weight".chars() {
        state.key(Chord::new(KeyCode::Char(character).into()));
    }
    let found = page(&state);
    assert!(
        found.contains("weight: up") && !found.contains("one card"),
        "{found}"
    );
}

#[test]
fn a_gateway_that_the_balancer_leaves_out_is_promised_nothing() {
    let mut state = busy();
    let place = state.instances[0].place.clone();
    let mut sample = reading(&place, 42);
    sample
        .gauges
        .insert(Gauge::UpstreamUp("127.0.0.1:8103".into()), 0.0);
    state.apply(Update::Sample {
        admin: place.admin,
        sample: Box::new(sample),
    });
    let screen = text(&buffer(&state, &look(), 120, 40));
    let row = |name: &str| screen.lines().find(|line| line.contains(name)).unwrap();
    assert!(row("─ gateway-2").contains("35% left out"), "{screen}");
    assert!(row("─ gateway-1").contains("33% of 50%"), "{screen}");
    assert!(row("recarga").contains("▲ gateway-2 left out by the balancer"));
}

#[test]
fn the_question_before_a_flush() {
    let mut state = busy();
    state.ask(Action::Flush(FlushScope::All));
    check("flush", &state);
}

#[test]
fn without_colour_states_are_still_told_apart() {
    let look = Look::new(Scheme::Dark, Depth::Monochrome, false);
    let words = text(&buffer(&degraded(), &look, 120, 40));
    for word in [
        "✖ down 11s",
        "▲ not ready",
        "◐ draining",
        "◔ stale 6s",
        "● up",
    ] {
        assert!(words.contains(word), "{word} is missing in\n{words}");
    }
}

#[test]
fn hostile_log_lines_stay_in_their_place() {
    let mut state = busy();
    for message in [
        "地铁".repeat(500),
        "e\u{301}".repeat(3_000),
        "x".repeat(4_096),
    ] {
        state.log(Line {
            failed: false,
            timestamp: "2026-03-02T14:05:59Z".into(),
            level: Level::Error,
            instance: "地铁地铁地铁地铁地铁地铁".into(),
            request_id: None,
            message,
        });
    }
    for (width, height) in [(80, 24), (120, 40)] {
        let screen = text(&buffer(&state, &look(), width, height));
        let edges = screen.lines().filter(|line| line.ends_with('│')).count();
        assert!(width < 120 || edges > 20, "{screen}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn no_size_breaks_it(width in 1_u16..=300, height in 1_u16..=100, which in 0..6, ascii: bool) {
        let mut state = match which {
            0 => State::default(),
            1 => starting(),
            2 => recharged(),
            3 => degraded(),
            4 => disconnected(),
            _ => busy(),
        };
        let look = Look::new(Scheme::Dark, Depth::True, ascii);
        buffer(&state, &look, width, height);
        state.intend(Intent::Help);
        buffer(&state, &look, width, height);
        state.intend(Intent::Close);
        state.overlay = None;
        state.ask(Action::Flush(FlushScope::All));
        buffer(&state, &look, width, height);
    }
}

#[test]
fn the_smallest_sizes_one_by_one() {
    let state = degraded();
    for width in 1..=45 {
        for height in 1..=12 {
            buffer(&state, &look(), width, height);
        }
    }
}

#[test]
fn the_presenter_has_large_numbers_and_shows_the_keys() {
    let mut state = busy();
    state.key(Chord::new(KeyCode::Char('p').into()));
    for key in ['2', '1'] {
        state.key(Chord::new(KeyCode::Char(key).into()));
    }
    let screen = text(&buffer(&state, &look(), 120, 40));
    assert!(
        screen.contains("requests a second") && screen.contains("  2  1"),
        "{screen}"
    );
    insta::assert_snapshot!("presenter_120x40", screen);
}

mod trace;
