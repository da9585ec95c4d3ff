//! The web page and the API pages as a person meets them: a real Chromium before a whole real lab.
//!
//! `RECARGA_TEST_BROWSER=none` skips them, loudly: `cargo recarga test` says so where no Chromium can be had.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]
#![expect(
    clippy::print_stderr,
    reason = "what is skipped and where the screenshots are must be told"
)]

mod audit;
mod cut;
mod driver;
mod lab;
mod page;
mod reference;
mod screens;
mod trouble;
mod visit;
#[path = "../common/whole.rs"]
mod whole;
