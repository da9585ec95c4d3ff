//! A console in a terminal, before a lab that each test arranges.

use pty::{Instance, Lab, Program};

pub use crate::seat::{PATIENCE, eventually, first_frame, left_in_order, open};

pub const RECARGA: &str = env!("CARGO_BIN_EXE_recarga");

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
