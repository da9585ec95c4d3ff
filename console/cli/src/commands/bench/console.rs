//! `recarga bench console`: the console in a pseudo-terminal, against its targets and beside other tools.

mod flood;
mod frames;
mod measure;
mod observed;
mod others;
mod rest;
mod target;

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use self::{
    measure::Stage,
    target::{Measured, table},
};
use super::{aside, machine::Machine, report::Report};
use crate::{arguments::bench::Console as Arguments, exit, terminal::tell};

pub async fn run(directory: &Path, arguments: &Arguments) -> Result<u8> {
    let duration = arguments.duration();
    let lab = host::running_topology(directory).ok();
    let lab_folder = lab.is_some().then(|| directory.to_owned());
    let mut measured: Vec<Measured> = Vec::new();

    tell("the console at rest …");
    let folder = lab_folder.clone();
    measured.extend(aside(move || rest::measure(folder.as_deref(), duration)).await??);
    tell("the console in a flood of log lines …");
    let soak = arguments.soak();
    measured.extend(aside(move || flood::measure(duration, soak)).await??);
    tell("frames …");
    measured.extend(frames::measure(arguments.quick).await?);
    let observed = match lab {
        Some(topology) => {
            tell("what looking costs the services …");
            let folder = directory.to_owned();
            let observed = aside(move || observed::measure(&folder, &topology, duration)).await??;
            measured.push(observed.summary());
            Some(observed)
        }
        None => None,
    };
    let others = if arguments.alone {
        None
    } else {
        let folder = lab_folder.clone();
        Some(aside(move || others::measure(folder.as_deref(), duration)).await??)
    };

    let missed: Vec<&Measured> = measured.iter().filter(|one| one.is_missed()).collect();
    let code = if missed.is_empty() {
        exit::SUCCESS
    } else {
        exit::FAILURE
    };
    let mut notes = vec![format!(
        "{} of {} targets met; each figure is of {:.0} s, in a pseudo-terminal that this program reads",
        measured.iter().filter(|one| one.is_met()).count(),
        measured.iter().filter(|one| one.has_target()).count(),
        duration.as_secs_f64(),
    )];
    if lab_folder.is_none() {
        notes.push(
            "no lab runs in this folder: 15 stand-ins speak its admin surface, and what looking costs the services is not measured"
                .to_owned(),
        );
    }
    let mut tables = vec![table(&measured)];
    tables.extend(observed.as_ref().map(observed::Observed::table));
    tables.extend(others.as_deref().map(others::table));
    let report = Report {
        machine: Machine::look(),
        tables,
        notes,
        document: json!({
            "console": measured,
            "services": observed.map(observed::Observed::document),
            "tools": others,
        }),
    };
    report.publish(arguments.json, arguments.output.as_deref())?;
    Ok(code)
}

/// The console of this very binary on the lab of a folder.
fn console(folder: &Path) -> Result<pty::Program> {
    let arguments = ["--dir".as_ref(), folder.as_os_str(), "console".as_ref()];
    Ok(pty::Program::new(std::env::current_exe()?).arguments(arguments))
}

/// The lab of the folder, or stand-ins where there is none.
enum Observable<'a> {
    Lab(&'a Path),
    Stage(Box<Stage>),
}

impl<'a> Observable<'a> {
    fn new(folder: Option<&'a Path>) -> Result<Self> {
        Ok(match folder {
            Some(folder) => Self::Lab(folder),
            None => Self::Stage(Box::new(Stage::busy()?)),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Lab(folder) => folder,
            Self::Stage(stage) => stage.lab.path(),
        }
    }
}
