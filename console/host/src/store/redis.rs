//! A private Redis: append-only file on, on loopback only, behind a password. A lab has two: one for the cache and what else
//! may be rebuilt, and one for the queue, which answers nothing that its disk does not have.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kit::{
    redis::Servers,
    tls::{AUTHORITY, CERTIFICATE, KEY},
};
use redis::{RedisResult, aio::MultiplexedConnection};
use rustix::process::Signal;

use super::{Launch, STOP_PATIENCE, own_folder};
use crate::{
    account::Account,
    error::{Error, Result},
    find,
    guard::StopSignal,
    processes,
};

/// When a server's disk has what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it answers. Also where `WAITAOF` exists: that waits for the next fsync and asks for none, which is up to a
    /// second away otherwise.
    Always,
    /// Within a second.
    EverySecond,
}

impl Fsync {
    fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
        }
    }
}

/// One Redis of a lab.
#[derive(Clone, Debug)]
pub struct Server {
    /// `redis` or `queue`.
    pub name: &'static str,
    pub tool: find::Redis,
    /// Holds the configuration and the data; belongs to the account.
    pub folder: PathBuf,
    pub port: u16,
    pub account: Option<Account>,
    pub password: String,
    /// Logical databases; a lab needs one, tests take one each.
    pub databases: u32,
    /// False only for throw-away servers: nothing is written to disk.
    pub durable: bool,
    pub fsync: Fsync,
    pub part: Part,
    /// The folder with what it shows and whom it believes, see [`crate::certificates`]: then it takes TLS only, and its clients show the same.
    pub tls: Option<PathBuf>,
}

/// What a server does among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    One,
    /// A master that sentinels watch, or its replica.
    Watched {
        /// The port of the master to begin with.
        of: Option<u16>,
    },
    /// Watches a master and its replicas.
    Sentinel {
        name: &'static str,
        /// The port of the master to begin with.
        of: u16,
        /// How long a master may be silent.
        gone: Duration,
    },
    /// A node of a cluster.
    Cluster {
        /// Where the nodes speak with one another.
        bus: u16,
    },
}

/// Replicas do not wait for one another before they are sent what a master has.
const AT_ONCE: &str = "repl-diskless-sync-delay 0\n";

impl Part {
    /// What the configuration says of it.
    fn lines(self, password: &str) -> String {
        match self {
            Self::One => String::new(),
            Self::Watched { of } => {
                let of = of.map(|port| format!("replicaof 127.0.0.1 {port}\n"));
                format!("masterauth {password}\n{AT_ONCE}{}", of.unwrap_or_default())
            }
            Self::Sentinel { name, of, gone } => format!(
                "sentinel monitor {name} 127.0.0.1 {of} 2\n\
                 sentinel auth-pass {name} {password}\n\
                 sentinel down-after-milliseconds {name} {}\n\
                 sentinel failover-timeout {name} 5000\n",
                gone.as_millis(),
            ),
            Self::Cluster { bus } => format!(
                "masterauth {password}\n{AT_ONCE}\
                 cluster-enabled yes\n\
                 cluster-port {bus}\n\
                 cluster-node-timeout 1000\n\
                 cluster-config-file nodes.conf\n"
            ),
        }
    }
}

impl Server {
    fn configuration_path(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    fn pid_path(&self) -> PathBuf {
        self.folder.join("redis.pid")
    }

    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn url(&self) -> String {
        let (letter, parameters) = match &self.tls {
            Some(folder) => ("s", format!("?{}", parameters(folder))),
            None => ("", String::new()),
        };
        let password = match self.part {
            // It asks for nothing.
            Part::Sentinel { .. } => String::new(),
            _ => format!(":{}@", self.password),
        };
        format!("redis{letter}://{password}{}{parameters}", self.address())
    }

    /// Where it listens, and how it is spoken with.
    fn door(&self) -> String {
        let port = self.port;
        let Some(folder) = &self.tls else {
            return format!("port {port}\n");
        };
        let [authority, certificate, key] =
            files(folder).map(|(_, file)| file.display().to_string());
        format!(
            "port 0\n\
             tls-port {port}\n\
             tls-ca-cert-file \"{authority}\"\n\
             tls-cert-file \"{certificate}\"\n\
             tls-key-file \"{key}\"\n\
             tls-auth-clients yes\n\
             tls-replication yes\n{}",
            match self.part {
                Part::Cluster { .. } => "tls-cluster yes\n",
                _ => "",
            }
        )
    }

    /// Writes the configuration: a file, because arguments can be read by everyone on the machine.
    pub fn initialise(&self) -> Result<()> {
        own_folder(&self.folder, self.account)?;
        let path = self.configuration_path();
        crate::layout::write_private(&path, self.configuration().as_bytes())?;
        if let Some(account) = self.account {
            account.own(&path)?;
        }
        Ok(())
    }

    fn configuration(&self) -> String {
        let folder = self.folder.display();
        let pid_path = self.pid_path();
        if let Part::Sentinel { .. } = self.part {
            return format!(
                "bind 127.0.0.1\n{}protected-mode no\ndir \"{folder}\"\npidfile \"{}\"\ndaemonize no\nlogfile \"\"\n{}",
                self.door(),
                pid_path.display(),
                self.part.lines(&self.password),
            );
        }
        let append = if self.durable { "yes" } else { "no" };
        format!(
            "bind 127.0.0.1\n\
             {door}\
             protected-mode yes\n\
             requirepass {password}\n\
             dir \"{folder}\"\n\
             pidfile \"{pid_path}\"\n\
             daemonize no\n\
             set-proc-title no\n\
             logfile \"\"\n\
             databases {databases}\n\
             save \"\"\n\
             appendonly {append}\n\
             appendfsync {fsync}\n\
             no-appendfsync-on-rewrite no\n\
             # What is refused can be told; what was thrown out to make room could not.\n\
             maxmemory 0\n\
             maxmemory-policy noeviction\n\
             {part}",
            part = self.part.lines(&self.password),
            door = self.door(),
            password = self.password,
            databases = self.databases,
            fsync = self.fsync.name(),
            pid_path = pid_path.display(),
        )
    }

    #[must_use]
    pub fn launch(&self) -> Launch {
        let mut command = vec![
            self.tool.program.clone().into(),
            self.configuration_path().into(),
        ];
        if let Part::Sentinel { .. } = self.part {
            command.push("--sentinel".into());
        }
        Launch {
            command,
            account: self.account,
            signal: StopSignal::Term,
        }
    }

    /// The process that Redis says it is.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.pid_path())
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Stops a server that a killed lab left on this very folder; true when there was one.
    pub async fn stop_leftover(&self) -> bool {
        let Some(pid) = self.pid() else {
            return false;
        };
        let configuration = self.configuration_path();
        let ours =
            || processes::origin(pid).is_some_and(|origin| origin.has_argument(&configuration));
        if !ours() {
            return false;
        }
        processes::stop(pid, Signal::TERM, STOP_PATIENCE, ours).await;
        true
    }

    /// Whether it has loaded its data and takes commands.
    pub async fn answers(&self) -> bool {
        let attempt = async {
            let mut connection = self.connect().await?;
            redis::cmd("PING").exec_async(&mut connection).await
        };
        matches!(
            tokio::time::timeout(Duration::from_secs(2), attempt).await,
            Ok(Ok(()))
        )
    }

    pub(super) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        Servers::parse(&self.url(), "")?.connect().await
    }
}

/// What a URL says of the certificates in a folder.
pub(super) fn parameters(folder: &Path) -> String {
    files(folder)
        .map(|(name, path)| format!("{name}={}", path.display()))
        .join("&")
}

/// The authority, the certificate and its key, by their names in a URL.
fn files(folder: &Path) -> [(&'static str, PathBuf); 3] {
    [
        ("ssl_ca_certs", folder.join(AUTHORITY)),
        ("ssl_certfile", folder.join(CERTIFICATE)),
        ("ssl_keyfile", folder.join(KEY)),
    ]
}

/// Refuses an existing server that is too old, or not there.
pub async fn check_external(url: &str) -> Result<String> {
    let bad = |address: &str, reason: String| Error::External {
        kind: "redis",
        address: address.to_owned(),
        reason,
    };
    let servers = Servers::parse(url, "").map_err(|flaw| bad("--redis-url", flaw.to_string()))?;
    let mut address = servers.to_string();
    let ask = async {
        let primary = servers.primary().await?;
        let mut connection = primary.connect().await?;
        let text: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await?;
        redis::RedisResult::Ok((primary.to_string(), text))
    };
    let text = match tokio::time::timeout(Duration::from_secs(5), ask).await {
        Ok(Ok((found, text))) => {
            address = found;
            text
        }
        Ok(Err(error)) => return Err(bad(&address, error.to_string())),
        Err(_) => return Err(bad(&address, "no answer within 5 s".to_owned())),
    };
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    // Valkey says 7.2 here for the sake of old clients, which is new enough.
    let version = field("redis_version:").unwrap_or_default();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < find::REDIS_MAJOR) {
        return Err(bad(
            &address,
            format!(
                "it is version {version}, and {}.0 or newer is needed",
                find::REDIS_MAJOR
            ),
        ));
    }
    Ok(address)
}
