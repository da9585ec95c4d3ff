//! `recarga bench recharges`: how fast a running lab takes durable writes, by a closed loop over one call.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use load::{Credentials, Kind, Mix, Mode, Options, Report, Traffic};

use crate::{arguments::bench::Recharges, exit, terminal::say};

/// High enough that only the system sets the pace.
const NO_CAP: f64 = 1_000_000.0;

pub async fn run(directory: &Path, arguments: &Recharges) -> Result<u8> {
    let target = crate::commands::target(arguments.target.clone(), directory)?;
    if !arguments.warm_up.is_zero() {
        measure(arguments, &target, arguments.warm_up).await?;
    }
    let report = measure(arguments, &target, arguments.duration).await?;
    let totals = report.totals;
    ensure!(
        totals.answered > 0,
        "nothing was answered: {}",
        report.last_error.as_deref().unwrap_or("no reason known")
    );
    if arguments.json {
        say(serde_json::to_string_pretty(&report)?);
        return Ok(exit::SUCCESS);
    }
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let latency = report.latency.service;
    say(format_args!(
        "{:28} {:>11} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "CALL", "CONNECTIONS", "REQUESTS/S", "P50 MS", "P95 MS", "P99 MS", "ERRORS"
    ));
    say(format_args!(
        "{:28} {:>11} {:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>8}",
        "POST /recharges",
        arguments.connections,
        report.rate,
        milliseconds(latency.p50),
        milliseconds(latency.p95),
        milliseconds(latency.p99),
        totals.errors() + totals.statuses.client_error,
    ));
    for warning in &report.warnings {
        say(format_args!("warning: {warning}"));
    }
    Ok(exit::SUCCESS)
}

async fn measure(arguments: &Recharges, target: &str, duration: Duration) -> Result<Report> {
    let options = Options {
        mode: Mode::Closed {
            connections: arguments.connections,
        },
        mix: Mix::only(Kind::Recharge),
        time_limit: duration,
        rate_cap: NO_CAP,
        credentials: Credentials::Demo,
        ..Options::new(target, run_number())
    };
    Ok(Traffic::start(options)?.wait().await)
}

/// Differs from run to run, so that no idempotency key is used twice.
pub fn run_number() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
