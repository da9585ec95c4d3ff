//! The booking service's flags and environment variables.

use kit::discovery::Source;

/// Configuration of one booking instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub database: kit::DatabaseArgs,
    /// Where the queue service is.
    #[arg(long, env = "RECARGA_QUEUE", default_value = "127.0.0.1:5006")]
    pub queue: Source,
    #[command(flatten)]
    pub retention: kit::retention::Retention,
}
