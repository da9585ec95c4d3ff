//! The cache service on a real Redis.

mod leases;
mod outage;
mod support;
mod values;
