//! What the console, and what shows the same without a terminal, is told.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::duration;

/// A lab that is not the one of a folder here.
#[derive(Clone, Debug, Default, Args)]
pub struct Elsewhere {
    /// Find the services by DNS, as in containers, instead of through the lab's folder.
    #[arg(long)]
    pub dns: bool,
    /// Learn where everything is from here instead: a supervisor's `/admin/topology` (`recarga status` says where that is).
    #[arg(long, value_name = "URL", conflicts_with = "dns", value_parser = http_url)]
    pub topology: Option<String>,
    /// With --dns or --topology: the folder that `recarga certificates` made, where the tiers know each other by certificates;
    /// `operator` in it is enough.
    #[arg(long, value_name = "FOLDER", env = "RECARGA_CERTIFICATES")]
    pub certificates: Option<PathBuf>,
}

/// What the levers of a lab elsewhere ask for.
#[derive(Clone, Debug, Default, Args)]
pub struct Operator {
    /// With --dns or --topology: what the operator's levers need.
    #[arg(
        long = "operator-password",
        env = "RECARGA_OPERATOR_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// With --dns or --topology: what the admin surfaces ask of whoever pulls a lever.
    #[arg(
        long = "operator-token",
        env = "RECARGA_OPERATOR_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
}

fn http_url(text: &str) -> Result<String, String> {
    if text.starts_with("http://") {
        Ok(text.to_owned())
    } else {
        Err("a URL is wanted, such as http://127.0.0.1:20917/admin/topology".to_owned())
    }
}

#[derive(Debug, Default, Args)]
pub struct Console {
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    #[command(flatten)]
    pub operator: Operator,
    /// Only look: no secret is read, every action is refused.
    #[arg(long)]
    pub read_only: bool,
    /// Write down what is shown, for `recarga replay` or any player of asciicasts: a new file, such as class.cast.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// What `console --record` wrote, or another asciicast (version 2).
    pub file: PathBuf,
    /// Begin there: 90s, 2m.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub from: Duration,
    /// How many times as fast.
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Print the screen as it was then, or at the end, as text instead of playing: 90s, 2m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub at: Option<Duration>,
    /// With --at: as a picture instead, in this file.
    #[arg(long, value_name = "FILE", requires = "at")]
    pub svg: Option<PathBuf>,
    /// List what happened when.
    #[arg(long, conflicts_with = "at")]
    pub marks: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok();
    let speed = speed.filter(|speed: &f64| (0.125..=64.0).contains(speed));
    speed.ok_or_else(|| "a number from 0.125 to 64 is needed".to_owned())
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Top {
    /// A view as text: overview, balancer, cache, queue, latency, traffic, logs, requests, system.
    #[arg(long, conflicts_with = "json")]
    pub view: Option<String>,
    /// Everything known as one JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Lines also on a terminal, where the console opens otherwise, read-only.
    #[arg(long, conflicts_with_all = ["json", "view"])]
    pub plain: bool,
    /// Once, then end.
    #[arg(long, conflicts_with = "times")]
    pub once: bool,
    /// So many times, then end.
    #[arg(long, short = 'n')]
    pub times: Option<u64>,
    /// How often: 500ms to 1h.
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub every: Duration,
    /// End with exit code 8 if this was broken: p50=, p95= or p99=100ms, errors=1, hits=80%, depth=1000, dead=0, down. Repeatable.
    #[arg(long = "limit", value_name = "LIMIT")]
    pub limits: Vec<app::Limit>,
    /// Warnings and errors of the logs as lines of their own.
    #[arg(long)]
    pub logs: bool,
    /// At the end, write what was seen to this file: .html, .csv or .json.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// With --view: how many columns.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub width: u16,
    /// With --view: how many rows.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=300))]
    pub height: u16,
    /// Keep to ASCII, whatever the locale.
    #[arg(long)]
    pub ascii: bool,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// A time of 500 ms to an hour, such as `500ms`, `2s` or `1m`.
fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time of 500ms to 1h, such as 500ms, 2s or 1m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let time = number
        .checked_mul(milliseconds)
        .filter(|time| (500..=3_600_000).contains(time));
    time.map(Duration::from_millis).ok_or_else(wrong)
}
