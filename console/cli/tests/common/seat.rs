//! Somebody who sits before the console.

use std::time::{Duration, Instant};

use pty::{Program, Session};

/// Long enough for anything that happens at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Starts it and waits for its first frame.
pub fn open(program: Program) -> Session {
    let session = program.start().unwrap();
    first_frame(&session);
    session
}

pub fn first_frame(session: &Session) {
    session
        .wait_for("the first frame is there", PATIENCE, |seen| {
            let drawn = seen.screen().alternate_screen() && !seen.text().trim().is_empty();
            drawn.then_some(())
        })
        .unwrap();
}

/// Waits until something holds that no byte tells of.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The program has ended with this code, and the terminal is as it was.
pub fn left_in_order(session: &Session, code: i32) {
    assert_eq!(session.until_left().unwrap(), code, "{}", session.text());
    assert_eq!(session.not_restored(), Vec::<String>::new());
}
