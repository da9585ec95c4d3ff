//! The committer on a real PostgreSQL: who goes with whom, who is left out, and what is told when it goes wrong.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kit::{
    Common, Instance, Service, Shutdown,
    committer::{Committer, Done, Failure, Job, Limits, Place, Work},
    testing::eventually,
};
use sqlx::{PgConnection, PgPool};

#[derive(Clone, Debug)]
struct Note {
    text: &'static str,
    lock: i64,
    wanted: Arc<AtomicBool>,
}

fn note(text: &'static str, lock: i64) -> Note {
    Note {
        text,
        lock,
        wanted: Arc::new(AtomicBool::new(true)),
    }
}

impl Place for Note {
    fn kind(&self) -> u8 {
        0
    }

    fn lock(&self) -> i64 {
        self.lock
    }
}

impl Job for Note {
    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }
}

/// Writes notes down. `lock` waits for an advisory lock, `poison` and `cut` do what they say.
#[derive(Clone, Default)]
struct Book {
    done: Arc<Mutex<Done<&'static str, ()>>>,
    groups: Arc<Mutex<Vec<Vec<&'static str>>>>,
}

impl Work for Book {
    type Job = Note;
    type Outcome = ();

    async fn commit(
        &self,
        connection: &mut PgConnection,
        jobs: &[Note],
        _wait: bool,
    ) -> Result<Vec<Option<()>>, sqlx::Error> {
        let texts: Vec<&'static str> = jobs.iter().map(|job| job.text).collect();
        self.groups.lock().expect("no panic").push(texts.clone());
        sqlx::query(
            "select case u.text when 'lock' then pg_advisory_xact_lock(1)::text
                 when 'poison' then (1 / (length(u.text) - 6))::text
                 when 'cut' then pg_terminate_backend(pg_backend_pid())::text end,
             case when u.text = 'cut' then pg_sleep(10) end
             from unnest($1::text[]) u (text)",
        )
        .bind(texts)
        .execute(connection)
        .await?;
        Ok(vec![Some(()); jobs.len()])
    }

    async fn finish(&self, done: Vec<(Note, Result<(), Failure>)>) {
        let done = done.into_iter().map(|(job, result)| (job.text, result));
        self.done.lock().expect("no panic").extend(done);
    }
}

impl Book {
    fn texts(&self) -> Vec<&'static str> {
        let mut texts: Vec<_> = self
            .done
            .lock()
            .expect("no panic")
            .iter()
            .map(|(text, _)| *text)
            .collect();
        texts.sort_unstable();
        texts
    }

    async fn has(&self, texts: &[&'static str]) {
        eventually("the notes are written", async || self.texts() == texts).await;
    }

    fn failure(&self, text: &str) -> Option<Failure> {
        let done = self.done.lock().expect("no panic");
        let (_, result) = done.iter().find(|(known, _)| *known == text)?;
        result.clone().err()
    }
}

struct Bench {
    book: Book,
    committer: Committer<Book>,
    shutdown: Shutdown,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

fn instance(shutdown: &Shutdown) -> Instance {
    Service::new("test", &Common::for_tests("test-1"), shutdown.clone())
        .expect("a service")
        .instance()
        .clone()
}

fn bench(pool: &PgPool, lanes: u16, waiting: usize) -> Bench {
    patient(pool, lanes, waiting, Duration::from_millis(100))
}

fn patient(pool: &PgPool, lanes: u16, waiting: usize, patience: Duration) -> Bench {
    let shutdown = Shutdown::new();
    let book = Book::default();
    let limits = Limits {
        lanes,
        group: 128,
        waiting,
        patience,
    };
    let committer = Committer::new(&instance(&shutdown), pool.clone(), limits, book.clone());
    Bench {
        book,
        committer,
        shutdown,
    }
}

/// Holds what the note `lock` waits for.
async fn hold(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut holder = pool.begin().await.expect("a transaction");
    sqlx::query("select pg_advisory_xact_lock(1)")
        .execute(&mut *holder)
        .await
        .expect("the lock");
    holder
}

async fn somebody_waits(pool: &PgPool) {
    eventually("somebody waits for the lock", async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .expect("a count");
        waiting > 0
    })
    .await;
}

#[sqlx::test(migrations = false)]
async fn what_waits_meanwhile_goes_together_and_who_left_is_left_out(pool: PgPool) {
    let bench = patient(&pool, 1, 4, Duration::from_mins(1));
    let holder = hold(&pool).await;
    for first in [note("lock", 1), note("a", 2)] {
        bench.committer.submit(first).expect("room");
    }
    somebody_waits(&pool).await;
    let left = note("left", 6);
    for next in [note("b", 3), note("c", 4), note("d", 5), left.clone()] {
        bench.committer.submit(next).expect("room");
    }
    let full = bench
        .committer
        .submit(note("e", 7))
        .expect_err("too many wait");
    assert_eq!(full.text, "e");
    left.wanted.store(false, Ordering::SeqCst);
    holder.rollback().await.expect("released");
    bench.book.has(&["a", "b", "c", "d", "lock"]).await;
    let groups = bench.book.groups.lock().expect("no panic").clone();
    assert_eq!(groups, [vec!["lock", "a"], vec!["b", "c", "d"]]);
}

#[sqlx::test(migrations = false)]
async fn a_group_that_waits_for_long_leaves_the_lane_to_the_others(pool: PgPool) {
    let bench = bench(&pool, 1, 100);
    let holder = hold(&pool).await;
    for first in [note("lock", 1), note("with it", 4)] {
        bench.committer.submit(first).expect("room");
    }
    somebody_waits(&pool).await;
    for next in [note("a", 2), note("b", 3)] {
        bench.committer.submit(next).expect("room");
    }
    bench.book.has(&["a", "b"]).await;
    holder.rollback().await.expect("released");
    bench.book.has(&["a", "b", "lock", "with it"]).await;
}

#[sqlx::test(migrations = false)]
async fn the_poisoned_one_is_found_and_the_others_are_done(pool: PgPool) {
    let bench = bench(&pool, 2, 100);
    for (lock, text) in (0..).zip(["a", "b", "poison", "c", "d", "e"]) {
        bench.committer.submit(note(text, lock)).expect("room");
    }
    bench.book.has(&["a", "b", "c", "d", "e", "poison"]).await;
    assert!(matches!(
        bench.book.failure("poison"),
        Some(Failure::Refused(_))
    ));
    for text in ["a", "b", "c", "d", "e"] {
        assert!(bench.book.failure(text).is_none(), "{text}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_lost_connection_leaves_the_outcome_open_and_another_is_made(pool: PgPool) {
    let bench = bench(&pool, 1, 100);
    for next in [note("cut", 1), note("a", 2)] {
        bench.committer.submit(next).expect("room");
    }
    bench.book.has(&["a", "cut"]).await;
    for text in ["a", "cut"] {
        assert!(
            matches!(bench.book.failure(text), Some(Failure::Unknown(_))),
            "{text}"
        );
    }
    // Unknown is not tried again here.
    assert_eq!(bench.book.groups.lock().expect("no panic").len(), 1);
    bench.committer.submit(note("b", 1)).expect("room");
    bench.book.has(&["a", "b", "cut"]).await;
    assert!(bench.book.failure("b").is_none());
}

#[sqlx::test(migrations = false)]
async fn what_was_taken_is_finished_when_the_last_handle_goes(pool: PgPool) {
    let mut bench = bench(&pool, 2, 100);
    for (lock, text) in (0..).zip(["a", "b", "c"]) {
        bench.committer.submit(note(text, lock)).expect("room");
    }
    let book = bench.book.clone();
    bench.committer = self::bench(&pool, 1, 1).committer.clone();
    book.has(&["a", "b", "c"]).await;
}
