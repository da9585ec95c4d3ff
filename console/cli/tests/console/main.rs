//! The console as a person meets it: the real binary in a pseudo-terminal.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod desk;
mod display;
mod environment;
mod flood;
mod recording;
mod restoration;
#[path = "../common/seat.rs"]
mod seat;
mod sizes;
