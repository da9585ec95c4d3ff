//! Breaks a lab of its own while clients use it, lets it recover, and looks whether anything was lost.

mod client;
mod hands;
mod plan;
mod queues;
mod recovery;
mod traffic;

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use host::{
    Count, Events, Lab, Outcome,
    ports::Wanted,
    store::{Replicated, Watch, Watched},
};
use kit::{Shutdown, Topology, postgres::Servers, tls::Tiers};
use sqlx::Connection as _;
use tempfile::TempDir;

pub use hands::{Frozen, kill};
use plan::QUEUES;
pub use plan::{CYCLE, Fault, Plan, Profile, Round, Scene, Timed};

use crate::{
    journal::{self, Card, FORMAT, Journal, Recorder, Start},
    verify::{self, Check, Live, Report, Site, Verdict},
    wire::{Board, Toxics},
};
use client::Client;
use hands::Hands;
use queues::{Queues, Remains};
use traffic::Traffic;

/// How many instances of which role: two where one may die while the other works, otherwise as few as there may be.
const COUNTS: [&str; 10] = [
    "balancer=1",
    "gateway=2",
    "travel=2",
    "search=1",
    "booking=2",
    "exercise=1",
    "worker=2",
    "notification=2",
    "cache=1",
    "queue=2",
];
/// Cards that the traffic has for itself.
const CARDS: i64 = 6;
/// How long the lab may take to be well again after the last fault of a round.
const RECOVER: Duration = Duration::from_secs(90);
/// How long the queues may take to be emptied.
const DRAIN: Duration = Duration::from_mins(1);
/// How long traffic goes on undisturbed before the first round and after each.
const CALM: Duration = Duration::from_millis(500);
/// Short times, so that what was interrupted is taken up again within a round.
const SETTINGS: [(&str, &str); 4] = [
    ("RECARGA_TASK_SECONDS", "0.2"),
    ("RECARGA_TASK_VISIBILITY_SECONDS", "3"),
    ("RECARGA_NOTIFICATION_VISIBILITY_SECONDS", "3"),
    ("RECARGA_DATABASE_CONNECTIONS", "8"),
];

/// How the services reach the PostgreSQL that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They know both servers.
    Direct,
    /// They know a PgBouncer that knows which.
    Pooled,
}

/// What to do to a lab.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u32,
    pub seed: u64,
    pub profile: Profile,
    /// No round is begun after this time.
    pub duration: Option<Duration>,
    /// Operations a second, queues aside.
    pub rate: f64,
    /// The `recarga` binary that the lab is run from.
    pub program: PathBuf,
    /// What every service is told on top.
    pub environment: Vec<(String, String)>,
    /// Keep the folder and the journal also when everything holds.
    pub keep: bool,
    /// Reads of the caches' probe at the end.
    pub reads: u64,
    /// How long what must happen sooner or later may stand still at the end.
    pub settle: Duration,
    /// On two PostgreSQL servers, one of which follows the other; every second round the one that writes dies for good.
    pub replicated: Option<Way>,
    /// On several Redis servers; in two rounds of three the one that is written to dies, or stands still for a while.
    pub watch: Option<Watch>,
    /// Every call between tiers is encrypted, and both sides show who they are.
    pub mutual_tls: bool,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Lab(#[from] host::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Verify(#[from] verify::Error),
    #[error("{context}: {source}")]
    Io {
        context: String,
        source: std::io::Error,
    },
    #[error("the database cannot be asked: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the clients cannot begin: {0}")]
    Clients(String),
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    pub rounds: u32,
    /// Everything that was found wrong before the end, by round.
    pub early: Vec<String>,
    /// Missing when the lab did not come back.
    pub report: Option<Report>,
    pub journal: Journal,
    pub journal_path: PathBuf,
    /// The lab's folder, which is kept when something is wrong.
    pub kept: Option<PathBuf>,
    pub took: Duration,
}

impl Summary {
    /// Whether everything held, from the first round to the last check.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.early.is_empty() && self.report.as_ref().is_some_and(|report| report.holds)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(report) = &self.report {
            writeln!(formatter, "{report}")?;
        }
        for early in &self.early {
            writeln!(formatter, "{early}")?;
        }
        let (ok, refused, unknown) = tally(&self.journal.operations);
        write!(
            formatter,
            "{} rounds in {:.0} s; {ok} operations answered, {refused} refused, {unknown} of unknown outcome",
            self.rounds,
            self.took.as_secs_f64()
        )
    }
}

fn tally(operations: &[journal::Operation]) -> (usize, usize, usize) {
    let ok = operations.iter().filter(|o| o.answer().is_some()).count();
    let refused = operations.iter().filter(|o| o.is_refused()).count();
    (ok, refused, operations.len() - ok - refused)
}

/// Starts a lab, breaks it round by round, and verifies. `tell` hears a line for each thing that happens; `None` is the
/// answer to a shutdown on the way. Whatever happens, nothing is left running.
///
/// # Errors
/// When the lab or the clients cannot be started, or the lab cannot be verified.
pub async fn run(
    options: &Options,
    shutdown: &Shutdown,
    tell: impl Fn(String),
) -> Result<Option<Summary>, Error> {
    let began = Instant::now();
    let folder = host::scratch::folder("recarga-chaos-")?;
    let database = if let Some(way) = options.replicated {
        let pooled = way == Way::Pooled;
        let place = folder.path().join("database");
        Some(Arc::new(
            Replicated::start(&options.program, &place, pooled).await?,
        ))
    } else {
        None
    };
    let redis = match options.watch {
        Some(watch) => {
            let place = folder.path().join("redis");
            Some(Arc::new(
                Watched::start(&options.program, &place, watch, options.mutual_tls).await?,
            ))
        }
        None => None,
    };
    let stores = (database.as_deref(), redis.as_deref());
    let (lab, board) = match start(options, stores, &folder, shutdown).await {
        Ok(started) => started,
        Err(Error::Lab(host::Error::Interrupted)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let _following = board.follow();
    tell(format!(
        "a lab of {} services runs in {}",
        lab.topology().instances.len(),
        folder.path().display()
    ));
    let shaken = {
        let stage = Stage {
            options,
            lab: &lab,
            database: database.clone(),
            redis: redis.clone(),
            board,
            tell: &tell,
            began,
        };
        let path = folder.path().join("journal.jsonl");
        tokio::select! {
            shaken = stage.shake(path) => Some(shaken),
            () = shutdown.requested() => None,
        }
    };
    lab.stop().await;
    if let Some(database) = database.and_then(Arc::into_inner) {
        database.stop().await;
    }
    if let Some(redis) = redis.and_then(Arc::into_inner) {
        redis.stop().await;
    }
    let Some(shaken) = shaken else {
        return Ok(None);
    };
    let mut summary = match shaken {
        Ok(summary) => summary,
        Err(error) => {
            tell(format!("kept for a look: {}", folder.keep().display()));
            return Err(error);
        }
    };
    summary.took = began.elapsed();
    if options.keep || !summary.holds() {
        summary.kept = Some(folder.keep());
    }
    Ok(Some(summary))
}

async fn start(
    options: &Options,
    (database, redis): (Option<&Replicated>, Option<&Watched>),
    folder: &TempDir,
    shutdown: &Shutdown,
) -> Result<(Lab, Board), Error> {
    let failed = |source| Error::Io {
        context: folder.path().display().to_string(),
        source,
    };
    let root = folder.path().canonicalize().map_err(failed)?;
    let board = Board::new(
        &root.join("topology.json"),
        &root.join("wires"),
        options.seed,
    )
    .map_err(failed)?;
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // What a replica does not have is gone when it is promoted.
    let replicas = redis.map(|_| ("RECARGA_QUEUE_REPLICAS".to_owned(), "1".to_owned()));
    let pooled = database.and_then(|database| {
        let direct = database.url().to_owned();
        Some([
            ("RECARGA_DATABASE_URL".to_owned(), database.pooled_url()?),
            ("RECARGA_DATABASE_DIRECT_URL".to_owned(), direct),
        ])
    });
    let environment = settings
        .into_iter()
        .chain(replicas)
        .chain(pooled.into_iter().flatten())
        .chain(options.environment.clone());
    let lab = host::Options {
        directory: root,
        program: options.program.clone(),
        counts: COUNTS
            .iter()
            .filter_map(|count| count.parse::<Count>().ok())
            .collect(),
        ports: Wanted {
            free: true,
            ..Wanted::default()
        },
        database_url: database.map(|database| database.url().to_owned()),
        redis_url: redis.map(|redis| redis.url().to_owned()),
        queue_redis_url: None,
        plan: seed::Plan {
            scale: seed::Scale::Town,
            seed: 1,
        },
        read_only: false,
        mutual_tls: options.mutual_tls,
        rewire: Some(board.rewire(environment.collect())),
    };
    match host::up(lab, Events::ignore(), shutdown.clone()).await? {
        Outcome::Started(lab) => Ok((*lab, board)),
        Outcome::AlreadyRunning => Err(Error::Clients("the folder is in use".to_owned())),
    }
}

fn tiers(topology: &Topology) -> Result<Tiers, Error> {
    topology
        .tiers()
        .map_err(|error| Error::Clients(error.to_string()))
}

/// How the tiers are spoken to past the front door.
fn scheme(topology: &Topology) -> &'static str {
    match topology.mutual_tls {
        Some(_) => "https",
        None => "http",
    }
}

/// A running lab, and what is done on it.
struct Stage<'a, T: Fn(String)> {
    options: &'a Options,
    lab: &'a Lab,
    database: Option<Arc<Replicated>>,
    redis: Option<Arc<Watched>>,
    board: Board,
    tell: &'a T,
    began: Instant,
}

impl<T: Fn(String)> Stage<'_, T> {
    async fn shake(&self, path: PathBuf) -> Result<Summary, Error> {
        let site = self.site()?;
        let cards = cards(&site.database_url).await?;
        let recorder = Recorder::create(
            &path,
            Start {
                format: FORMAT,
                at: Utc::now(),
                seed: Some(self.options.seed),
                cards: cards.clone(),
            },
        )?;
        let topology = self.lab.topology();
        let tiers = tiers(&topology)?;
        let client =
            Client::new(&topology.public_url, &tiers, recorder.clone()).map_err(Error::Clients)?;
        client.sign_in().await.map_err(Error::Clients)?;
        let (seed, run) = (self.options.seed, rand::random());
        let queues = topology
            .of_role("queue")
            .map(|queue| format!("{}://{}", scheme(&topology), queue.listen))
            .collect();
        let queues = Queues::start(&client, queues, run, seed)
            .await
            .map_err(Error::Clients)?;
        let numbers: Vec<i64> = cards.iter().map(|card| card.card).collect();
        let traffic = Traffic::start(&client, &numbers, run, seed, self.options.rate);
        let hands = Hands::new(
            self.lab.supervisor().clone(),
            self.board.clone(),
            site.database_url.clone(),
            self.database.clone(),
            self.redis.clone(),
            client.clone(),
            seed,
        );

        let (rounds, mut early) = self.rounds(&hands, &site).await;
        hands.lift_all();
        traffic.stop().await;
        let mut report = None;
        let mut drained = Err("the lab did not come back".to_owned());
        if early.is_empty()
            || recovery::recovered(|| self.lab.topology(), &client, CALM)
                .await
                .is_ok()
        {
            // As relays do that died at the wrong moment: it must make no difference.
            for queue in QUEUES {
                if let Err(why) = hands.redeliver(queue).await {
                    (self.tell)(format!("no events of {queue} were sent again: {why}"));
                }
            }
            drained = queues.drain(DRAIN).await;
            // Reads in peace: what they show is there to stay.
            for card in &numbers {
                traffic::read_balance(&client, *card).await;
            }
            let options = verify::Options {
                journal: Some(recorder.snapshot()),
                settle: self.options.settle,
                reads: self.options.reads,
            };
            self.slow_down_reads();
            let found = verify::verify(&site, &options, self.tell).await;
            self.board.clear();
            let mut found = found?;
            add(&mut found, &recorder.snapshot(), drained.as_ref().ok());
            report = Some(found);
        }
        if let Err(why) = drained {
            early.push(format!("at the end: {why}"));
        }
        Ok(Summary {
            rounds,
            early,
            report,
            journal: recorder.finish()?,
            journal_path: path,
            kept: None,
            took: self.began.elapsed(),
        })
    }

    fn site(&self) -> Result<Site, Error> {
        let root = self.lab.layout().root();
        Ok(Site {
            database_url: match &self.database {
                Some(database) => database.url().to_owned(),
                None => host::running_database_url(root)?,
            },
            redis_urls: match &self.redis {
                Some(redis) => vec![redis.url().to_owned()],
                None => host::running_redis_urls(root)?,
            },
            live: Some(Live {
                gateways: self
                    .lab
                    .topology()
                    .of_role("gateway")
                    .map(|gateway| format!("http://{}", gateway.listen))
                    .collect(),
                tiers: tiers(&self.lab.topology())?,
            }),
        })
    }

    /// Between gateways and what they read from: answers that are old when they arrive are what a cache must not keep.
    fn slow_down_reads(&self) {
        let toxics = Toxics {
            latency: Duration::from_millis(10),
            jitter: Duration::from_millis(60),
            ..Toxics::default()
        };
        for pair in self.board.pairs() {
            if pair.from.starts_with("gateway") && pair.to.starts_with("travel") {
                let _ = self.board.set(&pair, toxics);
            }
        }
    }

    fn scene(&self) -> Scene {
        let topology = self.lab.topology();
        let stores = topology.stores.iter().map(|store| store.kind.clone());
        Scene {
            instances: topology
                .instances
                .iter()
                .map(|instance| instance.name.clone())
                .collect(),
            stores: stores.filter(|kind| kind != "postgres").collect(),
            watched: self.redis.is_some(),
            pairs: self.board.pairs(),
            replicated: self.database.is_some(),
        }
    }

    /// How many rounds there were, and what was wrong after the last.
    async fn rounds(&self, hands: &Hands, site: &Site) -> (u32, Vec<String>) {
        let scene = self.scene();
        let redis = match &self.redis {
            Some(redis) => format!("redis ({})", redis.watch()),
            None => scene.stores.join(", "),
        };
        (self.tell)(format!(
            "to break: {} services, {}, {redis}, and the connections of {} pairs",
            scene.instances.len(),
            if scene.replicated {
                if self.options.replicated == Some(Way::Pooled) {
                    "PostgreSQL and its standby behind PgBouncer"
                } else {
                    "PostgreSQL and its standby"
                }
            } else {
                "PostgreSQL"
            },
            scene.pairs.len()
        ));
        let plan = Plan::new(scene, self.options.profile, self.options.seed);
        tokio::time::sleep(CALM).await;
        let mut rounds = 0;
        for round in plan.take(self.options.rounds as usize) {
            let over = |limit| self.began.elapsed() >= limit;
            if self.options.duration.is_some_and(over) {
                break;
            }
            rounds += 1;
            let problems = self.round(hands, site, &round).await;
            if !problems.is_empty() {
                let number = round.number;
                let problems = problems.into_iter();
                return (
                    rounds,
                    problems
                        .map(|problem| format!("round {number}: {problem}"))
                        .collect(),
                );
            }
        }
        (rounds, Vec::new())
    }

    async fn round(&self, hands: &Hands, site: &Site, round: &Round) -> Vec<String> {
        let recorder = &hands.client.recorder;
        let before = tally(&recorder.snapshot().operations);
        let mut trouble = hands.carry_out(round).await;
        let topology = || self.lab.topology();
        let recovered = recovery::recovered(topology, &hands.client, RECOVER).await;
        let mut problems = Vec::new();
        let back = match recovered {
            Ok(took) => format!("well after {:.1} s", took.as_secs_f64()),
            Err(why) => {
                problems.push(format!(
                    "not well {} s after the faults were lifted: {why}",
                    RECOVER.as_secs()
                ));
                "NOT WELL".to_owned()
            }
        };
        tokio::time::sleep(CALM).await;
        let journal = recorder.snapshot();
        let mut checks = verify::histories(&journal);
        checks.extend(queues::check(&journal.operations, None));
        match verify::glance(&site.database_url).await {
            Ok(found) => checks.extend(found),
            Err(error) => trouble.push(format!("no look at the database: {error}")),
        }
        let wrong = checks
            .iter()
            .filter(|check| check.verdict == Verdict::Violated);
        problems.extend(wrong.map(ToString::to_string));
        let after = tally(&journal.operations);
        let verdict = if problems.is_empty() {
            "holds"
        } else {
            "VIOLATED"
        };
        let trouble = if trouble.is_empty() {
            String::new()
        } else {
            format!(" (not done: {})", trouble.join("; "))
        };
        (self.tell)(format!(
            "round {:3}: {round}{trouble} | {back} | {} answered, {} unknown | {verdict}",
            round.number,
            after.0 - before.0,
            after.2.saturating_sub(before.2),
        ));
        problems
    }
}

/// Adds the histories that need to know what is left in the queues.
fn add(report: &mut Report, journal: &Journal, remains: Option<&Remains>) {
    report
        .checks
        .extend(queues::check(&journal.operations, remains));
    report.holds = report
        .checks
        .iter()
        .all(|check: &Check| check.verdict == Verdict::Holds);
}

/// The cards that the traffic has for itself: the first of the last hundred, which the probe does not touch.
async fn cards(database_url: &str) -> Result<Vec<Card>, Error> {
    let mut connection = Servers::connect(database_url).await?;
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "select c.id, c.balance, coalesce((select max(r.id) from travel.recharges r where r.card_id = c.id), 0)
         from travel.cards c where c.status = 'active' order by c.id desc limit $1 offset 50",
    )
    .bind(CARDS)
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    Ok(rows
        .into_iter()
        .map(|(card, balance, newest_recharge)| Card {
            card,
            balance,
            newest_recharge,
        })
        .collect())
}
