//! Every row of the HTTP contract, over real HTTP, against one whole lab with real stores.
//!
//! The tests share the lab and run in parallel, so each takes cards, tutors, keys and queues of its own. Those
//! that pull a lever the others would feel hold [`lab::Lab::alone`] meanwhile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod admin;
mod api;
mod authentication;
mod cached;
mod cards;
mod city;
mod classics;
mod deeds;
mod described;
mod forge;
mod front;
mod headers;
mod idempotency;
mod lab;
mod observability;
mod queue;
mod store;
mod strict;
mod tasks;
mod trips;
mod tutoring;
#[path = "../common/whole.rs"]
mod whole;
