//! What OpenTelemetry's standard variables say, checked before anything is bound.

use std::{fmt::Display, path::Path, str::FromStr, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use url::Url;

use super::sampling::Sampling;
use crate::{
    Error,
    config::Secret,
    tls::{self, Certificates, Purpose},
};

/// Where spans go, and which. Off without an endpoint; a variable that is empty counts as not set.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub struct TracesArgs {
    /// The collector that spans are sent to, by OTLP over HTTP: `/v1/traces` is added. Without it there are none.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// The same, as the whole URL.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// Headers for the collector, as `name=value,name=value`; values percent-encoded.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true)]
    pub otel_exporter_otlp_headers: Option<Secret>,
    /// The same, for spans only.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        hide_env_values = true
    )]
    pub otel_exporter_otlp_traces_headers: Option<Secret>,
    /// Milliseconds that the collector may take for one answer [default: 10000].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT")]
    pub otel_exporter_otlp_timeout: Option<String>,
    /// The same, for spans only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")]
    pub otel_exporter_otlp_traces_timeout: Option<String>,
    /// How the collector is spoken to: `http/protobuf`, and nothing else.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL")]
    pub otel_exporter_otlp_protocol: Option<String>,
    /// The same, for spans only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")]
    pub otel_exporter_otlp_traces_protocol: Option<String>,
    /// `gzip`, or `none` [default: none].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_COMPRESSION")]
    pub otel_exporter_otlp_compression: Option<String>,
    /// The same, for spans only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")]
    pub otel_exporter_otlp_traces_compression: Option<String>,
    /// For a collector behind `https`: the PEM file with the authorities to believe [default: those of the system].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otel_exporter_otlp_certificate: Option<String>,
    /// The same, for spans only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")]
    pub otel_exporter_otlp_traces_certificate: Option<String>,
    /// The PEM file with the certificate that the collector is shown.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")]
    pub otel_exporter_otlp_client_certificate: Option<String>,
    /// The same, for spans only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE")]
    pub otel_exporter_otlp_traces_client_certificate: Option<String>,
    /// The PEM file with that certificate's private key.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_KEY")]
    pub otel_exporter_otlp_client_key: Option<String>,
    /// The same, for spans only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY")]
    pub otel_exporter_otlp_traces_client_key: Option<String>,
    /// Which traces are recorded: `always_on`, `always_off`, `traceidratio`, or one of them behind `parentbased_`, which
    /// leaves it to whoever began the trace [default: `parentbased_always_on`].
    #[arg(long, env = "OTEL_TRACES_SAMPLER")]
    pub otel_traces_sampler: Option<String>,
    /// The part of all traces that a ratio records, 0 to 1 [default: 1].
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG")]
    pub otel_traces_sampler_arg: Option<String>,
    /// `otlp`, or `none`: no spans, whatever else is set [default: otlp].
    #[arg(long, env = "OTEL_TRACES_EXPORTER")]
    pub otel_traces_exporter: Option<String>,
    /// `true`: no spans, whatever else is set.
    #[arg(long, env = "OTEL_SDK_DISABLED")]
    pub otel_sdk_disabled: Option<String>,
    /// What is said of every span's process besides its role, instance and version, as `name=value,name=value`.
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES")]
    pub otel_resource_attributes: Option<String>,
    /// The name of the service, instead of its role.
    #[arg(long, env = "OTEL_SERVICE_NAME")]
    pub otel_service_name: Option<String>,
    /// Milliseconds after which spans are sent, however few [default: 5000].
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY")]
    pub otel_bsp_schedule_delay: Option<String>,
    /// Milliseconds after which a batch that the collector did not take is given up [default: 30000].
    #[arg(long, env = "OTEL_BSP_EXPORT_TIMEOUT")]
    pub otel_bsp_export_timeout: Option<String>,
    /// The most spans that wait; more are dropped and counted [default: 2048].
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE")]
    pub otel_bsp_max_queue_size: Option<String>,
    /// The most spans sent at a time [default: 512].
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE")]
    pub otel_bsp_max_export_batch_size: Option<String>,
}

/// What was made of them.
#[derive(Clone, Debug)]
pub struct Settings {
    pub endpoint: Url,
    /// For a collector that is spoken with by TLS.
    pub tls: Option<ClientConfig>,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub gzip: bool,
    pub sampling: Sampling,
    /// What was said of the process: name and value.
    pub resource: Vec<(String, String)>,
    pub service_name: Option<String>,
    pub schedule_delay: Duration,
    pub export_timeout: Duration,
    pub queue_size: usize,
    pub batch_size: usize,
}

/// The first of several variables that is set, and its name.
type Given<'a> = Option<(&'static str, &'a str)>;

fn first<'a>(of: &[(&'static str, &'a Option<String>)]) -> Given<'a> {
    of.iter().find_map(|(name, value)| {
        let value = value
            .as_deref()
            .map(str::trim)
            .filter(|value| !value.is_empty())?;
        Some((*name, value))
    })
}

impl TracesArgs {
    /// The settings, or nothing when no spans are wanted. What is wrong is only told when they are.
    pub fn settings(&self) -> Result<Option<Settings>, Error> {
        let disabled = first(&[("OTEL_SDK_DISABLED", &self.otel_sdk_disabled)]);
        if one_of(disabled, &[("true", true), ("false", false)], false)? {
            return Ok(None);
        }
        let exporter = first(&[("OTEL_TRACES_EXPORTER", &self.otel_traces_exporter)]);
        if one_of(exporter, &[("none", true), ("otlp", false)], false)? {
            return Ok(None);
        }
        let Some(endpoint) = self.endpoint()? else {
            return Ok(None);
        };
        one_of(self.protocol(), &[("http/protobuf", ())], ())?;
        let queue = first(&[("OTEL_BSP_MAX_QUEUE_SIZE", &self.otel_bsp_max_queue_size)]);
        let queue_size = number(queue, 2048, 1..=1_000_000)?;
        let batch = first(&[(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            &self.otel_bsp_max_export_batch_size,
        )]);
        let batch_size = number(batch, queue_size.min(512), 1..=queue_size)?;
        let delay = first(&[("OTEL_BSP_SCHEDULE_DELAY", &self.otel_bsp_schedule_delay)]);
        let patience = first(&[("OTEL_BSP_EXPORT_TIMEOUT", &self.otel_bsp_export_timeout)]);
        let compression = first(&[
            (
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
                &self.otel_exporter_otlp_traces_compression,
            ),
            (
                "OTEL_EXPORTER_OTLP_COMPRESSION",
                &self.otel_exporter_otlp_compression,
            ),
        ]);
        let tls = if endpoint.scheme() == "https" {
            Some(self.tls()?)
        } else {
            None
        };
        Ok(Some(Settings {
            endpoint,
            tls,
            headers: self.headers()?,
            timeout: milliseconds(self.timeout(), 10_000)?,
            gzip: one_of(compression, &[("gzip", true), ("none", false)], false)?,
            sampling: self.sampling()?,
            resource: pairs(first(&[(
                "OTEL_RESOURCE_ATTRIBUTES",
                &self.otel_resource_attributes,
            )]))?,
            service_name: first(&[("OTEL_SERVICE_NAME", &self.otel_service_name)])
                .map(|(_, name)| name.to_owned()),
            schedule_delay: milliseconds(delay, 5_000)?,
            export_timeout: milliseconds(patience, 30_000)?,
            queue_size: usize::try_from(queue_size).unwrap_or(usize::MAX),
            batch_size: usize::try_from(batch_size).unwrap_or(usize::MAX),
        }))
    }

    fn endpoint(&self) -> Result<Option<Url>, Error> {
        let whole = first(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &self.otel_exporter_otlp_traces_endpoint,
        )]);
        let base = first(&[(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &self.otel_exporter_otlp_endpoint,
        )]);
        let Some((name, text)) = whole.or(base) else {
            return Ok(None);
        };
        let mut url: Url = parsed((name, text), "a URL such as http://127.0.0.1:4318")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            let reason = format!("{text:?} is not an http:// or https:// URL");
            return Err(Error::config(name, reason));
        }
        if whole.is_none() {
            let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(Some(url))
    }

    /// Whom the collector must be known by, and what it is shown.
    fn tls(&self) -> Result<ClientConfig, Error> {
        let authorities = first(&[
            (
                "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
                &self.otel_exporter_otlp_traces_certificate,
            ),
            (
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
                &self.otel_exporter_otlp_certificate,
            ),
        ]);
        let certificate = first(&[
            (
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                &self.otel_exporter_otlp_traces_client_certificate,
            ),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                &self.otel_exporter_otlp_client_certificate,
            ),
        ]);
        let key = first(&[
            (
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
                &self.otel_exporter_otlp_traces_client_key,
            ),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_KEY",
                &self.otel_exporter_otlp_client_key,
            ),
        ]);
        let authorities = authorities
            .map(|(name, path)| tls::authorities(name, Path::new(path)))
            .transpose()?;
        let own = match (certificate, key) {
            (None, None) => None,
            (Some((certificate, shown)), Some((key, kept))) => {
                let purpose = Purpose {
                    certificate,
                    key,
                    metric: "otlp",
                };
                let own = Certificates::load(purpose, Path::new(shown), Path::new(kept))?;
                Some(own)
            }
            (Some((name, _)), None) | (None, Some((name, _))) => {
                let reason = "a certificate and its key are given together or not at all";
                return Err(Error::config(name, reason));
            }
        };
        tls::client_of(authorities, own.as_ref())
    }

    fn protocol(&self) -> Given<'_> {
        first(&[
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                &self.otel_exporter_otlp_traces_protocol,
            ),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                &self.otel_exporter_otlp_protocol,
            ),
        ])
    }

    fn timeout(&self) -> Given<'_> {
        first(&[
            (
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                &self.otel_exporter_otlp_traces_timeout,
            ),
            (
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                &self.otel_exporter_otlp_timeout,
            ),
        ])
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let text = |secret: &'_ Option<Secret>| secret.as_ref().map(|secret| secret.0.clone());
        let (traces, general) = (
            text(&self.otel_exporter_otlp_traces_headers),
            text(&self.otel_exporter_otlp_headers),
        );
        let given = first(&[
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &traces),
            ("OTEL_EXPORTER_OTLP_HEADERS", &general),
        ]);
        let mut headers = HeaderMap::new();
        for (key, value) in pairs(given)? {
            let variable = given.map_or("", |(name, _)| name);
            // The value may be a secret: only the name is told.
            let refused =
                || Error::config(variable, format!("{key:?} and its value are no header"));
            let name: HeaderName = key.parse().map_err(|_| refused())?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn sampling(&self) -> Result<Sampling, Error> {
        let argument = first(&[("OTEL_TRACES_SAMPLER_ARG", &self.otel_traces_sampler_arg)]);
        let sampler = first(&[("OTEL_TRACES_SAMPLER", &self.otel_traces_sampler)]);
        let name = sampler.map_or("parentbased_always_on", |(_, name)| name);
        let (by_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match argument {
                Some(given) => {
                    let ratio: f64 = parsed(given, "a number from 0 to 1")?;
                    if !(0.0..=1.0).contains(&ratio) {
                        let reason = format!("{ratio} is not between 0 and 1");
                        return Err(Error::config(given.0, reason));
                    }
                    ratio
                }
                None => 1.0,
            },
            _ => {
                let reason = format!(
                    "{name:?} is none of always_on, always_off, traceidratio, parentbased_always_on, \
                     parentbased_always_off, parentbased_traceidratio"
                );
                return Err(Error::config("OTEL_TRACES_SAMPLER", reason));
            }
        };
        Ok(Sampling::new(by_parent, ratio))
    }
}

fn one_of<T: Copy>(given: Given<'_>, known: &[(&str, T)], otherwise: T) -> Result<T, Error> {
    let Some((name, text)) = given else {
        return Ok(otherwise);
    };
    known
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            Error::config(name, format!("{text:?} is not {}", words.join(" or ")))
        })
}

fn parsed<T: FromStr<Err: Display>>(
    (name, text): (&'static str, &str),
    wanted: &str,
) -> Result<T, Error> {
    text.parse()
        .map_err(|error| Error::config(name, format!("{text:?} is not {wanted}: {error}")))
}

fn number(
    given: Given<'_>,
    otherwise: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, Error> {
    let Some(given) = given else {
        return Ok(otherwise);
    };
    let wanted = format!("a number from {} to {}", range.start(), range.end());
    let number: u64 = parsed(given, &wanted)?;
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(Error::config(given.0, format!("{number} is not {wanted}")))
    }
}

/// Up to an hour.
fn milliseconds(given: Given<'_>, otherwise: u64) -> Result<Duration, Error> {
    number(given, otherwise, 1..=3_600_000).map(Duration::from_millis)
}

/// `name=value,name=value`, percent-encoded, as the specification of baggage has it.
fn pairs(given: Given<'_>) -> Result<Vec<(String, String)>, Error> {
    let Some((name, text)) = given else {
        return Ok(Vec::new());
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let key = percent_decode_str(key.trim()).decode_utf8().ok()?;
        (!key.is_empty()).then(|| (key.into_owned(), value.into_owned()))
    };
    text.split(',')
        .filter(|text| !text.trim().is_empty())
        .enumerate()
        .map(|(index, text)| {
            let reason = format!("entry {} is not name=value, percent-encoded", index + 1);
            pair(text).ok_or_else(|| Error::config(name, reason))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> TracesArgs {
        TracesArgs {
            otel_exporter_otlp_endpoint: Some("http://127.0.0.1:4318".to_owned()),
            ..TracesArgs::default()
        }
    }

    #[test]
    fn there_are_none_without_an_endpoint() {
        assert!(TracesArgs::default().settings().unwrap().is_none());
        let wrong_but_off = TracesArgs {
            otel_exporter_otlp_endpoint: Some(" ".to_owned()),
            otel_exporter_otlp_protocol: Some("grpc".to_owned()),
            ..TracesArgs::default()
        };
        assert!(wrong_but_off.settings().unwrap().is_none());
        for off in [
            TracesArgs {
                otel_sdk_disabled: Some("TRUE".to_owned()),
                ..on()
            },
            TracesArgs {
                otel_traces_exporter: Some("none".to_owned()),
                ..on()
            },
        ] {
            assert!(off.settings().unwrap().is_none());
        }
    }

    #[test]
    fn the_more_special_endpoint_wins_and_is_taken_as_it_is() {
        let endpoint = |args: TracesArgs| args.settings().unwrap().unwrap().endpoint.to_string();
        assert_eq!(endpoint(on()), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(
            endpoint(TracesArgs {
                otel_exporter_otlp_endpoint: Some("https://collector/otlp/".to_owned()),
                ..on()
            }),
            "https://collector/otlp/v1/traces"
        );
        assert_eq!(
            endpoint(TracesArgs {
                otel_exporter_otlp_traces_endpoint: Some("http://elsewhere:1/x".to_owned()),
                ..on()
            }),
            "http://elsewhere:1/x"
        );
    }

    #[test]
    fn what_is_not_said_is_as_the_specification_has_it() {
        let settings = on().settings().unwrap().unwrap();
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.schedule_delay, Duration::from_secs(5));
        assert_eq!(settings.export_timeout, Duration::from_secs(30));
        assert_eq!((settings.queue_size, settings.batch_size), (2048, 512));
        assert!(!settings.gzip && settings.headers.is_empty());
        let small = TracesArgs {
            otel_bsp_max_queue_size: Some("100".to_owned()),
            ..on()
        };
        assert_eq!(small.settings().unwrap().unwrap().batch_size, 100);
    }

    #[test]
    fn headers_and_attributes_are_decoded() {
        let args = TracesArgs {
            otel_exporter_otlp_headers: Some(Secret(
                "Authorization=Bearer%20a%3Db, x-tenant = lab,".to_owned(),
            )),
            otel_resource_attributes: Some("deployment.environment.name=lab%201,empty=".to_owned()),
            otel_service_name: Some("mine".to_owned()),
            ..on()
        };
        let settings = args.settings().unwrap().unwrap();
        assert_eq!(settings.headers["authorization"], "Bearer a=b");
        assert_eq!(settings.headers["x-tenant"], "lab");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings.resource,
            [
                pair("deployment.environment.name", "lab 1"),
                pair("empty", "")
            ]
        );
        assert_eq!(settings.service_name.as_deref(), Some("mine"));
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_variable() {
        macro_rules! refused {
            ($($field:ident = $value:expr => $variable:literal),* $(,)?) => {$({
                let args = TracesArgs { $field: $value.parse().ok(), ..on() };
                let error = args.settings().unwrap_err().to_string();
                assert!(error.starts_with(concat!($variable, ": ")), "{error}");
            })*};
        }
        refused! {
            otel_exporter_otlp_endpoint = "127.0.0.1:4318" => "OTEL_EXPORTER_OTLP_ENDPOINT",
            otel_exporter_otlp_endpoint = "ftp://a" => "OTEL_EXPORTER_OTLP_ENDPOINT",
            otel_exporter_otlp_traces_endpoint = "unix:/x" => "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            otel_exporter_otlp_headers = "x" => "OTEL_EXPORTER_OTLP_HEADERS",
            otel_exporter_otlp_headers = "a b=c" => "OTEL_EXPORTER_OTLP_HEADERS",
            otel_exporter_otlp_traces_headers = "a=%0A" => "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            otel_exporter_otlp_timeout = "10s" => "OTEL_EXPORTER_OTLP_TIMEOUT",
            otel_exporter_otlp_traces_timeout = "0" => "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            otel_exporter_otlp_protocol = "grpc" => "OTEL_EXPORTER_OTLP_PROTOCOL",
            otel_exporter_otlp_traces_protocol = "http/json" => "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            otel_exporter_otlp_compression = "zstd" => "OTEL_EXPORTER_OTLP_COMPRESSION",
            otel_exporter_otlp_traces_compression = "br" => "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            otel_traces_sampler = "sometimes" => "OTEL_TRACES_SAMPLER",
            otel_traces_exporter = "zipkin" => "OTEL_TRACES_EXPORTER",
            otel_sdk_disabled = "perhaps" => "OTEL_SDK_DISABLED",
            otel_resource_attributes = "a=1,b" => "OTEL_RESOURCE_ATTRIBUTES",
            otel_bsp_schedule_delay = "-1" => "OTEL_BSP_SCHEDULE_DELAY",
            otel_bsp_export_timeout = "x" => "OTEL_BSP_EXPORT_TIMEOUT",
            otel_bsp_max_queue_size = "0" => "OTEL_BSP_MAX_QUEUE_SIZE",
            otel_bsp_max_export_batch_size = "4096" => "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        }
        macro_rules! refused_by_tls {
            ($($field:ident = $value:literal => $variable:literal),* $(,)?) => {$({
                let args = TracesArgs {
                    $field: Some($value.to_owned()),
                    otel_exporter_otlp_endpoint: Some("https://collector".to_owned()),
                    ..on()
                };
                let error = args.settings().unwrap_err().to_string();
                assert!(error.starts_with(concat!($variable, ": ")), "{error}");
            })*};
        }
        refused_by_tls! {
            otel_exporter_otlp_certificate = "/nowhere" => "OTEL_EXPORTER_OTLP_CERTIFICATE",
            otel_exporter_otlp_traces_certificate = "/dev/null" => "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
            otel_exporter_otlp_client_certificate = "/dev/null" => "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            otel_exporter_otlp_client_key = "/dev/null" => "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        }
        for argument in ["2", "-0.1", "NaN", "half"] {
            let args = TracesArgs {
                otel_traces_sampler: Some("traceidratio".to_owned()),
                otel_traces_sampler_arg: Some(argument.to_owned()),
                ..on()
            };
            let error = args.settings().unwrap_err().to_string();
            assert!(error.starts_with("OTEL_TRACES_SAMPLER_ARG: "), "{error}");
        }
    }
}
