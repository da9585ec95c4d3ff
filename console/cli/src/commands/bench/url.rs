//! `recarga bench url`: the load generator by itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use load::raw::{Closed, Expected, Request};
use serde_json::json;

use super::{aside, process::raise_open_files, table::whole};
use crate::{arguments::bench::Single, exit, terminal::say};

pub async fn run(arguments: &Single) -> Result<u8> {
    raise_open_files();
    let url = reqwest::Url::parse(&arguments.url)
        .with_context(|| format!("{:?} is not an address", arguments.url))?;
    ensure!(url.scheme() == "http", "only http is spoken here");
    let host = url.host_str().context("the address names no host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    let target = tokio::net::lookup_host((host.trim_matches(['[', ']']), port))
        .await
        .with_context(|| format!("looking up {host}"))?
        .next()
        .with_context(|| format!("{host} has no address"))?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let headers: Vec<(&str, &str)> = arguments
        .header
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let plan = Closed {
        target,
        request: Request::get(format_args!("{host}:{port}"), &path, &headers)?,
        expected: Expected::ok(None),
        connections: usize::from(arguments.connections),
        threads: arguments.threads as usize,
        warm_up: arguments.warm_up,
        duration: arguments.duration,
        patience: Duration::from_secs(5),
    };
    let run = aside(move || plan.run(|| ())).await??;
    let (tally, latency) = (&run.tally, run.tally.latency());
    let generator = run
        .generator_cpu
        .map(|cpu| cpu.as_secs_f64() * 1e6 / tally.good.max(1) as f64);
    if arguments.json {
        let document = json!({
            "rate": run.rate,
            "elapsed_seconds": run.elapsed.as_secs_f64(),
            "good": tally.good,
            "errors": tally.errors(),
            "first_error": tally.first_error,
            "reconnects": tally.reconnects,
            "latency_us": latency,
            "generator_us": generator,
        });
        say(serde_json::to_string_pretty(&document)?);
    } else {
        let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
        say(format_args!(
            "{} requests/s with status 200 over {} connections; p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, most {:.3} ms; {} errors",
            whole(run.rate),
            arguments.connections,
            milliseconds(latency.p50),
            milliseconds(latency.p99),
            milliseconds(latency.p999),
            milliseconds(latency.max),
            tally.errors(),
        ));
        if let Some(error) = &tally.first_error {
            say(format_args!("the first error: {error}"));
        }
        if let Some(generator) = generator {
            say(format_args!(
                "the load itself took {generator:.2} µs of processor time for a request"
            ));
        }
    }
    Ok(if tally.good == 0 {
        exit::FAILURE
    } else {
        exit::SUCCESS
    })
}
