//! Gateways between a client and pretended services, with a real cache service on a real Redis.

mod access;
mod copies;
mod degrade;
mod forwarding;
mod reads;
mod support;
mod windows;
