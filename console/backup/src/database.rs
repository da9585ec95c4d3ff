//! The database's part: what is in our schemas, as `COPY` gives and takes it.

use std::{borrow::Cow, collections::BTreeSet};

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use kit::postgres::Servers;
use sqlx::{AssertSqlSafe, PgConnection, migrate::Migrator};

use crate::{
    error::{Error, Result},
    file::Reader,
    manifest::{Manifest, Migration, Sequence, Table},
};

/// The services' schemas.
const SCHEMAS: [&str; 4] = ["notification", "travel", "tutoring", "worker"];
/// An event that was handed on this long before the queue was read is in the queue, or was taken from it.
const ON_ITS_WAY: &str = "60 s";

/// What makes a table and its columns; not its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub schema: String,
    pub name: String,
    pub columns: Vec<String>,
}

impl Shape {
    fn columns(&self) -> String {
        let quoted: Vec<_> = self.columns.iter().map(|name| quote(name)).collect();
        quoted.join(", ")
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table(schema: &str, name: &str) -> String {
    format!("{}.{}", quote(schema), quote(name))
}

pub async fn connect(url: &str) -> Result<PgConnection> {
    Servers::connect(url)
        .await
        .map_err(Error::database("connecting to the database"))
}

pub async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(connection)
        .await
        .map_err(Error::database("asking the database for the time"))
}

pub async fn version(connection: &mut PgConnection) -> Result<String> {
    sqlx::query_scalar("show server_version")
        .fetch_one(connection)
        .await
        .map_err(Error::database("asking the database for its version"))
}

/// From here on this connection sees one moment only.
pub async fn hold_still(connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("begin transaction isolation level repeatable read read only")
        .execute(connection)
        .await
        .map(drop)
        .map_err(Error::database("taking a snapshot"))
}

/// The tables that a crash leaves alone, each after those that its rows refer to. Left out are columns that PostgreSQL
/// computes, and ids of transactions, which mean something in one cluster only.
pub async fn shapes(connection: &mut PgConnection) -> Result<Vec<Shape>> {
    let rows: Vec<(String, String, Vec<String>, Vec<String>)> = sqlx::query_as(
        "select n.nspname::text, c.relname::text,
                array(select a.attname::text from pg_attribute a
                      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                            and a.atttypid <> 'xid8'::regtype
                      order by a.attnum),
                array(select distinct k.confrelid::regclass::text from pg_constraint k
                      where k.contype = 'f' and k.conrelid = c.oid and k.confrelid <> c.oid)
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname = any($1)
         order by 1, 2",
    )
    .bind(SCHEMAS)
    .fetch_all(connection)
    .await
    .map_err(Error::database("reading which tables there are"))?;
    let mut waiting: Vec<_> = rows
        .into_iter()
        .map(|(schema, name, columns, needs)| {
            (
                Shape {
                    schema,
                    name,
                    columns,
                },
                needs,
            )
        })
        .collect();
    let mut ordered: Vec<Shape> = Vec::new();
    let mut known = BTreeSet::new();
    while !waiting.is_empty() {
        let ready = waiting
            .iter()
            .position(|(_, needs)| needs.iter().all(|need| known.contains(need)));
        // Tables that refer to each other cannot be ordered; ours do not.
        let (shape, _) = waiting.remove(ready.unwrap_or(0));
        known.insert(format!("{}.{}", shape.schema, shape.name));
        ordered.push(shape);
    }
    Ok(ordered)
}

/// Gives a table's rows away, piece by piece; how many there were.
pub async fn give(
    connection: &mut PgConnection,
    shape: &Shape,
    mut to: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let failed = || Error::database(format!("reading {}.{}", shape.schema, shape.name));
    let table = table(&shape.schema, &shape.name);
    let statement = format!("copy {table} ({}) to stdout", shape.columns());
    let mut stream = connection
        .copy_out_raw(&statement)
        .await
        .map_err(failed())?;
    let mut rows = 0;
    while let Some(bytes) = stream.try_next().await.map_err(failed())? {
        // A line end inside a value is written as two other bytes.
        #[expect(clippy::naive_bytecount, reason = "compressing them takes longer")]
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
        rows += ends as u64;
        to(&bytes)?;
    }
    Ok(rows)
}

pub async fn sequences(connection: &mut PgConnection) -> Result<Vec<Sequence>> {
    let failed = || Error::database("reading how far the sequences are");
    let names: Vec<(String, String)> = sqlx::query_as(
        "select schemaname::text, sequencename::text from pg_sequences
         where schemaname = any($1) order by 1, 2",
    )
    .bind(SCHEMAS)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    let mut sequences = Vec::new();
    for (schema, name) in names {
        // The view does not tell of those that were set and not used yet.
        let statement = format!(
            "select last_value, is_called from {}",
            table(&schema, &name)
        );
        let (last_value, is_called) = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_one(&mut *connection)
            .await
            .map_err(failed())?;
        sequences.push(Sequence {
            schema,
            name,
            last_value,
            is_called,
        });
    }
    Ok(sequences)
}

/// The migrations that a database has; none when it is new.
pub async fn migrations(connection: &mut PgConnection) -> Result<Vec<Migration>> {
    let failed = || Error::database("reading which migrations there were");
    let known: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed())?;
    if !known {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select version, checksum from _sqlx_migrations where success order by version",
    )
    .fetch_all(connection)
    .await
    .map_err(failed())?;
    let migration = |(version, checksum): (i64, Vec<u8>)| Migration {
        version,
        checksum: hex::encode(checksum),
    };
    Ok(rows.into_iter().map(migration).collect())
}

/// Brings an empty database's schema to where the backup's was.
pub async fn migrate(connection: &mut PgConnection, manifest: &Manifest) -> Result<()> {
    for wanted in &manifest.migrations {
        let ours = seed::MIGRATOR.iter().any(|known| {
            known.version == wanted.version && hex::encode(&known.checksum) == wanted.checksum
        });
        if !ours {
            return Err(Error::Refused(format!(
                "the backup was made by recarga {}, whose migration {} this one ({}) does not know: restore it with that version",
                manifest.recarga,
                wanted.version,
                env!("CARGO_PKG_VERSION")
            )));
        }
    }
    let there = migrations(connection).await?;
    if there
        .iter()
        .any(|migration| !manifest.migrations.contains(migration))
    {
        return Err(Error::Refused(
            "the database's schema is newer than the backup's: restore into a database without our schemas, \
             and they are brought up to date afterwards"
                .to_owned(),
        ));
    }
    let wanted = |version: i64| manifest.migrations.iter().any(|one| one.version == version);
    let subset = seed::MIGRATOR
        .iter()
        .filter(|one| wanted(one.version))
        .cloned();
    let migrator = Migrator {
        migrations: Cow::Owned(subset.collect()),
        ..Migrator::DEFAULT
    };
    migrator.run(connection).await?;
    Ok(())
}

/// Refuses a database in which somebody lives. Until the end of the transaction nobody else moves in.
pub async fn check_empty(connection: &mut PgConnection) -> Result<()> {
    let failed = || Error::database("looking whether the database is empty");
    sqlx::raw_sql("lock table travel.seed_runs, travel.users in access exclusive mode")
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    let inhabited: bool = sqlx::query_scalar(
        "select exists (select from travel.seed_runs) or exists (select from travel.users)
             or exists (select from tutoring.bookings) or exists (select from worker.tasks)",
    )
    .fetch_one(connection)
    .await
    .map_err(failed())?;
    if inhabited {
        return Err(Error::Refused(
            "the database is not empty: a backup is restored into a new one (name another folder with --dir, or another \
             database), so that nothing is overwritten"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Puts all rows and sequences in, inside the caller's transaction.
pub async fn take(
    connection: &mut PgConnection,
    manifest: &Manifest,
    mut open: impl FnMut(&Table) -> Result<Reader>,
    mut progress: impl FnMut(&Table),
) -> Result<()> {
    let all: Vec<_> = manifest
        .tables
        .iter()
        .map(|one| table(&one.schema, &one.name))
        .collect();
    // What a migration left there is in the backup too.
    execute(
        connection,
        "emptying the tables",
        format!("truncate {}", all.join(", ")),
    )
    .await?;
    for (one, name) in manifest.tables.iter().zip(&all) {
        let doing = format!("filling {}.{}", one.schema, one.name);
        // What they would do, they did when the rows were new.
        execute(
            connection,
            &doing,
            format!("alter table {name} disable trigger user"),
        )
        .await?;
        let taken = fill(connection, one, name, open(one)?, &doing).await?;
        if taken != one.rows {
            return Err(Error::Refused(format!(
                "{doing}: {taken} rows arrived of {}",
                one.rows
            )));
        }
        execute(
            connection,
            &doing,
            format!("alter table {name} enable trigger user"),
        )
        .await?;
        progress(one);
    }
    for sequence in &manifest.sequences {
        sqlx::query("select setval($1::regclass, $2, $3)")
            .bind(table(&sequence.schema, &sequence.name))
            .bind(sequence.last_value)
            .bind(sequence.is_called)
            .execute(&mut *connection)
            .await
            .map_err(Error::database("setting the sequences"))?;
    }
    Ok(())
}

async fn fill(
    connection: &mut PgConnection,
    one: &Table,
    name: &str,
    mut reader: Reader,
    doing: &str,
) -> Result<u64> {
    let shape = Shape {
        schema: one.schema.clone(),
        name: one.name.clone(),
        columns: one.columns.clone(),
    };
    let statement = format!("copy {name} ({}) from stdin", shape.columns());
    let failed = || Error::database(doing);
    let mut copy = connection.copy_in_raw(&statement).await.map_err(failed())?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                copy.send(&buffer[..count]).await.map_err(failed())?;
            }
            Err(error) => {
                let _ = copy.abort("the backup's file cannot be read").await;
                return Err(error);
            }
        }
    }
    copy.finish().await.map_err(failed())
}

/// The database is as it was a little later than the queue. What was handed to the queue in between is handed to it again:
/// the queue and whoever reads it know what they had already.
pub async fn announce_again(connection: &mut PgConnection, manifest: &Manifest) -> Result<u64> {
    let mut count = 0;
    for outbox in manifest
        .tables
        .iter()
        .filter(|table| table.name == "outbox")
    {
        let statement = format!(
            "update {} set state = 'pending', delivered_at = null
             where state = 'delivered' and delivered_at >= $1 - interval '{ON_ITS_WAY}'",
            table(&outbox.schema, &outbox.name)
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(manifest.queue_at)
            .execute(&mut *connection)
            .await
            .map_err(Error::database("announcing again what was on its way"))?;
        count += done.rows_affected();
    }
    Ok(count)
}

/// Whoever has cached something of a database of before is not known here: the register of that is not complete.
pub async fn forget_register(connection: &mut PgConnection) -> Result<()> {
    let doing = "emptying the register of cached keys";
    let known: bool =
        sqlx::query_scalar("select to_regclass('travel.cached_keys_complete') is not null")
            .fetch_one(&mut *connection)
            .await
            .map_err(Error::database(doing))?;
    if known {
        let statement = "truncate travel.cached_keys, travel.cached_keys_complete";
        execute(connection, doing, statement.to_owned()).await?;
    }
    Ok(())
}

async fn execute(connection: &mut PgConnection, doing: &str, statement: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(Error::database(doing))
}
