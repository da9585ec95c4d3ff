//! The notification service's flags and environment variables.

use kit::discovery::Source;

/// Configuration of one notification instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub database: kit::DatabaseArgs,
    /// Where the queue service is.
    #[arg(long, env = "RECARGA_QUEUE", default_value = "127.0.0.1:5006")]
    pub queue: Source,
    /// How many batches of each queue are worked on at a time.
    #[arg(long, env = "RECARGA_NOTIFICATION_CONCURRENCY", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub concurrency: u8,
    /// Seconds that a batch may take before the queue gives it to somebody else.
    #[arg(long, env = "RECARGA_NOTIFICATION_VISIBILITY_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub visibility_seconds: u32,
}
