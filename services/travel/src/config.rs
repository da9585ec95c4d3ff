//! The settings of the travel service.

use kit::{Common, DatabaseArgs, config::Secret, discovery::Source, retention::Retention};

/// Flags and environment variables of `recarga serve travel`.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// A standby of the same database for the sums over everything; it is asked only when it has all that was committed before.
    #[arg(long, env = "RECARGA_DATABASE_REPLICA_URL", hide_env_values = true)]
    pub database_replica_url: Option<Secret>,
    /// Where the cache service is: it is told what each write changed.
    #[arg(long, env = "RECARGA_CACHE", default_value = "127.0.0.1:5004")]
    pub cache: Source,
    /// Where the queue service is: recharges are announced on the queue `recharges`.
    #[arg(long, env = "RECARGA_QUEUE", default_value = "127.0.0.1:5006")]
    pub queue: Source,
    /// How many passwords are checked at once; each check takes a core and 19 MiB for some tens of milliseconds.
    #[arg(long, env = "RECARGA_PASSWORD_CHECKS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub password_checks: u16,
    /// How many connections, besides the pool's, commit recharges and boardings in groups. More make the groups smaller.
    #[arg(long, env = "RECARGA_COMMIT_LANES", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub commit_lanes: u16,
    /// The most recharges or boardings in one group.
    #[arg(long, env = "RECARGA_COMMIT_GROUP", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub commit_group: u16,
    /// The most recharges and boardings that wait for their group; more are refused with 503.
    #[arg(long, env = "RECARGA_COMMIT_WAITING", default_value_t = 2048, value_parser = clap::value_parser!(u16).range(1..))]
    pub commit_waiting: u16,
    #[command(flatten)]
    pub retention: Retention,
}
