//! The worker on a real queue and a real database.
#![expect(clippy::unwrap_used, reason = "a test")]

mod crashes;
mod support;
mod tasks;
