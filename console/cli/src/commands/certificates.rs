//! `recarga certificates`: by which the tiers know each other.

use anyhow::Result;
use chrono::Utc;

use crate::{arguments::Certificates, exit, terminal::say};

pub fn run(arguments: &Certificates) -> Result<u8> {
    let made = host::certificates::make(&arguments.folder, arguments.days, Utc::now())?;
    for path in made {
        say(path.display());
    }
    Ok(exit::SUCCESS)
}
