//! The cache service on a real Redis.

mod first_level;
mod leases;
mod listing;
mod outage;
mod read_only;
mod support;
mod values;
mod windows;
