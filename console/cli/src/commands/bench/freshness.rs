//! `recarga bench freshness`: whether any reader of the lab here ever sees a balance from before a recharge that was answered,
//! while gateways, the cache and its Redis are stopped, killed and come back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use host::control::Client;
use kit::Topology;
use load::{Credentials, Freshness, FreshnessOptions, check_freshness};
use proof::chaos::{Frozen, kill};
use serde::Serialize;
use serde_json::json;

use super::recharges::run_number;
use crate::{
    arguments::bench::Freshness as Arguments,
    commands::note,
    exit,
    terminal::{say, tell},
};

/// Cards that nobody else is likely to use: the traffic of the console and of `load` takes the first ones.
const FIRST_CARD: u64 = 901;
const CARDS: u64 = 16;
/// How long one answer may take: longer than anything is stopped.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two faults: caches fill again, and a gateway that lost its lease has it back.
const CALM: Duration = Duration::from_millis(1_500);
/// How often the lab itself is looked for.
const LOOK_FOR_LAB: Duration = Duration::from_secs(1);
/// How often an instance that was killed is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long a killed instance may take to come back.
const RETURN: Duration = Duration::from_secs(30);

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Victim {
    Gateway(usize),
    Cache,
    Redis,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Blow {
    /// Stopped for so many milliseconds, then it goes on as if nothing had been.
    Stop(u64),
    /// Killed with -9; its supervisor starts it again.
    Kill,
}

/// One round of faults: short stops that nobody notices, long ones in which others give it up, and deaths.
const ROUND: [(Victim, Blow); 9] = [
    (Victim::Cache, Blow::Stop(3_000)),
    (Victim::Cache, Blow::Stop(600)),
    (Victim::Cache, Blow::Kill),
    (Victim::Redis, Blow::Kill),
    (Victim::Redis, Blow::Stop(2_500)),
    (Victim::Gateway(0), Blow::Stop(400)),
    (Victim::Gateway(1), Blow::Stop(1_800)),
    (Victim::Gateway(2), Blow::Kill),
    (Victim::Gateway(0), Blow::Kill),
];

pub async fn run(directory: &Path, arguments: &Arguments) -> Result<u8> {
    let topology = host::running_topology(directory)?;
    let gateways: Vec<String> = topology
        .of_role("gateway")
        .map(|gateway| format!("http://{}", gateway.listen))
        .collect();
    ensure!(
        !gateways.is_empty(),
        "the lab has no gateway: `recarga scale gateway=3`"
    );
    let options = FreshnessOptions {
        gateways,
        allow_remote: false,
        tls: topology.tiers()?.client("gateway")?,
        credentials: Credentials::Demo,
        cards: (FIRST_CARD..FIRST_CARD + CARDS).collect(),
        reads: arguments.reads,
        readers: arguments.readers.into(),
        writers: arguments.writers.into(),
        pause: arguments.pause,
        timeout: PATIENCE,
        run: run_number(),
    };
    let started = Instant::now();
    let mut blows = Vec::new();
    let (over, faults_over) = tokio::sync::oneshot::channel::<()>();
    let check = check_freshness(options, async {
        let _ = faults_over.await;
    });
    let faults = async {
        if arguments.faults {
            strike(directory, arguments.rounds, &mut blows).await?;
        }
        let _ = over.send(());
        Ok(())
    };
    let check = async { check.await.context("the check could not begin") };
    // Readers go on asking for ever; without a lab there is nobody to answer.
    let freshness = tokio::select! {
        both = async { tokio::try_join!(check, faults) } => both?.0,
        error = gone(directory) => return Err(error),
    };
    report(arguments, &freshness, &blows, started.elapsed())?;
    Ok(if freshness.violations == 0 {
        exit::SUCCESS
    } else {
        exit::FAILURE
    })
}

/// Waits until the lab in the folder has ended.
async fn gone(directory: &Path) -> anyhow::Error {
    loop {
        tokio::time::sleep(LOOK_FOR_LAB).await;
        if let Err(error) = host::running_topology(directory) {
            return anyhow::Error::new(error).context("the lab ended before the check did");
        }
    }
}

/// Round after round; afterwards everything runs again.
async fn strike(directory: &Path, rounds: u32, blows: &mut Vec<(Victim, Blow)>) -> Result<()> {
    // What is stopped goes on when this ends, however the command does.
    let frozen = Frozen::default();
    for round in 1..=rounds {
        for (victim, blow) in ROUND {
            tokio::time::sleep(CALM).await;
            let Some(pid) = find(&status(directory).await?, victim) else {
                continue;
            };
            tell(format_args!(
                "round {round} of {rounds}: {victim:?} {blow:?}"
            ));
            blows.push((victim, blow));
            match blow {
                Blow::Stop(milliseconds) => {
                    let lasts = Duration::from_millis(milliseconds);
                    frozen.hold(&[pid], lasts).await;
                }
                Blow::Kill => {
                    kill(pid);
                    come_back(directory, victim, pid).await?;
                }
            }
        }
    }
    Ok(())
}

async fn come_back(directory: &Path, victim: Victim, before: u32) -> Result<()> {
    let limit = Instant::now() + RETURN;
    loop {
        let now = find(&status(directory).await?, victim);
        if now.is_some_and(|pid| pid != before) {
            return Ok(());
        }
        ensure!(
            Instant::now() < limit,
            "{victim:?} did not come back within {RETURN:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

async fn status(directory: &Path) -> Result<Topology> {
    Ok(Client::connect(directory, note).await?.status().await?)
}

fn find(topology: &Topology, victim: Victim) -> Option<u32> {
    match victim {
        Victim::Gateway(number) => topology.of_role("gateway").nth(number)?.pid,
        Victim::Cache => topology.of_role("cache").next()?.pid,
        Victim::Redis => {
            let mut stores = topology.stores.iter();
            stores
                .find(|store| store.kind == "redis" && store.managed)?
                .pid
        }
    }
}

fn report(
    arguments: &Arguments,
    freshness: &Freshness,
    blows: &[(Victim, Blow)],
    elapsed: Duration,
) -> Result<()> {
    if arguments.json {
        let document = json!({
            "freshness": freshness,
            "faults": blows,
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        });
        say(serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    let kinds: Vec<String> = freshness
        .by_cache
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    say(format_args!(
        "{} reads in {:.0} s through all gateways at once ({}); {} got no answer",
        freshness.reads,
        elapsed.as_secs_f64(),
        kinds.join(", "),
        freshness.reads_failed,
    ));
    say(format_args!(
        "{} recharges answered, {} sent again with their key; {} faults",
        freshness.writes,
        freshness.writes_repeated,
        blows.len(),
    ));
    say(format_args!(
        "{} reads were older than a recharge answered before them",
        freshness.violations
    ));
    for violation in &freshness.told {
        say(format_args!(
            "  card {} through {} ({}): {} instead of {} after {} ms",
            violation.card,
            violation.gateway,
            violation.cache,
            violation.value,
            violation.expected,
            violation.at_ms
        ));
    }
    Ok(())
}
