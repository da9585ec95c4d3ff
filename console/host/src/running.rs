//! Finding the lab that runs in a folder, for commands that only look at it.

use std::path::Path;

use kit::Topology;

use crate::{
    error::{Error, Result},
    layout::{Layout, Secrets},
    store::postgres::{DATABASE, USER},
};

/// The topology of the lab that runs in the folder.
pub fn running_topology(directory: &Path) -> Result<Topology> {
    let layout = Layout::existing(directory)?;
    if layout.try_lock()?.is_some() {
        return Err(Error::NotRunning {
            path: layout.root().to_owned(),
        });
    }
    Ok(Topology::load(&layout.topology())?)
}

/// The URL of the private PostgreSQL of the lab that runs in the folder.
pub fn running_database_url(directory: &Path) -> Result<String> {
    let topology = running_topology(directory)?;
    let store = topology
        .stores
        .iter()
        .find(|store| store.kind == "postgres" && store.managed)
        .ok_or_else(|| {
            Error::Invalid(
                "the lab here uses a PostgreSQL of yours: name it with --database-url".to_owned(),
            )
        })?;
    let secrets = Secrets::load(&Layout::existing(directory)?)?;
    Ok(format!(
        "postgres://{USER}:{}@{}/{DATABASE}",
        secrets.database_password, store.address
    ))
}

/// The URLs of every private Redis of the lab that runs in the folder.
pub fn running_redis_urls(directory: &Path) -> Result<Vec<String>> {
    let topology = running_topology(directory)?;
    let secrets = Secrets::load(&Layout::existing(directory)?)?;
    Ok(topology
        .stores
        .iter()
        .filter(|store| store.kind != "postgres" && store.managed)
        .map(|store| format!("redis://:{}@{}", secrets.redis_password, store.address))
        .collect())
}
