//! Traffic as a library: closed and open loop, measured from the intended start.
//!
//! [`Traffic::start`] runs a mix of the contract's calls against one address until its time limit or
//! [`Handle::stop`]; [`Client`] sends single calls and short bursts. Latencies come in pairs: *corrected*,
//! counted from the moment a request should have started, and *service*, counted from the moment it did.
//! The first shows a stall to everyone who would have met it, the second only to those already inside.
//! [`raw`] is the lightest loop there is, for measuring a server at its limit.
//!
//! This crate knows the HTTP contract and nothing else of the system: no service, no database, no topology.

mod call;
mod client;
mod desk;
mod engine;
mod error;
mod freshness;
mod histogram;
mod journal;
mod meter;
mod mix;
mod options;
mod outcome;
mod pace;
mod pacer;
mod profile;
pub mod raw;
mod report;
mod retry;
mod table;
mod target;
mod token;
mod traffic;
mod wire;

pub use call::{Call, Kind};
pub use client::{Answer, Burst, Client};
pub use error::Error;
pub use freshness::{Freshness, FreshnessOptions, History, Judgement, Violation, check_freshness};
pub use journal::{Journal, Outcome, Write};
pub use mix::{Mix, Population};
pub use options::{Credentials, Mode, Options, Schedule};
pub use profile::Profile;
pub use report::{
    CacheCount, CallCount, CallReport, Generator, Latencies, Latency, Report, Second, Snapshot,
    State, Statuses, Totals, Window,
};
pub use retry::{Budget, Retries};
pub use target::Target;
pub use traffic::{Handle, Traffic};
