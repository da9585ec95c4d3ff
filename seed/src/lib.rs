//! A deterministic Bogotá for the lab's database, and the migrations that make room for it.
//!
//! The same seed number and scale give the same city byte for byte: a year of riding that ends on 2026-10-31, whatever the
//! clock says. It arrives in one transaction, whose last row marks it as whole.

mod calendar;
mod chance;
mod city;
mod copy;
mod fill;
mod indexes;
mod lines;
mod people;
mod places;
mod riding;

use sqlx::{Connection, PgConnection, PgPool};

pub use people::{LOCKED, STUDENT_PASSWORD, SUBJECTS};

/// The schema: every migration, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// How large a city.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Scale {
    /// 2,000 cards, 40,000 trips: seconds
    #[default]
    Town,
    /// 24,000 cards, 1,000,000 trips: about a minute
    City,
    /// 240,000 cards, 10,000,000 trips: some minutes
    Metro,
}

impl Scale {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Town => "town",
            Self::City => "city",
            Self::Metro => "metro",
        }
    }

    #[must_use]
    pub const fn cards(self) -> u32 {
        match self {
            Self::Town => 2_000,
            Self::City => 24_000,
            Self::Metro => 240_000,
        }
    }

    /// Boardings in the seeded year.
    #[must_use]
    pub const fn trips(self) -> u64 {
        match self {
            Self::Town => 40_000,
            Self::City => 1_000_000,
            Self::Metro => 10_000_000,
        }
    }

    /// Fewer than cards: some carry two.
    #[must_use]
    pub const fn users(self) -> u32 {
        self.cards() / 20 * 17
    }

    #[must_use]
    pub const fn tutors(self) -> u32 {
        match self {
            Self::Town => 48,
            Self::City => 120,
            Self::Metro => 480,
        }
    }

    #[must_use]
    pub const fn students(self) -> u32 {
        self.cards() / 10
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Which city.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    pub scale: Scale,
    /// Any number; each gives another city.
    pub seed: u64,
}

/// How far one part of the work is. Recharges and ledger entries come with the trips and are not announced apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// A table with its schema, or `indexes`.
    pub table: &'static str,
    /// Rows, or indexes and keys.
    pub done: u64,
    pub total: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub users: u64,
    pub cards: u64,
    pub trips: u64,
    pub recharges: u64,
    pub ledger_entries: u64,
    pub tutors: u64,
    pub students: u64,
    pub stations: u64,
    pub routes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("already seeded with scale {scale} and seed {seed}; use an empty database")]
    AlreadySeeded { scale: String, seed: u64 },
    #[error("{table} already has rows that are not from a seed; use an empty database")]
    NotEmpty { table: &'static str },
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
    #[error("a password could not be hashed: {0}")]
    Password(#[from] argon2::password_hash::Error),
}

/// Whether a whole city is there. False without the schema too, so that it can be asked of any database.
pub async fn is_seeded(pool: &PgPool) -> Result<bool, Error> {
    let known: bool = sqlx::query_scalar("select to_regclass('travel.seed_runs') is not null")
        .fetch_one(pool)
        .await?;
    if !known {
        return Ok(false);
    }
    Ok(
        sqlx::query_scalar("select exists (select from travel.seed_runs)")
            .fetch_one(pool)
            .await?,
    )
}

/// Fills a migrated, empty database with a city, all of it or nothing.
pub async fn run(
    pool: &PgPool,
    plan: Plan,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Summary, Error> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    // Two seeders at once: the second waits here, then finds the first one's city.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('recarga seed', 0))")
        .execute(&mut *transaction)
        .await?;
    refuse_if_used(&mut transaction).await?;
    let summary = fill::fill(&mut transaction, plan, &mut progress).await?;
    sqlx::query("insert into travel.seed_runs (seed, scale) values ($1, $2)")
        .bind(plan.seed.cast_signed())
        .bind(plan.scale.as_str())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(summary)
}

async fn refuse_if_used(connection: &mut PgConnection) -> Result<(), Error> {
    let run: Option<(i64, String)> = sqlx::query_as("select seed, scale from travel.seed_runs")
        .fetch_optional(&mut *connection)
        .await?;
    if let Some((seed, scale)) = run {
        return Err(Error::AlreadySeeded {
            scale,
            seed: seed.cast_unsigned(),
        });
    }
    for (table, used) in [
        (
            "travel.localities",
            "select exists (select from travel.localities)",
        ),
        ("travel.fares", "select exists (select from travel.fares)"),
        ("travel.users", "select exists (select from travel.users)"),
        (
            "tutoring.subjects",
            "select exists (select from tutoring.subjects)",
        ),
        (
            "tutoring.students",
            "select exists (select from tutoring.students)",
        ),
    ] {
        if sqlx::query_scalar(used).fetch_one(&mut *connection).await? {
            return Err(Error::NotEmpty { table });
        }
    }
    Ok(())
}
