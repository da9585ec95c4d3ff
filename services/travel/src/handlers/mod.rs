//! The calls, one file each or a few siblings together.

pub mod arrivals;
pub mod balance;
pub mod board;
pub mod end_trip;
pub mod history;
pub mod login;
pub mod recharge;
pub mod revenue;
pub mod stations;
pub mod trip;
pub mod trip_totals;
pub mod user_recharges;
pub mod users;
