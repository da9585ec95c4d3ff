//! A private Redis: append-only file on, on loopback only, behind a password. A lab has two: one for the cache and what else
//! may be rebuilt, and one for the queue, which answers nothing that its disk does not have.

use std::{fs, path::PathBuf, time::Duration};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

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
        format!("redis://:{}@{}", self.password, self.address())
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
        let append = if self.durable { "yes" } else { "no" };
        let folder = self.folder.display();
        let pid_path = self.pid_path();
        format!(
            "bind 127.0.0.1\n\
             port {port}\n\
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
             maxmemory-policy noeviction\n",
            port = self.port,
            password = self.password,
            databases = self.databases,
            fsync = self.fsync.name(),
            pid_path = pid_path.display(),
        )
    }

    #[must_use]
    pub fn launch(&self) -> Launch {
        Launch {
            command: vec![
                self.tool.program.clone().into(),
                self.configuration_path().into(),
            ],
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
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let commands = format!("AUTH {}\r\nPING\r\nQUIT\r\n", self.password);
            stream.write_all(commands.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer.contains("+PONG"))
        };
        matches!(
            tokio::time::timeout(Duration::from_secs(2), attempt).await,
            Ok(Ok(true))
        )
    }
}

/// Refuses an existing server that is too old, or not there.
pub async fn check_external(url: &str) -> Result<String> {
    let bad = |address: &str, reason: String| Error::External {
        kind: "redis",
        address: address.to_owned(),
        reason,
    };
    let client = redis::Client::open(url).map_err(|error| bad("--redis-url", error.to_string()))?;
    let address = client.get_connection_info().addr().to_string();
    let ask = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("INFO")
            .arg("server")
            .query_async::<String>(&mut connection)
            .await
    };
    let text = match tokio::time::timeout(Duration::from_secs(5), ask).await {
        Ok(Ok(text)) => text,
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
