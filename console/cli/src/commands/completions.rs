//! `recarga completions`: a script for the shell.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::{
    arguments::{Arguments, Completions},
    exit,
};

pub fn run(arguments: &Completions) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "recarga",
        &mut script,
    );
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(exit::SUCCESS)
}
