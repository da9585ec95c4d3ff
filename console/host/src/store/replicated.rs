//! Two PostgreSQL servers, one of which follows the other, and the failover from one to the other.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _};
use tokio::{process::Command, sync::Mutex};

use super::{Cluster, pooler::Pooler, postgres};
use crate::{
    account::Account,
    error::{Error, Result},
    find,
    layout::Layout,
    ports::{Ports, Wanted},
    processes,
    scratch::{Guarded, guarded, stop, wait},
};

/// How long a standby may take to catch up.
const CATCH_UP: Duration = Duration::from_mins(1);

/// A primary and its standby, which has every commit on its disk before the commit is answered.
#[derive(Debug)]
pub struct Replicated {
    program: PathBuf,
    layout: Layout,
    url: String,
    pooler: Option<Pooler>,
    servers: Mutex<Servers>,
}

#[derive(Debug)]
struct Servers {
    primary: Running,
    standby: Running,
    /// Each cluster has a folder that none had before it.
    made: u32,
}

#[derive(Debug)]
struct Running {
    cluster: Cluster,
    guarded: Guarded,
}

impl Replicated {
    /// Starts both in a folder that the stores' account may enter, and a PgBouncer before them where that is asked for. `program` is
    /// the `recarga` binary.
    pub async fn start(program: &Path, folder: &Path, pooled: bool) -> Result<Self> {
        // That there is none is told before two servers are made.
        let pgbouncer = pooled.then(find::pgbouncer).transpose()?;
        let layout = Layout::open(folder)?;
        let mut ports = Ports::load(
            &layout,
            Wanted {
                free: true,
                ..Wanted::default()
            },
        );
        let cluster = |port, made| -> Result<Cluster> {
            Ok(Cluster {
                tool: find::both()?.0,
                folder: place(&layout, made),
                port,
                account: Account::for_store("postgres")?,
                password: hex::encode(rand::random::<[u8; 16]>()),
                durable: true,
            })
        };
        let first = cluster(ports.any("postgres", None)?, 1)?;
        let second = Cluster {
            password: first.password.clone(),
            ..cluster(ports.any("postgres-standby", None)?, 2)?
        };
        let url = format!(
            "postgres://{}:{}@{},{}/{}?target_session_attrs=read-write",
            postgres::USER,
            first.password,
            first.address(),
            second.address(),
            postgres::DATABASE,
        );
        first.initialise().await?;
        let primary = run(program, &layout, first).await?;
        primary.cluster.create_database().await?;
        let standby = follow(program, &layout, second, &primary.cluster).await?;
        let pooler = if let Some(tool) = &pgbouncer {
            let Cluster { password, port, .. } = &primary.cluster;
            let own = ports.any("pgbouncer", None)?;
            Some(Pooler::start(program, tool, &layout, own, password, *port).await?)
        } else {
            None
        };
        Ok(Self {
            program: program.to_owned(),
            layout,
            url,
            pooler,
            servers: Mutex::new(Servers {
                primary,
                standby,
                made: 2,
            }),
        })
    }

    /// Names both; who connects takes the one that writes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The pooler's, which goes to the one that writes.
    #[must_use]
    pub fn pooled_url(&self) -> Option<String> {
        self.pooler.as_ref().map(Pooler::url)
    }

    /// The process of the one that writes.
    pub async fn primary_pid(&self) -> Option<u32> {
        self.servers.lock().await.primary.cluster.pid()
    }

    /// Ends the primary at once and has the standby take its place; what was the primary begins anew as the standby. Nothing of
    /// it is left when the standby takes over, as with whoever does this for a living: a connection that outlived it would
    /// show what only the dead one had.
    pub async fn fail_over(&self) -> Result<()> {
        let mut servers = self.servers.lock().await;
        if let Some(pid) = servers.primary.cluster.pid() {
            processes::kill_with_children(pid);
        }
        promote(&servers.standby.cluster).await?;
        if let Some(pooler) = &self.pooler {
            pooler.go_to(servers.standby.cluster.port)?;
        }
        let Servers {
            primary, standby, ..
        } = &mut *servers;
        std::mem::swap(primary, standby);
        stop([&mut servers.standby.guarded]).await;
        servers.made += 1;
        let left = servers.standby.cluster.folder.clone();
        let cluster = Cluster {
            folder: place(&self.layout, servers.made),
            ..servers.standby.cluster.clone()
        };
        servers.standby = follow(
            &self.program,
            &self.layout,
            cluster,
            &servers.primary.cluster,
        )
        .await?;
        // Its last processes may still be ending, and then it goes with the folder.
        let _ = fs::remove_dir_all(left);
        Ok(())
    }

    pub async fn stop(self) {
        let Servers {
            mut primary,
            mut standby,
            ..
        } = self.servers.into_inner();
        if let Some(pooler) = self.pooler {
            pooler.stop().await;
        }
        stop([&mut primary.guarded, &mut standby.guarded]).await;
    }
}

fn place(layout: &Layout, made: u32) -> PathBuf {
    layout.root().join(format!("postgres-{made}"))
}

async fn run(program: &Path, layout: &Layout, cluster: Cluster) -> Result<Running> {
    let log = layout.output(&format!("postgres-{}", cluster.port));
    let guarded = guarded(program, &cluster.launch(), log)?;
    wait("PostgreSQL", &guarded.log, || cluster.answers()).await?;
    Ok(Running { cluster, guarded })
}

/// Makes a standby of a primary. The primary answers for both once it is there.
async fn follow(
    program: &Path,
    layout: &Layout,
    cluster: Cluster,
    primary: &Cluster,
) -> Result<Running> {
    super::own_folder(&cluster.folder, cluster.account)?;
    let copy = cluster.tool.program("pg_basebackup").ok_or_else(|| {
        Error::Invalid(
            "pg_basebackup, which makes a standby, is missing: it comes with PostgreSQL's client programs".to_owned(),
        )
    })?;
    let mut command = Command::new(copy);
    command
        .args(["--host", "127.0.0.1", "--port", &primary.port.to_string()])
        .args(["--username", postgres::USER, "--no-password"])
        .arg("--pgdata")
        .arg(cluster.data())
        .args(["--wal-method", "stream", "--checkpoint", "fast"])
        .arg("--write-recovery-conf")
        .env("PGPASSWORD", &primary.password);
    cluster.run("pg_basebackup", command).await?;
    let standby = run(program, layout, cluster).await?;
    tell(primary, "alter system set synchronous_standby_names = '*'").await?;
    tell(primary, "select pg_reload_conf()").await?;
    caught_up(primary).await?;
    Ok(standby)
}

/// Waits until commits are on both disks.
async fn caught_up(primary: &Cluster) -> Result<()> {
    let failed = |source| Error::Database {
        context: "asking the primary for its standby",
        source,
    };
    let mut connection = primary
        .options("postgres")
        .connect()
        .await
        .map_err(failed)?;
    let waiting = async {
        loop {
            let there: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_replication where state = 'streaming' and sync_state = 'sync')",
            )
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
            if there {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(CATCH_UP, waiting)
        .await
        .unwrap_or_else(|_| Err(Error::Invalid("the standby does not catch up".to_owned())))
}

/// Has a standby become a primary, which waits for no standby as long as it has none.
async fn promote(standby: &Cluster) -> Result<()> {
    tell(standby, "select pg_promote(true, 30)").await?;
    tell(standby, "alter system reset synchronous_standby_names").await?;
    tell(standby, "select pg_reload_conf()").await
}

async fn tell(cluster: &Cluster, statement: &'static str) -> Result<()> {
    let told = async {
        let mut connection = cluster.options("postgres").connect().await?;
        sqlx::raw_sql(statement).execute(&mut connection).await?;
        connection.close().await
    };
    told.await.map_err(|source| Error::Database {
        context: statement,
        source,
    })
}
