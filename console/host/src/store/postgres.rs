//! A private PostgreSQL cluster: made once, listening on loopback only, never touching another.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tokio::process::Command;

use super::{Launch, STOP_PATIENCE, own_folder};
use crate::{
    account::Account,
    error::{Error, Result},
    find,
    guard::StopSignal,
    processes,
};

/// The superuser of the private cluster and the name of the lab's database.
pub const USER: &str = "recarga";
pub const DATABASE: &str = "recarga";

/// The way to a database of ours on this machine.
pub(super) fn options(port: u16, password: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(USER)
        .password(password)
        .database(database)
        .disable_statement_logging()
}

/// The cluster of one lab.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub tool: find::Postgres,
    /// Holds `data`; belongs to the account.
    pub folder: PathBuf,
    pub port: u16,
    pub account: Option<Account>,
    pub password: String,
    /// False only for throw-away clusters: a crash of the machine would damage the data.
    pub durable: bool,
}

impl Cluster {
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{USER}:{}@{}/{database}",
            self.password,
            self.address()
        )
    }

    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        options(self.port, &self.password, database)
    }

    /// Makes the cluster when there is none yet; true when it did.
    pub async fn initialise(&self) -> Result<bool> {
        own_folder(&self.folder, self.account)?;
        let data = self.data();
        if data.exists() {
            self.check_version(&data)?;
            return Ok(false);
        }
        // Made beside and renamed when complete, so that an interrupted attempt is never mistaken for a cluster.
        let draft = self.folder.join("data.new");
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(|source| Error::on_path(&draft, source))?;
        }
        let password_file = self.folder.join("password");
        crate::layout::write_private(&password_file, self.password.as_bytes())?;
        if let Some(account) = self.account {
            account.own(&password_file)?;
        }
        let made = self.make(&draft, &password_file).await;
        let _ = fs::remove_file(&password_file);
        made?;
        fs::rename(&draft, &data).map_err(|source| Error::on_path(&data, source))?;
        Ok(true)
    }

    async fn make(&self, draft: &Path, password_file: &Path) -> Result<()> {
        let mut command = Command::new(self.tool.programs.join("initdb"));
        command
            .arg("--pgdata")
            .arg(draft)
            .arg("--pwfile")
            .arg(password_file)
            .args(["--username", USER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--no-locale", "--data-checksums"]);
        if !self.durable {
            command.arg("--no-sync");
        }
        self.run("initdb", command).await
    }

    /// Runs one of PostgreSQL's programs as the account that the cluster belongs to.
    pub(super) async fn run(&self, name: &str, mut command: Command) -> Result<()> {
        command
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let output = command
            .output()
            .await
            .map_err(Error::doing(format!("starting {name}")))?;
        if output.status.success() {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if text.contains("No space left on device") {
            return Err(Error::DiskFull {
                path: self.folder.clone(),
            });
        }
        if text.trim().is_empty() {
            text = String::from_utf8_lossy(&output.stdout).into_owned();
        }
        Err(Error::Program {
            program: name.to_owned(),
            status: output.status.to_string(),
            output: text,
        })
    }

    fn check_version(&self, data: &Path) -> Result<()> {
        let path = data.join("PG_VERSION");
        let found = fs::read_to_string(&path).map_err(|error| Error::Damaged {
            path: data.to_owned(),
            reason: format!("{}: {error}", path.display()),
        })?;
        let found = found.trim();
        if found.parse() == Ok(self.tool.version.major) {
            return Ok(());
        }
        Err(Error::ClusterVersion {
            path: data.to_owned(),
            found: found.to_owned(),
            have: self.tool.version.to_string(),
        })
    }

    #[must_use]
    pub fn launch(&self) -> Launch {
        let mut command: Vec<OsString> = vec![
            self.tool.programs.join("postgres").into(),
            "-D".into(),
            self.data().into(),
        ];
        let port = format!("port={}", self.port);
        let mut settings = vec![
            "listen_addresses=127.0.0.1",
            &port,
            "unix_socket_directories=",
            "max_connections=200",
            // Creating a segment in the middle of a commit costs 50 ms; these keep enough to reuse.
            "min_wal_size=256MB",
            "max_wal_size=1GB",
            "jit=off",
            "timezone=UTC",
            "log_timezone=UTC",
            "logging_collector=off",
            "log_destination=stderr",
            "cluster_name=recarga",
        ];
        if !self.durable {
            settings.extend([
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ]);
        }
        for setting in settings {
            command.push("-c".into());
            command.push(setting.into());
        }
        Launch {
            command,
            account: self.account,
            signal: StopSignal::Int,
        }
    }

    /// The process that PostgreSQL says it is.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Stops a server that a killed lab left on this very cluster; true when there was one.
    pub async fn stop_leftover(&self) -> bool {
        let data = self.data();
        let Some(pid) = self.pid() else {
            return false;
        };
        let ours = || processes::origin(pid).is_some_and(|origin| origin.has_argument(&data));
        if !ours() {
            return false;
        }
        processes::stop(pid, Signal::INT, STOP_PATIENCE, ours).await;
        true
    }

    /// Whether it takes connections.
    pub async fn answers(&self) -> bool {
        let attempt = async {
            let connection = self.options("postgres").connect().await.ok()?;
            connection.close().await.ok()
        };
        tokio::time::timeout(Duration::from_secs(2), attempt)
            .await
            .is_ok_and(|answer| answer.is_some())
    }

    /// Makes the lab's database when there is none yet.
    pub async fn create_database(&self) -> Result<()> {
        let failed = |source| Error::Database {
            context: "creating the database",
            source,
        };
        let mut connection = self.options("postgres").connect().await.map_err(failed)?;
        let exists: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(DATABASE)
                .fetch_one(&mut connection)
                .await
                .map_err(failed)?;
        if !exists {
            sqlx::raw_sql("create database recarga")
                .execute(&mut connection)
                .await
                .map_err(failed)?;
        }
        connection.close().await.map_err(failed)
    }
}
