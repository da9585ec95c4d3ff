//! Where everything runs: the file a lab writes and its clients (console, discovery, scripts) read.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::tls::{MutualTlsArgs, OPERATOR, Tiers};

/// The format version this build writes and understands.
pub const VERSION: u32 = 1;

/// A whole lab, as its supervisor last saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    pub version: u32,
    /// The balancer's front door, such as `http://127.0.0.1:8000`.
    pub public_url: String,
    pub cache_url: String,
    pub queue_url: String,
    pub worker_url: String,
    pub supervisor_pid: Option<u32>,
    /// Where the processes themselves are steered, such as `http://127.0.0.1:20917`; nowhere in a lab of containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_url: Option<String>,
    /// Whether every lever is refused.
    #[serde(default)]
    pub read_only: bool,
    /// The folder with the certificates by which the tiers know each other, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_tls: Option<PathBuf>,
    pub stores: Vec<Store>,
    pub instances: Vec<Instance>,
}

/// PostgreSQL, Redis, or the Redis of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// `postgres`, `redis`, or `queue`.
    pub kind: String,
    /// `host:port`, without credentials.
    pub address: String,
    pub pid: Option<u32>,
    /// Whether the lab started it (and may stop it).
    pub managed: bool,
}

/// One service process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub role: String,
    /// `ROLE-N`, unique in the lab.
    pub name: String,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub pid: Option<u32>,
    #[serde(default)]
    pub restarts: u32,
    pub state: State,
}

/// What the supervisor knows about a process; readiness is the process's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Starting,
    Running,
    Restarting,
    Stopped,
}

/// A topology file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not a topology: {source}")]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{path} has format version {found}, this build reads version {VERSION}")]
    Version { path: PathBuf, found: u32 },
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Topology {
    /// Reads a topology file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let topology: Self = serde_json::from_str(&text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source,
        })?;
        if topology.version != VERSION {
            return Err(Error::Version {
                path: path.to_owned(),
                found: topology.version,
            });
        }
        Ok(topology)
    }

    /// Replaces the file in one step, so that a reader never sees half of it.
    pub fn store(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let temporary = path.with_extension("json.new");
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        std::fs::write(&temporary, text).map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)
    }

    /// How a tool on this machine speaks with the tiers past the front door.
    pub fn tiers(&self) -> Result<Tiers, crate::Error> {
        match &self.mutual_tls {
            Some(folder) => Tiers::load(&MutualTlsArgs::of(folder, OPERATOR)),
            None => Ok(Tiers::default()),
        }
    }

    /// The instances of one role, in the order of their names' numbers.
    pub fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Instance> {
        self.instances.iter().filter(move |i| i.role == role)
    }
}
