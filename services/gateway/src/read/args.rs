//! Settings of cached reads.

/// What this gateway keeps itself, and how reads share what they ask for.
#[derive(clap::Args, Clone, Debug)]
pub struct ReadArgs {
    /// Bytes of memory for copies of cached values; 0 keeps none.
    #[arg(long, env = "RECARGA_FIRST_LEVEL_BYTES", default_value_t = 32 * 1024 * 1024)]
    pub first_level_bytes: u64,
    /// Seconds that an absence (404) of a cacheable route is remembered; 0 remembers none.
    #[arg(long, env = "RECARGA_NEGATIVE_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub negative_seconds: u32,
    /// The most requests that wait here for one value; further ones get an older value or 503.
    #[arg(long, env = "RECARGA_READ_WAITERS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub read_waiters: u32,
}

impl Default for ReadArgs {
    fn default() -> Self {
        Self {
            first_level_bytes: 32 * 1024 * 1024,
            negative_seconds: 5,
            read_waiters: 10_000,
        }
    }
}
