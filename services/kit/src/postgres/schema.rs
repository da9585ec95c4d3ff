//! Whether the database's schema and this program go together.

use std::fmt;

use sqlx::{PgConnection, Row as _};

/// The last migration that this program knows.
pub const PROGRAM: i64 = 18;

/// How the schema of a database stands to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// There is none yet.
    Missing,
    /// It lacks migrations that the program relies on.
    Older { last: i64 },
    /// It has exactly what the program knows.
    Same,
    /// It has more, none of which troubles the program: an upgrade is going on.
    Newer { last: i64 },
    /// It has more, and what the program uses may be gone.
    TooNew { last: i64, oldest_program: i64 },
}

impl Schema {
    /// Reads it.
    pub async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        // Each in one message: what is prepared for one transaction may be gone in the next behind a pooler.
        let tables = sqlx::raw_sql(
            "select to_regclass('public._sqlx_migrations') is not null, to_regclass('public.recarga_schema') is not null",
        )
        .fetch_one(&mut *connection)
        .await?;
        let (migrations, compatibility): (bool, bool) = (tables.try_get(0)?, tables.try_get(1)?);
        if !migrations {
            return Ok(Self::Missing);
        }
        let last: Option<i64> =
            sqlx::raw_sql("select max(version) from public._sqlx_migrations where success")
                .fetch_one(&mut *connection)
                .await?
                .try_get(0)?;
        let oldest: Option<i64> = if compatibility {
            let row = sqlx::raw_sql("select oldest_program from public.recarga_schema")
                .fetch_optional(connection)
                .await?;
            row.map(|row| row.try_get(0)).transpose()?
        } else {
            None
        };
        Ok(last.map_or(Self::Missing, |last| Self::between(last, oldest, PROGRAM)))
    }

    const fn between(last: i64, oldest_program: Option<i64>, program: i64) -> Self {
        match oldest_program {
            Some(oldest_program) if oldest_program > program => Self::TooNew {
                last,
                oldest_program,
            },
            _ if last < program => Self::Older { last },
            _ if last > program => Self::Newer { last },
            _ => Self::Same,
        }
    }

    /// Whether the program may serve with it.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Same | Self::Newer { .. })
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                formatter.write_str("the database has no schema yet: `recarga migrate` makes it")
            }
            Self::Older { last } => write!(
                formatter,
                "the database's schema is at migration {last} and this program needs {PROGRAM}: `recarga migrate` brings it up to date"
            ),
            Self::Same => write!(formatter, "the database's schema is at migration {PROGRAM}"),
            Self::Newer { last } => write!(
                formatter,
                "the database's schema is at migration {last}, which is newer than this program ({PROGRAM}) and does not trouble it"
            ),
            Self::TooNew {
                last,
                oldest_program,
            } => write!(
                formatter,
                "the database's schema is at migration {last}, which needs a program that knows migration {oldest_program}; this one \
                 knows {PROGRAM}. Start a newer Recarga; to go back to this one, restore a backup from before the upgrade"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_go_together_until_something_is_taken_away() {
        for (last, oldest, program, expected) in [
            (14, None, 15, Schema::Older { last: 14 }),
            (15, Some(14), 15, Schema::Same),
            (16, Some(14), 15, Schema::Newer { last: 16 }),
            (17, Some(15), 15, Schema::Newer { last: 17 }),
            (
                18,
                Some(16),
                15,
                Schema::TooNew {
                    last: 18,
                    oldest_program: 16,
                },
            ),
        ] {
            assert_eq!(Schema::between(last, oldest, program), expected);
        }
    }
}
