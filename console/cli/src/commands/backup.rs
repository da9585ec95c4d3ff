//! `recarga backup`: what a lab has, kept; and the proof that it can be had back.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ::backup::{Bucket, Key, Made, Name, Place, Stores};
use anyhow::{Context as _, Result};
use host::{AtRest, Scratch};
use proof::{
    journal::Journal,
    verify::{Options, Site, verify},
};
use tempfile::TempDir;

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
    let shelf = Shelf::open(directory, arguments.to.as_ref())?;
    let shutdown = kit::Shutdown::on_signals()?;
    loop {
        let began = Instant::now();
        let made = tokio::select! {
            made = once(directory, &arguments, &shelf, key.as_ref(), began) => made,
            () = shutdown.requested() => return Ok(exit::INTERRUPTED),
        };
        match (made, arguments.every) {
            (Ok(()), _) => {}
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

/// Makes one, puts it where it is kept, and removes those that are too many.
async fn once(
    directory: &Path,
    arguments: &Backup,
    shelf: &Shelf,
    key: Option<&Key>,
    began: Instant,
) -> Result<()> {
    let made = make(directory, arguments, shelf.folder(), key).await?;
    let place = match shelf {
        Shelf::Folder(_) => made.folder.display().to_string(),
        Shelf::Bucket(bucket, _) => {
            let name = bucket.put(&made.folder).await?;
            std::fs::remove_dir_all(&made.folder)
                .with_context(|| format!("removing {}", made.folder.display()))?;
            name.to_string()
        }
    };
    say(line(&made, &place, began.elapsed()));
    let Some(newest) = arguments.keep else {
        return Ok(());
    };
    let removed: Vec<String> = match shelf {
        Shelf::Folder(folder) => {
            let removed = ::backup::keep(folder, newest.into())?;
            removed.iter().map(|it| it.display().to_string()).collect()
        }
        Shelf::Bucket(bucket, _) => {
            let removed = bucket.keep(newest.into()).await?;
            removed.iter().map(ToString::to_string).collect()
        }
    };
    for removed in removed {
        say(format_args!("removed {removed}"));
    }
    Ok(())
}

/// Where backups are kept.
enum Shelf {
    Folder(PathBuf),
    /// A bucket, and the folder in which each is made before it is sent.
    Bucket(Bucket, TempDir),
}

impl Shelf {
    fn open(directory: &Path, to: Option<&Place>) -> Result<Self> {
        Ok(match to {
            None => Self::Folder(directory.join(SHELF)),
            Some(Place::Folder(folder)) => Self::Folder(folder.clone()),
            Some(Place::Bucket(name)) => {
                let folder = TempDir::with_prefix("recarga-backup-");
                Self::Bucket(
                    Bucket::open(name)?,
                    folder.context("making a temporary folder")?,
                )
            }
        })
    }

    /// Where one is made.
    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Bucket(_, folder) => folder.path(),
        }
    }
}

/// A backup that is here, if need be for as long as this is kept.
pub enum Here {
    Folder(PathBuf),
    Fetched(Name, TempDir),
}

impl Here {
    pub async fn bring(place: Place) -> Result<Self> {
        Ok(match place {
            Place::Folder(folder) => Self::Folder(folder),
            Place::Bucket(name) => {
                let folder = Bucket::open(&name)?.fetch().await?;
                Self::Fetched(name, folder)
            }
        })
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Fetched(_, folder) => folder.path(),
        }
    }

    /// Sees that every file is what was written.
    pub fn check(&self, key: Option<&Key>) -> Result<()> {
        let checked = ::backup::check(self.path(), key);
        match self {
            Self::Folder(_) => checked?,
            Self::Fetched(name, _) => checked.with_context(|| name.to_string())?,
        };
        Ok(())
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

fn line(made: &Made, place: &str, took: Duration) -> String {
    let manifest = &made.manifest;
    format!(
        "backed up {} rows of {} tables and {} keys of the queue in {:.1} s, {:.1} MB{}: {place}",
        manifest.rows(),
        manifest.tables.len(),
        manifest.queue.keys,
        took.as_secs_f64(),
        manifest.bytes() as f64 / 1e6,
        if manifest.encrypted {
            ", encrypted"
        } else {
            ""
        }
    )
}

/// Restores into stores of its own, and looks at them.
async fn prove(arguments: BackupVerify) -> Result<u8> {
    let key = key(&arguments.key)?;
    // Before anything is started: most of what can be wrong is seen here.
    let here = Here::bring(arguments.backup).await?;
    here.check(key.as_ref())?;
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
        ::backup::restore(here.path(), key.as_ref(), database, queue, |_| ()).await?;
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
