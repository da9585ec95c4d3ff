//! A write that dies inside the database, right before and right after each of its steps.

use futures::future::join_all;
use sqlx::{AssertSqlSafe, PgPool};

/// How a write dies.
const DEATHS: [(&str, &str); 2] = [
    (
        "its transaction is aborted",
        "raise exception 'aborted here'",
    ),
    (
        "its connection is killed",
        "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10)",
    ),
];
/// Calls at a time.
const CALLS: u8 = 4;

/// A write as a test sees it.
pub struct Mortal<'a, C, A> {
    /// What it does in the database: events and the tables they happen to.
    pub steps: &'a [(&'a str, &'a str)],
    /// A query for one number that changes when anything is left of a write.
    pub kept: &'static str,
    /// A query that counts the writes that happened.
    pub effect: &'static str,
    /// The status of a success.
    pub status: u16,
    /// Makes the call with this key, the how-manieth of [`CALLS`] with different ones; its status, and whether the answer was
    /// replayed.
    pub call: C,
    /// Looks whether all is well otherwise.
    pub audit: A,
}

impl<C: AsyncFn(String, usize) -> (u16, bool), A: AsyncFn()> Mortal<'_, C, A> {
    /// Has several calls at a time die at each step, in each manner. Nothing may be left of them; repeated, each happens
    /// once, and repeated again it is answered the same.
    ///
    /// # Panics
    /// When it is otherwise, or the database does not do as it is told.
    pub async fn dies_everywhere(&self, pool: &PgPool) {
        let mut round = 0;
        for (event, table) in self.steps {
            for moment in ["before", "after", "commit"] {
                for (death, how) in DEATHS {
                    round += 1;
                    let what = format!("{death} at {moment} {event} {table}");
                    lay(pool, event, table, moment, how).await;
                    let (kept, done) =
                        (count(pool, self.kept).await, count(pool, self.effect).await);
                    for (status, _) in self.calls(round).await {
                        assert!(matches!(status, 500 | 503), "{what}: {status}");
                    }
                    assert_eq!(
                        count(pool, self.kept).await,
                        kept,
                        "{what}: something is left"
                    );
                    (self.audit)().await;
                    run(pool, format!("drop trigger die on {table}")).await;
                    for replayed in [false, true] {
                        assert_eq!(
                            self.calls(round).await,
                            [(self.status, replayed); CALLS as usize],
                            "{what}"
                        );
                    }
                    assert_eq!(
                        count(pool, self.effect).await,
                        done + i64::from(CALLS),
                        "{what}"
                    );
                    (self.audit)().await;
                }
            }
        }
    }

    async fn calls(&self, round: u32) -> Vec<(u16, bool)> {
        join_all((0..CALLS).map(|number| (self.call)(format!("r{round}-{number}"), number.into())))
            .await
    }
}

/// Lays the trap.
async fn lay(pool: &PgPool, event: &str, table: &str, moment: &str, how: &str) {
    run(
        pool,
        format!(
            "create or replace function public.die() returns trigger language plpgsql as $$
             begin {how}; return new; end $$"
        ),
    )
    .await;
    let trigger = if moment == "commit" {
        // Everything is done but the commit itself.
        format!(
            "create constraint trigger die after {event} on {table} deferrable initially deferred
             for each row execute function public.die()"
        )
    } else {
        format!(
            "create trigger die {moment} {event} on {table} for each row execute function public.die()"
        )
    };
    run(pool, trigger).await;
}

async fn run(pool: &PgPool, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(pool)
        .await
        .expect("a statement");
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(pool)
        .await
        .expect("a count")
}
