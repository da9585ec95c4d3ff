//! Commits what many callers ask for at the same time in groups: one round trip and one flush of the log for all of them.
//!
//! A lane is a connection outside the pool that takes what waits, up to a limit and without waiting for more, and takes
//! the next when that is committed. A caller alone is a group of one, at once; the more there are, the larger the groups.

mod grouping;
mod trouble;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::{Notify, Semaphore};

use crate::Instance;
pub use grouping::{Grouping, Place};
pub use trouble::{Step, Trouble, step};

/// How many groups and jobs are on connections of their own at most, because they take long.
const ASIDE: usize = 8;
/// After that, a connection that does not answer is taken for dead: longer than the server lets a statement run.
const DEAD: Duration = Duration::from_secs(12);
/// How long a lane tries to connect, and how long when the server is known to be away.
const CONNECT: Duration = Duration::from_secs(2);
const CONNECT_WHEN_AWAY: Duration = Duration::from_millis(100);
/// A connection that was idle for longer is tried before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// How much is committed how.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections outside the pool; each commits one group at a time.
    pub lanes: u16,
    /// The most jobs in one group.
    pub group: usize,
    /// The most jobs that wait for a lane.
    pub waiting: usize,
    /// How long a lane waits for a group, for a lock or a connection that went dead, before it leaves it behind with the
    /// connection and takes the next on another.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lanes: 2,
            group: 128,
            waiting: 2048,
            patience: Duration::from_millis(250),
        }
    }
}

/// Something to be committed.
pub trait Job: Place + Send + Sync + 'static {
    /// Whether its caller still waits. It is asked right before the job begins, and one nobody waits for is dropped.
    fn is_wanted(&self) -> bool;
}

/// Why a job came to nothing, or may have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was kept.
    #[error("the database cannot do it now: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// It may have been committed.
    #[error("the connection was lost before the answer came: {0}")]
    Unknown(Arc<sqlx::Error>),
    /// This very job cannot be done.
    #[error("it cannot be done: {0}")]
    Refused(Arc<sqlx::Error>),
}

/// Jobs and what they came to.
pub type Done<J, O> = Vec<(J, Result<O, Failure>)>;

/// How jobs are committed, and what happens then.
pub trait Work: Send + Sync + 'static {
    type Job: Job;
    type Outcome: Send + 'static;

    /// Commits all of these in one transaction, or nothing. One alone waits for its locks as long as a statement may, several
    /// only shortly. With `wait` false, those whose locks are held are left out and get no outcome; nothing of them is kept.
    fn commit(
        &self,
        connection: &mut PgConnection,
        jobs: &[Self::Job],
        wait: bool,
    ) -> impl Future<Output = Result<Vec<Option<Self::Outcome>>, sqlx::Error>> + Send;

    /// Called once with every job that began. It runs to its end even when the service stops, beside the lane as soon as it
    /// has to wait.
    fn finish(&self, done: Done<Self::Job, Self::Outcome>) -> impl Future<Output = ()> + Send;
}

/// Takes jobs; cheap to clone. The lanes end when the last one is gone and nothing waits.
pub struct Committer<W: Work>(Arc<Handle<W>>);

impl<W: Work> Clone for Committer<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Handle<W: Work>(Arc<Shared<W>>);

impl<W: Work> Drop for Handle<W> {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.wake.notify_waiters();
    }
}

struct Shared<W: Work> {
    work: W,
    instance: Instance,
    /// Says where to connect to; its connections are not used.
    pool: PgPool,
    limits: Limits,
    queue: Mutex<Queue<W::Job>>,
    wake: Notify,
    aside: Semaphore,
    metrics: Metrics,
}

struct Queue<J> {
    grouping: Grouping<J>,
    closed: bool,
}

impl<W: Work> Committer<W> {
    /// Starts the lanes. They make connections of their own when they need them, to where the pool goes at that time.
    #[must_use]
    pub fn new(instance: &Instance, pool: PgPool, limits: Limits, work: W) -> Self {
        let shared = Arc::new(Shared {
            work,
            instance: instance.clone(),
            pool,
            limits,
            queue: Mutex::new(Queue {
                grouping: Grouping::new(limits.waiting),
                closed: false,
            }),
            wake: Notify::new(),
            aside: Semaphore::new(ASIDE),
            metrics: Metrics::register(instance),
        });
        for _ in 0..limits.lanes {
            instance.spawn(keep_lane(shared.clone()));
        }
        Self(Arc::new(Handle(shared)))
    }

    /// Hands a job over; gives it back when too many wait.
    pub fn submit(&self, job: W::Job) -> Result<(), W::Job> {
        let shared = &self.0.0;
        let pushed = {
            let mut queue = shared.queue();
            let pushed = queue.grouping.push(job);
            shared.metrics.set_waiting(queue.grouping.waiting());
            pushed
        };
        match pushed {
            // The lane that was at work last: what it needs is still near at hand, in its connection's process too.
            Ok(()) => shared.wake.notify_last(),
            Err(_) => {
                shared.metrics.turned_away.inc();
            }
        }
        pushed
    }
}

impl<W: Work> Shared<W> {
    fn queue(&self) -> MutexGuard<'_, Queue<W::Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next group; `None` when there will be none.
    async fn next(&self) -> Option<(Vec<W::Job>, Held<'_, W>)> {
        loop {
            let woken = self.wake.notified();
            {
                let mut queue = self.queue();
                if let Some(group) = queue.grouping.take(self.limits.group) {
                    self.metrics.set_waiting(queue.grouping.waiting());
                    if queue.grouping.is_ready() {
                        self.wake.notify_one();
                    }
                    let locks = group.iter().map(Place::lock).collect();
                    return Some((
                        group,
                        Held {
                            shared: self,
                            locks,
                        },
                    ));
                }
                if queue.closed && queue.grouping.waiting() == 0 {
                    return None;
                }
            }
            woken.await;
        }
    }
}

/// The locks of a group on its way, given back however it ends.
struct Held<'a, W: Work> {
    shared: &'a Shared<W>,
    locks: BTreeSet<i64>,
}

impl<W: Work> Drop for Held<'_, W> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.grouping.release(std::mem::take(&mut self.locks));
        if queue.closed {
            self.shared.wake.notify_waiters();
        } else if queue.grouping.is_ready() {
            self.shared.wake.notify_one();
        }
    }
}

/// Starts a lane again that panicked: its group is lost, the others' are not.
async fn keep_lane<W: Work>(shared: Arc<Shared<W>>) {
    while let Err(error) = tokio::spawn(lane(shared.clone())).await {
        tracing::error!(error = %error, "a lane broke down; starting another");
    }
}

async fn lane<W: Work>(shared: Arc<Shared<W>>) {
    let mut line = Line::default();
    while let Some((group, held)) = shared.next().await {
        let mut work = Box::pin(commit(shared.clone(), line, group));
        line = match tokio::time::timeout(shared.limits.patience, &mut work).await {
            Ok(line) => line,
            Err(_) => match shared.aside.try_acquire() {
                Err(_) => work.await,
                Ok(permit) => {
                    permit.forget();
                    shared.metrics.aside.inc();
                    let at = shared.clone();
                    shared.instance.spawn(async move {
                        work.await;
                        at.aside.add_permits(1);
                    });
                    Line::default()
                }
            },
        };
        drop(held);
    }
}

/// A part of a group that is tried together.
struct Part<J> {
    jobs: Vec<J>,
    tries: u32,
    wait: bool,
}

async fn commit<W: Work>(shared: Arc<Shared<W>>, mut line: Line, group: Vec<W::Job>) -> Line {
    let shared = &shared;
    let mut parts = vec![Part {
        jobs: group,
        tries: 0,
        wait: true,
    }];
    while let Some(mut part) = parts.pop() {
        part.jobs.retain(Job::is_wanted);
        if part.jobs.is_empty() {
            continue;
        }
        let connection = match line.take(shared).await {
            Ok(connection) => connection,
            Err(error) => {
                give_up(shared, part.jobs, &Failure::Unavailable(Arc::new(error)));
                continue;
            }
        };
        if part.jobs.len() == 1
            && let Some(job) = part.jobs.pop()
        {
            line.give(alone(shared, connection, job).await);
            continue;
        }
        part.tries += 1;
        let (connection, result) = attempt(shared, connection, &part.jobs, part.wait).await;
        line.give(connection);
        let error = match result {
            Ok(outcomes) => {
                settle(shared, part.jobs, outcomes);
                continue;
            }
            Err(error) => error,
        };
        let trouble = Trouble::of(&error);
        match step(trouble, part.tries, part.jobs.len(), part.wait) {
            Step::Again => {
                shared.metrics.retries.inc();
                parts.push(part);
            }
            Step::WithoutLocked => {
                shared.metrics.retries.inc();
                part.wait = false;
                parts.push(part);
            }
            Step::Aside => {
                for job in part.jobs {
                    step_aside(shared, job);
                }
            }
            Step::Split => {
                shared.metrics.splits.inc();
                let later = part.jobs.split_off(part.jobs.len() / 2);
                for jobs in [later, part.jobs] {
                    parts.push(Part {
                        jobs,
                        tries: 0,
                        wait: part.wait,
                    });
                }
            }
            Step::GiveUp => give_up(shared, part.jobs, &failure(trouble, error)),
        }
    }
    line
}

fn failure(trouble: Trouble, error: sqlx::Error) -> Failure {
    let error = Arc::new(error);
    match trouble {
        Trouble::Poisoned => Failure::Refused(error),
        Trouble::Unknown => Failure::Unknown(error),
        Trouble::Conflict | Trouble::Locked | Trouble::Unavailable => Failure::Unavailable(error),
    }
}

/// Tries to commit. The connection comes back when it is sound.
async fn attempt<W: Work>(
    shared: &Shared<W>,
    mut connection: PgConnection,
    jobs: &[W::Job],
    wait: bool,
) -> (
    Option<PgConnection>,
    Result<Vec<Option<W::Outcome>>, sqlx::Error>,
) {
    let committing = shared.work.commit(&mut connection, jobs, wait);
    let result = match tokio::time::timeout(DEAD, committing).await {
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        Ok(result) => result,
    };
    let result = match result {
        Ok(outcomes) if outcomes.len() != jobs.len() => Err(sqlx::Error::Protocol(format!(
            "{} answers to {} jobs",
            outcomes.len(),
            jobs.len()
        ))),
        result => result,
    };
    let sound = match &result {
        Ok(_) => {
            shared.metrics.groups.observe(jobs.len() as f64);
            true
        }
        Err(error) => !trouble::is_lost(error),
    };
    (sound.then_some(connection), result)
}

/// Commits one job, however long it waits for its locks.
async fn alone<W: Work>(
    shared: &Arc<Shared<W>>,
    mut connection: PgConnection,
    job: W::Job,
) -> Option<PgConnection> {
    let jobs = [job];
    let mut tries = 0;
    let (connection, outcome) = loop {
        tries += 1;
        let (kept, result) = attempt(shared, connection, &jobs, true).await;
        match (kept, result) {
            (kept, Ok(mut outcomes)) => match outcomes.pop().flatten() {
                Some(outcome) => break (kept, Ok(outcome)),
                None => {
                    break (
                        kept,
                        Err(Failure::Unavailable(Arc::new(sqlx::Error::RowNotFound))),
                    );
                }
            },
            (Some(kept), Err(error))
                if step(Trouble::of(&error), tries, 1, true) == Step::Again =>
            {
                shared.metrics.retries.inc();
                connection = kept;
            }
            (kept, Err(error)) => break (kept, Err(failure(Trouble::of(&error), error))),
        }
    };
    if matches!(outcome, Err(Failure::Unknown(_))) {
        shared.metrics.unknown.inc();
    }
    let [job] = jobs;
    finish(shared, vec![(job, outcome)]);
    connection
}

/// Answers those that are done; the others go on beside the lane, with connections of the pool.
fn settle<W: Work>(shared: &Arc<Shared<W>>, jobs: Vec<W::Job>, outcomes: Vec<Option<W::Outcome>>) {
    let mut done = Vec::with_capacity(jobs.len());
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        match outcome {
            Some(outcome) => done.push((job, Ok(outcome))),
            None => step_aside(shared, job),
        }
    }
    finish(shared, done);
}

fn give_up<W: Work>(shared: &Arc<Shared<W>>, jobs: Vec<W::Job>, failure: &Failure) {
    if matches!(failure, Failure::Unknown(_)) {
        shared.metrics.unknown.inc_by(jobs.len() as u64);
    }
    let done = jobs.into_iter().map(|job| (job, Err(failure.clone())));
    finish(shared, done.collect());
}

fn finish<W: Work>(shared: &Arc<Shared<W>>, done: Done<W::Job, W::Outcome>) {
    if done.is_empty() {
        return;
    }
    let alone = done.len() == 1;
    let at = shared.clone();
    let mut finish = Box::pin(async move { at.work.finish(done).await });
    // One that has nothing to wait for is answered here and now: a task of its own would cost its caller more than the lane.
    if !alone || (&mut finish).now_or_never().is_none() {
        shared.instance.spawn(finish);
    }
}

fn step_aside<W: Work>(shared: &Arc<Shared<W>>, job: W::Job) {
    shared.metrics.aside.inc();
    shared.instance.spawn(aside(shared.clone(), job));
}

/// One job that was left out of its group, on a connection of its own.
async fn aside<W: Work>(shared: Arc<Shared<W>>, job: W::Job) {
    let Ok(_permit) = shared.aside.acquire().await else {
        return;
    };
    if !job.is_wanted() {
        return;
    }
    match shared.connect(&shared.pool.connect_options()).await {
        Ok(connection) => {
            alone(&shared, connection, job).await;
        }
        Err(error) => give_up(&shared, vec![job], &Failure::Unavailable(Arc::new(error))),
    }
}

/// A lane's connection, made when it is needed.
#[derive(Default)]
struct Line {
    connection: Option<PgConnection>,
    /// Where it goes.
    options: Option<Arc<PgConnectOptions>>,
    used: Option<Instant>,
}

impl Line {
    async fn take<W: Work>(&mut self, shared: &Shared<W>) -> Result<PgConnection, sqlx::Error> {
        let now = Instant::now();
        let fresh = self.used.is_some_and(|used| now - used < FRESH);
        self.used = Some(now);
        let options = shared.pool.connect_options();
        let moved = self
            .options
            .replace(options.clone())
            .is_some_and(|before| !Arc::ptr_eq(&before, &options));
        if let Some(mut connection) = self.connection.take().filter(|_| !moved) {
            if fresh {
                return Ok(connection);
            }
            let answer = tokio::time::timeout(CONNECT_WHEN_AWAY, connection.ping()).await;
            if matches!(answer, Ok(Ok(()))) {
                return Ok(connection);
            }
        }
        shared.connect(&options).await
    }

    fn give(&mut self, connection: Option<PgConnection>) {
        self.connection = connection;
    }
}

impl<W: Work> Shared<W> {
    async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let patience = if self.instance.check("postgres") {
            CONNECT
        } else {
            CONNECT_WHEN_AWAY
        };
        tokio::time::timeout(patience, PgConnection::connect_with(options))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}

#[derive(Clone)]
struct Metrics {
    groups: Histogram,
    waiting: Gauge,
    turned_away: Counter,
    retries: Counter,
    splits: Counter,
    aside: Counter,
    unknown: Counter,
}

impl Metrics {
    fn register(instance: &Instance) -> Self {
        let metrics = Self {
            groups: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]),
            waiting: Gauge::default(),
            turned_away: Counter::default(),
            retries: Counter::default(),
            splits: Counter::default(),
            aside: Counter::default(),
            unknown: Counter::default(),
        };
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_commit_group_size",
                "Writes that were committed together",
                metrics.groups.clone(),
            );
            registry.register(
                "recarga_commit_waiting",
                "Writes that wait for a connection to be committed on",
                metrics.waiting.clone(),
            );
            registry.register(
                "recarga_commit_turned_away",
                "Writes refused because too many waited",
                metrics.turned_away.clone(),
            );
            registry.register(
                "recarga_commit_retries",
                "Groups tried again because another transaction was in the way",
                metrics.retries.clone(),
            );
            registry.register(
                "recarga_commit_splits",
                "Groups divided to find the write that cannot be done",
                metrics.splits.clone(),
            );
            registry.register(
                "recarga_commit_aside",
                "Writes that waited alone for a lock that somebody else held for long",
                metrics.aside.clone(),
            );
            registry.register(
                "recarga_commit_unknown",
                "Writes whose connection was lost before it was known whether they were committed",
                metrics.unknown.clone(),
            );
        });
        metrics
    }

    fn set_waiting(&self, waiting: usize) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}
