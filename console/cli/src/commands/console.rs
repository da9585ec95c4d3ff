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
        let secrets = Secrets::Operator {
            password: arguments.operator_password.clone(),
            token: arguments.operator_token.clone(),
        };
        let options = Options {
            secrets,
            read_only: arguments.read_only,
            ..Options::new(TopologySource::dns())
        };
        app::run(options, shutdown.token()).await?;
    } else {
        host::running_topology(directory)?;
        open(
            &Layout::existing(directory)?,
            arguments.read_only,
            &shutdown,
        )
        .await?;
    }
    Ok(exit::SUCCESS)
}

/// Opens the console on the lab of a folder, until it is left or the shutdown is requested.
pub async fn open(layout: &Layout, read_only: bool, shutdown: &Shutdown) -> Result<()> {
    let options = Options {
        secrets: Secrets::File(layout.secrets()),
        read_only,
        ..Options::new(TopologySource::Path(layout.topology()))
    };
    app::run(options, shutdown.token()).await
}
