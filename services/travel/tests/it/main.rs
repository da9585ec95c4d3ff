//! The travel service on real sockets and a real PostgreSQL.

mod cards;
mod contract;
mod crashes;
mod groups;
mod keys;
mod login;
mod outages;
mod recharges;
mod register;
mod stations;
mod support;
mod trips;
mod users;
