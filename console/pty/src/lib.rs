//! A person at a terminal, for tests and benchmarks: runs a program in a pseudo-terminal under a shell, types, resizes, sends
//! signals, and sees what the screen shows, when each byte came, and what the program leaves behind.

mod lab;
mod screen;
mod session;
pub mod usage;

pub use lab::{Instance, Lab, ROLES};
pub use screen::Seen;
pub use session::{Error, Program, Session};
