//! The balancer's flags and environment variables.

use std::time::Duration;

use kit::{Common, discovery::Source};
use proxy::{CheckSettings, Thresholds};

/// Everything a balancer can be told.
#[derive(clap::Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub common: Common,
    /// Where the gateways are: `HOST:PORT[,HOST:PORT…]`, `dns:NAME:PORT` or `topology:PATH#gateway`.
    #[arg(long, env = "RECARGA_GATEWAYS")]
    pub gateways: Source,
    /// Origins, besides those on loopback, whose pages may call: `https://lab.example,https://class.example`.
    #[arg(long, env = "RECARGA_CORS_ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,
    /// Milliseconds within which a gateway must begin to answer.
    #[arg(long, env = "RECARGA_FORWARD_TIMEOUT_MS", default_value_t = 29_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub forward_timeout_ms: u64,
    /// The largest request body, in bytes.
    #[arg(long, env = "RECARGA_BODY_LIMIT_BYTES", default_value_t = 1024 * 1024)]
    pub body_limit_bytes: usize,
    /// Milliseconds between two health checks of a gateway.
    #[arg(long, env = "RECARGA_CHECK_INTERVAL_MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub check_interval_ms: u64,
    /// Milliseconds within which a health check must be answered.
    #[arg(long, env = "RECARGA_CHECK_TIMEOUT_MS", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub check_timeout_ms: u64,
    /// Failed checks in a row that take a gateway out.
    #[arg(long, env = "RECARGA_CHECK_FALL", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub check_fall: u32,
    /// Passed checks in a row that bring a gateway back.
    #[arg(long, env = "RECARGA_CHECK_RISE", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub check_rise: u32,
}

impl Config {
    #[must_use]
    pub fn forward_timeout(&self) -> Duration {
        Duration::from_millis(self.forward_timeout_ms)
    }

    #[must_use]
    pub fn check(&self) -> CheckSettings {
        CheckSettings {
            interval: Duration::from_millis(self.check_interval_ms),
            timeout: Duration::from_millis(self.check_timeout_ms),
            ..CheckSettings::default()
        }
    }

    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            rise: self.check_rise,
            fall: self.check_fall,
        }
    }
}

/// An origin is a scheme, a host and perhaps a port; a path or a wildcard would silently match nothing.
fn origin(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '*', ' ']) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err("an origin looks like https://lab.example or http://192.0.2.1:3000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_whole() {
        for (text, good) in [
            ("https://lab.example", true),
            ("http://192.0.2.1:3000", true),
            ("https://lab.example/", false),
            ("*", false),
            ("https://*.example", false),
            ("lab.example", false),
            ("https://", false),
        ] {
            assert_eq!(origin(text).is_ok(), good, "{text}");
        }
    }
}
