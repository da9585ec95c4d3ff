//! The command line of `recarga backup` and `recarga restore`.

use std::{path::PathBuf, time::Duration};

use ::backup::Place;
use clap::{Args, Subcommand};

use super::duration;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Backup {
    #[command(subcommand)]
    pub what: Option<BackupCommand>,
    /// Where backups are kept, each in a folder of its own, or `s3://BUCKET/PREFIX` (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on
    /// say how it is reached); `backups` in the lab's folder by default.
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<Place>,
    /// Go on, and make one every so often, such as 6h; until stopped.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub every: Option<Duration>,
    /// Keep so many of the newest, and remove those before them once the new one is whole.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: Option<u16>,
    #[command(flatten)]
    pub key: BackupKey,
    /// Back up this PostgreSQL instead of that of the lab in this folder.
    #[arg(long, env = "RECARGA_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// With --database-url: the Redis of the queue.
    #[arg(long, env = "RECARGA_QUEUE_REDIS_URL", hide_env_values = true)]
    pub queue_redis_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct BackupKey {
    /// A file with 64 hexadecimal digits, as `openssl rand -hex 32` makes them: what is written is encrypted with it.
    #[arg(long, value_name = "FILE", env = "RECARGA_BACKUP_KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Prove a backup: read all of it, restore it into stores of its own, and check the six invariants there.
    Verify(BackupVerify),
}

#[derive(Debug, Args)]
pub struct BackupVerify {
    /// The backup's folder, or `s3://BUCKET/PREFIX/NAME`.
    pub backup: Place,
    #[command(flatten)]
    pub key: BackupKey,
    /// What clients were told before the backup, as `recarga load --journal` writes it down.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// The report as one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup's folder, or `s3://BUCKET/PREFIX/NAME`.
    pub backup: Place,
    #[command(flatten)]
    pub key: BackupKey,
    /// Restore into this PostgreSQL, whose database is empty, instead of a new private one in the lab's folder.
    #[arg(long, env = "RECARGA_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// With --database-url: the Redis of the queue, in which there is no queue.
    #[arg(long, env = "RECARGA_QUEUE_REDIS_URL", hide_env_values = true)]
    pub queue_redis_url: Option<String>,
}
