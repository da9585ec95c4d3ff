//! `recarga console`: watches and steers a lab that runs, here or in containers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use app::{Options, Secrets, Settings, TopologySource};
use host::Layout;
use kit::Shutdown;

use crate::{
    arguments::{Console, Elsewhere},
    exit, terminal,
};

pub async fn run(directory: &Path, arguments: &Console) -> Result<u8> {
    ensure!(
        terminal::is_interactive(),
        "the console needs a terminal; `recarga status` prints the same as text"
    );
    let shutdown = Shutdown::on_signals()?;
    if let Some(source) = elsewhere(&arguments.elsewhere) {
        let secrets = Secrets::Operator {
            password: arguments.operator.password.clone(),
            token: arguments.operator.token.clone(),
        };
        let options = Options {
            secrets,
            read_only: arguments.read_only,
            record: arguments.record.clone(),
            settings: settings()?,
            ..Options::new(source)
        };
        app::run(options, shutdown.token()).await?;
    } else {
        host::running_topology(directory)?;
        open(directory, arguments, &shutdown).await?;
    }
    Ok(exit::SUCCESS)
}

/// Where another lab than the one of the folder is found.
pub fn elsewhere(arguments: &Elsewhere) -> Option<TopologySource> {
    let certificates = arguments.certificates.clone();
    match arguments.topology.clone() {
        Some(url) => Some(TopologySource::Url { url, certificates }),
        None => arguments.dns.then(|| TopologySource::dns(certificates)),
    }
}

/// Opens the console on the lab of a folder, until it is left or the shutdown is requested.
pub async fn open(directory: &Path, arguments: &Console, shutdown: &Shutdown) -> Result<()> {
    let layout = Layout::existing(directory)?;
    let options = Options {
        secrets: Secrets::File(layout.secrets()),
        read_only: arguments.read_only,
        // Without its secrets a lab can be looked at, and nothing else.
        labs: super::lab::setup(directory).ok(),
        record: arguments.record.clone(),
        settings: settings()?,
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
