//! `recarga restart`: instances one after the other, while everything runs.

use std::path::Path;

use anyhow::Result;
use host::control::Client;

use super::note;
use crate::{arguments::Restart, exit};

pub async fn run(directory: &Path, arguments: &Restart) -> Result<u8> {
    let mut client = Client::connect(directory, note).await?;
    for &target in &arguments.targets {
        client.restart(target).await?;
    }
    Ok(exit::SUCCESS)
}
