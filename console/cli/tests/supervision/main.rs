//! The lab as processes: it comes up, survives what dies, and leaves nothing behind however it ends.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod backups;
mod bench;
mod containers;
mod files;
mod lab;
mod lives;
mod mutual_tls;
mod queue;
mod redis_tls;
mod replica;
mod stores;
mod surface;
