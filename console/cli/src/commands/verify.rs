//! `recarga verify`: the six invariants, against a lab that runs, one that is stopped, or any database.

use std::path::Path;

use anyhow::{Context as _, Result};
use host::AtRest;
use kit::{Topology, tls::Tiers};
use proof::{
    journal::Journal,
    verify::{Live, Options, Report, Site, verify},
};

use crate::{
    arguments::{Verify, missing},
    exit,
    terminal::{say, tell},
};

pub async fn run(directory: &Path, arguments: Verify) -> Result<u8> {
    let journal = arguments
        .journal
        .as_deref()
        .map(Journal::load)
        .transpose()?;
    let options = Options {
        journal,
        settle: arguments.settle,
        reads: arguments.reads,
    };
    let shutdown = kit::Shutdown::on_signals()?;
    let report = tokio::select! {
        report = check(directory, &arguments, &options) => report?,
        () = shutdown.requested() => return Ok(exit::INTERRUPTED),
    };
    show(&report, arguments.json)
}

/// Prints a report; the exit code.
pub fn show(report: &Report, json: bool) -> Result<u8> {
    if json {
        say(serde_json::to_string_pretty(report)?);
    } else {
        say(report);
    }
    Ok(code(report))
}

/// Certain wrong comes before not knowing.
fn code(report: &Report) -> u8 {
    if report.is_violated() {
        exit::VIOLATED
    } else if report.is_unchecked() {
        exit::UNCHECKED
    } else {
        exit::SUCCESS
    }
}

async fn check(directory: &Path, arguments: &Verify, options: &Options) -> Result<Report> {
    if let Some(url) = &arguments.database_url {
        let tiers = Tiers::load(&arguments.mtls)?;
        let site = Site {
            database_url: url.clone(),
            redis_urls: arguments.redis_url.iter().cloned().collect(),
            live: (!arguments.gateway.is_empty()).then(|| Live {
                gateways: arguments.gateway.clone(),
                tiers,
            }),
        };
        return Ok(verify(&site, options, tell).await?);
    }
    if !arguments.gateway.is_empty() {
        missing("--gateway", "--database-url");
    }
    let program = std::env::current_exe().context("finding this program's own file")?;
    let Some(at_rest) = AtRest::start(&program, directory).await? else {
        let site = running(directory)?;
        return Ok(verify(&site, options, tell).await?);
    };
    tell("no lab runs here: its stores are started for the check, and stopped after it");
    let site = Site {
        database_url: at_rest.database_url().to_owned(),
        redis_urls: at_rest.redis_urls().to_vec(),
        live: None,
    };
    let report = verify(&site, options, tell).await;
    at_rest.stop().await;
    Ok(report?)
}

fn running(directory: &Path) -> Result<Site> {
    let topology = host::running_topology(directory)?;
    Ok(Site {
        database_url: host::running_database_url(directory)?,
        redis_urls: host::running_redis_urls(directory)?,
        live: Some(Live {
            gateways: gateways(&topology),
            tiers: topology.tiers()?,
        }),
    })
}

fn gateways(topology: &Topology) -> Vec<String> {
    topology
        .of_role("gateway")
        .map(|gateway| format!("http://{}", gateway.listen))
        .collect()
}
