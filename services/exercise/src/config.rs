//! The exercise service's flags and environment variables.

/// Configuration of one exercise instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    #[command(flatten)]
    pub database: kit::DatabaseArgs,
    /// Milliseconds that a read of `/data` takes on top of the database's time, until an operator changes it.
    #[arg(long, env = "RECARGA_DATA_DELAY_MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=crate::delays::LIMIT_MS))]
    pub data_delay_ms: u64,
    /// Milliseconds that `/process` takes, until an operator changes it.
    #[arg(long, env = "RECARGA_PROCESS_DELAY_MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=crate::delays::LIMIT_MS))]
    pub process_delay_ms: u64,
    /// How many requests for `/process` are worked on at a time, in the order of their arrival, until an operator changes it; 0
    /// for any number.
    #[arg(long, env = "RECARGA_PROCESS_PLACES", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=crate::capacity::MOST))]
    pub process_places: u64,
}
