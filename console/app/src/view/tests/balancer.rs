//! The view of balancer.

use crossterm::event::KeyCode;
use proptest::prelude::*;

use super::{buffer, look, text};
use crate::keys::Chord;
use crate::state::{
    intent::Intent,
    overlay::Overlay,
    testing::{
        balancer::{nonsense, spread, tell, uneven},
        busy, disconnected, starting,
    },
    view::{Panel, View},
};
use crate::view::{
    Look,
    theme::{Depth, Scheme},
};

#[test]
fn each_panel_alone() {
    let mut state = spread();
    for panel in [Panel::Gateways, Panel::Split, Panel::Picks] {
        state.focus_on(panel);
        state.expanded = true;
        let screen = text(&buffer(&state, &look(), 100, 24));
        insta::assert_snapshot!(format!("balancer_alone_{panel:?}"), screen);
    }
}

#[test]
fn a_pick_tells_all() {
    let mut state = uneven();
    state.focus_on(Panel::Picks);
    state.intend(Intent::Down);
    state.intend(Intent::Open);
    assert!(matches!(state.overlay, Some(Overlay::Text(_))));
    let screen = text(&buffer(&state, &look(), 100, 30));
    insta::assert_snapshot!("balancer_pick_100x30", screen);
}

#[test]
fn the_policies_to_choose_from() {
    let mut state = spread();
    state.intend(Intent::Menu);
    state.key(Chord::new(KeyCode::Char('p').into()));
    let screen = text(&buffer(&state, &look(), 80, 24));
    insta::assert_snapshot!("balancer_policies_80x24", screen);
    state.key(Chord::new(KeyCode::Char('2').into()));
    let asked = state.journal.entries().last().unwrap().action.to_string();
    assert_eq!(asked, "policy weighted");
}

#[test]
fn without_colour_and_without_unicode() {
    let mono = Look::new(Scheme::Dark, Depth::Monochrome, false);
    let screen = text(&buffer(&uneven(), &mono, 120, 40));
    for word in [
        "▲ ejected 8s more",
        "✖ down",
        "◐ draining, 3 left",
        "PANIC",
        "✖ nobody",
    ] {
        assert!(screen.contains(word), "{word} is missing in\n{screen}");
    }
    let ascii = Look::new(Scheme::Dark, Depth::Indexed, true);
    let screen = text(&buffer(&uneven(), &ascii, 80, 24));
    assert!(
        screen.contains("> gateway-1   ! ejected 8s more"),
        "{screen}"
    );
}

#[test]
fn answers_that_make_no_sense_break_nothing() {
    for answer in nonsense() {
        let mut state = busy();
        state.go(View::Balancer);
        tell(&mut state, answer.clone(), answer.clone(), answer.clone());
        for panel in [Panel::Gateways, Panel::Picks] {
            state.focus_on(panel);
            state.intend(Intent::Open);
            let screen = text(&buffer(&state, &look(), 160, 40));
            assert!(!screen.contains('\u{1b}'), "{answer}");
            state.overlay = None;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_size_breaks_it(width in 1_u16..=300, height in 1_u16..=100, which in 0..4, panel in 0..3_usize, expanded: bool, ascii: bool) {
        let mut state = match which {
            0 => starting(),
            1 => uneven(),
            2 => disconnected(),
            _ => spread(),
        };
        state.focus_on(View::Balancer.panels()[panel]);
        state.expanded = expanded;
        buffer(&state, &Look::new(Scheme::Dark, Depth::True, ascii), width, height);
    }
}
