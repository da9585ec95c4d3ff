//! The report as plain text.

use std::fmt::{Display, Formatter, Result};

use crate::{Latency, Mode, Report, Schedule};

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let totals = &self.totals;
        writeln!(
            out,
            "{} for {:.1} s, {}",
            self.target,
            self.elapsed_seconds,
            mode(self.mode)
        )?;
        writeln!(
            out,
            "{} answered, {:.1} per second; 2xx {}, 3xx {}, 4xx {} (429: {}), 5xx {}, failed {}, timed out {}, abandoned {}",
            totals.answered,
            self.rate,
            totals.statuses.success,
            totals.statuses.redirect,
            totals.statuses.client_error,
            totals.limited,
            totals.statuses.server_error,
            totals.failed,
            totals.timed_out,
            totals.abandoned,
        )?;
        writeln!(out)?;
        heading(out, "milliseconds")?;
        if matches!(self.mode, Mode::Open { .. }) {
            line(out, "from the intended start", &self.latency.corrected)?;
        }
        line(out, "from the actual start", &self.latency.service)?;
        writeln!(out)?;
        heading(out, "call (from the intended start)")?;
        for call in &self.calls {
            line(out, &call.route, &call.latency.corrected)?;
        }
        if !self.cache.is_empty() {
            writeln!(out)?;
            heading(out, "X-Cache (from the actual start)")?;
            for count in &self.cache {
                line(out, &count.result, &count.service)?;
            }
        }
        if !self.gateways.is_empty() {
            let all: u64 = self.gateways.values().sum();
            writeln!(out)?;
            for (gateway, count) in &self.gateways {
                writeln!(
                    out,
                    "{gateway:<32}{count:>9} {:>8.1} %",
                    *count as f64 * 100.0 / all as f64
                )?;
            }
        }
        if matches!(self.mode, Mode::Open { .. }) {
            writeln!(out)?;
            writeln!(
                out,
                "generator: lag p99 {:.2} ms, max {:.2} ms; {} started late, {} dropped",
                milliseconds(self.generator.lag.p99),
                milliseconds(self.generator.lag.max),
                totals.late,
                totals.dropped,
            )?;
        }
        if let Some(error) = &self.last_error {
            writeln!(out, "last error: {error}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    }
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Closed { connections } => format!("closed loop of {connections} connections"),
        Mode::Open {
            rate,
            schedule,
            connections,
        } => {
            let schedule = match schedule {
                Schedule::Constant => "evenly",
                Schedule::Poisson => "at random",
            };
            format!(
                "open loop at {rate} per second, spread {schedule}, at most {connections} in flight"
            )
        }
    }
}

fn heading(out: &mut Formatter<'_>, title: &str) -> Result {
    writeln!(
        out,
        "{title:<32}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "count", "mean", "p50", "p95", "p99", "p99.9", "max"
    )
}

fn line(out: &mut Formatter<'_>, name: &str, latency: &Latency) -> Result {
    writeln!(
        out,
        "{name:<32}{:>9}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
        latency.count,
        latency.mean / 1000.0,
        milliseconds(latency.p50),
        milliseconds(latency.p95),
        milliseconds(latency.p99),
        milliseconds(latency.p999),
        milliseconds(latency.max),
    )
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
