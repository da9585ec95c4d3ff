//! The edge under fire: gateways are killed, restarted and slowed down while clients send requests, and no client notices.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod deaths;
#[path = "../supervision/lab.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the supervisor, which use more of it"
)]
mod lab;
mod load;
mod operator;
mod restarts;
mod slow;
