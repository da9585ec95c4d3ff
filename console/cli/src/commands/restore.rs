//! `recarga restore`: a backup, into a new lab or into empty stores.

use std::{path::Path, time::Instant};

use ::backup::{Key, Restored, Table};
use anyhow::{Context as _, Result, bail};
use host::ports::Wanted;
use kit::Shutdown;

use super::{
    backup::{Here, key},
    doctor,
};
use crate::{
    arguments::{Restore, missing},
    exit,
    progress::Printer,
    terminal::{self, say},
};

pub async fn run(directory: &Path, arguments: Restore) -> Result<u8> {
    let began = Instant::now();
    let key = key(&arguments.key)?;
    let key = key.as_ref();
    // Before anything is made or started.
    let here = Here::bring(arguments.backup).await?;
    let backup = here.path();
    here.check(key)?;
    let shutdown = Shutdown::on_signals()?;
    let restored = if let Some(database) = &arguments.database_url {
        let Some(queue) = &arguments.queue_redis_url else {
            missing("--database-url", "--queue-redis-url");
        };
        restore(backup, key, database, queue, &shutdown).await?
    } else {
        doctor::ensure(false)?;
        into_lab(directory, backup, key, &shutdown).await?
    };
    let Some(restored) = restored else {
        return Ok(exit::INTERRUPTED);
    };
    let manifest = &restored.manifest;
    say(format_args!(
        "restored {} rows and {} keys of the queue, as they were at {}, in {:.1} s",
        manifest.rows(),
        manifest.queue.keys,
        manifest.taken_at.format("%Y-%m-%d %H:%M:%S UTC"),
        began.elapsed().as_secs_f64()
    ));
    if restored.announced_again > 0 {
        say(format_args!(
            "{} events that were on their way then are announced again",
            restored.announced_again
        ));
    }
    Ok(exit::SUCCESS)
}

async fn into_lab(
    directory: &Path,
    backup: &Path,
    key: Option<&Key>,
    shutdown: &Shutdown,
) -> Result<Option<Restored>> {
    let printer = Printer::new(terminal::is_fancy(false));
    let options = host::Options {
        directory: directory.to_owned(),
        program: std::env::current_exe().context("finding this program's own file")?,
        counts: Vec::new(),
        ports: Wanted {
            free: true,
            ..Wanted::default()
        },
        database_url: None,
        redis_url: None,
        queue_redis_url: None,
        plan: seed::Plan {
            scale: seed::Scale::Town,
            seed: 1,
        },
        rewire: None,
        read_only: false,
        mutual_tls: false,
    };
    let stores = host::stores(options, printer.events(), shutdown.clone()).await?;
    let Some((lab, urls)) = stores else {
        bail!(
            "a lab runs in {}: stop it first (`recarga down`), or name another folder with --dir",
            directory.display()
        );
    };
    let restored = restore(backup, key, &urls.database, &urls.queue, shutdown).await;
    lab.stop().await;
    restored
}

/// `None` when it was interrupted, which leaves the stores empty.
async fn restore(
    backup: &Path,
    key: Option<&Key>,
    database: &str,
    queue: &str,
    shutdown: &Shutdown,
) -> Result<Option<Restored>> {
    let progress = |table: &Table| {
        if table.rows > 10_000 {
            say(format_args!(
                "{}.{}: {} rows",
                table.schema, table.name, table.rows
            ));
        }
    };
    tokio::select! {
        restored = ::backup::restore(backup, key, database, queue, progress) => Ok(Some(restored?)),
        () = shutdown.requested() => Ok(None),
    }
}
