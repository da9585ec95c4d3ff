//! What the queue service promises, one promise a test, on a real Redis.
#![expect(clippy::unwrap_used, reason = "a test")]

mod blocks;
mod dead_letters;
mod delivery;
mod disk;
mod frozen;
mod ordering;
mod outbox;
mod polling;
mod read_only;
mod replicas;
mod sending;
mod support;
mod surface;
mod total;
