//! Fails where the tests of the terminal's restoration ask for it. An optimised build has none of this.

use std::io;

/// `error` or `panic` after a frame, or `task` for a panic on another thread.
const VARIABLE: &str = "RECARGA_REHEARSE";

fn asked(what: &str) -> bool {
    std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == what)
}

pub fn after_a_frame() -> io::Result<()> {
    assert!(!asked("panic"), "rehearsed after a frame");
    if asked("error") {
        return Err(io::Error::other("rehearsed after a frame"));
    }
    Ok(())
}

pub fn in_a_task() {
    if asked("task") {
        tokio::spawn(async { panic!("rehearsed in a task") });
    }
}
