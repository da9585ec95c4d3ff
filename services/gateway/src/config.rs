//! Settings of a gateway.

use std::path::PathBuf;

use kit::{config::Secret, discovery::Source};

use crate::table::Upstream;

/// Whether calls that need no token really need none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum AuthMode {
    /// As the routes say.
    #[default]
    Open,
    /// Every call but `/token` needs a token, and there is no demo token.
    Strict,
}

/// Where the services are, who is let in, and how often one may try.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: kit::Common,
    /// The travel instances: `HOST:PORT[,…]`, `dns:NAME:PORT` or `topology:PATH#ROLE`.
    #[arg(long, env = "RECARGA_TRAVEL")]
    pub travel: Source,
    /// The search instances, likewise.
    #[arg(long, env = "RECARGA_SEARCH")]
    pub search: Source,
    /// The booking instances, likewise.
    #[arg(long, env = "RECARGA_BOOKING")]
    pub booking: Source,
    /// The worker instances, likewise.
    #[arg(long, env = "RECARGA_WORKER")]
    pub worker: Source,
    /// The exercise instances, likewise.
    #[arg(long, env = "RECARGA_EXERCISE")]
    pub exercise: Source,
    /// The cache instances, likewise.
    #[arg(long, env = "RECARGA_CACHE")]
    pub cache: Source,
    #[command(flatten)]
    pub reads: crate::read::ReadArgs,
    /// The key that signs tokens, the same for all gateways; at least 16 characters.
    #[arg(long, env = "RECARGA_SIGNING_KEY", hide_env_values = true, value_parser = kit::config::secret)]
    pub signing_key: Secret,
    /// Whether open calls are open.
    #[arg(long, env = "RECARGA_AUTH", value_enum, default_value_t)]
    pub auth: AuthMode,
    /// The JSON file with the routes, in place of the built-in ones (`recarga routes --json` prints these, `--schema` the file's
    /// schema, `--check FILE` what is wrong with a file). It is read again when it changes.
    #[arg(long, env = "RECARGA_ROUTES")]
    pub routes: Option<PathBuf>,
    /// The Redis (7.0 or newer) or Valkey of the cache service: in it all gateways count together what is limited together, and
    /// over it deletions are heard of. Without one each counts alone and keeps no copies of cached values.
    #[arg(long, env = "RECARGA_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// Milliseconds that Redis may take to count; beyond it a gateway counts alone.
    #[arg(long, env = "RECARGA_LIMIT_PATIENCE_MS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit_patience_ms: u32,
    /// The most callers that a gateway counts by itself at one time; beyond it those are forgotten who were not heard of for longest.
    #[arg(long, env = "RECARGA_LIMIT_CALLERS", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1024..=16_777_216))]
    pub limit_callers: u32,
    /// Log-ins a minute for one user name, all of them at once if need be.
    #[arg(long, env = "RECARGA_LOGINS_PER_USER", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub logins_per_user: u32,
    /// Log-ins a minute from one address, likewise.
    #[arg(long, env = "RECARGA_LOGINS_PER_ADDRESS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub logins_per_address: u32,
}

impl Config {
    /// Where a service's instances are; nowhere for the gateway itself.
    #[must_use]
    pub fn source(&self, upstream: Upstream) -> Source {
        match upstream {
            Upstream::Gateway => Source::List(Vec::new()),
            Upstream::Travel => self.travel.clone(),
            Upstream::Search => self.search.clone(),
            Upstream::Booking => self.booking.clone(),
            Upstream::Worker => self.worker.clone(),
            Upstream::Exercise => self.exercise.clone(),
        }
    }
}
