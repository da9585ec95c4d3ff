//! The views of cache, queues and system.

use proptest::prelude::*;

use super::*;
use crate::state::{
    testing::stores::{lost, stocked, troubled},
    view::{Panel, View},
};

const VIEWS: [View; 3] = [View::Cache, View::Queue, View::System];

fn at(state: State, view: View) -> State {
    let mut state = state;
    state.go(view);
    state
}

#[test]
fn the_overview_tells_of_outbox_groups_and_of_the_queues_store() {
    check("overview_stocked", &stocked());
}

#[test]
fn a_look_into_a_row_tells_all_of_it() {
    for (view, panel) in [
        (View::Cache, Panel::Keys),
        (View::Queue, Panel::DeadLetters),
        (View::System, Panel::Processes),
    ] {
        let mut state = at(troubled(), view);
        state.focus_on(panel);
        state.intend(Intent::Open);
        let screen = text(&buffer(&state, &look(), 80, 24));
        insta::assert_snapshot!(format!("{}_open_80x24", view.name()), screen);
    }
}

#[test]
fn a_flush_leaves_its_mark_under_the_ratio() {
    let mut state = at(stocked(), View::Cache);
    state.focus_on(Panel::CacheRatio);
    state.expanded = true;
    let screen = text(&buffer(&state, &look(), 120, 40));
    assert!(screen.contains('◆'), "{screen}");
    insta::assert_snapshot!("cache_ratio_alone_120x40", screen);
}

#[test]
fn what_is_acted_on_is_what_is_on_show() {
    let mut state = at(stocked(), View::Queue);
    state.focus_on(Panel::DeadLetters);
    state.intend(Intent::Mark);
    state.intend(Intent::Mark);
    state.intend(Intent::Menu);
    let screen = text(&buffer(&state, &look(), 120, 40));
    assert!(
        screen.contains("redrive the 2 marked dead letters"),
        "{screen}"
    );
    state.key(Chord::new(KeyCode::Char('r').into()));
    let question = state.overlay.clone();
    let Some(crate::state::overlay::Overlay::Confirm(question)) = question else {
        panic!("no question: {question:?}");
    };
    let Action::Redrive { queue, ids, .. } = question.action else {
        panic!("another action");
    };
    assert_eq!(queue, "tasks");
    assert_eq!(ids, ["1767225600000-0", "1767225600000-1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_size_breaks_the_views_of_stores(
        width in 1_u16..=300, height in 1_u16..=100, which in 0..5, view in 0..3_usize,
        focus in 0..3_usize, expanded: bool, sort in proptest::option::of(0..14_usize), filter in "\\PC{0,8}",
    ) {
        let state = match which {
            0 => State::default(),
            1 => starting(),
            2 => troubled(),
            3 => lost(),
            _ => stocked(),
        };
        let mut state = at(state, VIEWS[view]);
        let panel = VIEWS[view].panels()[focus];
        state.focus_on(panel);
        state.expanded = expanded;
        state.cursor_mut(panel).sort = sort;
        state.cursor_mut(panel).filter = crate::state::cursor::Filter::new(&filter);
        buffer(&state, &look(), width, height);
        state.intend(Intent::Open);
        buffer(&state, &look(), width, height);
    }
}
