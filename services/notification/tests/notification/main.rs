//! The notification service on a real queue and a real database.
#![expect(clippy::unwrap_used, reason = "a test")]

mod consume;
mod crashes;
mod smtp;
mod support;
mod webhook;
