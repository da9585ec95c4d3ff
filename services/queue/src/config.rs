//! The queue service's flags and environment variables.

use std::time::Duration;

use kit::messaging::Durability;

/// Configuration of one queue instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub redis: kit::RedisArgs,
    /// What queues promise that do not say otherwise: `durable` answers when the disk has it, `fast` when Redis has it in
    /// memory.
    #[arg(long, env = "RECARGA_QUEUE_DURABILITY", default_value_t = Durability::Durable)]
    pub durability: Durability,
    /// Replicas that must have on disk what a durable queue answers: 1 where a replica may take the place of the Redis that is
    /// written to.
    #[arg(long = "replicas", env = "RECARGA_QUEUE_REPLICAS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub replicas: u32,
    /// Seconds a received message stays invisible, where neither the call nor the queue says otherwise.
    #[arg(long, env = "RECARGA_QUEUE_VISIBILITY_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    pub visibility_seconds: u32,
    /// Failures (deliveries that a consumer gave back) at which a message is given up, where the queue does not say
    /// otherwise.
    #[arg(long, env = "RECARGA_QUEUE_MAX_DELIVERIES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_deliveries: u32,
    /// Crashes (deliveries whose consumer was not heard of again) at which a message is given up, where the queue does not
    /// say otherwise.
    #[arg(long, env = "RECARGA_QUEUE_MAX_CRASHES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_crashes: u32,
    /// Seconds after which a message comes back that was given back for the first time, where neither the call nor the queue
    /// says otherwise; doubles with every failure.
    #[arg(long, env = "RECARGA_QUEUE_BACKOFF_SECONDS", default_value_t = 0.5, value_parser = seconds)]
    pub backoff_seconds: f64,
    /// The longest backoff in seconds, where the queue does not say otherwise.
    #[arg(long, env = "RECARGA_QUEUE_BACKOFF_LIMIT_SECONDS", default_value_t = 60.0, value_parser = seconds)]
    pub backoff_limit_seconds: f64,
    /// Waiting messages above which a queue takes no more, where it does not say otherwise.
    #[arg(long, env = "RECARGA_QUEUE_MAX_DEPTH", default_value_t = 1_000_000)]
    pub max_depth: u32,
    /// Bytes of all bodies above which a queue takes no more, where it does not say otherwise.
    #[arg(long, env = "RECARGA_QUEUE_MAX_BYTES", default_value_t = 1_073_741_824)]
    pub max_bytes: u64,
    /// Seconds that the oldest ready message may wait before a queue takes no more, where it does not say otherwise; 0 for
    /// any.
    #[arg(long, env = "RECARGA_QUEUE_MAX_AGE_SECONDS", default_value_t = 0)]
    pub max_age_seconds: u32,
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
    pub durability: Durability,
    pub visibility: Duration,
    pub max_deliveries: u32,
    pub max_crashes: u32,
    pub backoff: Duration,
    pub backoff_limit: Duration,
    pub max_depth: u32,
    pub max_bytes: u64,
    pub max_age: Duration,
    pub dedupe: Duration,
    pub max_queues: u32,
}

impl From<&Config> for Defaults {
    fn from(config: &Config) -> Self {
        Self {
            durability: config.durability,
            visibility: Duration::from_secs(config.visibility_seconds.into()),
            max_deliveries: config.max_deliveries,
            max_crashes: config.max_crashes,
            backoff: Duration::from_secs_f64(config.backoff_seconds),
            backoff_limit: Duration::from_secs_f64(config.backoff_limit_seconds),
            max_depth: config.max_depth,
            max_bytes: config.max_bytes,
            max_age: Duration::from_secs(config.max_age_seconds.into()),
            dedupe: Duration::from_secs(config.dedupe_seconds.into()),
            max_queues: config.max_queues,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .ok_or_else(|| format!("{text:?} is not a number from 0 to 86400"))
}
