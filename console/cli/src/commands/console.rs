//! `recarga console`: watches and steers a lab that runs, here or in containers.

use std::path::Path;

use anyhow::{Result, bail};
use host::Layout;
use kit::Shutdown;

use crate::{arguments::Console, exit};

pub async fn run(directory: &Path, arguments: &Console) -> Result<u8> {
    let shutdown = Shutdown::on_signals()?;
    if arguments.dns {
        bail!("not yet");
    }
    host::running_topology(directory)?;
    open(&Layout::existing(directory)?, &shutdown).await?;
    Ok(exit::SUCCESS)
}

/// Opens the console on the lab of a folder, until it is left or the shutdown is requested.
pub async fn open(_layout: &Layout, shutdown: &Shutdown) -> Result<()> {
    shutdown.requested().await;
    Ok(())
}
