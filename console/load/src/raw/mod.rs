//! The lightest way to load a server: prebuilt requests over plain sockets, one thread, every answer checked.
//!
//! [`crate::Traffic`] plays the contract; this measures. It sends one request over and over, as [`Closed`] loop (each connection sends
//! its next request after the last answer) or [`Open`] loop (requests are due at their times, whatever the server does), and costs
//! about as much of a processor as wrk does, so that the figures speak of the server. An answer counts as good when its framing is sound and
//! its status and length are the expected ones; everything else is counted by what was wrong with it.

mod answer;
mod closed;
mod connection;
mod open;
mod request;
mod stub;
mod tally;

pub use answer::{Answer, Fault};
pub use closed::{Closed, Measured};
pub use open::{Arrivals, Open};
pub use request::{Expected, Request};
pub use stub::Stub;
pub use tally::Tally;
