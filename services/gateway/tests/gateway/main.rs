//! Gateways between a client and pretended services, with a real cache service on a real Redis.

mod access;
mod children;
mod copies;
mod degrade;
mod forwarding;
mod freshness;
mod reads;
mod stampede;
mod support;
mod windows;
