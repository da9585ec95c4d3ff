//! Labs: demonstrations that are data, run by one engine, checked by themselves, and recorded.
//!
//! A lab is a TOML file ([`read`], [`read_file`]; those built in are [`shipped`]) that becomes a checked [`script::Lab`]. The [`Engine`]
//! is its course, without I/O: it gives orders and is told what became of them. A [`Field`] carries orders out on a running lab.
//! [`drive`] puts the two together, for a person at the keys or an [`Autopilot`], and gives the [`record::Run`] that reports are made of.
//!
//! This crate knows the HTTP contract, the admin surfaces and the levers; it does not know about the console, the supervisor's crate or
//! the insides of any service. Where everything is, it is told ([`field::Setup`]).

mod drive;
pub mod engine;
pub mod expression;
pub mod field;
mod library;
mod memory;
mod metrics;
mod mistake;
pub mod record;
mod render;
pub mod report;
mod sample;
mod schema;
pub mod script;
mod source;

pub use drive::{Autopilot, drive};
pub use engine::{Command, Engine};
pub use field::Field;
pub use library::{Missing, find, shipped};
pub use memory::{Answer, Memory};
pub use metrics::{
    ROLES, Scrape, Series as ScrapedSeries, is_known as is_metric, parse as parse_metrics,
};
pub use mistake::{Mistake, Mistakes};
pub use sample::Sample;
pub use schema::schema;
pub use source::{SCHEMA, read, read_file};

/// Writes the record of a run into a folder of its own in this one; the file.
///
/// # Errors
/// When it cannot be written.
pub fn keep(folder: &std::path::Path, run: &record::Run) -> std::io::Result<std::path::PathBuf> {
    // 2026-11-21T22:46:07.699Z as 20261121-224607.
    let digits: String = run
        .started_at
        .chars()
        .take(19)
        .filter(|letter| letter.is_ascii_digit() || *letter == 'T')
        .collect();
    let folder = folder.join(format!("{}-{}", digits.replace('T', "-"), run.lab.name));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("run.json");
    std::fs::write(&path, serde_json::to_vec(run)?)?;
    Ok(path)
}
