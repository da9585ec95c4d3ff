//! `recarga lab report`: makes reports of runs, and lays two beside each other.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use labs::report;

use crate::{exit, terminal::say};

#[derive(Debug, Args)]
pub struct Report {
    /// A run: its folder, its run.json, or the name of a lab for its newest run; the newest of all unless told.
    #[arg(value_name = "RUN")]
    pub runs: Vec<String>,
    /// Lay two runs side by side, with intervals.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "runs")]
    pub compare: Option<Vec<String>>,
    /// Where the reports go, a folder for each run; `reports` in the lab's folder unless told.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Where the records are that names are looked up in; `labs` in the lab's folder unless told.
    #[arg(long, value_name = "FOLDER")]
    pub record: Option<PathBuf>,
}

pub fn run(directory: &Path, arguments: &Report) -> Result<u8> {
    let records = arguments
        .record
        .clone()
        .unwrap_or_else(|| directory.join("labs"));
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| directory.join("reports"));
    if let Some([first, second]) = arguments.compare.as_deref() {
        let (first, second) = (
            report::find(first, &records)?,
            report::find(second, &records)?,
        );
        let (a, b) = (report::read(&first)?, report::read(&second)?);
        let folder = out.join(format!("{}-beside-{}", name(&first), name(&second)));
        report::write_comparison(&a, &b, [place(&first), place(&second)], &folder)?;
        told(&folder);
        return Ok(exit::SUCCESS);
    }
    let found = if arguments.runs.is_empty() {
        vec![report::newest(&records)?]
    } else {
        let found = arguments.runs.iter().map(|run| report::find(run, &records));
        found.collect::<Result<Vec<_>, _>>()?
    };
    for record in found {
        let run = report::read(&record)?;
        let folder = out.join(name(&record));
        report::write(&run, place(&record), &folder)
            .with_context(|| format!("the report of {}", record.display()))?;
        told(&folder);
    }
    Ok(exit::SUCCESS)
}

/// The folder of a run, and so the name of its report's.
fn name(record: &Path) -> String {
    let path = record.canonicalize().unwrap_or_else(|_| record.to_owned());
    let file = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if path.file_name().is_some_and(|file| file == report::RECORD) {
        let folder = path.parent().and_then(Path::file_name);
        folder.map_or(file, |folder| folder.to_string_lossy().into_owned())
    } else {
        file
    }
}

/// What to name in the command that makes the report again.
fn place(record: &Path) -> &Path {
    match record.parent() {
        Some(parent) if record.ends_with(report::RECORD) && parent != Path::new("") => parent,
        _ => record,
    }
}

fn told(folder: &Path) {
    say(format_args!("{}", folder.join("report.html").display()));
    say(format_args!("{}", folder.join("report.md").display()));
}
