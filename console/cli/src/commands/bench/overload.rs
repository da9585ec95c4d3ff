//! `recarga bench overload`: far more requests than can be answered, before a capacity that is known.
//!
//! A balancer of its own stands before built-in upstreams that work on a fixed number of requests at a time. What they can do is measured
//! first, by a closed loop; then an open loop asks for many times that, with admission off and then on, everything started afresh.

use std::time::Duration;

use anyhow::{Context as _, Result};
use load::{
    Schedule,
    raw::{Arrivals, Closed, Expected, Open, Request},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    aside,
    machine::Machine,
    process::{Bench, raise_open_files},
    report::Report,
    stage::{Balancer, Service, Upstreams},
    table::{Row, Table, decimal, whole},
    usage,
};
use crate::{arguments::bench::Overload, exit, terminal::tell};

/// The length of the answers, in bytes.
const BODY: u32 = 200;
/// How long the capacity is measured.
const PEAK: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
/// The most connections of the load; each costs this program one open file and the balancer two.
const CONNECTIONS: u64 = 8192;
/// Open files for everything else.
const OTHER_FILES: u64 = 500;

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    admission: &'static str,
    offered: f64,
    goodput: f64,
    of_peak: f64,
    accepted_p50_us: u64,
    accepted_p99_us: u64,
    /// Parts of all that were due.
    refused: f64,
    given_up: f64,
    failed: f64,
    refused_p99_us: u64,
    /// How late the load itself was.
    lag_p99_us: u64,
    memory_bytes: Option<u64>,
    first_error: Option<String>,
}

pub async fn run(arguments: &Overload) -> Result<u8> {
    let files = raise_open_files();
    let peak = peak(arguments).await?;
    let rate = peak * arguments.times;
    tell(format_args!(
        "the capacity is {peak:.0} requests a second; asking for {rate:.0}"
    ));
    let mut lines = Vec::new();
    let mut notes = vec![format!(
        "Capacity: {} requests/s, by a closed loop through the balancer, whose {} upstreams work on {} requests at a time for {:?} each, also when the client has left. Overload: independent arrivals at {} times that for {:?}; a client gives up after {:?}. Goodput counts answers with status 200 in time, latencies run from the moment a request was due.",
        whole(peak),
        arguments.upstreams,
        arguments.at_a_time,
        arguments.service_time,
        arguments.times,
        arguments.duration,
        arguments.patience,
    )];
    for on in [false, true] {
        match overload(arguments, on, rate, files).await? {
            Ok((arrivals, memory)) => lines.push(line(on, peak, &arrivals, memory)),
            Err(words) => notes.push(words),
        }
    }
    for line in &lines {
        if line.lag_p99_us > 20_000 {
            notes.push(format!(
                "admission {}: the load itself was {} ms late at its 99th percentile: the machine is too small for this rate",
                line.admission,
                line.lag_p99_us / 1000
            ));
        }
        if let Some(error) = &line.first_error {
            notes.push(format!(
                "admission {}: the first failure: {error}",
                line.admission
            ));
        }
    }
    let report = Report {
        machine: Machine::look(),
        tables: vec![table(arguments, &lines)],
        notes,
        document: json!({"peak": peak, "overload": lines}),
    };
    report.publish(arguments.json, arguments.output.as_deref())?;
    Ok(exit::SUCCESS)
}

/// Upstreams with the given capacity, and a balancer before them.
async fn stage(bench: &Bench, arguments: &Overload) -> Result<(Upstreams, Balancer)> {
    let service = Service {
        time: arguments.service_time,
        at_a_time: Some(arguments.at_a_time),
    };
    let count = usize::from(arguments.upstreams);
    let upstreams = bench.built_in_upstreams(count, &[BODY], service).await?;
    let path = format!("/{BODY}");
    let probe = (&path[..], Some(u64::from(BODY)));
    let balancer = bench.balancer(&upstreams.addresses, None, probe).await?;
    Ok((upstreams, balancer))
}

/// What the upstreams can do, through the balancer: four clients for each place.
async fn peak(arguments: &Overload) -> Result<f64> {
    let bench = Bench::new()?;
    let (upstreams, balancer) = stage(&bench, arguments).await?;
    // A queue of this length is nothing to shed, but whoever thinks so must not change the measure.
    let _ = admission(&bench, &balancer, false).await?;
    let target = balancer.proxy.address;
    let places = usize::from(arguments.upstreams) * usize::from(arguments.at_a_time);
    let plan = Closed {
        target,
        request: Request::get(target, &format!("/{BODY}"), &[])?,
        expected: Expected::ok(Some(BODY.into())),
        connections: (4 * places).min(4096),
        threads: 1,
        warm_up: WARM_UP,
        duration: PEAK,
        patience: arguments.service_time * 20 + Duration::from_secs(1),
    };
    let run = aside(move || plan.run(|| ())).await??;
    balancer.proxy.process.stop().await;
    upstreams.process.stop().await;
    if run.tally.good == 0 {
        let error = run.tally.first_error.unwrap_or_default();
        anyhow::bail!("nothing was answered: {error}");
    }
    Ok(run.rate)
}

/// One run; words when the balancer cannot be switched.
async fn overload(
    arguments: &Overload,
    on: bool,
    rate: f64,
    files: u64,
) -> Result<Result<(Arrivals, Option<u64>), String>> {
    let bench = Bench::new()?;
    let (upstreams, balancer) = stage(&bench, arguments).await?;
    let switched = admission(&bench, &balancer, on).await?;
    if let (Err(words), true) = (switched, on) {
        return Ok(Err(words));
    }
    let target = balancer.proxy.address;
    let in_flight = (rate * arguments.patience.as_secs_f64()).ceil() as u64 + 64;
    let room = files.saturating_sub(OTHER_FILES) / 2;
    let plan = Open {
        target,
        request: Request::get(target, &format!("/{BODY}"), &[])?,
        expected: Expected::ok(Some(BODY.into())),
        rate,
        schedule: Schedule::Poisson,
        seed: 1,
        connections: in_flight.min(room).clamp(1, CONNECTIONS) as usize,
        patience: arguments.patience,
        warm_up: WARM_UP,
        duration: arguments.duration,
    };
    tell(format_args!(
        "admission {}: {:?}, at most {} connections",
        word(on),
        plan.duration + plan.warm_up,
        plan.connections
    ));
    let arrivals = aside(move || plan.run()).await??;
    let memory = usage::memory(&balancer.proxy.process.pids());
    balancer.proxy.process.stop().await;
    upstreams.process.stop().await;
    Ok(Ok((arrivals, memory)))
}

/// Switches the balancer's admission; words when it has none.
async fn admission(bench: &Bench, balancer: &Balancer, on: bool) -> Result<Result<(), String>> {
    let url = format!("http://{}/admin/balancing", balancer.admin);
    let answer = bench
        .http()
        .put(&url)
        .bearer_auth(&balancer.operator_token)
        .json(&json!({"admission": {"enabled": on}}))
        .send()
        .await
        .context("switching the balancer's admission")?;
    if answer.status().is_success() {
        return Ok(Ok(()));
    }
    let status = answer.status().as_u16();
    if status == 404 {
        return Ok(Err(
            "This balancer has no admission to switch on (PUT /admin/balancing).".to_owned(),
        ));
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no reason given");
    Ok(Err(format!(
        "The balancer did not switch its admission ({status}): {detail}"
    )))
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn line(on: bool, peak: f64, arrivals: &Arrivals, memory_bytes: Option<u64>) -> Line {
    let part = |count: u64| count as f64 / arrivals.due.max(1) as f64;
    Line {
        admission: word(on),
        offered: arrivals.due as f64 / arrivals.elapsed.as_secs_f64(),
        goodput: arrivals.goodput(),
        of_peak: arrivals.goodput() / peak,
        accepted_p50_us: arrivals.accepted_latency.p50,
        accepted_p99_us: arrivals.accepted_latency.p99,
        refused: part(arrivals.refused),
        given_up: part(arrivals.given_up),
        failed: part(arrivals.failed),
        refused_p99_us: arrivals.refused_latency.p99,
        lag_p99_us: arrivals.lag.p99,
        memory_bytes,
        first_error: arrivals.first_error.clone(),
    }
}

fn table(arguments: &Overload, lines: &[Line]) -> Table {
    let milliseconds = |micros: u64| decimal(Some(micros as f64 / 1000.0), 1);
    let percent = |part: f64| format!("{:.1}%", part * 100.0);
    let rows = lines.iter().map(|line| {
        Row::Cells(vec![
            line.admission.to_owned(),
            whole(line.offered),
            whole(line.goodput),
            decimal(Some(line.of_peak), 2),
            milliseconds(line.accepted_p50_us),
            milliseconds(line.accepted_p99_us),
            percent(line.refused),
            milliseconds(line.refused_p99_us),
            percent(line.given_up),
            percent(line.failed),
            decimal(line.memory_bytes.map(|bytes| bytes as f64 / 1_048_576.0), 1),
        ])
    });
    Table {
        title: format!("{} times the capacity", arguments.times),
        header: vec![
            "admission",
            "offered/s",
            "goodput/s",
            "of capacity",
            "accepted p50 ms",
            "p99 ms",
            "refused",
            "in ms (p99)",
            "given up",
            "failed",
            "memory MiB",
        ],
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_what_was_due() {
        let arrivals = Arrivals {
            elapsed: Duration::from_secs(10),
            due: 80_000,
            accepted: 7_600,
            refused: 72_000,
            failed: 0,
            given_up: 400,
            accepted_latency: load::Latency {
                p50: 21_000,
                p99: 48_000,
                ..load::Latency::default()
            },
            refused_latency: load::Latency::default(),
            lag: load::Latency::default(),
            first_error: None,
        };
        let line = line(true, 800.0, &arrivals, Some(20 * 1_048_576));
        assert_eq!((line.offered, line.goodput), (8_000.0, 760.0));
        let arguments = Overload {
            times: 10.0,
            duration: Duration::from_secs(10),
            patience: Duration::from_secs(1),
            service_time: Duration::from_millis(20),
            at_a_time: 8,
            upstreams: 2,
            json: false,
            output: None,
        };
        let expected = "\
10 times the capacity
admission  offered/s  goodput/s  of capacity  accepted p50 ms  p99 ms  refused  in ms (p99)  given up  failed  memory MiB
on             8,000        760         0.95             21.0    48.0    90.0%          0.0      0.5%    0.0%        20.0
";
        assert_eq!(table(&arguments, &[line]).text(), expected);
    }
}
