//! `recarga console`: watches and steers a lab that runs, here or in containers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use app::{Options, Secrets, Settings, TopologySource};
use host::Layout;
use kit::Shutdown;

use crate::{arguments::Console, exit, supervision::Control, terminal};

pub async fn run(directory: &Path, arguments: &Console) -> Result<u8> {
    ensure!(
        terminal::is_interactive(),
        "the console needs a terminal; `recarga status` prints the same as text"
    );
    let shutdown = Shutdown::on_signals()?;
    let elsewhere = match &arguments.topology {
        Some(url) => {
            let whole = url.starts_with("http://") || url.starts_with("https://");
            ensure!(
                whole,
                "--topology wants a URL, such as http://127.0.0.1:20917/admin/topology"
            );
            Some(TopologySource::Url(url.clone()))
        }
        None => arguments.dns.then(TopologySource::dns),
    };
    if let Some(source) = elsewhere {
        let secrets = Secrets::Operator {
            password: arguments.operator_password.clone(),
            token: arguments.operator_token.clone(),
        };
        let options = Options {
            secrets,
            read_only: arguments.read_only,
            settings: settings()?,
            ..Options::new(source)
        };
        app::run(options, shutdown.token()).await?;
    } else {
        host::running_topology(directory)?;
        open(directory, arguments.read_only, &shutdown).await?;
    }
    Ok(exit::SUCCESS)
}

/// Opens the console on the lab of a folder, until it is left or the shutdown is requested.
pub async fn open(directory: &Path, read_only: bool, shutdown: &Shutdown) -> Result<()> {
    let layout = Layout::existing(directory)?;
    let options = Options {
        secrets: Secrets::File(layout.secrets()),
        read_only,
        settings: settings()?,
        supervisor: (!read_only)
            .then(|| Arc::new(Control::of(directory)) as Arc<dyn actions::Supervise>),
        ..Options::new(TopologySource::Path(layout.topology()))
    };
    app::run(options, shutdown.token()).await
}

/// The operator's own keys and theme: `$XDG_CONFIG_HOME/recarga/console.toml`, or `~/.config/recarga/console.toml`.
fn settings() -> Result<Settings> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let Some(folder) = folder else {
        return Ok(Settings::default());
    };
    let path = folder.join("recarga").join("console.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .with_context(|| format!("{} is not what the console reads", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
