//! The queue service's flags and environment variables.

use std::time::Duration;

/// Configuration of one queue instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub redis: kit::RedisArgs,
    /// Seconds a received message stays invisible, where neither the call nor the queue says otherwise.
    #[arg(long, env = "RECARGA_QUEUE_VISIBILITY_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    pub visibility_seconds: u32,
    /// Deliveries after which a message is given up, where the queue does not say otherwise.
    #[arg(long, env = "RECARGA_QUEUE_MAX_DELIVERIES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_deliveries: u32,
    /// Waiting messages above which a queue takes no more, where it does not say otherwise.
    #[arg(long, env = "RECARGA_QUEUE_MAX_DEPTH", default_value_t = 1_000_000)]
    pub max_depth: u32,
    /// Seconds for which a dedupe id is remembered, where the queue does not say otherwise; 0 forgets at once.
    #[arg(long, env = "RECARGA_QUEUE_DEDUPE_SECONDS", default_value_t = 300)]
    pub dedupe_seconds: u32,
    /// The most queues there may be.
    #[arg(long, env = "RECARGA_QUEUE_MAX_QUEUES", default_value_t = 1000)]
    pub max_queues: u32,
}

/// What holds where neither a call nor a queue's settings say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub visibility: Duration,
    pub max_deliveries: u32,
    pub max_depth: u32,
    pub dedupe: Duration,
    pub max_queues: u32,
}

impl From<&Config> for Defaults {
    fn from(config: &Config) -> Self {
        Self {
            visibility: Duration::from_secs(config.visibility_seconds.into()),
            max_deliveries: config.max_deliveries,
            max_depth: config.max_depth,
            dedupe: Duration::from_secs(config.dedupe_seconds.into()),
            max_queues: config.max_queues,
        }
    }
}
