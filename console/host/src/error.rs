//! What can go wrong with a lab, in words that say what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A failure the person at the terminal can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kit(#[from] kit::Error),
    #[error(
        "{what} is not installed on this machine; install it with\n    {command}\nor let `recarga doctor --install` do it"
    )]
    Missing { what: String, command: String },
    #[error("port {port} is taken by another program; stop it or use {flag} with another port")]
    PortTaken { port: u16, flag: &'static str },
    #[error("cannot write in {path}: {source}; make it writable, or choose another folder with --dir", path = .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("the disk that holds {path} is full; free some space there, or choose a folder on another disk with --dir", path = .path.display())]
    DiskFull { path: PathBuf },
    #[error("the disk that holds {path} has {free_megabytes} MB left and a lab needs at least {needed_megabytes} MB; free some space, or choose a folder on another disk with --dir", path = .path.display())]
    DiskNearlyFull {
        path: PathBuf,
        free_megabytes: u64,
        needed_megabytes: u64,
    },
    #[error("{path} holds the stores of an earlier lab but its secrets.json is gone; put it back, or remove {path} to start afresh", path = .path.display())]
    SecretsLost { path: PathBuf },
    #[error("{path} cannot be used: {reason}; remove it to start afresh", path = .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "PostgreSQL refuses to run as root and this machine has none of the accounts postgres, nobody; create one (useradd --system postgres) or run as an ordinary user"
    )]
    NoAccount,
    #[error("the cluster in {path} was made by PostgreSQL {found}, this machine has {have}; install PostgreSQL {found}, or remove {path} to start afresh", path = .path.display())]
    ClusterVersion {
        path: PathBuf,
        found: String,
        have: String,
    },
    #[error("{program} failed ({status}):\n{output}")]
    Program {
        program: String,
        status: String,
        output: String,
    },
    #[error("{name} did not become ready within {seconds} s; the end of {log} says:\n{tail}", log = .log.display())]
    NotReady {
        name: String,
        seconds: u64,
        log: PathBuf,
        tail: String,
    },
    #[error("{name} ended {deaths} times while it was starting; the end of {log} says:\n{tail}", log = .log.display())]
    KeepsEnding {
        name: String,
        deaths: u32,
        log: PathBuf,
        tail: String,
    },
    #[error("cannot use the {kind} server at {address}: {reason}")]
    External {
        kind: &'static str,
        address: String,
        reason: String,
    },
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("no lab is running in {path}; start one with `recarga up`", path = .path.display())]
    NotRunning { path: PathBuf },
    #[error("a lab is starting or stopping in {path}; try again in a moment", path = .path.display())]
    Busy { path: PathBuf },
    #[error("the lab's supervisor ({process}) has said nothing for {seconds} s: it is frozen, or the machine is out of breath.\nSee its state with `ps -o pid,stat,etime,args -p {number}`; wake it with `kill -CONT {number}`, or end it and all it runs with `kill -KILL {number}`",
        process = .pid.map_or_else(|| "process unknown".to_owned(), |pid| format!("process {pid}")),
        number = .pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string()))]
    Silent { seconds: u64, pid: Option<u32> },
    #[error("the lab refused: {0}")]
    Refused(String),
    #[error("stopped before it was ready")]
    Interrupted,
    #[error("{context}: {source}")]
    Io { context: String, source: io::Error },
    #[error("{0}")]
    Invalid(String),
    #[error("{context}: {source}")]
    Database {
        context: &'static str,
        source: sqlx::Error,
    },
    #[error("migrating the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("filling the database: {0}")]
    Seed(#[from] seed::Error),
    #[error(transparent)]
    Topology(#[from] kit::topology::Error),
}

impl Error {
    /// An input or output failure on a path of the lab, told apart by what the reader must do.
    #[must_use]
    pub fn on_path(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path: path.to_owned(),
            },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Unwritable {
                    path: path.to_owned(),
                    source,
                }
            }
            _ => Self::Io {
                context: path.display().to_string(),
                source,
            },
        }
    }

    /// Says what was being done when an input or output call failed.
    pub fn doing(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
