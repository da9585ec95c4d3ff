//! The one-machine lab: private PostgreSQL and Redis, the service processes, and their supervisor.
//!
//! It knows how processes are started, watched and stopped, and nothing of what the services do.

mod account;
mod at_rest;
pub mod backoff;
pub mod certificates;
pub mod control;
pub mod database;
mod error;
mod event;
pub mod find;
pub mod guard;
pub mod install;
mod job;
mod keeper;
mod layout;
mod leftovers;
pub mod ports;
mod processes;
mod rewire;
pub mod roles;
mod running;
pub mod scratch;
pub mod store;
mod supervisor;
mod surface;
mod up;

pub use account::Account;
pub use at_rest::AtRest;
pub use error::{Error, Result};
pub use event::{Events, UpEvent};
pub use layout::{Layout, Lock, Secrets, tail};
pub use rewire::Rewire;
pub use roles::{Count, Role, Target};
pub use running::{running_database_url, running_redis_urls, running_topology};
pub use scratch::Scratch;
pub use supervisor::{StoreUrls, Supervisor};
pub use up::{Lab, Options, Outcome, stores, up};
