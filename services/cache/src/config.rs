//! Settings of the cache service.

use kit::caching::LONGEST_WINDOW;

/// How long values and leases live, and where Redis is.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub redis: kit::RedisArgs,
    /// Seconds that a value stays fresh when its writer does not say.
    #[arg(long, env = "RECARGA_CACHE_TTL_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST_WINDOW)))]
    pub default_ttl_seconds: u32,
    /// Percent by which a rebuilt value's freshness may be shortened at random, so that values filled together do not expire
    /// together.
    #[arg(long, env = "RECARGA_CACHE_TTL_JITTER_PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub ttl_jitter_percent: u8,
    /// Seconds after its freshness in which a value is served at once while one reader rebuilds it (stale-while-revalidate).
    #[arg(long, env = "RECARGA_CACHE_SWR_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=i64::from(LONGEST_WINDOW)))]
    pub swr_seconds: u32,
    /// Seconds after its freshness in which a value stands in when its service fails (stale-if-error); never after that.
    #[arg(long, env = "RECARGA_CACHE_SIE_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=i64::from(LONGEST_WINDOW)))]
    pub sie_seconds: u32,
    /// Milliseconds after which somebody else may rebuild a value whose rebuilder was not heard of again.
    #[arg(long, env = "RECARGA_CACHE_LEASE_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(50..=120_000))]
    pub lease_ms: u32,
    /// The most requests that wait for one key's rebuild in this instance; further ones are told at once.
    #[arg(long, env = "RECARGA_CACHE_WAITERS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub waiters_per_key: u32,
}
