//! A console in a terminal, before a lab that each test arranges.

use std::time::{Duration, Instant};

use pty::{Instance, Lab, Program, Session};

pub const RECARGA: &str = env!("CARGO_BIN_EXE_recarga");

/// Long enough for anything that happens at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the header says of the lab of two gateways.
pub const ALL_UP: &str = "all 2 up";
pub const ONE_DOWN: &str = "1 of 2 up";
pub const ALL_DOWN: &str = "0 of 2 up";

/// What the help says, however small it is, and nothing else does.
pub const HELP: &str = "type to search";

/// What the console leaves open while it runs, and closes at its end: nothing that takes the mouse.
pub const WHILE_OPEN: [&str; 3] = ["the alternate screen", "a hidden cursor", "bracketed paste"];

/// The console on a lab, not started yet.
pub fn console(lab: &Lab) -> Program {
    Program::new(RECARGA)
        .arguments(["--dir".as_ref(), lab.path().as_os_str()])
        .arguments(["console"])
}

/// A lab of which nothing is there.
pub fn lab_that_is_away() -> Lab {
    let lab = Lab::new().unwrap();
    lab.place_all_away().unwrap();
    lab
}

/// A lab of two gateways that answer.
pub fn small_lab() -> (Lab, [Instance; 2]) {
    let lab = Lab::new().unwrap();
    let instances = ["gateway-1", "gateway-2"].map(|name| Instance::start(name).unwrap());
    place(&lab, &instances);
    (lab, instances)
}

pub fn place(lab: &Lab, instances: &[Instance]) {
    let places: Vec<_> = instances
        .iter()
        .enumerate()
        .map(|(at, instance)| {
            let name = format!("gateway-{}", at + 1);
            ("gateway", name, instance.address())
        })
        .collect();
    lab.place(&places).unwrap();
}

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
