//! `recarga man`: the manual's pages.

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::{
    arguments::{Arguments, Man},
    exit,
};

pub fn run(arguments: &Man) -> Result<u8> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .with_context(|| format!("writing the manual into {}", folder.display()))?;
    Ok(exit::SUCCESS)
}
