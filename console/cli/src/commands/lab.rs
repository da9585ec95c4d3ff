//! `recarga lab`: demonstrations that run and check themselves.

pub mod report;
mod tell;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use actions::{Lab as Places, Rights};
use anyhow::{Context as _, Result};
use host::{Layout, Secrets};
use labs::{
    Autopilot, Field, Missing,
    field::Setup,
    record::{Outcome, Run},
    script::Lab,
};
use proof::verify::{Live, Site};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    arguments::{LabCommand, LabRun},
    exit,
    terminal::{say, tell},
};

pub async fn run(directory: &Path, what: LabCommand) -> Result<u8> {
    match what {
        LabCommand::List(list) => show(list.json),
        LabCommand::Run(run) => perform(directory, run).await,
        LabCommand::Check(check) => Ok(inspect(&check.files)),
        LabCommand::Report(report) => report::run(directory, &report),
        LabCommand::Schema => {
            say(serde_json::to_string_pretty(&labs::schema())?);
            Ok(exit::SUCCESS)
        }
    }
}

fn show(json: bool) -> Result<u8> {
    let all = labs::shipped()?;
    if json {
        let rows: Vec<_> = all
            .iter()
            .map(|lab| {
                let needs: Vec<String> = lab.needs.iter().map(ToString::to_string).collect();
                json!({
                    "name": lab.name,
                    "title": lab.title,
                    "goal": lab.goal,
                    "minutes": lab.minutes,
                    "needs": needs,
                    "steps": lab.steps.len(),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(exit::SUCCESS);
    }
    for (index, lab) in all.iter().enumerate() {
        say(format_args!(
            "{:>2}  {:<18} {} ({} min)",
            index + 1,
            lab.name,
            lab.title,
            lab.minutes
        ));
    }
    Ok(exit::SUCCESS)
}

fn inspect(files: &[PathBuf]) -> u8 {
    let mut code = exit::SUCCESS;
    for file in files {
        match labs::read_file(file) {
            Ok(lab) => say(format_args!(
                "{}: {} in {} steps, nothing is wrong",
                file.display(),
                lab.name,
                lab.steps.len()
            )),
            Err(mistakes) => {
                tell(&mistakes);
                code = exit::FAILURE;
            }
        }
    }
    code
}

/// The labs that are meant; what is wrong with a file is told.
fn meant(names: &[String]) -> Result<Option<Vec<Lab>>> {
    let mut meant = Vec::new();
    for name in names {
        if name == "all" {
            meant.extend(labs::shipped()?);
            continue;
        }
        match labs::find(name) {
            Ok(lab) => meant.push(lab),
            Err(missing @ Missing::Unknown { .. }) => {
                tell(format_args!("recarga lab: {missing}"));
                return Ok(None);
            }
            Err(wrong @ Missing::Wrong(_)) => anyhow::bail!("{wrong}"),
        }
    }
    Ok(Some(meant))
}

async fn perform(directory: &Path, arguments: LabRun) -> Result<u8> {
    let Some(meant) = meant(&arguments.labs)? else {
        return Ok(exit::USAGE);
    };
    let field = Field::open(setup(directory)?)?;
    let folder = match &arguments.record {
        Some(folder) => folder.clone(),
        None => Layout::existing(directory)?.root().join("labs"),
    };
    let (keys, mut pressed) = mpsc::unbounded_channel();
    let shutdown = kit::Shutdown::on_signals()?;
    let stopped = shutdown.clone();
    tokio::spawn(async move {
        stopped.requested().await;
        let _ = keys.send(labs::Command::Baseline);
    });
    let several = meant.len() > 1;
    let mut runs = Vec::new();
    for lab in meant {
        let mut voice = tell::Voice::new(arguments.json, &lab);
        let mut pilot = Autopilot::new(arguments.answer.iter().copied());
        let run = labs::drive(lab, &field, arguments.seed, &mut pressed, |engine| {
            voice.hear(engine);
            pilot.press(engine)
        })
        .await;
        let path = labs::keep(&folder, &run)
            .with_context(|| format!("writing the record into {}", folder.display()))?;
        voice.end(&run, &path);
        runs.push(run);
        if shutdown.is_requested() {
            break;
        }
    }
    if several {
        tell::summary(arguments.json, &runs);
    }
    Ok(code(&runs))
}

/// What could not be run is worse than what failed.
fn code(runs: &[Run]) -> u8 {
    let any = |outcome| runs.iter().any(|run| run.outcome == outcome);
    if any(Outcome::Interrupted) {
        exit::INTERRUPTED
    } else if any(Outcome::Broken) {
        exit::FAILURE
    } else if any(Outcome::Failed) {
        exit::LIMIT
    } else {
        exit::SUCCESS
    }
}

/// How labs are run on the lab of this folder.
pub fn setup(directory: &Path) -> Result<Setup> {
    // Says at once when no lab runs here.
    host::running_topology(directory)?;
    let layout = Layout::existing(directory)?;
    let secrets = Secrets::load(&layout)?;
    let place = {
        let directory = directory.to_owned();
        move || {
            let topology = host::running_topology(&directory);
            let topology = topology.map_err(|error| error.to_string())?;
            Ok(Places::from(&topology))
        }
    };
    let stores = {
        let directory = directory.to_owned();
        move || site(&directory).map_err(|error| error.to_string())
    };
    Ok(Setup {
        place: Arc::new(place),
        stores: Some(Arc::new(stores)),
        rights: Rights {
            operator_token: Some(secrets.operator_token),
            operator_password: Some(secrets.operator_password),
            ..Rights::default()
        },
        folder: Some(layout.root().join("labs")),
    })
}

fn site(directory: &Path) -> Result<Site, host::Error> {
    let topology = host::running_topology(directory)?;
    let gateways = topology.of_role("gateway");
    let tiers = topology.tiers()?;
    Ok(Site {
        database_url: host::running_database_url(directory)?,
        redis_urls: host::running_redis_urls(directory)?,
        live: Some(Live {
            gateways: gateways
                .map(|gateway| format!("http://{}", gateway.listen))
                .collect(),
            tiers,
        }),
    })
}
