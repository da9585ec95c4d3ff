//! The six invariants, checked against a lab's stores and its public surfaces, and against a journal when there is one.
//!
//! What must hold at any moment is checked in one statement each, so that a lab under load is no excuse. What must hold
//! sooner or later is judged for what was there when the check began, and after a wait with a bound.

mod events;
mod fresh;
mod ledger;
mod report;
mod sql;
mod whereabouts;

use std::time::{Duration, Instant};

use kit::{postgres::Servers, tls::Tiers};
use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use report::{Check, Report, Verdict};

use crate::{
    history::{Findings, bookings, cards},
    journal::Journal,
};
use whereabouts::Queues;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Site {
    pub database_url: String,
    /// Every Redis that may hold messages; without one, nothing is said about where a missing event is.
    pub redis_urls: Vec<String>,
    /// The running services; without them, what is on its way stays on its way, and reads cannot be probed.
    pub live: Option<Live>,
}

/// The services of a running lab.
#[derive(Clone, Debug)]
pub struct Live {
    /// The addresses of all gateways, as `http://host:port`.
    pub gateways: Vec<String>,
    /// How they are spoken to.
    pub tiers: Tiers,
}

/// How thorough, and how patient.
#[derive(Clone, Debug)]
pub struct Options {
    pub journal: Option<Journal>,
    /// How long what must happen sooner or later may stand still.
    pub settle: Duration,
    /// How many reads the probe of the caches makes at least; none when zero.
    pub reads: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            journal: None,
            settle: Duration::from_mins(1),
            reads: 2_000,
        }
    }
}

/// Nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database cannot be asked: {0}")]
    Database(#[from] sqlx::Error),
    #[error("this database holds no lab: {0} is missing; `recarga migrate` makes it")]
    NoLab(&'static str),
}

/// How long the database may take to let us in.
const CONNECT: Duration = Duration::from_secs(10);

/// Checks everything. `tell` hears what is being waited for.
///
/// # Errors
/// When the database cannot be asked. An invariant that cannot be checked is part of the report.
pub async fn verify(
    site: &Site,
    options: &Options,
    tell: impl Fn(String),
) -> Result<Report, Error> {
    let began = Instant::now();
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(CONNECT)
        .connect_with(reach(&site.database_url).await?)
        .await?;
    let tables = sql::missing_table(&pool).await?;
    if let Some(table) = tables {
        return Err(Error::NoLab(table));
    }
    let queues = Queues::new(&site.redis_urls);
    let journal = options.journal.as_ref();
    let mut checks = Vec::new();

    // First what waits for others, so that the rest is checked when things are quiet.
    let horizon = sql::horizon(&pool).await?;
    let waited = events::settle(&pool, site, options, &horizon, &tell).await?;
    let later = events::check(&pool, site, &queues, journal, &horizon, &waited).await?;
    checks.push(Check::new(1, ledger::recharges(&pool, journal).await?));
    checks.push(Check::new(2, ledger::balances(&pool).await?));
    checks.push(fresh::check(&pool, site, options, &tell).await?);
    checks.extend(later);

    if let Some(journal) = journal {
        checks.extend(histories(journal));
    }
    pool.close().await;
    Ok(Report {
        holds: checks.iter().all(|check| check.verdict == Verdict::Holds),
        checks,
        live: site.live.is_some(),
        operations: journal.map(|journal| journal.operations.len() as u64),
        waited,
        took: began.elapsed(),
    })
}

/// What must hold at any moment, without waiting for anything and without adding anything: for a look between two faults.
///
/// # Errors
/// When the database cannot be asked.
pub async fn glance(database_url: &str) -> Result<Vec<Check>, Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT)
        .connect_with(reach(database_url).await?)
        .await?;
    let checks = vec![
        Check::new(1, ledger::recharges(&pool, None).await?),
        Check::new(2, ledger::balances(&pool).await?),
        Check::new(4, events::overlaps(&pool).await?),
        Check::new(6, events::accounts(&pool).await?),
    ];
    pool.close().await;
    Ok(checks)
}

/// The histories in a journal: recharges and bookings. (Whoever used queues has their remains, and checks those.)
#[must_use]
pub fn histories(journal: &Journal) -> Vec<Check> {
    let operations = &journal.operations;
    let mut checks = Vec::new();
    if let Some(start) = journal
        .start
        .as_ref()
        .filter(|start| !start.cards.is_empty())
    {
        let findings = cards::check(&start.cards, operations, cards::Reads::Promised);
        checks.push(Check::history(
            "recharges linearizable, with the balances read",
            findings,
        ));
    }
    let findings: Findings = bookings::check(operations);
    checks.push(Check::history("bookings a set without overlap", findings));
    checks
}

/// Where the database is, which is there: a pool would only say that it waited.
async fn reach(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = Servers::reach(url).await?;
    let connecting = PgConnection::connect_with(&options);
    let connection = tokio::time::timeout(CONNECT, connecting)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    connection.close().await?;
    Ok(options)
}
