//! `recarga backup`: what a lab has, kept; and the proof that it can be had back.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ::backup::{Key, Made, Stores};
use anyhow::{Context as _, Result};
use host::{AtRest, Scratch};
use proof::{
    journal::Journal,
    verify::{Options, Site, verify},
};

use super::{doctor, verify as check};
use crate::{
    arguments::{Backup, BackupCommand, BackupKey, BackupVerify, missing},
    exit,
    terminal::{say, tell},
};

/// Where backups of a lab are kept, in its folder.
const SHELF: &str = "backups";

pub async fn run(directory: &Path, arguments: Backup) -> Result<u8> {
    if let Some(BackupCommand::Verify(arguments)) = arguments.what {
        return prove(arguments).await;
    }
    let key = key(&arguments.key)?;
    let shelf = arguments
        .to
        .clone()
        .unwrap_or_else(|| directory.join(SHELF));
    let shutdown = kit::Shutdown::on_signals()?;
    loop {
        let began = Instant::now();
        let made = tokio::select! {
            made = make(directory, &arguments, &shelf, key.as_ref()) => made,
            () = shutdown.requested() => return Ok(exit::INTERRUPTED),
        };
        match (made, arguments.every) {
            (Ok(made), _) => {
                say(line(&made, began.elapsed()));
                for removed in keep(&shelf, arguments.keep)? {
                    say(format_args!("removed {}", removed.display()));
                }
            }
            // The next one may succeed; who looks after it sees the words.
            (Err(error), Some(_)) => tell(format_args!("recarga: no backup this time: {error:#}")),
            (Err(error), None) => return Err(error),
        }
        let Some(every) = arguments.every else {
            return Ok(exit::SUCCESS);
        };
        tokio::select! {
            () = tokio::time::sleep(every.saturating_sub(began.elapsed())) => {}
            () = shutdown.requested() => return Ok(exit::SUCCESS),
        }
    }
}

pub fn key(arguments: &BackupKey) -> Result<Option<Key>> {
    Ok(arguments.key_file.as_deref().map(Key::load).transpose()?)
}

async fn make(
    directory: &Path,
    arguments: &Backup,
    shelf: &Path,
    key: Option<&Key>,
) -> Result<Made> {
    if let Some(url) = &arguments.database_url {
        let Some(queue) = &arguments.queue_redis_url else {
            missing("--database-url", "--queue-redis-url");
        };
        let stores = Stores {
            database_url: url.clone(),
            redis_urls: vec![queue.clone()],
        };
        return Ok(::backup::make(&stores, shelf, key).await?);
    }
    let program = std::env::current_exe().context("finding this program's own file")?;
    let Some(at_rest) = AtRest::start(&program, directory).await? else {
        let stores = Stores {
            database_url: host::running_database_url(directory)?,
            redis_urls: host::running_redis_urls(directory)?,
        };
        return Ok(::backup::make(&stores, shelf, key).await?);
    };
    tell("no lab runs here: its stores are started for the backup, and stopped after it");
    let stores = Stores {
        database_url: at_rest.database_url().to_owned(),
        redis_urls: at_rest.redis_urls().to_vec(),
    };
    let made = ::backup::make(&stores, shelf, key).await;
    at_rest.stop().await;
    Ok(made?)
}

fn keep(shelf: &Path, newest: Option<u16>) -> Result<Vec<PathBuf>> {
    match newest {
        Some(newest) => Ok(::backup::keep(shelf, newest.into())?),
        None => Ok(Vec::new()),
    }
}

fn line(made: &Made, took: Duration) -> String {
    let manifest = &made.manifest;
    format!(
        "backed up {} rows of {} tables and {} keys of the queue in {:.1} s, {:.1} MB{}: {}",
        manifest.rows(),
        manifest.tables.len(),
        manifest.queue.keys,
        took.as_secs_f64(),
        manifest.bytes() as f64 / 1e6,
        if manifest.encrypted {
            ", encrypted"
        } else {
            ""
        },
        made.folder.display()
    )
}

/// Restores into stores of its own, and looks at them.
async fn prove(arguments: BackupVerify) -> Result<u8> {
    let key = key(&arguments.key)?;
    // Before anything is started: most of what can be wrong is seen here.
    ::backup::check(&arguments.backup, key.as_ref())?;
    let options = Options {
        journal: arguments
            .journal
            .as_deref()
            .map(Journal::load)
            .transpose()?,
        settle: Duration::ZERO,
        reads: 0,
    };
    doctor::ensure(false)?;
    let shutdown = kit::Shutdown::on_signals()?;
    let program = std::env::current_exe().context("finding this program's own file")?;
    let scratch = Scratch::start(&program).await?;
    let site = Site {
        database_url: scratch.database_url(),
        redis_urls: vec![scratch.redis_url()],
        live: None,
    };
    let look = async {
        let (database, queue) = (&site.database_url, &site.redis_urls[0]);
        ::backup::restore(&arguments.backup, key.as_ref(), database, queue, |_| ()).await?;
        anyhow::Ok(verify(&site, &options, tell).await?)
    };
    let report = tokio::select! {
        report = look => Some(report),
        () = shutdown.requested() => None,
    };
    scratch.stop().await?;
    let Some(report) = report.transpose()? else {
        return Ok(exit::INTERRUPTED);
    };
    // What gateways answer is no matter of a backup.
    Ok(match check::show(&report, arguments.json)? {
        exit::UNCHECKED => exit::SUCCESS,
        code => code,
    })
}
