//! The command line: every subcommand and flag.

mod backup;
pub mod bench;
mod console;
mod deferred;
mod files;
mod lab;

use std::{ffi::OsString, net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use host::{Count, Target, guard::StopSignal};
use kit::tls::MutualTlsArgs;

use crate::{commands::serve::Service, exit};

pub use backup::{Backup, BackupCommand, BackupKey, BackupVerify, Restore};
pub use console::{Console, Elsewhere, Operator, Replay, Top};
pub use deferred::Deferred;
pub use files::missing;
pub use lab::{Lab, LabCommand, LabRun};

/// A whole distributed system on your machine: watch it, load it, break it.
#[derive(Debug, Parser)]
#[command(name = "recarga", version, after_help = exit::HELP, propagate_version = true)]
pub struct Arguments {
    /// The lab's folder.
    #[arg(long, global = true, env = "RECARGA_DIR", default_value = ".recarga")]
    pub dir: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything, and open the console when there is a terminal; attaches when it runs already.
    Up(Deferred<Up>),
    /// Stop the lab that runs in this folder.
    Down,
    /// Show what runs, and how it is.
    Status(Deferred<Status>),
    /// Say what is missing on this machine, and the command that installs it.
    Doctor(Deferred<Doctor>),
    /// Run one service in the foreground.
    Serve(Deferred<Serve>),
    /// Bring a database's schema up to date.
    Migrate(Deferred<Database>),
    /// Fill an empty database with a city.
    Seed(Deferred<Seed>),
    /// Watch and steer a running lab.
    Console(Deferred<Console>),
    /// Demonstrations that run and check themselves: list them, run one or all, check a file of one's own.
    Lab(Deferred<Lab>),
    /// Play what `console --record` wrote: in the terminal, or one moment of it as text or as a picture.
    Replay(Deferred<Replay>),
    /// The console's numbers without a terminal: a line a second, a view as text, or JSON; limits decide about the exit code.
    Top(Deferred<Top>),
    /// Do something to a running lab, as a key of the console does: drain, kill, fault, traffic, … `--list` shows all.
    Do(Deferred<Do>),
    /// Send traffic without the console.
    Load(Deferred<Load>),
    /// Print the logs of the instances, merged.
    Logs(Deferred<Logs>),
    /// Change how many instances of a role run.
    Scale(Deferred<Scale>),
    /// Restart instances one after the other, without a failed request where a role has two.
    Restart(Deferred<Restart>),
    /// Show the lab's queues, pause and resume them, look at and take back dead letters.
    Queues(Deferred<Queues>),
    /// Read and pull the levers of balancing: policy, weights, ejection, breakers, retries, admission.
    Balancing(Deferred<Balancing>),
    /// Measure: the edge beside nginx and HAProxy, a running lab's layers, overload.
    Bench(Deferred<bench::Bench>),
    /// Prove that nothing was lost: the six invariants, against a lab and what its clients were told.
    Verify(Deferred<Verify>),
    /// Keep what a lab has: PostgreSQL and the queue as they are at one moment, while it runs.
    Backup(Deferred<Backup>),
    /// Put a backup into a new lab, or into empty stores.
    Restore(Deferred<Restore>),
    /// Break a lab of its own while clients use it, and prove that nothing was lost: `kill -9`, frozen processes, broken
    /// connections between any two.
    Chaos(Deferred<Chaos>),
    /// Print the gateway's routes: who may call, what answers, what is cached and under which key.
    Routes(Deferred<Routes>),
    /// Print a completion script for a shell.
    Completions(Deferred<Completions>),
    /// Make the certificates by which tiers know each other: an authority, and one for each role.
    Certificates(Deferred<Certificates>),
    /// Write the manual's pages into a folder: one for each command.
    Man(Deferred<Man>),
    /// For developers: run the tests against throw-away stores.
    Test(Deferred<Test>),
    /// Exit with 0 when a health URL answers 2xx.
    #[command(hide = true)]
    Health(Deferred<Health>),
    /// Serve what a benchmark puts behind a proxy.
    #[command(hide = true)]
    BenchUpstream(Deferred<bench::BenchUpstream>),
    /// Run a store under the supervisor's eye.
    #[command(hide = true)]
    Guard(Deferred<Guard>),
    /// Become a store.
    #[command(hide = true, name = host::guard::CHILD_COMMAND)]
    GuardChild(Deferred<GuardChild>),
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Up {
    /// How large a city an empty database is filled with.
    #[arg(long, value_enum, default_value_t)]
    pub scale: seed::Scale,
    /// The number that the city grows from; the same number gives the same city.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many instances of a role, such as gateway=5; may be repeated.
    #[arg(long, value_name = "ROLE=N", value_delimiter = ',')]
    pub instances: Vec<Count>,
    /// Install what is missing without asking.
    #[arg(long, short)]
    pub yes: bool,
    /// Do not open the console; print lines and run until stopped.
    #[arg(long)]
    pub no_console: bool,
    /// One plain line per event, also on a terminal.
    #[arg(long)]
    pub plain: bool,
    /// The public port, where the balancer listens.
    #[arg(long, env = "RECARGA_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// The cache's published port.
    #[arg(long, env = "RECARGA_CACHE_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub cache_port: Option<u16>,
    /// The worker's published port.
    #[arg(long, env = "RECARGA_WORKER_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub worker_port: Option<u16>,
    /// The queue's published port.
    #[arg(long, env = "RECARGA_QUEUE_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub queue_port: Option<u16>,
    /// Any free ports instead of 8000, 5004, 5005 and 5006.
    #[arg(long)]
    pub free_ports: bool,
    /// The address of the public port; everything else stays on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    pub address: IpAddr,
    /// Refuse every lever (drain, faults, flush, scale, ...), whoever pulls it: a lab to be looked at.
    #[arg(long, env = "RECARGA_READ_ONLY")]
    pub read_only: bool,
    /// Encrypt every call between tiers, and have both sides show who they are: certificates are made in the lab's folder.
    #[arg(long, env = "RECARGA_MUTUAL_TLS")]
    pub mutual_tls: bool,
    /// Use this PostgreSQL (15 or newer) instead of a private one.
    #[arg(long, env = "RECARGA_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Use this Redis (7.0 or newer) instead of a private one.
    #[arg(long, env = "RECARGA_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Use this Redis for the queue. Without it the queue has a private one, or shares the one above when that is given; it
    /// must write to disk before it answers (`appendonly yes` and `appendfsync always`, or `WAITAOF`).
    #[arg(long, env = "RECARGA_QUEUE_REDIS_URL", hide_env_values = true)]
    pub queue_redis_url: Option<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    /// One JSON document for scripts.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Install what is missing.
    #[arg(long)]
    pub install: bool,
    /// Without asking.
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
#[command(subcommand_value_name = "ROLE", subcommand_help_heading = "Roles")]
pub struct Serve {
    #[command(subcommand)]
    pub service: Service,
}

#[derive(Debug, Args)]
pub struct Database {
    /// The PostgreSQL to work on; by default that of the lab running in this folder.
    #[arg(long, env = "RECARGA_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "the flag is --seed")]
pub struct Seed {
    #[command(flatten)]
    pub database: Database,
    /// How large the city is.
    #[arg(long, value_enum, default_value_t)]
    pub scale: seed::Scale,
    /// The number that the city grows from; the same number gives the same city.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Let the user `operator` sign in with this password; without it that user stays locked.
    #[arg(long, env = "RECARGA_OPERATOR_PASSWORD", hide_env_values = true)]
    pub operator_password: Option<String>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Do {
    /// What to do, such as `drain gateway-2`; several with `';'` between them.
    #[arg(value_name = "ACTION", required_unless_present = "list")]
    pub action: Vec<String>,
    /// Print everything that can be done.
    #[arg(long, conflicts_with_all = ["action", "dry_run", "yes"])]
    pub list: bool,
    /// Only tell what would be done, counted.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask, whatever it is.
    #[arg(long, short)]
    pub yes: bool,
    /// Refuse whatever changes anything.
    #[arg(long, env = "RECARGA_READ_ONLY")]
    pub read_only: bool,
    /// Let calls and traffic go to another machine.
    #[arg(long)]
    pub allow_remote: bool,
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    #[command(flatten)]
    pub operator: Operator,
    /// One JSON document for each action.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Load {
    /// Where to; by default the lab running in this folder.
    #[arg(long)]
    pub target: Option<String>,
    /// Let the target be another machine.
    #[arg(long)]
    pub allow_remote: bool,
    /// Which calls: contract, reads, writes, cached, uncached, cards, tutoring, tasks, or weights such as balance=3,recharge=1.
    #[arg(long, default_value = "contract")]
    pub mix: load::Mix,
    /// Closed loop: connections that each send the next request after the last answer.
    #[arg(long, default_value_t = 8)]
    pub connections: u32,
    /// Open loop instead: this many requests a second, whatever the system does.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Open loop: how the rate changes over the time: constant, ramp, spike, burst, soak.
    #[arg(long, requires = "rate", default_value_t)]
    pub profile: load::Profile,
    /// Open loop: independent arrivals instead of even ones.
    #[arg(long, requires = "rate")]
    pub poisson: bool,
    /// How long, such as 30s or 5m.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// Draws the calls; the same number gives the same sequence.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write down what was asked for and answered (recharges, bookings, tasks), for `recarga verify --journal`.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// The report as one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// What clients were told, as `recarga chaos` and `recarga load --journal` write it down.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// How long what must happen sooner or later may stand still: notifications, tasks. While there are fewer and fewer of
    /// them on their way, they are waited for.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub settle: Duration,
    /// How many reads through all gateways look for values from before a write; 0 leaves that out, and with it the
    /// recharges that it takes.
    #[arg(long, default_value_t = 2_000)]
    pub reads: u64,
    /// Check this PostgreSQL instead of that of the lab in this folder.
    #[arg(long, env = "RECARGA_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// With --database-url: where the queue's messages are, to say where a missing event is.
    #[arg(long, env = "RECARGA_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// With --database-url: a gateway of the running system, such as `http://127.0.0.1:8101`; may be repeated. With the
    /// certificates below it is spoken with by TLS.
    #[arg(long, value_name = "URL")]
    pub gateway: Vec<String>,
    #[command(flatten)]
    pub mtls: MutualTlsArgs,
    /// The report as one JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Chaos {
    /// How many rounds of faults; after each the lab must be well again.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// Draws the faults; the same number gives the same plan. A new one each time by default.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How much is broken at a time.
    #[arg(long, value_enum, default_value_t)]
    pub plan: ChaosPlan,
    /// Begin no round after this time, such as 10m.
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Operations a second that the clients attempt, queues aside.
    #[arg(long, default_value_t = 40)]
    pub rate: u32,
    /// On two PostgreSQL servers, one following the other: every second round the one that writes dies and the other takes over.
    #[arg(long)]
    pub replicated: bool,
    /// With --replicated: the services reach PostgreSQL through a PgBouncer (1.21 or newer) that lends a connection for a
    /// transaction, and is told of every promotion.
    #[arg(long, requires = "replicated")]
    pub pgbouncer: bool,
    /// On several Redis servers: in two rounds of three the one that is written to dies, or stands still for a while.
    #[arg(long, value_enum, default_value_t)]
    pub redis: ChaosRedis,
    /// Encrypt every call between tiers, and have both sides show who they are; with --redis, calls of those servers too.
    #[arg(long)]
    pub mutual_tls: bool,
    /// Keep the lab's folder and the journal even when everything holds.
    #[arg(long)]
    pub keep: bool,
    /// Switch a safeguard off, to see that its absence is noticed; may be repeated.
    #[arg(long, hide = true, value_name = "SAFEGUARD", value_delimiter = ',')]
    pub without_safeguard: Vec<kit::safeguards::Safeguard>,
}

/// What a shaken lab keeps its cache and its queues in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ChaosRedis {
    /// One Redis for the cache and one for the queues.
    #[default]
    Private,
    /// A master with two replicas and three sentinels.
    Sentinel,
    /// A cluster of three masters with a replica each.
    Cluster,
}

/// How hard a lab is shaken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ChaosPlan {
    /// One fault a round, over within a good second.
    Short,
    /// One to three faults a round, up to four seconds each.
    #[default]
    Full,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Roles or instances, such as gateway or gateway-1; all of them by default.
    pub filter: Vec<String>,
    /// Go on printing what is added.
    #[arg(long, short)]
    pub follow: bool,
    /// How many lines of each instance to begin with.
    #[arg(long, short = 'n', default_value_t = 50)]
    pub lines: usize,
    /// The lines as they are, one JSON object each.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// Roles and numbers, such as gateway=5.
    #[arg(required = true, value_name = "ROLE=N")]
    pub counts: Vec<Count>,
}

#[derive(Debug, Args)]
pub struct Restart {
    /// Roles or instances, such as gateway or travel-2.
    #[arg(required = true, value_name = "ROLE|INSTANCE")]
    pub targets: Vec<Target>,
}

#[derive(Debug, Args)]
pub struct Queues {
    #[command(subcommand)]
    pub what: Option<QueueAction>,
    /// One JSON document for scripts.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done to a queue.
#[derive(Debug, Subcommand)]
pub enum QueueAction {
    /// Lets receivers get nothing; what is sent waits.
    Pause { queue: String },
    /// Lets receivers get messages again.
    Resume { queue: String },
    /// Changes settings, such as `durability=fast` or `max_depth=1000`.
    Set {
        queue: String,
        #[arg(required = true, value_name = "SETTING=VALUE", value_parser = setting)]
        settings: Vec<(String, serde_json::Value)>,
    },
    /// Shows dead letters with their reasons.
    Dead {
        queue: String,
        /// How many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Sends dead letters again, the oldest first.
    Redrive {
        queue: String,
        /// How many at most.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// So many a second instead of all at once.
        #[arg(long)]
        per_second: Option<f64>,
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Ends all messages of a queue but the dead letters.
    Purge {
        queue: String,
        /// The dead letters instead.
        #[arg(long)]
        dead: bool,
    },
}

/// A number where it is one, words otherwise.
fn setting(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not SETTING=VALUE, such as durability=fast"))?;
    let value = value
        .parse::<serde_json::Number>()
        .map_or_else(|_| value.into(), Into::into);
    Ok((name.to_owned(), value))
}

#[derive(Debug, Args)]
pub struct Balancing {
    #[command(flatten)]
    pub hop: Hop,
    #[command(subcommand)]
    pub action: BalancingAction,
}

/// Which of the two levels of balancing.
#[derive(Debug, Args)]
pub struct Hop {
    /// A pool of the gateways', such as travel or exercise; without it the balancer's own over the gateways.
    #[arg(long, global = true)]
    pub pool: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum BalancingAction {
    /// Print the settings in force.
    Show,
    /// Change settings while everything runs: `policy=p2c`, `weights.gateway-1=3`, `admission.enabled=true`.
    Set {
        /// NAME=VALUE, with dots for what is inside; null puts a default back.
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<String>,
    },
    /// Print the last picks: who could have been picked, with which score, and who could not, and why.
    Explain {
        /// How many picks.
        #[arg(long, default_value_t = 10)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub struct Routes {
    /// The table as the JSON document that a gateway takes with `--routes FILE`.
    #[arg(long, group = "what")]
    pub json: bool,
    /// The JSON Schema of such documents, for editors and checkers.
    #[arg(long, group = "what")]
    pub schema: bool,
    /// Say everything that is wrong with a document; exit with 1 if anything is.
    #[arg(long, value_name = "FILE", group = "what")]
    pub check: Option<PathBuf>,
    /// Say how a document's routes differ from the built-in ones.
    #[arg(long, value_name = "FILE", group = "what")]
    pub diff: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Completions {
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Certificates {
    /// The folder that they are written to, for each role into one of its own. An authority that is there stays; the roles'
    /// certificates are made anew.
    pub folder: PathBuf,
    /// How long the roles' certificates are good for.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    pub days: u64,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Where they go, such as /usr/local/share/man/man1; made when it is not there.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Install what is missing without asking.
    #[arg(long, short)]
    pub yes: bool,
    /// For `cargo test --workspace`, such as `-p travel` or `-- part_of_a_name`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Health {
    /// Such as `http://127.0.0.1:9000/readyz`.
    pub url: String,
}

#[derive(Debug, Args)]
pub struct Guard {
    #[arg(long)]
    pub signal: StopSignal,
    /// Seconds before the command is killed.
    #[arg(long)]
    pub patience: u64,
    #[arg(long, requires = "gid")]
    pub uid: Option<u32>,
    #[arg(long, requires = "uid")]
    pub gid: Option<u32>,
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct GuardChild {
    pub signal: StopSignal,
    pub guard: u32,
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `90`, `90s`, `1500ms`, `5m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is not a duration such as 30s, 1500ms or 5m"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_mins(number)),
        "h" => Ok(Duration::from_hours(number)),
        unit => Err(format!("{unit:?} is none of ms, s, m, h")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("90", Ok(90_000)),
            ("30s", Ok(30_000)),
            ("1500ms", Ok(1_500)),
            ("5m", Ok(300_000)),
            ("1h", Ok(3_600_000)),
            ("", Err(())),
            ("5 fortnights", Err(())),
            ("-1s", Err(())),
        ] {
            let parsed = duration(text)
                .map(|duration| duration.as_millis())
                .map_err(drop);
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn tests_take_their_own_flags() {
        let arguments =
            Arguments::parse_from(["recarga", "test", "--yes", "-p", "travel", "--", "name"]);
        let Command::Test(Deferred(test)) = arguments.command else {
            panic!("not the test command");
        };
        assert!(test.yes);
        assert_eq!(test.arguments, ["-p", "travel", "--", "name"]);
    }
}
