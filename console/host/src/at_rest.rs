//! The private stores of a lab that does not run, started for a look at them and stopped again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    account::Account,
    error::{Error, Result},
    find,
    layout::{Layout, Lock, Secrets},
    ports::{Ports, Wanted},
    scratch::{Guarded, guarded, stop, wait},
    store::{Cluster, Fsync, Part, Server, postgres::DATABASE},
};

/// The stores of a stopped lab, which cannot be started meanwhile; they end when this is dropped.
#[derive(Debug)]
pub struct AtRest {
    guarded: Vec<Guarded>,
    database_url: String,
    redis_urls: Vec<String>,
    _lock: Lock,
}

impl AtRest {
    /// Starts the stores and waits until they answer; `None` while a lab runs in the folder.
    pub async fn start(program: &Path, directory: &Path) -> Result<Option<Self>> {
        let layout = Layout::existing(directory)?;
        let Some(lock) = layout.try_lock()? else {
            return Ok(None);
        };
        let stores = layout.stores();
        let stores = stores.canonicalize().unwrap_or(stores);
        if !stores.join("postgres").join("data").exists() {
            return Err(Error::Invalid(format!(
                "{} holds no private PostgreSQL: name yours with --database-url, or the lab's folder with --dir",
                layout.root().display()
            )));
        }
        let secrets = Secrets::load(&layout)?;
        let (postgres, redis) = find::both()?;
        let free = Wanted {
            free: true,
            ..Wanted::default()
        };
        let mut ports = Ports::load(&layout, free);
        let mut cluster = Cluster {
            tool: postgres,
            folder: stores.join("postgres"),
            port: 0,
            account: Account::for_store("postgres")?,
            password: secrets.database_password.clone(),
            durable: true,
        };
        // An earlier process of it would hold the data.
        cluster.stop_leftover().await;
        cluster.port = ports.any("postgres", None)?;
        cluster.initialise().await?;
        let log = |name: &str| layout.output(&format!("{name}-at-rest"));
        let mut at_rest = Self {
            guarded: vec![guarded(program, &cluster.launch(), log("postgres"))?],
            database_url: cluster.url(DATABASE),
            redis_urls: Vec::new(),
            _lock: lock,
        };
        wait("PostgreSQL", &at_rest.guarded[0].log, || cluster.answers()).await?;
        for folder in redis_folders(&stores)? {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let configuration = folder.join("redis.conf");
            let text = fs::read_to_string(&configuration)
                .map_err(|source| Error::on_path(&configuration, source))?;
            let server = Server {
                name: "redis",
                fsync: Fsync::Always,
                part: Part::One,
                tls: None,
                tool: redis.clone(),
                password: setting(&text, "requirepass").unwrap_or_default(),
                port: ports.any(&name, None)?,
                account: Account::for_store("redis")?,
                databases: 16,
                durable: true,
                folder: folder.clone(),
            };
            server.stop_leftover().await;
            // As the lab left it, apart from the port, which may be somebody else's by now.
            let mut launch = server.launch();
            launch
                .command
                .extend(["--port".into(), server.port.to_string().into()]);
            let started = guarded(program, &launch, log(&name))?;
            at_rest.guarded.push(started);
            let log = log(&name);
            wait("Redis", &log, || server.answers()).await?;
            at_rest.redis_urls.push(server.url());
        }
        Ok(Some(at_rest))
    }

    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Of every private Redis the lab has.
    #[must_use]
    pub fn redis_urls(&self) -> &[String] {
        &self.redis_urls
    }

    /// Stops the stores in order.
    pub async fn stop(mut self) {
        stop(&mut self.guarded).await;
    }
}

/// The folders beside PostgreSQL's that a Redis was started from.
fn redis_folders(stores: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(stores).map_err(|source| Error::on_path(stores, source))?;
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("redis.conf").exists())
        .collect();
    folders.sort();
    Ok(folders)
}

/// The value of a line of a Redis configuration.
fn setting(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn settings_are_found_by_their_whole_name() {
        let text = "# requirepass no\nport 1\nrequirepass \"a b\"\n";
        assert_eq!(setting(text, "requirepass").as_deref(), Some("a b"));
        assert_eq!(setting(text, "port").as_deref(), Some("1"));
        assert_eq!(setting(text, "pass"), None);
    }
}
