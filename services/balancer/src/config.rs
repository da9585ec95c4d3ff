//! The balancer's flags and environment variables.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use kit::{
    Common,
    discovery::Source,
    tls::{Certificates, FRONT},
};
use proxy::{
    Balancing, CheckSettings, HashOn, PolicyKind, Thresholds, edge::EdgeSettings,
    samples::SampleSettings,
};
use serde_json::{Value, json};

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
    /// Speak HTTP/2 (without TLS) to the gateways instead of HTTP/1.1.
    #[arg(long, env = "RECARGA_UPSTREAM_HTTP2")]
    pub upstream_http2: bool,
    /// Threads that serve clients; by default as many as there are cores, at most four.
    #[arg(long, env = "RECARGA_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Clients' connections at a time; more are turned away with 503.
    #[arg(long, env = "RECARGA_CONNECTIONS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Milliseconds from the first to the last byte of a request's head.
    #[arg(long, env = "RECARGA_HEAD_TIMEOUT_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub head_timeout_ms: u64,
    /// Milliseconds that a connection without a request is kept.
    #[arg(long, env = "RECARGA_KEEP_ALIVE_MS", default_value_t = 75_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub keep_alive_ms: u64,
    /// Milliseconds that a client may pause in the middle of a request's body.
    #[arg(long, env = "RECARGA_BODY_STALL_MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub body_stall_ms: u64,
    /// Proxies whose `Forwarded` and `X-Forwarded-*` headers are believed, such as `10.0.0.0/8,192.0.2.7`; nobody's by default.
    #[arg(long, env = "RECARGA_TRUSTED_PEERS", value_delimiter = ',', value_parser = network)]
    pub trusted_peers: Vec<IpNet>,
    /// A file with the certificate chain in PEM: with it the public port speaks TLS. A renewed one is put in force within seconds.
    #[arg(long, env = "RECARGA_TLS_CERTIFICATE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// A file with the certificate's private key in PEM.
    #[arg(long, env = "RECARGA_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
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
    /// Who picks the gateway. `round_robin` unless told. Changed while it runs by `PUT /admin/policy`.
    #[arg(long, env = "RECARGA_POLICY", value_enum)]
    pub policy: Option<PolicyKind>,
    /// Weights of gateways, for the policies that look at weights: `gateway-1=3,gateway-2=1`. 1 to 1,000; 1 unless told.
    #[arg(long, env = "RECARGA_WEIGHTS", value_delimiter = ',', value_parser = weight)]
    pub weights: Vec<(String, u32)>,
    /// What the policy `consistent_hash` hashes: `address` (unless told), `header:NAME` or `cookie:NAME`.
    #[arg(long, env = "RECARGA_HASH_ON")]
    pub hash_on: Option<HashOn>,
    /// Send a client back to the gateway that served it first, by the cookie `recarga_upstream`.
    #[arg(long, env = "RECARGA_STICKY")]
    pub sticky: bool,
    /// Milliseconds until a gateway that has come (back) gets its whole share, under the policies that look at weights; 10,000
    /// unless told, 0 for at once.
    #[arg(long, env = "RECARGA_SLOW_START_MS", value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub slow_start_ms: Option<u64>,
    /// Limit the requests in flight to what the gateways can do, found out from their latencies; more wait shortly or get 503.
    #[arg(long, env = "RECARGA_ADMISSION")]
    pub admission: bool,
    /// Requests a second that are kept to be looked into (`GET /admin/requests`), and as many failed and as many slow ones.
    #[arg(long, env = "RECARGA_SAMPLE_RATE", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub sample_rate: u32,
    /// Milliseconds from which on a request is slow.
    #[arg(long, env = "RECARGA_SAMPLE_SLOW_MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub sample_slow_ms: u64,
    /// Any of the balancing settings, as the JSON that `PUT /admin/balancing` takes: `{"breaker": {"failures": 3}}`. The flags
    /// above come after it.
    #[arg(long, env = "RECARGA_BALANCING", value_parser = balancing)]
    pub balancing: Option<Balancing>,
}

impl Config {
    /// How the front door behaves.
    #[must_use]
    pub fn edge(&self) -> EdgeSettings {
        let defaults = EdgeSettings::default();
        EdgeSettings {
            workers: self.workers.map_or(defaults.workers, usize::from),
            connections: self.connections as usize,
            head_timeout: Duration::from_millis(self.head_timeout_ms),
            keep_alive: Duration::from_millis(self.keep_alive_ms),
            body_stall: Duration::from_millis(self.body_stall_ms),
            body_limit: self.body_limit_bytes as u64,
            forward_timeout: self.forward_timeout(),
            trusted: self.trusted_peers.clone(),
            ..defaults
        }
    }

    /// What the public port shows of itself, if it is encrypted.
    pub fn certificates(&self) -> Result<Option<Certificates>, kit::Error> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Certificates::load(FRONT, certificate, key).map(Some),
            _ => Ok(None),
        }
    }

    #[must_use]
    pub fn samples(&self) -> SampleSettings {
        SampleSettings {
            per_second: self.sample_rate,
            slow: Duration::from_millis(self.sample_slow_ms),
        }
    }

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

    /// How the pool of gateways balances at first.
    pub fn balancing(&self) -> Result<Balancing, kit::Error> {
        let mut flags = json!({});
        if let Some(policy) = self.policy {
            flags["policy"] = json!(policy);
        }
        if let Some(hash_on) = &self.hash_on {
            flags["hash_on"] = json!(hash_on);
        }
        for (name, weight) in &self.weights {
            flags["weights"][name] = json!(weight);
        }
        if let Some(window) = self.slow_start_ms {
            flags["slow_start"]["window_ms"] = json!(window);
        }
        if self.sticky {
            flags["sticky"] = json!(true);
        }
        if self.admission {
            flags["admission"]["enabled"] = json!(true);
        }
        let base = self.balancing.clone().unwrap_or_default();
        base.merged(&flags)
            .map_err(|error| kit::Error::config("RECARGA_BALANCING (--balancing)", error))
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

/// A name and its weight.
fn weight(text: &str) -> Result<(String, u32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(name, weight)| Some((name.to_owned(), weight.parse().ok()?)));
    match parsed {
        Some((name, weight)) if !name.is_empty() && (1..=1_000).contains(&weight) => {
            Ok((name, weight))
        }
        _ => Err("a weight looks like gateway-1=3, from 1 to 1000".to_owned()),
    }
}

/// A partial document of settings.
fn balancing(text: &str) -> Result<Balancing, String> {
    let patch: Value =
        serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    Balancing::default()
        .merged(&patch)
        .map_err(|error| error.to_string())
}

/// A network in CIDR notation, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "a network looks like 10.0.0.0/8, one address like 192.0.2.7".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_single_addresses() {
        for (text, good) in [
            ("10.0.0.0/8", true),
            ("192.0.2.7", true),
            ("::1", true),
            ("fd00::/8", true),
            ("10.0.0.0/33", false),
            ("localhost", false),
            ("", false),
        ] {
            assert_eq!(network(text).is_ok(), good, "{text:?}");
        }
    }

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    fn parsed(flags: &[&str]) -> Result<Config, String> {
        let needed = [
            "balancer",
            "--gateways",
            "127.0.0.1:1",
            "--operator-token",
            "operator-token-for-tests",
        ];
        <Command as clap::Parser>::try_parse_from(needed.iter().chain(flags))
            .map(|command| command.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_come_after_the_document() {
        let balancing = |flags: &[&str]| parsed(flags).unwrap().balancing().unwrap();
        assert_eq!(balancing(&[]), Balancing::default());
        let document =
            r#"{"policy": "random", "breaker": {"failures": 3}, "weights": {"gateway-2": 5}}"#;
        let flags = [
            "--balancing",
            document,
            "--policy",
            "least_outstanding",
            "--weights",
            "gateway-1=3",
            "--hash-on",
            "cookie:session",
            "--sticky",
            "--slow-start-ms",
            "0",
            "--admission",
        ];
        let all = balancing(&flags);
        assert_eq!(all.policy, PolicyKind::LeastOutstanding);
        assert_eq!(all.breaker.failures, 3);
        assert_eq!(
            all.weights.into_iter().collect::<Vec<_>>(),
            [("gateway-1".to_owned(), 3), ("gateway-2".to_owned(), 5)]
        );
        assert!(all.sticky && all.admission.enabled && all.slow_start.window_ms == 0);
        assert_eq!(all.hash_on.to_string(), "cookie:session");
    }

    #[test]
    fn bad_balancing_is_refused_at_the_start() {
        for (flag, value, word) in [
            ("--policy", "best", "least_outstanding"),
            ("--weights", "gateway-1=0", "from 1 to 1000"),
            ("--weights", "gateway-1", "from 1 to 1000"),
            ("--hash-on", "path", "address, header:NAME or cookie:NAME"),
            ("--balancing", "{", "not JSON"),
            (
                "--balancing",
                r#"{"breaker": {"failures": -1}}"#,
                "breaker.failures",
            ),
            ("--balancing", r#"{"polcy": "p2c"}"#, "polcy"),
            ("--slow-start-ms", "-1", "--slow-start-ms"),
        ] {
            let error = parsed(&[&format!("{flag}={value}")]).unwrap_err();
            assert!(error.contains(word), "{flag} {value}: {error}");
        }
    }

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
