//! The settings of the search service.

use kit::{Common, DatabaseArgs};

/// Flags and environment variables of `recarga serve search`.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub database: DatabaseArgs,
}
