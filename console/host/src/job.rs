//! The processes of a lab: how each is prepared, started, found ready, and asked to stop.

use std::{
    fs::{self, File, OpenOptions},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    error::{Error, Result},
    layout::Layout,
    roles::Role,
    store::{Cluster, STOP_PATIENCE, Server},
    supervisor::{Inner, reaches_upstreams},
};

/// How long a service may take to finish what is in flight before it is killed; its own deadlines come first.
const SERVICE_PATIENCE: Duration = Duration::from_secs(13);
/// An output file larger than this is moved aside when its process starts again.
const OUTPUT_LIMIT: u64 = 10_000_000;

/// One process to keep running.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Service {
        role: Role,
        name: String,
        listen: SocketAddr,
        admin: SocketAddr,
    },
    Postgres(Cluster),
    Redis(Server),
}

impl Job {
    pub fn name(&self) -> &str {
        match self {
            Self::Service { name, .. } => name,
            Self::Postgres(_) => "postgres",
            Self::Redis(server) => server.name,
        }
    }

    /// Stops what an earlier process of a store may have left, such as when its guard was killed.
    pub async fn prepare(&self) -> bool {
        match self {
            Self::Service { .. } => false,
            Self::Postgres(cluster) => cluster.stop_leftover().await,
            Self::Redis(server) => server.stop_leftover().await,
        }
    }

    pub fn command(&self, inner: &Inner) -> Result<Command> {
        let mut command = Command::new(&inner.program);
        let errors = output_file(&inner.layout, self.name())?;
        match self {
            Self::Service {
                role,
                name,
                listen,
                admin,
            } => {
                command
                    .args(["serve", role.name(), "--instance", name])
                    .args(["--listen", &listen.to_string()])
                    .args(["--admin-listen", &admin.to_string()])
                    .envs(inner.environment(*role, name))
                    // The same lines go to the rolling files, which are bounded.
                    .stdout(Stdio::null());
            }
            Self::Postgres(cluster) => {
                command
                    .args(cluster.launch().guard_arguments())
                    .stdout(output_file(&inner.layout, self.name())?);
            }
            Self::Redis(server) => {
                command
                    .args(server.launch().guard_arguments())
                    .stdout(output_file(&inner.layout, self.name())?);
            }
        }
        command
            // The supervisor's end closes when it ends, in whatever way: that is how the child knows.
            .stdin(Stdio::piped())
            .stderr(errors)
            // Ctrl-C at the terminal is for the supervisor alone, which stops everything in order.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    pub async fn is_ready(&self, inner: &Inner) -> bool {
        match self {
            Self::Service { role, admin, .. } => {
                let answers = inner
                    .http
                    .get(format!("http://{admin}/readyz"))
                    .send()
                    .await
                    .is_ok_and(|response| response.status().is_success());
                answers && (!role.forwards() || reaches_upstreams(&inner.http, *admin).await)
            }
            Self::Postgres(cluster) => cluster.answers().await,
            Self::Redis(server) => server.answers().await,
        }
    }

    /// The number of the process that does the work, which for a store is not its guard's.
    pub fn working_pid(&self, child: Option<u32>) -> Option<u32> {
        match self {
            Self::Service { .. } => child,
            Self::Postgres(cluster) => cluster.pid(),
            Self::Redis(server) => server.pid(),
        }
    }

    pub fn patience(&self) -> Duration {
        match self {
            Self::Service { .. } => SERVICE_PATIENCE,
            Self::Postgres(_) | Self::Redis(_) => STOP_PATIENCE + Duration::from_secs(3),
        }
    }
}

fn output_file(layout: &Layout, name: &str) -> Result<File> {
    let path = layout.output(name);
    let open = |path: &Path| -> std::io::Result<File> {
        if fs::metadata(path).is_ok_and(|file| file.len() > OUTPUT_LIMIT) {
            fs::rename(path, path.with_extension("out.1"))?;
        }
        OpenOptions::new().create(true).append(true).open(path)
    };
    open(&path).map_err(|source| Error::on_path(&path, source))
}
