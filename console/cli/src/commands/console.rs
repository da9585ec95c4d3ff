//! `recarga console`: watches and steers a lab that runs, here or in containers.

use std::path::Path;

use anyhow::{Result, ensure};
use app::{Options, Secrets, TopologySource};
use host::Layout;
use kit::Shutdown;

use crate::{arguments::Console, exit, terminal};

pub async fn run(directory: &Path, arguments: &Console) -> Result<u8> {
    ensure!(
        terminal::is_interactive(),
        "the console needs a terminal; `recarga status` prints the same as text"
    );
    let shutdown = Shutdown::on_signals()?;
    if arguments.dns {
        let secrets = match &arguments.operator_password {
            Some(password) => Secrets::OperatorPassword(password.clone()),
            None => Secrets::None,
        };
        let options = Options {
            secrets,
            ..Options::new(TopologySource::dns())
        };
        app::run(options, shutdown.token()).await?;
    } else {
        host::running_topology(directory)?;
        open(&Layout::existing(directory)?, &shutdown).await?;
    }
    Ok(exit::SUCCESS)
}

/// Opens the console on the lab of a folder, until it is left or the shutdown is requested.
pub async fn open(layout: &Layout, shutdown: &Shutdown) -> Result<()> {
    let options = Options {
        secrets: Secrets::File(layout.secrets()),
        ..Options::new(TopologySource::Path(layout.topology()))
    };
    app::run(options, shutdown.token()).await
}
