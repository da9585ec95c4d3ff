//! Gateways between a client and pretended services, with a real cache service on a real Redis.

mod access;
mod children;
mod copies;
mod deadlines;
mod degrade;
mod forwarding;
mod freshness;
mod limits;
mod reads;
mod redis;
mod routing;
mod support;
mod windows;
