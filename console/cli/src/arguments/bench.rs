//! The flags of `recarga bench`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, value_parser};

use super::duration;

#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    pub what: Measure,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Measure {
    /// Our balancer, nginx and HAProxy side by side before the same upstreams; then the chain, when a lab runs in the folder.
    Edge(Edge),
    /// What each layer of a running lab costs: balancer, gateway, token, cache.
    Chain(Chain),
    /// POST /recharges of a running lab: one durable transaction each.
    Recharges(Recharges),
    /// Durable recharges side by side on a private PostgreSQL: through the service, straight into the stored function, and
    /// pgbench, fsync on for all.
    Durable(Durable),
    /// The queue service, durable and fast, beside redis-benchmark's XADD on the same Redis.
    Queue(Queue),
    /// Far more requests than can be answered, with admission off and on.
    Overload(Overload),
    /// Whether any reader of the lab here sees a balance from before a recharge that was answered. Exit code 1 if one does.
    Freshness(Freshness),
    /// The console in a terminal of its own beside htop, btop, bottom, oha and lnav: what it costs, how fast it answers, what it
    /// costs the services of the lab here. Exit code 1 if it misses a target.
    Console(Console),
    /// One GET over and over, against anything on this machine that speaks HTTP/1.1.
    Url(Single),
}

/// How long, how often, and where the result goes.
#[derive(Debug, Args)]
pub struct Method {
    /// Rounds in which each is measured once, in turn; the figures are their medians. 3, or 1 with --quick.
    #[arg(long, value_parser = value_parser!(u32).range(1..=99))]
    pub rounds: Option<u32>,
    /// How long each is measured in a round, such as 5s. 5s, or 1s with --quick.
    #[arg(long, short, value_parser = duration)]
    pub duration: Option<Duration>,
    /// How long each runs before it is measured. 1s, or 300ms with --quick.
    #[arg(long, value_parser = duration)]
    pub warm_up: Option<Duration>,
    /// A short run, to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// The result as one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Write the tables to this file too, as Markdown.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Method {
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    pub fn duration(&self) -> Duration {
        let usual = Duration::from_secs(if self.quick { 1 } else { 5 });
        self.duration.unwrap_or(usual)
    }

    pub fn warm_up(&self) -> Duration {
        let usual = Duration::from_millis(if self.quick { 300 } else { 1000 });
        self.warm_up.unwrap_or(usual)
    }
}

#[derive(Debug, Args)]
pub struct Edge {
    /// Connections that each send the next request after the last answer. 64,512, or 64 with --quick.
    #[arg(long, short, value_delimiter = ',', value_parser = value_parser!(u16).range(1..=4096))]
    pub connections: Vec<u16>,
    /// Bytes of the answers' bodies. 200,65536, or 200 with --quick.
    #[arg(long, value_delimiter = ',', value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub bodies: Vec<u32>,
    /// Workers of each proxy. 1,2, or 1 with --quick.
    #[arg(long, value_delimiter = ',', value_parser = value_parser!(u16).range(1..=64))]
    pub workers: Vec<u16>,
    /// Take the built-in server behind the proxies also when nginx is installed.
    #[arg(long)]
    pub built_in_upstreams: bool,
    #[command(flatten)]
    pub method: Method,
}

impl Edge {
    pub fn connections(&self) -> Vec<u16> {
        self.or_usual(&self.connections, &[64, 512])
    }

    pub fn bodies(&self) -> Vec<u32> {
        self.or_usual(&self.bodies, &[200, 65_536])
    }

    pub fn workers(&self) -> Vec<u16> {
        self.or_usual(&self.workers, &[1, 2])
    }

    fn or_usual<T: Copy>(&self, given: &[T], usual: &[T]) -> Vec<T> {
        match given {
            [] if self.method.quick => usual[..1].to_vec(),
            [] => usual.to_vec(),
            given => given.to_vec(),
        }
    }
}

#[derive(Debug, Args)]
pub struct Chain {
    /// Connections that each send the next request after the last answer.
    #[arg(long, short, default_value_t = 64, value_parser = value_parser!(u16).range(1..=4096))]
    pub connections: u16,
    #[command(flatten)]
    pub method: Method,
}

#[derive(Debug, Args)]
pub struct Recharges {
    /// Where to; by default the lab running in this folder.
    #[arg(long)]
    pub target: Option<String>,
    /// Connections that each send the next request after the last answer.
    #[arg(long, short, default_value_t = 32)]
    pub connections: u32,
    /// How long to measure, such as 10s.
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// How long to run before measuring.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub warm_up: Duration,
    /// The result as one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Durable {
    /// Clients of the service that each send the next recharge after the last answer. 1,64,256, or 1,64 with --quick.
    #[arg(long, short, value_delimiter = ',', value_parser = value_parser!(u16).range(1..=1024))]
    pub connections: Vec<u16>,
    /// Clients of pgbench, of the stored function, and of the hot card.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u16).range(1..=150))]
    pub reference: u16,
    #[command(flatten)]
    pub method: Method,
}

impl Durable {
    pub fn connections(&self) -> Vec<u16> {
        match &self.connections[..] {
            [] if self.method.quick => vec![1, 64],
            [] => vec![1, 64, 256],
            given => given.to_vec(),
        }
    }
}

#[derive(Debug, Args)]
pub struct Queue {
    /// Connections that each send the next request after the last answer; as many for redis-benchmark.
    #[arg(long, short, default_value_t = 64, value_parser = value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Messages in a call, and commands in a pipeline of redis-benchmark. 1,16,100.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 100], value_parser = value_parser!(u16).range(1..=100))]
    pub batches: Vec<u16>,
    /// Bytes of a message's body.
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(2..=200_000))]
    pub body: u32,
    #[command(flatten)]
    pub method: Method,
}

#[derive(Debug, Args)]
pub struct Overload {
    /// How many times the capacity is asked for.
    #[arg(long, default_value_t = 10.0, value_parser = times)]
    pub times: f64,
    /// How long the overload lasts, such as 10s.
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// How long each client waits for its answer before it gives up.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub patience: Duration,
    /// How long an upstream works on a request.
    #[arg(long, default_value = "20ms", value_parser = duration)]
    pub service_time: Duration,
    /// How many requests an upstream works on at a time.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u16).range(1..=1024))]
    pub at_a_time: u16,
    /// How many upstreams there are.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u16).range(1..=16))]
    pub upstreams: u16,
    /// The result as one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Write the table to this file too, as Markdown.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Freshness {
    /// Reads that must have been answered at least.
    #[arg(long, default_value_t = 100_000)]
    pub reads: u64,
    /// Stop, kill and bring back gateways, the cache and its Redis meanwhile: the private ones of the lab in this folder.
    #[arg(long)]
    pub faults: bool,
    /// Rounds of nine faults, with --faults. Reading goes on until all are over.
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Connections that read, at each gateway.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u16).range(1..=256))]
    pub readers: u16,
    /// Connections that recharge, each cards of its own.
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u16).range(1..=16))]
    pub writers: u16,
    /// How long each of them waits between two recharges.
    #[arg(long, default_value = "5ms", value_parser = duration)]
    pub pause: Duration,
    /// The result as one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Console {
    /// How long each figure is measured, such as 10s. 10s, or 3s with --quick.
    #[arg(long, short, value_parser = duration)]
    pub duration: Option<Duration>,
    /// How long the console is held under 5,000 log lines a second, such as 1h. 20s, or 10s with --quick.
    #[arg(long, value_parser = duration)]
    pub soak: Option<Duration>,
    /// Leave the other tools out.
    #[arg(long)]
    pub alone: bool,
    /// A short run, to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// The result as one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Write the tables to this file too, as Markdown.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Console {
    pub fn duration(&self) -> Duration {
        let usual = Duration::from_secs(if self.quick { 3 } else { 10 });
        self.duration.unwrap_or(usual)
    }

    pub fn soak(&self) -> Duration {
        let usual = Duration::from_secs(if self.quick { 10 } else { 20 });
        self.soak.unwrap_or(usual)
    }
}

#[derive(Debug, Args)]
pub struct Single {
    /// Such as `http://127.0.0.1:8000/data?key=a`.
    pub url: String,
    /// Connections that each send the next request after the last answer.
    #[arg(long, short, default_value_t = 64, value_parser = value_parser!(u16).range(1..=4096))]
    pub connections: u16,
    /// How long to measure, such as 5s.
    #[arg(long, short, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// How long to run before measuring.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub warm_up: Duration,
    /// A further header, `NAME: VALUE`; may be repeated.
    #[arg(long, short = 'H', value_parser = header)]
    pub header: Vec<(String, String)>,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// The result as one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The server behind what is measured, where nginx is not installed or a service time is wanted.
#[derive(Debug, Args)]
pub struct BenchUpstream {
    #[arg(long, required = true, value_delimiter = ',')]
    pub ports: Vec<u16>,
    #[arg(long, required = true, value_delimiter = ',')]
    pub bodies: Vec<u32>,
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub service_time: Duration,
    #[arg(long)]
    pub at_a_time: Option<u16>,
}

fn times(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|times| (0.1..=1000.0).contains(times))
        .ok_or_else(|| format!("{text:?} is not a number from 0.1 to 1000"))
}

fn header(text: &str) -> Result<(String, String), String> {
    text.split_once(':')
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| format!("{text:?} is not NAME: VALUE"))
}
