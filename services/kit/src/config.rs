//! The flags and environment variables that every service shares.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{safeguards::Safeguard, tls::MutualTlsArgs, traces::TracesArgs};

/// Identity, addresses, logging and shutdown of one instance.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// This instance's name, `ROLE-N`; by default the role and the host's name.
    #[arg(long, env = "RECARGA_INSTANCE")]
    pub instance: Option<String>,
    /// Where the service listens; port 0 takes any free one.
    #[arg(long, env = "RECARGA_LISTEN", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where the admin surface listens: loopback or a private network only.
    #[arg(long, env = "RECARGA_ADMIN_LISTEN", default_value = "127.0.0.1:0")]
    pub admin_listen: SocketAddr,
    /// The bearer token that admin changes need; at least 16 characters.
    #[arg(long, env = "RECARGA_OPERATOR_TOKEN", hide_env_values = true, value_parser = secret)]
    pub operator_token: Secret,
    /// The folder for rolling JSON log files; none are written without it.
    #[arg(long, env = "RECARGA_LOG_DIR")]
    pub log_dir: Option<PathBuf>,
    /// What is logged, such as `info` or `info,gateway=debug`.
    #[arg(long, env = "RECARGA_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// How many served requests a second are logged in full; failures always are, up to as many again.
    #[arg(long, env = "RECARGA_ACCESS_LOG_RATE", default_value_t = 20)]
    pub access_log_rate: u32,
    /// Seconds that work in flight may take after a stop was asked for.
    #[arg(long, env = "RECARGA_DRAIN_SECONDS", default_value_t = 10)]
    pub drain_seconds: u64,
    /// Milliseconds to go on accepting after a stop was asked for, so that callers notice before the port closes.
    #[arg(long, env = "RECARGA_DRAIN_NOTICE_MS", default_value_t = 800)]
    pub drain_notice_ms: u64,
    /// Seconds after which the names of other services are looked up again, even when their records may be believed for
    /// longer (as Docker's, for ten minutes): 1 to 60.
    #[arg(long, env = "RECARGA_DNS_MAX_SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub dns_max_seconds: u64,
    /// Refuse every lever, whoever pulls it: for a lab that others only look at. What the business offers stays.
    #[arg(long, env = "RECARGA_READ_ONLY")]
    pub read_only: bool,
    #[command(flatten)]
    pub mtls: MutualTlsArgs,
    /// Do without a safeguard from the start and for good, to see that its absence is noticed; for tests of the tests.
    #[arg(
        long,
        env = "RECARGA_WITHOUT_SAFEGUARD",
        hide = true,
        value_delimiter = ','
    )]
    pub without_safeguard: Vec<Safeguard>,
    #[command(flatten)]
    pub traces: TracesArgs,
}

impl Common {
    /// A configuration for tests: any free ports, a fixed operator token, no log files, no drain notice.
    #[must_use]
    pub fn for_tests(instance: &str) -> Self {
        Self {
            instance: Some(instance.to_owned()),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            operator_token: Secret("operator-token-for-tests".to_owned()),
            log_dir: None,
            log_level: "info".to_owned(),
            access_log_rate: 20,
            drain_seconds: 5,
            drain_notice_ms: 0,
            dns_max_seconds: 2,
            read_only: false,
            mtls: MutualTlsArgs::default(),
            without_safeguard: Vec::new(),
            traces: TracesArgs::default(),
        }
    }

    /// The name of this instance, made from the role and the host's name when none was given.
    #[must_use]
    pub fn instance_name(&self, role: &str) -> String {
        self.instance.clone().unwrap_or_else(|| {
            let host = sysinfo::System::host_name().unwrap_or_else(|_| "1".to_owned());
            format!("{role}-{host}")
        })
    }

    #[must_use]
    pub fn drain_deadline(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// Where PostgreSQL is.
#[derive(clap::Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// The PostgreSQL to use, such as `postgres://user:password@127.0.0.1:5432/recarga`; several servers as
    /// `@one:5432,two:5432/recarga?target_session_attrs=read-write`.
    #[arg(long, env = "RECARGA_DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,
    /// The same database past a pooler in front of it, for what keeps a session: groups of writes, and the outbox relay.
    #[arg(long, env = "RECARGA_DATABASE_DIRECT_URL", hide_env_values = true)]
    pub database_direct_url: Option<Secret>,
    /// The most connections this instance opens.
    #[arg(long, env = "RECARGA_DATABASE_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub database_connections: u32,
}

/// Where Redis is.
#[derive(clap::Args, Clone, Debug)]
pub struct RedisArgs {
    /// The Redis (7.0 or newer) or Valkey to use, such as `redis://:password@127.0.0.1:6379`; where a replica takes the place of a
    /// master, `redis-sentinel://one,two,three#mymaster` or `redis-cluster://one,two,three`. `rediss` in place of `redis` is TLS.
    #[arg(long, env = "RECARGA_REDIS_URL", hide_env_values = true)]
    pub redis_url: Secret,
}

/// Text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(secret)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Parses a secret that guards something: long enough, and not one that everybody knows.
pub fn secret(text: &str) -> Result<Secret, String> {
    let lower = text.to_lowercase();
    if text.len() < 16 {
        return Err(
            "a secret needs at least 16 characters; `openssl rand -hex 32` makes one".to_owned(),
        );
    }
    if ["changeme", "change-me", "secret", "password", "default"]
        .iter()
        .any(|known| lower.contains(known))
    {
        return Err(
            "this looks like a default; `openssl rand -hex 32` makes a real one".to_owned(),
        );
    }
    Ok(Secret(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_well_known_secrets_are_refused() {
        assert!(secret("short").is_err());
        assert!(secret("changeme-changeme-changeme").is_err());
        assert!(secret("4f1d2c3b4a5968778695a4b3c2d1e0f1").is_ok());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(
            format!("{:?}", Secret("hunter2hunter2hunter2".into())),
            "(secret)"
        );
    }
}
