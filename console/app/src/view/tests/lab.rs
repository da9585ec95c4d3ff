//! The lab that is being run, over the views.

use crossterm::event::KeyCode;
use proptest::prelude::*;

use super::{buffer, check, look, text};
use crate::{
    keys::Chord,
    state::{
        Command, State, Update,
        intent::Intent,
        lab::{LabCommand, Room, Scene},
        overlay::Overlay,
        testing::{
            busy,
            lab::{asking, ended, staged, watching},
        },
        view::View,
    },
};

fn press(state: &mut State, code: KeyCode) -> Vec<Command> {
    state.key(Chord::new(code.into()));
    state.take_commands()
}

fn pressed(command: labs::Command) -> Vec<Command> {
    vec![Command::Lab(LabCommand::Press(command))]
}

#[test]
fn moments_of_a_lab() {
    check("lab_asking", &staged(asking()));
    check("lab_watching", &staged(watching()));
    check("lab_ended", &staged(ended()));
    let mut state = staged(watching());
    state.stage.room = Room::Whole;
    check("lab_whole", &state);
}

#[test]
fn the_menu_begins_one() {
    let mut state = busy();
    state.intend(Intent::Labs);
    assert!(matches!(state.overlay, Some(Overlay::Menu(_))));
    let screen = text(&buffer(&state, &look(), 80, 40));
    assert!(
        screen.contains("1  ") && screen.contains("min)"),
        "{screen}"
    );
    let commands = press(&mut state, KeyCode::Char('8'));
    let name = "gateway-dies".to_owned();
    assert!(
        commands.contains(&Command::Lab(LabCommand::Start(name))),
        "{commands:?}"
    );
    // Two at a time would be each other's noise.
    state.apply(Update::Lab(Ok(Box::new(asking()))));
    assert!(state.run("lab caching").is_ok());
    assert!(state.take_commands().is_empty());
    assert!(state.run("lab nonsense").is_err());
}

#[test]
fn keys_are_the_labs_while_it_is_looked_at() {
    let mut state = staged(asking());
    assert_eq!(
        press(&mut state, KeyCode::Char('2')),
        pressed(labs::Command::Choose(2))
    );
    assert_eq!(
        press(&mut state, KeyCode::Enter),
        pressed(labs::Command::Next)
    );
    assert_eq!(
        press(&mut state, KeyCode::Char('0')),
        pressed(labs::Command::Baseline)
    );
    // There are three choices, and a fifth view.
    assert_eq!(press(&mut state, KeyCode::Char('5')), []);
    assert_eq!(state.view, View::Latency);
    assert_eq!(press(&mut state, KeyCode::Esc), []);
    assert!(!state.stage.focused);
    press(&mut state, KeyCode::Char('2'));
    assert_eq!(state.view, View::Balancer);
    // A clicker goes on wherever one looks.
    assert_eq!(
        press(&mut state, KeyCode::PageDown),
        pressed(labs::Command::Next)
    );
    press(&mut state, KeyCode::Char('m'));
    assert!(state.stage.focused);
    for room in [Room::Whole, Room::Folded] {
        press(&mut state, KeyCode::Char('m'));
        assert_eq!(state.stage.room, room);
    }
    // Nobody goes on with what is not seen.
    assert_eq!(press(&mut state, KeyCode::PageDown), []);
}

#[test]
fn it_is_closed_when_it_is_over_and_not_before() {
    let mut state = staged(watching());
    for code in [KeyCode::Esc, KeyCode::Char('m'), KeyCode::Enter] {
        press(&mut state, code);
        assert!(state.stage.scene.is_some());
    }
    state.apply(Update::Lab(Ok(Box::new(ended()))));
    press(&mut state, KeyCode::Enter);
    assert!(state.stage.scene.is_none());
    state.apply(Update::Lab(Err("there is no lab".into())));
    assert!(state.stage.scene.is_none());
}

#[test]
fn steps_behind_us_can_be_looked_at_again() {
    let mut state = staged(asking());
    let question = asking().headline;
    let mut later = watching();
    later.at = Some(asking().at.unwrap() + 1);
    state.apply(Update::Lab(Ok(Box::new(later.clone()))));
    assert!(!text(&buffer(&state, &look(), 100, 40)).contains(&question));
    // Further back than the first there is nothing.
    for _ in 0..3 {
        assert_eq!(press(&mut state, KeyCode::PageUp), []);
        let screen = text(&buffer(&state, &look(), 100, 40));
        assert!(
            screen.contains(&question) && screen.contains("PgDn forth"),
            "{screen}"
        );
    }
    // Nobody answers what is over, and what goes on meanwhile does not lead away.
    assert_eq!(press(&mut state, KeyCode::Char('0')), []);
    state.apply(Update::Lab(Ok(Box::new(later.clone()))));
    assert_eq!(state.stage.shown(), Some(&asking()));
    assert_eq!(press(&mut state, KeyCode::PageDown), []);
    assert_eq!(state.stage.shown(), Some(&later));
    assert_eq!(
        press(&mut state, KeyCode::PageDown),
        pressed(labs::Command::Next)
    );
}

#[test]
fn a_lab_that_runs_is_not_ended_by_one_that_cannot() {
    let mut state = staged(watching());
    state.apply(Update::Lab(Err("there is no lab".into())));
    assert!(state.stage.scene.is_some() && state.stage.focused);
}

fn any_scene() -> impl Strategy<Value = Scene> {
    prop_oneof![Just(asking()), Just(watching()), Just(ended())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_size_breaks_it(width in 1_u16..=300, height in 1_u16..=100, scene in any_scene(), focused: bool, room in 0..3) {
        let mut state = staged(scene);
        state.stage.focused = focused;
        state.stage.room = [Room::Docked, Room::Whole, Room::Folded][room as usize];
        state.stage.scroll = 7;
        buffer(&state, &look(), width, height);
    }
}
