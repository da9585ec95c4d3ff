//! `recarga down`: stops the lab of a folder, from any terminal.

use std::path::Path;

use anyhow::Result;
use host::control::Client;

use super::note;
use crate::{exit, terminal::say};

pub async fn run(directory: &Path) -> Result<u8> {
    Client::connect(directory, note).await?.stop().await?;
    say("everything is stopped");
    Ok(exit::SUCCESS)
}
