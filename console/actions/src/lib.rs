//! The one table of everything an operator can do to a lab.
//!
//! An [`Action`] is a typed line such as `drain gateway-2`: it is read with [`Action::parse`], printed the same way, described for a
//! dialog with [`Action::title`] and [`Action::danger`], and carried out with [`Levers::perform`], which says how to take it back.
//! [`TABLE`] is what palettes, help pages and documentation show. Whoever runs a lab by keys, by data files or by command line
//! goes through here, so that each can show the others' words.
//!
//! This crate knows the HTTP contract and the admin surface, and neither the services nor who draws the screen. What only the
//! lab's supervisor can do is asked of it over HTTP; steady traffic belongs to the process that asks for it
//! ([`TrafficPlan::options`]).

mod action;
mod answer;
mod complete;
pub mod exposition;
mod failure;
mod fault;
mod lab;
mod levers;
mod names;
mod number;
mod parse;
mod reader;
mod table;
mod traffic;
mod words;

pub use action::{Action, Danger, Delayed, Door, FlushScope, Method, Target};
pub use answer::{Answer, Span, waterfall};
pub use complete::complete;
pub use failure::Failure;
pub use kit::{faults::Fault, safeguards::Safeguard};
pub use lab::{Lab, Place, Rights};
pub use levers::{Done, Levers, Progress};
pub use names::{Names, POLICIES, nearest};
pub use parse::ParseError;
pub use table::{Entry, Group, TABLE, entry};
pub use traffic::{Manners, TrafficPlan};
