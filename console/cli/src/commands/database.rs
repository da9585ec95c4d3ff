//! `recarga migrate` and `recarga seed`: the database's schema and its city, without the rest.

use std::path::Path;

use anyhow::Result;

use crate::{
    arguments::{Database, Seed},
    exit,
    progress::Printer,
    terminal,
};

pub async fn migrate(directory: &Path, arguments: Database) -> Result<u8> {
    let url = url(directory, arguments)?;
    let printer = Printer::new(terminal::is_fancy(false));
    let pool = host::database::connect(&url).await?;
    host::database::migrate(&pool, &printer.events()).await?;
    pool.close().await;
    Ok(exit::SUCCESS)
}

pub async fn fill(directory: &Path, arguments: Seed) -> Result<u8> {
    let plan = seed::Plan {
        scale: arguments.scale,
        seed: arguments.seed,
    };
    let url = url(directory, arguments.database)?;
    let printer = Printer::new(terminal::is_fancy(false));
    let pool = host::database::connect(&url).await?;
    host::database::migrate(&pool, &printer.events()).await?;
    host::database::fill(&pool, plan, &printer.events()).await?;
    if let Some(password) = arguments.operator_password {
        host::database::set_operator_password(&pool, &password).await?;
    }
    pool.close().await;
    Ok(exit::SUCCESS)
}

fn url(directory: &Path, arguments: Database) -> Result<String> {
    match arguments.database_url {
        Some(url) => Ok(url),
        None => Ok(host::running_database_url(directory)?),
    }
}
