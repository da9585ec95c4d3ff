//! `recarga load`: traffic without the console.

mod journal;

use std::path::Path;

use anyhow::Result;
use load::{Handle, Mode, Options, Report, Schedule, Traffic};

use crate::{
    arguments::Load,
    exit,
    terminal::{say, tell},
};

pub async fn run(directory: &Path, arguments: Load) -> Result<u8> {
    let target = super::target(arguments.target, directory)?;
    let mode = match arguments.rate {
        None => Mode::Closed {
            connections: arguments.connections,
        },
        Some(rate) => Mode::Open {
            rate,
            schedule: if arguments.poisson {
                Schedule::Poisson
            } else {
                Schedule::Constant
            },
            connections: arguments.connections.max(64),
        },
    };
    let recorder = arguments
        .journal
        .as_deref()
        .map(journal::create)
        .transpose()?;
    let options = Options {
        journal: recorder.clone().map(journal::hear),
        allow_remote: arguments.allow_remote,
        mode,
        profile: arguments.profile,
        mix: arguments.mix,
        time_limit: arguments.duration,
        seed: arguments.seed,
        ..Options::new(target, super::bench::recharges::run_number())
    };
    let shutdown = kit::Shutdown::on_signals()?;
    let traffic = Traffic::start(options)?;
    follow(&traffic, &shutdown).await;
    let report = traffic.stop().await;
    if let Some(recorder) = recorder {
        recorder.finish()?;
    }
    print(&report, arguments.json)
}

/// Tells every second how it goes, until the traffic ends or the shutdown begins.
pub async fn follow(traffic: &Handle, shutdown: &kit::Shutdown) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    tick.tick().await;
    loop {
        tokio::select! {
            () = traffic.finished() => break,
            () = shutdown.requested() => break,
            _ = tick.tick() => {
                let now = traffic.snapshot();
                tell(format_args!(
                    "{:4.0} s  {:8.1}/s  errors {:6.1}/s  p50 {:6.1} ms  p99 {:6.1} ms",
                    now.elapsed_seconds,
                    now.window.answered_per_second,
                    now.window.errors_per_second,
                    now.window.latency.corrected.p50 as f64 / 1000.0,
                    now.window.latency.corrected.p99 as f64 / 1000.0,
                ));
            }
        }
    }
}

pub fn print(report: &Report, json: bool) -> Result<u8> {
    if json {
        say(serde_json::to_string_pretty(report)?);
    } else {
        say(report);
    }
    Ok(if report.totals.answered == 0 {
        exit::FAILURE
    } else {
        exit::SUCCESS
    })
}
