//! The terminal is given back, however the console ends.

use std::time::Duration;

use pty::{Session, usage};
use rustix::process::Signal;

use crate::desk::{console, eventually, first_frame, lab_that_is_away, left_in_order, open};

const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;
/// What a panic ends a Rust program with.
const PANIC: i32 = 101;

fn after_keys(keys: &str) {
    let lab = lab_that_is_away();
    let session = open(console(&lab));
    assert!(session.is_raw().unwrap());
    session.keys(keys).unwrap();
    left_in_order(&session, SUCCESS);
}

fn after_signal(signal: Signal) {
    let lab = lab_that_is_away();
    let session = open(console(&lab));
    session.signal_foreground(signal).unwrap();
    left_in_order(&session, SUCCESS);
}

#[test]
fn pitfall_04_screen_not_restored_after_q() {
    after_keys("q");
}

#[test]
fn pitfall_04_screen_not_restored_after_ctrl_c() {
    after_keys("\x03");
}

#[test]
fn pitfall_04_screen_not_restored_after_ctrl_c_in_a_dialog() {
    after_keys("?\x03");
}

#[test]
fn pitfall_04_screen_not_restored_after_sigterm() {
    after_signal(Signal::TERM);
}

#[test]
fn pitfall_04_screen_not_restored_after_sighup() {
    after_signal(Signal::HUP);
}

#[test]
fn pitfall_04_screen_not_restored_after_sigint() {
    after_signal(Signal::INT);
}

/// Only debug builds can be asked to fail.
#[cfg(debug_assertions)]
fn after_failure(what: &str, code: i32, words: &str) {
    let lab = lab_that_is_away();
    let session = console(&lab)
        .environment("RECARGA_REHEARSE", what)
        .environment("RUST_BACKTRACE", "0")
        .size(100, 30)
        .start()
        .unwrap();
    left_in_order(&session, code);
    // It says so on the screen that is back.
    session.until_shown(words).unwrap();
}

#[cfg(debug_assertions)]
#[test]
fn pitfall_04_screen_not_restored_after_an_error() {
    after_failure("error", FAILURE, "recarga: rehearsed after a frame");
}

#[cfg(debug_assertions)]
#[test]
fn pitfall_04_screen_not_restored_after_a_panic() {
    after_failure("panic", PANIC, "rehearsed after a frame");
}

#[cfg(debug_assertions)]
#[test]
fn pitfall_04_screen_not_restored_after_a_panic_elsewhere() {
    after_failure("task", FAILURE, "rehearsed in a task");
}

#[test]
fn pitfall_04_screen_not_restored_while_the_terminal_is_stuck() {
    let lab = lab_that_is_away();
    let session = open(console(&lab).size(200, 60));
    session.read(false);
    // Frame upon frame, until the terminal takes no more.
    for _ in 0..60 {
        session.keys("\x0c").unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = session.pid();
    session.signal(Signal::TERM).unwrap();
    eventually("it ends though nobody reads", || !usage::is_alive(pid));
    session.read(true);
    left_in_order(&session, SUCCESS);
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let lab = lab_that_is_away();
    let session = open(console(&lab));
    let pid = session.hang_up();
    eventually("it ends with its terminal", || !usage::is_alive(pid));
}

fn drawn_again(session: &Session, position: usize) {
    session
        .wait_for("it is drawn again", crate::desk::PATIENCE, |seen| {
            let drawn = !seen.since(position).is_empty() && seen.screen().alternate_screen();
            drawn.then_some(())
        })
        .unwrap();
    first_frame(session);
    eventually("keys are its own again", || session.is_raw().unwrap());
}

#[test]
fn pitfall_05_ctrl_z_swallowed() {
    let lab = lab_that_is_away();
    let session = open(console(&lab));
    session.until_shown("of 15").unwrap();
    session.keys("\x1a").unwrap();
    stopped_and_continued(&session);
}

#[test]
fn a_stop_from_outside_gives_the_terminal_back_too() {
    let lab = lab_that_is_away();
    let session = open(console(&lab));
    session.until_shown("of 15").unwrap();
    session.signal(Signal::TSTP).unwrap();
    stopped_and_continued(&session);
}

fn stopped_and_continued(session: &Session) {
    let stopped = 128 + Signal::STOP.as_raw();
    left_in_order(session, stopped);
    let position = session.continue_in_foreground().unwrap();
    drawn_again(session, position);
    session.until_shown("of 15").unwrap();
    session.keys("q").unwrap();
    assert_eq!(session.until_left_since(position).unwrap(), SUCCESS);
    assert_eq!(session.not_restored(), Vec::<String>::new());
}

#[test]
fn a_stop_that_cannot_be_caught_is_survived() {
    let lab = lab_that_is_away();
    let session = open(console(&lab));
    session.signal(Signal::STOP).unwrap();
    let stopped = 128 + Signal::STOP.as_raw();
    assert_eq!(session.until_left().unwrap(), stopped);
    // As shells that people use do, before they prompt.
    session.restore_settings().unwrap();
    let position = session.continue_in_foreground().unwrap();
    drawn_again(&session, position);
    session.keys("q").unwrap();
    assert_eq!(session.until_left_since(position).unwrap(), SUCCESS);
    assert_eq!(session.not_restored(), Vec::<String>::new());
}
