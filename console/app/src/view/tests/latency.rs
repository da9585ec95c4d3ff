//! The view of latency.

use proptest::prelude::*;

use super::{buffer, look, text};
use crate::state::{
    testing::{
        disconnected,
        latency::{breached, quick},
        starting,
    },
    view::{Panel, View},
};
use crate::view::{
    Look,
    theme::{Depth, Scheme},
};

#[test]
fn each_panel_alone() {
    let mut state = breached();
    for panel in [Panel::Quantiles, Panel::HeatMap, Panel::Routes] {
        state.focus_on(panel);
        state.expanded = true;
        let screen = text(&buffer(&state, &look(), 100, 30));
        insta::assert_snapshot!(format!("latency_alone_{panel:?}"), screen);
    }
}

#[test]
fn without_colour_and_without_unicode() {
    let mono = Look::new(Scheme::Dark, Depth::Monochrome, false);
    let screen = text(&buffer(&breached(), &mono, 120, 40));
    assert!(
        screen.contains("✖ BREACH") && !screen.contains('▒'),
        "{screen}"
    );
    let ascii = Look::new(Scheme::Dark, Depth::Indexed, true);
    let screen = text(&buffer(&breached(), &ascii, 80, 24));
    assert!(screen.contains("X BREACH"), "{screen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_size_breaks_it(width in 1_u16..=300, height in 1_u16..=100, which in 0..4, panel in 0..3_usize, expanded: bool, ascii: bool) {
        let mut state = match which {
            0 => starting(),
            1 => breached(),
            2 => disconnected(),
            _ => quick(),
        };
        state.focus_on(View::Latency.panels()[panel]);
        state.expanded = expanded;
        buffer(&state, &Look::new(Scheme::Dark, Depth::True, ascii), width, height);
    }
}
