//! `recarga bench durable`: recharges through the service, straight into the stored function, and pgbench with the same
//! function, in turn on one private PostgreSQL. Each is answered when it is on disk.

mod load;
mod pgbench;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use host::{Events, Scratch};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use self::load::{Outcome, Plan};
use super::{
    aside,
    machine::Machine,
    process::{Bench, Process, free_addresses, raise_open_files},
    race::median,
    report::Report,
    stage::random_token,
    table::{Row, Table, decimal, whole},
};
use crate::{arguments::bench::Durable, exit, terminal::tell};

/// Connections of the service that makes one call per request.
const CALLS: &str = "16";

/// Who takes the recharges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Pgbench,
    Function,
    Service,
    OneCall,
    Chain,
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pgbench => "pgbench, one per commit",
            Self::Function => "stored function",
            Self::Service => "service",
            Self::OneCall => "service, one call per request",
            Self::Chain => "balancer, gateway, service",
        })
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contender {
    way: Way,
    clients: usize,
    /// All recharges are of one card.
    hot: bool,
}

/// The medians of one contender.
#[derive(Clone, Debug, Serialize)]
struct Line {
    way: String,
    clients: usize,
    hot: bool,
    /// Recharges a second.
    rate: f64,
    /// As a part of pgbench's in the same round.
    of_pgbench: Option<f64>,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
    first_error: Option<String>,
}

pub async fn run(arguments: &Durable) -> Result<u8> {
    raise_open_files();
    let method = &arguments.method;
    let stage = Stage::set(method.quick).await?;
    let contenders = contenders(arguments, stage.pgbench.is_some());
    let seconds = (method.duration() + method.warm_up()).as_secs()
        * contenders.len() as u64
        * u64::from(method.rounds());
    let mut rounds: Vec<Vec<(Outcome, Option<f64>)>> = vec![Vec::new(); contenders.len()];
    let turns = turns(method.duration());
    for round in 0..method.rounds() {
        tell(format_args!(
            "durable recharges: round {} of {} (about {seconds} s in all)",
            round + 1,
            method.rounds()
        ));
        let mut outcomes = vec![None; contenders.len()];
        for turn in 0..turns {
            // Who comes first differs from turn to turn, so that nobody has the cold machine always.
            let first = (round * turns + turn) as usize;
            for index in (0..contenders.len()).map(|index| (index + first) % contenders.len()) {
                let plan = Plan {
                    clients: contenders[index].clients,
                    cards: if contenders[index].hot {
                        1
                    } else {
                        stage.cards
                    },
                    warm_up: method.warm_up() / turns,
                    duration: method.duration() / turns,
                };
                let outcome = stage.measure(contenders[index].way, plan).await?;
                outcomes[index]
                    .get_or_insert_with(Outcome::default)
                    .add(outcome);
            }
        }
        let base = contenders
            .iter()
            .position(|contender| contender.way == Way::Pgbench && !contender.hot)
            .and_then(|index| outcomes[index].as_ref().map(rate));
        for (rounds, outcome) in rounds.iter_mut().zip(outcomes.into_iter().flatten()) {
            let part = base
                .filter(|base| *base > 0.0)
                .map(|base| rate(&outcome) / base);
            rounds.push((outcome, part));
        }
    }
    let missing = stage.pgbench.is_none();
    stage.strike().await?;

    let lines: Vec<Line> = contenders
        .iter()
        .zip(&rounds)
        .map(|(contender, rounds)| line(*contender, rounds))
        .collect();
    let mut notes = notes(&contenders, &rounds, arguments.reference.into());
    if missing {
        notes.push(
            "pgbench was not found beside the server's programs nor in PATH: the ratios are missing."
                .to_owned(),
        );
    }
    Report {
        machine: Machine::look(),
        tables: vec![table(&lines)],
        notes,
        document: json!({"durable": lines}),
    }
    .publish(method.json, method.output.as_deref())?;
    Ok(exit::SUCCESS)
}

/// In how many pieces each is measured in a round, of a second or so: a disk that is slow for a while is slow for all.
fn turns(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(1).clamp(1, 10)
}

fn contenders(arguments: &Durable, pgbench: bool) -> Vec<Contender> {
    let reference = usize::from(arguments.reference);
    let one = |way, clients, hot| Contender { way, clients, hot };
    let mut all = Vec::new();
    if pgbench {
        all.push(one(Way::Pgbench, reference, false));
    }
    all.push(one(Way::Function, 1, false));
    all.push(one(Way::Function, reference, false));
    for clients in arguments.connections() {
        all.push(one(Way::Service, clients.into(), false));
        all.push(one(Way::OneCall, clients.into(), false));
    }
    all.push(one(Way::Chain, reference, false));
    if pgbench {
        all.push(one(Way::Pgbench, reference, true));
    }
    all.push(one(Way::Service, reference, true));
    all.push(one(Way::OneCall, reference, true));
    all
}

fn rate(outcome: &Outcome) -> f64 {
    outcome.good as f64 / outcome.seconds
}

fn line(contender: Contender, rounds: &[(Outcome, Option<f64>)]) -> Line {
    let of = |figure: &dyn Fn(&Outcome) -> f64| {
        median(rounds.iter().map(|(outcome, _)| figure(outcome))).unwrap_or_default()
    };
    Line {
        way: contender.way.to_string(),
        clients: contender.clients,
        hot: contender.hot,
        rate: of(&rate),
        of_pgbench: median(rounds.iter().filter_map(|(_, part)| *part)),
        p50_us: of(&|outcome| outcome.percentile(0.5)),
        p99_us: of(&|outcome| outcome.percentile(0.99)),
        errors: rounds.iter().map(|(outcome, _)| outcome.errors).sum(),
        first_error: rounds
            .iter()
            .find_map(|(outcome, _)| outcome.first_error.clone()),
    }
}

fn table(lines: &[Line]) -> Table {
    let rows = lines.iter().map(|line| {
        let card = if line.hot { ", one hot card" } else { "" };
        Row::Cells(vec![
            format!("{}{card}", line.way),
            line.clients.to_string(),
            whole(line.rate),
            decimal(line.of_pgbench, 2),
            decimal(Some(line.p50_us / 1000.0), 2),
            decimal(Some(line.p99_us / 1000.0), 2),
            line.errors.to_string(),
        ])
    });
    Table {
        title: "Durable recharges: fsync on, each answered when its commit is on disk".to_owned(),
        header: vec![
            "way",
            "clients",
            "recharges/s",
            "of pgbench",
            "p50 ms",
            "p99 ms",
            "errors",
        ],
        rows: rows.collect(),
    }
}

fn notes(
    contenders: &[Contender],
    rounds: &[Vec<(Outcome, Option<f64>)>],
    reference: usize,
) -> Vec<String> {
    let find = |way: Way, clients: usize, hot: bool| {
        let wanted = Contender { way, clients, hot };
        let place = contenders.iter().position(|one| *one == wanted)?;
        Some(&rounds[place])
    };
    let mut notes = vec![
        "Every way claims a new idempotency key, recharges, and writes ledger, event and reply. The service commits what waits together; one call per request is the same service with groups of one on 16 connections. Its outbox has no queue to go to meanwhile. `of pgbench` is the rate beside pgbench's, on all cards, in the same round; the figures below are medians over the rounds, too.".to_owned(),
    ];
    let mut compare = |what: &str,
                       one: (Way, usize, bool),
                       other: (Way, usize, bool),
                       figure: fn(&Outcome) -> f64| {
        let (Some(ones), Some(others)) =
            (find(one.0, one.1, one.2), find(other.0, other.1, other.2))
        else {
            return;
        };
        let ratios = ones
            .iter()
            .zip(others)
            .map(|((one, _), (other, _))| figure(one) / figure(other).max(0.001));
        if let Some(ratio) = median(ratios) {
            notes.push(format!("{what}: {ratio:.2}"));
        }
    };
    compare(
        "one client's p50, service to stored function",
        (Way::Service, 1, false),
        (Way::Function, 1, false),
        |outcome| outcome.percentile(0.5),
    );
    compare(
        &format!("p99 at {reference} clients, service to one call per request"),
        (Way::Service, reference, false),
        (Way::OneCall, reference, false),
        |outcome| outcome.percentile(0.99),
    );
    compare(
        "rate on one hot card, service to one call per request",
        (Way::Service, reference, true),
        (Way::OneCall, reference, true),
        rate,
    );
    for (contender, rounds) in contenders.iter().zip(rounds) {
        let line = line(*contender, rounds);
        if let Some(error) = &line.first_error {
            notes.push(format!(
                "{}, {} clients: {} errors, the first: {error}",
                line.way, line.clients, line.errors
            ));
        }
    }
    notes
}

/// A private PostgreSQL with a city, and the processes before it.
struct Stage {
    bench: Bench,
    scratch: Scratch,
    pool: PgPool,
    cards: u64,
    pgbench: Option<PathBuf>,
    service: SocketAddr,
    one_call: SocketAddr,
    chain: SocketAddr,
    token: String,
    processes: Vec<Process>,
}

impl Stage {
    async fn set(quick: bool) -> Result<Self> {
        tell(format_args!(
            "starting a private PostgreSQL with fsync, filling it, and starting the services"
        ));
        let bench = Bench::new()?;
        let program = std::env::current_exe().context("finding this program's own file")?;
        let scratch = Scratch::durable(&program).await?;
        let url = scratch.database_url();
        let pool = host::database::connect(&url).await?;
        host::database::migrate(&pool, &Events::ignore()).await?;
        let plan = seed::Plan {
            scale: seed::Scale::Town,
            seed: 1,
        };
        host::database::fill(&pool, plan, &Events::ignore()).await?;
        // A refusal is cheaper than a recharge: there are none.
        sqlx::query("update travel.cards set status = 'active'")
            .execute(&pool)
            .await?;
        sqlx::query("vacuum analyze").execute(&pool).await?;
        if !quick {
            fill_segments(&pool).await?;
        }
        let cards: i64 = sqlx::query_scalar("select max(id) from travel.cards")
            .fetch_one(&pool)
            .await?;

        let mut starting = Starting {
            bench: &bench,
            environment: vec![
                ("RECARGA_DATABASE_URL", url),
                ("RECARGA_REDIS_URL", scratch.redis_url()),
                ("RECARGA_OPERATOR_TOKEN", random_token()?),
                ("RECARGA_SIGNING_KEY", random_token()?),
            ],
            processes: Vec::new(),
        };
        let nowhere = free_addresses(1)?[0].to_string();
        let cache = starting.serve("cache", "cache-1", &[]).await?.to_string();
        let peers = ["--cache", &cache, "--queue", &nowhere];
        let service = starting.serve("travel", "travel-1", &peers).await?;
        let single = ["--commit-group", "1", "--commit-lanes", CALLS];
        let one_call = starting
            .serve("travel", "travel-2", &[peers, single].concat())
            .await?;
        let travel = service.to_string();
        let mut peers = vec!["--cache", &cache, "--travel", &travel];
        for absent in ["--search", "--booking", "--worker", "--exercise"] {
            peers.extend([absent, &nowhere]);
        }
        let gateway = starting.serve("gateway", "gateway-1", &peers).await?;
        let mut processes = starting.processes;
        let balancer = bench.balancer(&[gateway], None, ("/health", None)).await?;
        let chain = balancer.proxy.address;
        processes.push(balancer.proxy.process);
        let answer = bench.http().get(format!("http://{chain}/token")).send();
        let answer: Value = answer.await?.error_for_status()?.json().await?;
        let token = answer["token"].as_str().context("no token was given")?;
        Ok(Self {
            pgbench: pgbench::find(),
            token: token.to_owned(),
            cards: cards.unsigned_abs(),
            bench,
            scratch,
            pool,
            service,
            one_call,
            chain,
            processes,
        })
    }

    async fn measure(&self, way: Way, plan: Plan) -> Result<Outcome> {
        // What the one before left costs nobody.
        sqlx::query("truncate travel.outbox, travel.idempotency_claims")
            .execute(&self.pool)
            .await?;
        let url = self.scratch.database_url();
        let known = "x-recarga-user: student1".to_owned();
        match way {
            Way::Pgbench => {
                let Some(program) = self.pgbench.clone() else {
                    bail!("pgbench is not there");
                };
                let folder = self.bench.folder().to_owned();
                aside(move || pgbench::run(&program, &url, &folder, plan)).await?
            }
            Way::Function => aside(move || load::into_the_function(&url, plan)).await?,
            Way::Service => {
                let target = self.service;
                aside(move || load::over_http(target, &known, plan)).await?
            }
            Way::OneCall => {
                let target = self.one_call;
                aside(move || load::over_http(target, &known, plan)).await?
            }
            Way::Chain => {
                let (target, header) =
                    (self.chain, format!("Authorization: Bearer {}", self.token));
                aside(move || load::over_http(target, &header, plan)).await?
            }
        }
    }

    async fn strike(self) -> Result<()> {
        for process in self.processes {
            process.stop().await;
        }
        self.pool.close().await;
        self.scratch.stop().await?;
        Ok(())
    }
}

/// A fresh server makes each segment of its log in the middle of somebody's commit, which takes tens of milliseconds. A lab
/// that has run for a while uses them again; so does this one, once it has as many as it keeps.
async fn fill_segments(pool: &PgPool) -> Result<()> {
    for _ in 0..20 {
        sqlx::query("select pg_switch_wal() from (select pg_logical_emit_message(false, 'bench', repeat('x', 100000))) m")
            .execute(pool)
            .await?;
    }
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}

struct Starting<'a> {
    bench: &'a Bench,
    environment: Vec<(&'static str, String)>,
    processes: Vec<Process>,
}

impl Starting<'_> {
    /// Starts a service and waits until it answers.
    async fn serve(&mut self, role: &str, instance: &str, flags: &[&str]) -> Result<SocketAddr> {
        let addresses = free_addresses(2)?;
        let mut arguments = vec!["serve".to_owned(), role.to_owned()];
        for (flag, value) in [
            ("--instance", instance.to_owned()),
            ("--listen", addresses[0].to_string()),
            ("--admin-listen", addresses[1].to_string()),
            ("--log-dir", self.bench.folder().display().to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut process = self
            .bench
            .ours(instance, &arguments, &self.environment)
            .with_context(|| format!("our {role}"))?;
        self.bench
            .until_it_answers(&mut process, addresses[0], "/health", None)
            .await
            .with_context(|| format!("our {role}"))?;
        self.processes.push(process);
        Ok(addresses[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(good: u64, latency: u32) -> Outcome {
        Outcome {
            good,
            seconds: 2.0,
            latencies: vec![latency],
            ..Outcome::default()
        }
    }

    #[test]
    fn the_table_shows_medians_and_ratios() {
        let contender = |way, hot| Contender {
            way,
            clients: 64,
            hot,
        };
        let rounds = |good: u64, latency| {
            [1, 3, 2]
                .map(|round| (outcome(good * round, latency), Some(good as f64 / 10_000.0)))
                .to_vec()
        };
        let contenders = [
            contender(Way::Pgbench, false),
            contender(Way::Service, false),
            contender(Way::OneCall, false),
            contender(Way::Service, true),
            contender(Way::OneCall, true),
        ];
        let rounds = [
            rounds(10_000, 8_000),
            rounds(20_000, 4_000),
            rounds(5_000, 16_000),
            rounds(18_000, 4_500),
            rounds(2_000, 40_000),
        ];
        let lines: Vec<_> = contenders
            .iter()
            .zip(&rounds)
            .map(|(contender, rounds)| line(*contender, rounds))
            .collect();
        let expected = "\
Durable recharges: fsync on, each answered when its commit is on disk
way                                          clients  recharges/s  of pgbench  p50 ms  p99 ms  errors
pgbench, one per commit                           64       10,000        1.00    8.00    8.00       0
service                                           64       20,000        2.00    4.00    4.00       0
service, one call per request                     64        5,000        0.50   16.00   16.00       0
service, one hot card                             64       18,000        1.80    4.50    4.50       0
service, one call per request, one hot card       64        2,000        0.20   40.00   40.00       0
";
        assert_eq!(table(&lines).text(), expected);
        assert_eq!(
            notes(&contenders, &rounds, 64)[1..],
            [
                "p99 at 64 clients, service to one call per request: 0.25",
                "rate on one hot card, service to one call per request: 9.00"
            ]
        );
    }
}
