//! Traces, as a collector gets them: from a whole lab, and from one service that is stopped or has nobody to send them to.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod alone;
mod collector;
mod encrypted;
mod lab;
mod settings;
mod tree;
#[path = "../common/whole.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod whole;
mod whole_traces;
