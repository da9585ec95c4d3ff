//! What labs are told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What")]
pub struct Lab {
    #[command(subcommand)]
    pub what: LabCommand,
}

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Show the labs that are built in.
    List(LabList),
    /// Run labs on the lab of this folder, one after the other; each begins and ends with a verified baseline.
    Run(LabRun),
    /// Say what is wrong with a lab's file, by line and column.
    Check(LabCheck),
    /// Make reports of runs: Markdown, a page, charts and data; or lay two runs side by side.
    Report(crate::commands::lab::report::Report),
    /// Print the JSON schema of a lab's file, for editors.
    Schema,
}

#[derive(Debug, Args)]
pub struct LabList {
    /// One JSON document for scripts.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LabRun {
    /// Names or numbers of labs, paths of files, or `all`.
    #[arg(value_name = "NAME|FILE|all", required = true)]
    pub labs: Vec<String>,
    /// One JSON object a line for everything that happens.
    #[arg(long)]
    pub json: bool,
    /// Where the records go, a folder for each run; `labs` in the lab's folder unless told.
    #[arg(long, value_name = "FOLDER")]
    pub record: Option<PathBuf>,
    /// Answers to the questions, counted from 1, in their order; without them they are passed over.
    #[arg(long, value_name = "CHOICE", value_delimiter = ',')]
    pub answer: Vec<usize>,
    /// What the numbers grow from that calls draw by chance.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct LabCheck {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}
