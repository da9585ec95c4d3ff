//! Backups of a lab: what is in PostgreSQL and in the queue, at one moment, in a folder that can be looked into; and back.
//!
//! The queue is read first, in one step, then the database, in one snapshot. What goes from the one to the other in between
//! is in the database as an event that was handed on: a restore hands it on again, and the queue and its readers know what
//! they had already. So nothing is lost between the two, and nothing happens twice.
//!
//! A restore begins when every file was read once and found to be what was written. All of the database comes in one
//! transaction, committed after the queue is back: a restore that dies leaves an empty database.

mod bucket;
mod database;
mod error;
mod file;
mod key;
mod manifest;
mod queue;
mod shelf;

use std::path::{Path, PathBuf};

use sqlx::Connection as _;

pub use bucket::{Bucket, Name, Place};
pub use error::{Error, Result};
pub use key::Key;
pub use manifest::{Manifest, Table};
pub use shelf::{keep, list};

use file::{Reader, Writer};
use manifest::Queue;
use queue::Packed;

/// The stores of a lab.
#[derive(Clone, Debug)]
pub struct Stores {
    pub database_url: String,
    /// Of every Redis that may have the queue.
    pub redis_urls: Vec<String>,
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    pub folder: PathBuf,
    pub manifest: Manifest,
}

/// Makes a backup in a folder of its own on the shelf. A lab may run, and goes on.
pub async fn make(stores: &Stores, shelf: &Path, key: Option<&Key>) -> Result<Made> {
    let mut connection = database::connect(&stores.database_url).await?;
    let queue_at = database::now(&mut connection).await?;
    let mut packed = Vec::new();
    for url in &stores.redis_urls {
        packed.extend(queue::pack(url).await?);
    }
    database::hold_still(&mut connection).await?;
    let taken_at = database::now(&mut connection).await?;
    let migrations = database::migrations(&mut connection).await?;
    if migrations.is_empty() {
        return Err(Error::Refused(
            "this database has none of our schemas: there is nothing to back up".to_owned(),
        ));
    }
    let unfinished = shelf::Unfinished::begin(shelf, &shelf::name(taken_at))?;
    let mut tables = Vec::new();
    for shape in database::shapes(&mut connection).await? {
        let name = format!("{}.{}.copy", shape.schema, shape.name);
        let mut writer = Writer::create(unfinished.path(), &name, key)?;
        let rows = database::give(&mut connection, &shape, |bytes| writer.write(bytes)).await?;
        tables.push(Table {
            schema: shape.schema,
            name: shape.name,
            columns: shape.columns,
            rows,
            file: writer.finish()?,
        });
    }
    let manifest = Manifest {
        format: Manifest::FORMAT,
        recarga: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at,
        queue_at,
        postgres: database::version(&mut connection).await?,
        encrypted: key.is_some(),
        migrations,
        tables,
        sequences: database::sequences(&mut connection).await?,
        queue: put_away(unfinished.path(), &packed, key)?,
    };
    // It read only: there is nothing to commit.
    let _ = connection.close().await;
    manifest.write(unfinished.path(), key)?;
    Ok(Made {
        folder: unfinished.finish()?,
        manifest,
    })
}

fn put_away(folder: &Path, packed: &[Packed], key: Option<&Key>) -> Result<Queue> {
    let mut writer = Writer::create(folder, "queue.packed", key)?;
    queue::write(packed, |bytes| writer.write(bytes))?;
    Ok(Queue {
        keys: packed.len() as u64,
        file: writer.finish()?,
    })
}

/// Reads what a backup says of itself, and sees that every file is what was written.
pub fn check(folder: &Path, key: Option<&Key>) -> Result<Manifest> {
    let manifest = Manifest::read(folder, key)?;
    manifest.check(folder)?;
    Ok(manifest)
}

/// What a restore came to.
#[derive(Debug)]
pub struct Restored {
    pub manifest: Manifest,
    /// Events that are handed to the queue again.
    pub announced_again: u64,
}

/// Puts a backup into an empty database and an empty queue, and brings the schema up to date. No service may run on them.
pub async fn restore(
    folder: &Path,
    key: Option<&Key>,
    database_url: &str,
    queue_url: &str,
    progress: impl FnMut(&Table),
) -> Result<Restored> {
    let manifest = check(folder, key)?;
    let reader = Reader::open(folder, &manifest.queue.file, key)?;
    let path = reader.path().to_owned();
    let packed = queue::read(&reader.rest()?)
        .filter(|packed| packed.len() as u64 == manifest.queue.keys)
        .ok_or_else(|| Error::damaged(&path, "it is not a queue"))?;
    let there = queue::count(queue_url).await?;
    if there > 0 {
        return Err(Error::Refused(format!(
            "the queue's Redis is not empty ({there} keys of a queue): a backup is restored into a new one, so that nothing is \
             overwritten"
        )));
    }
    let mut connection = database::connect(database_url).await?;
    database::migrate(&mut connection, &manifest).await?;
    let begun = connection.begin().await;
    let mut transaction = begun.map_err(Error::database("beginning a transaction"))?;
    database::check_empty(&mut transaction).await?;
    let open = |table: &Table| Reader::open(folder, &table.file, key);
    database::take(&mut transaction, &manifest, open, progress).await?;
    let announced_again = database::announce_again(&mut transaction, &manifest).await?;
    database::forget_register(&mut transaction).await?;
    queue::unpack(queue_url, &packed).await?;
    if let Err(error) = transaction.commit().await {
        queue::take_back(queue_url, &packed).await;
        return Err(Error::database("committing")(error));
    }
    seed::MIGRATOR.run(&mut connection).await?;
    sqlx::raw_sql("analyze")
        .execute(&mut connection)
        .await
        .map_err(Error::database("gathering statistics"))?;
    let _ = connection.close().await;
    Ok(Restored {
        manifest,
        announced_again,
    })
}
