//! What goes wrong with a group, and what is done about it.

/// Why a group was not committed, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Another transaction was in the way; the same again may well succeed.
    Conflict,
    /// Somebody has held a lock for too long.
    Locked,
    /// One of the jobs cannot be done.
    Poisoned,
    /// The server cannot do it now; nothing was kept.
    Unavailable,
    /// The connection broke before the answer came: it may have been committed.
    Unknown,
}

impl Trouble {
    /// What an error of a call says. Only what the server itself reported while it was going on is known not to be kept.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(error) = error else {
            return Self::Unknown;
        };
        match error.code().as_deref() {
            Some("23505" | "40001" | "40P01") => Self::Conflict,
            Some("55P03") => Self::Locked,
            // The last: it was a primary until now, and another one is looked for.
            Some("57014" | READ_ONLY) => Self::Unavailable,
            Some(code) if code.starts_with("53") => Self::Unavailable,
            // A server that goes down may have flushed the commit before it said so.
            Some(code) if code.starts_with("08") || code.starts_with("57P") => Self::Unknown,
            _ => Self::Poisoned,
        }
    }
}

/// Whether there is no use in the connection any more.
#[must_use]
pub fn is_lost(error: &sqlx::Error) -> bool {
    let reads_only = |error: &sqlx::Error| match error {
        sqlx::Error::Database(error) => error.code().as_deref() == Some(READ_ONLY),
        _ => false,
    };
    Trouble::of(error) == Trouble::Unknown || reads_only(error)
}

/// The code of a write on a server that only reads.
const READ_ONLY: &str = "25006";

/// What to do with the jobs of a group that was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The same once more.
    Again,
    /// Once more, leaving out those whose locks are held.
    WithoutLocked,
    /// Each waits for its lock alone, and not here.
    Aside,
    /// Each half by itself.
    Split,
    /// Each is told.
    GiveUp,
}

/// How often the same group is tried before it is split.
const TRIES: u32 = 3;

/// Decides about a group of `jobs` that was tried `tries` times; the last time, `waited` or not for locks.
#[must_use]
pub fn step(trouble: Trouble, tries: u32, jobs: usize, waited: bool) -> Step {
    match trouble {
        Trouble::Conflict if tries < TRIES => Step::Again,
        Trouble::Conflict | Trouble::Poisoned if jobs > 1 => Step::Split,
        Trouble::Locked if jobs > 1 && waited => Step::WithoutLocked,
        Trouble::Locked => Step::Aside,
        _ => Step::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_succeed_is_tried_again() {
        for (trouble, tries, jobs, waited, expected) in [
            (Trouble::Conflict, 1, 8, true, Step::Again),
            (Trouble::Conflict, 1, 1, true, Step::Again),
            (Trouble::Conflict, 3, 8, true, Step::Split),
            (Trouble::Conflict, 3, 1, true, Step::GiveUp),
            (Trouble::Poisoned, 1, 8, true, Step::Split),
            (Trouble::Poisoned, 1, 1, true, Step::GiveUp),
            (Trouble::Locked, 1, 8, true, Step::WithoutLocked),
            (Trouble::Locked, 1, 1, true, Step::Aside),
            (Trouble::Locked, 2, 8, false, Step::Aside),
            (Trouble::Unavailable, 1, 8, true, Step::GiveUp),
            // It may be there already: only the caller's key can tell.
            (Trouble::Unknown, 1, 8, true, Step::GiveUp),
        ] {
            assert_eq!(
                step(trouble, tries, jobs, waited),
                expected,
                "{trouble:?} after {tries} with {jobs}"
            );
        }
    }

    #[sqlx::test]
    async fn a_server_that_only_reads_is_left(pool: sqlx::PgPool) {
        let mut connection = pool.acquire().await.unwrap();
        let mut write = async |transactions: &'static str| {
            sqlx::raw_sql(transactions)
                .execute(&mut *connection)
                .await
                .unwrap();
            let written = sqlx::query("create table a (b int references c)");
            written.execute(&mut *connection).await.unwrap_err()
        };
        let error = write("set default_transaction_read_only = on").await;
        assert_eq!(Trouble::of(&error), Trouble::Unavailable, "{error}");
        assert!(is_lost(&error));
        let error = write("set default_transaction_read_only = off").await;
        assert_eq!(Trouble::of(&error), Trouble::Poisoned, "{error}");
        assert!(!is_lost(&error));
    }

    #[test]
    fn a_broken_connection_leaves_the_outcome_open() {
        assert_eq!(
            Trouble::of(&sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into())),
            Trouble::Unknown
        );
        assert_eq!(
            Trouble::of(&sqlx::Error::Protocol("cut".into())),
            Trouble::Unknown
        );
    }
}
