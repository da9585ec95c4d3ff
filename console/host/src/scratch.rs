//! Throw-away stores for tests and benchmarks: quick instead of durable unless asked, gone when dropped or when this process ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};

use crate::{
    account::Account,
    error::{Error, Result},
    find, layout,
    layout::Layout,
    ports::{Ports, Wanted},
    processes,
    store::{Cluster, Fsync, Launch, Part, Server},
};

/// Tests take a logical database each.
const DATABASES: u32 = 20_000;

/// A PostgreSQL and a Redis of their own, in a temporary folder.
#[derive(Debug)]
pub struct Scratch {
    postgres: Guarded,
    redis: Guarded,
    cluster: Cluster,
    server: Server,
    folder: TempDir,
}

/// A store under its guard; both end when this is dropped.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub child: Child,
    /// Its end means "stop"; kept apart, because waiting for a child closes what is left in it.
    _pipe: Option<ChildStdin>,
    pub log: PathBuf,
}

/// A temporary folder that the stores' account can enter, wherever the program's own folder is.
pub fn folder(prefix: &str) -> Result<TempDir> {
    let folder = TempDir::with_prefix(prefix).map_err(Error::doing("making a temporary folder"))?;
    let path = folder.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|source| Error::on_path(path, source))?;
    Ok(folder)
}

impl Scratch {
    /// Starts both and waits until they answer. `program` is the `recarga` binary.
    pub async fn start(program: &Path) -> Result<Self> {
        Self::with(program, false).await
    }

    /// The same with a PostgreSQL as durable as a lab's.
    pub async fn durable(program: &Path) -> Result<Self> {
        Self::with(program, true).await
    }

    async fn with(program: &Path, durable: bool) -> Result<Self> {
        let (postgres_tool, redis_tool) = find::both()?;
        let folder = folder("recarga-test-")?;
        let path = folder.path();
        let layout = Layout::open(path)?;
        let mut ports = Ports::load(
            &layout,
            Wanted {
                free: true,
                ..Wanted::default()
            },
        );
        let cluster = Cluster {
            tool: postgres_tool,
            folder: layout.root().join("postgres"),
            port: ports.any("postgres", None)?,
            account: Account::for_store("postgres")?,
            password: "only-for-tests".to_owned(),
            durable,
        };
        let server = Server {
            name: "redis",
            tool: redis_tool,
            folder: layout.root().join("redis"),
            port: ports.any("redis", None)?,
            account: Account::for_store("redis")?,
            password: "only-for-tests".to_owned(),
            databases: DATABASES,
            durable: false,
            fsync: Fsync::EverySecond,
            part: Part::One,
            tls: None,
        };
        server.initialise()?;
        cluster.initialise().await?;
        let scratch = Self {
            postgres: guarded(program, &cluster.launch(), layout.output("postgres"))?,
            redis: guarded(program, &server.launch(), layout.output("redis"))?,
            cluster,
            server,
            folder,
        };
        wait("PostgreSQL", &scratch.postgres.log, || {
            scratch.cluster.answers()
        })
        .await?;
        wait("Redis", &scratch.redis.log, || scratch.server.answers()).await?;
        Ok(scratch)
    }

    /// For `DATABASE_URL`: a superuser's.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.cluster.url("postgres")
    }

    /// For `RECARGA_TEST_REDIS_URL`.
    #[must_use]
    pub fn redis_url(&self) -> String {
        self.server.url()
    }

    /// The processes that do the work, of PostgreSQL and of Redis.
    #[must_use]
    pub fn pids(&self) -> [Option<u32>; 2] {
        [self.cluster.pid(), self.server.pid()]
    }

    /// The processes that guard them.
    #[must_use]
    pub fn guard_pids(&self) -> [Option<u32>; 2] {
        [self.postgres.child.id(), self.redis.child.id()]
    }

    /// Stops both in order and removes the folder.
    pub async fn stop(mut self) -> Result<()> {
        stop([&mut self.postgres, &mut self.redis]).await;
        self.folder
            .close()
            .map_err(Error::doing("removing the temporary folder"))
    }
}

/// Stops guards with what they guard, all at once.
pub(crate) async fn stop<'a>(guarded: impl IntoIterator<Item = &'a mut Guarded>) {
    let guarded: Vec<_> = guarded.into_iter().collect();
    for guarded in &guarded {
        if let Some(pid) = guarded.child.id() {
            processes::signal(pid, Signal::TERM);
        }
    }
    for guarded in guarded {
        let ended = tokio::time::timeout(Duration::from_secs(20), guarded.child.wait()).await;
        if ended.is_err() {
            let _ = guarded.child.kill().await;
        }
    }
}

pub(crate) fn guarded(program: &Path, launch: &Launch, log: PathBuf) -> Result<Guarded> {
    let open = || fs::File::create(&log).map_err(|source| Error::on_path(&log, source));
    let output = open()?;
    let errors = output
        .try_clone()
        .map_err(|source| Error::on_path(&log, source))?;
    let mut child = Command::new(program)
        .args(launch.guard_arguments())
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(Error::doing(format!("starting {}", program.display())))?;
    Ok(Guarded {
        _pipe: child.stdin.take(),
        child,
        log,
    })
}

pub(crate) async fn wait<F: Future<Output = bool>>(
    name: &str,
    log: &Path,
    mut answers: impl FnMut() -> F,
) -> Result<()> {
    const SECONDS: u64 = 30;
    let ready = async {
        while !answers().await {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(SECONDS), ready)
        .await
        .map_err(|_| Error::NotReady {
            name: name.to_owned(),
            seconds: SECONDS,
            log: log.to_owned(),
            tail: layout::tail(log, 12),
        })
}
