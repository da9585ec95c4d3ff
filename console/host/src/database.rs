//! The database of a lab: its schema, its city, and the operator's password.

use std::time::{Duration, Instant};

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use kit::postgres::{Place, Schema, Servers};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    error::{Error, Result},
    event::{Events, UpEvent},
    find,
    layout::Secrets,
};

fn failed(context: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Database { context, source }
}

/// Brings the schema up to date, fills an empty database, and sets the operator's password.
pub async fn prepare(
    url: &str,
    plan: seed::Plan,
    secrets: &Secrets,
    events: &Events,
) -> Result<()> {
    let pool = connect(url).await?;
    migrate(&pool, events).await?;
    fill(&pool, plan, events).await?;
    set_operator_password(&pool, &secrets.operator_password).await?;
    pool.close().await;
    Ok(())
}

/// Brings the schema up to date.
pub async fn migrate(pool: &PgPool, events: &Events) -> Result<()> {
    let began = Instant::now();
    let mut connection = pool
        .acquire()
        .await
        .map_err(failed("connecting to the database"))?;
    let schema = Schema::of(&mut connection)
        .await
        .map_err(failed("reading the database's schema"))?;
    drop(connection);
    match schema {
        Schema::TooNew { .. } => return Err(Error::Invalid(schema.to_string())),
        // An older program beside newer ones.
        Schema::Newer { .. } => {}
        Schema::Missing | Schema::Older { .. } | Schema::Same => seed::MIGRATOR.run(pool).await?,
    }
    events.send(UpEvent::Migrated {
        took: began.elapsed(),
    });
    Ok(())
}

/// A few connections for the work before the services start.
pub async fn connect(url: &str) -> Result<PgPool> {
    let options = Servers::reach(url)
        .await
        .map_err(failed("reading the database's URL"))?;
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(failed("connecting to the database"))
}

/// Writes the city, unless there is one already.
pub async fn fill(pool: &PgPool, plan: seed::Plan, events: &Events) -> Result<()> {
    if seed::is_seeded(pool).await? {
        events.send(UpEvent::AlreadySeeded);
        return Ok(());
    }
    let began = Instant::now();
    seed::run(pool, plan, |progress| {
        events.send(UpEvent::Seeding {
            stage: progress.table.to_owned(),
            done: progress.done,
            total: progress.total,
        });
    })
    .await?;
    events.send(UpEvent::Seeded {
        took: began.elapsed(),
    });
    Ok(())
}

/// Stores the hash of the operator's password, unless it is there already.
pub async fn set_operator_password(pool: &PgPool, password: &str) -> Result<()> {
    let known: Option<String> = sqlx::query_scalar(
        "select c.password_hash from travel.credentials c join travel.users u on u.id = c.user_id where u.username = 'operator'",
    )
    .fetch_optional(pool)
    .await
    .map_err(failed("reading the operator's password"))?;
    let Some(known) = known else {
        return Ok(());
    };
    if Argon2::default()
        .verify_password(password.as_bytes(), known.as_str())
        .is_ok()
    {
        return Ok(());
    }
    let hash: argon2::PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Error::Invalid(format!("hashing the operator's password: {error}")))?;
    sqlx::query(
        "update travel.credentials c set password_hash = $1 from travel.users u where u.id = c.user_id and u.username = 'operator'",
    )
    .bind(hash.to_string())
    .execute(pool)
    .await
    .map_err(failed("setting the operator's password"))?;
    Ok(())
}

/// Refuses an existing server that is too old or not there, and makes the database that the URL names when it is missing.
pub async fn check_external(url: &str) -> Result<String> {
    let bad = |address: &str, reason: String| Error::External {
        kind: "postgres",
        address: address.to_owned(),
        reason,
    };
    let options = Servers::reach(url)
        .await
        .map_err(|error| bad("--database-url", error.to_string()))?;
    let address = Place(&options).to_string();
    let ask = async {
        let mut connection = connect_or_create(&options).await?;
        sqlx::query_scalar::<_, String>("show server_version_num")
            .fetch_one(&mut connection)
            .await
    };
    let number = match tokio::time::timeout(Duration::from_secs(10), ask).await {
        Ok(Ok(number)) => number,
        Ok(Err(error)) => return Err(bad(&address, error.to_string())),
        Err(_) => return Err(bad(&address, "no answer within 10 s".to_owned())),
    };
    let major = number.parse::<u32>().unwrap_or(0) / 10_000;
    if major < find::POSTGRES_MAJOR {
        return Err(bad(
            &address,
            format!(
                "it is version {major}, and {} or newer is needed",
                find::POSTGRES_MAJOR
            ),
        ));
    }
    Ok(address)
}

/// Connects to a database, and makes it first when there is none of its name.
async fn connect_or_create(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    const NO_SUCH_DATABASE: &str = "3D000";
    match options.connect().await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_DATABASE) => {}
        other => return other,
    }
    let name = options.get_database().unwrap_or(options.get_username());
    let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
    let mut connection = options.clone().database("postgres").connect().await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    options.connect().await
}

#[cfg(test)]
mod tests {
    #[test]
    fn programs_know_the_last_migration() {
        let last = seed::MIGRATOR
            .iter()
            .map(|migration| migration.version)
            .max();
        assert_eq!(last, Some(kit::postgres::schema::PROGRAM));
    }
}
