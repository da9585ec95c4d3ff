//! Invariants 4, 5 and 6: what must happen sooner or later, waited for and then judged.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::PgPool;

use super::{
    Check, Error, Options, Site,
    sql::{self, Announced, BOOKINGS, Horizon, RECHARGES, TASKS},
    whereabouts::Queues,
};
use crate::{
    history::{Findings, bookings},
    journal::{Action, Answer, Journal},
};

/// How often is looked whether everything has come to rest.
const LOOK: Duration = Duration::from_millis(250);
/// How often is told what is waited for.
const TELL: Duration = Duration::from_secs(5);

/// Waits until nothing of what was there is on its way any more, or patience is over: as long as there is less and less of it,
/// it is not. Gives how long that took.
pub async fn settle(
    pool: &PgPool,
    site: &Site,
    options: &Options,
    horizon: &Horizon,
    tell: &impl Fn(String),
) -> Result<Duration, Error> {
    let began = Instant::now();
    let mut told = began;
    let mut least = i64::MAX;
    let mut less_since = began;
    loop {
        let open = sql::open(pool, horizon).await?;
        // Events of what came later are not waited for.
        let left = open.recharges + open.bookings + open.tasks;
        if left < least {
            least = left;
            less_since = Instant::now();
        }
        if left == 0 || site.live.is_none() || less_since.elapsed() >= options.settle {
            return Ok(began.elapsed());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tell(format!(
                "waiting: {} recharges and {} bookings to be notified about, {} tasks to end, {} events in the outboxes",
                open.recharges, open.bookings, open.tasks, open.pending
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub async fn check(
    pool: &PgPool,
    site: &Site,
    queues: &Queues,
    journal: Option<&Journal>,
    horizon: &Horizon,
    waited: &Duration,
) -> Result<Vec<Check>, Error> {
    let scene = Scene {
        pool,
        live: site.live.is_some(),
        queues,
        waited: *waited,
    };
    let mut notified = scene.notifications(horizon).await?;
    notified.merge(overlaps(pool).await?);
    let mut tasks = scene.tasks(horizon).await?;
    if let Some(journal) = journal {
        notified.merge(booked(pool, journal).await?);
        tasks.merge(accepted(pool, journal).await?);
    }
    let mut checks = vec![
        Check::new(4, notified),
        Check::new(5, tasks),
        Check::new(6, accounts(pool).await?),
    ];
    if let Some(why) = queues.trouble() {
        checks[0] = checks[0].clone().note(why);
    }
    Ok(checks)
}

struct Scene<'a> {
    pool: &'a PgPool,
    live: bool,
    queues: &'a Queues,
    waited: Duration,
}

impl Scene<'_> {
    async fn notifications(&self, horizon: &Horizon) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        for (kind, name, from, to) in [
            (BOOKINGS, "bookings", 0, horizon.booking),
            (
                RECHARGES,
                "recharges",
                horizon.seeded_recharge,
                horizon.recharge,
            ),
        ] {
            let (missing, all) = sql::unnotified(self.pool, kind, from, to).await?;
            findings.count(name, all.cast_unsigned());
            let missing: Vec<(i64, String)> = missing
                .into_iter()
                .map(|id| (id, "has no notification".to_owned()))
                .collect();
            self.judge(kind, missing, &mut findings).await?;
        }
        let notifications = sql::count(self.pool, "notification.notifications").await?;
        findings.count("notifications", notifications.cast_unsigned());
        for (kind, id, times) in sql::doubled_notifications(self.pool).await? {
            findings.offend(
                format!("{kind} {id}"),
                format!("was notified about {times} times"),
            );
        }
        for (id, why) in sql::odd_notifications(self.pool).await? {
            findings.offend(format!("notification {id}"), why);
        }
        Ok(findings)
    }

    async fn tasks(&self, horizon: &Horizon) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        let (completed, failed) = sql::ended_tasks(self.pool, horizon.task).await?;
        findings.count("completed", completed.cast_unsigned());
        findings.count("failed with their reason", failed.cast_unsigned());
        let open = sql::open_tasks(self.pool, horizon.task).await?;
        let open = open
            .into_iter()
            .map(|(id, state, reason)| {
                let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                (id, format!("is {state}{reason}"))
            })
            .collect();
        self.judge(TASKS, open, &mut findings).await?;
        Ok(findings)
    }

    /// What has not come to its end: lost when its event is nowhere. Where it can still come to its end because nothing runs,
    /// it is only counted.
    async fn judge(
        &self,
        kind: Announced,
        open: Vec<(i64, String)>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        if open.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = open.iter().map(|(id, _)| *id).collect();
        let outbox = sql::in_outbox(self.pool, kind, &ids).await?;
        let queue: BTreeMap<i64, String> = self.queues.find(kind, &ids).await;
        for (id, why) in open {
            let what = format!("{} {id}", kind.what);
            let pending = outbox
                .get(&id)
                .filter(|(state, _)| state != "delivered")
                .map(|(state, error)| {
                    let error = error.as_deref().unwrap_or("no error noted");
                    format!("its event is {state} in the outbox ({error})")
                });
            let alive = outbox.get(&id).is_some_and(|(state, _)| state == "pending")
                || queue.get(&id).is_some_and(|place| place == "waiting");
            if alive && !self.live {
                findings.count("on their way", 1);
                continue;
            }
            let place = pending
                .or_else(|| {
                    let place = queue.get(&id)?;
                    Some(format!("its event is {place} in the queue {}", kind.queue))
                })
                .unwrap_or_else(|| "its event is nowhere: lost".to_owned());
            let after = if self.live {
                format!(" after {:.0} s", self.waited.as_secs_f64())
            } else {
                String::new()
            };
            findings.offend(what, format!("{why}{after}; {place}"));
        }
        Ok(())
    }
}

pub async fn overlaps(pool: &PgPool) -> Result<Findings, sqlx::Error> {
    let mut findings = Findings::default();
    for (tutor, booking, other) in sql::overlaps(pool).await? {
        findings.offend(
            format!("booking {booking}"),
            format!("overlaps booking {other} of the same tutor, {tutor}"),
        );
    }
    Ok(findings)
}

/// Bookings that were answered are stored as they were answered.
async fn booked(pool: &PgPool, journal: &Journal) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    let answers: Vec<bookings::Booked> = bookings::answers(&journal.operations).collect();
    let ids: Vec<i64> = answers.iter().map(|booked| booked.booking).collect();
    let stored = sql::bookings(pool, &ids).await?;
    findings.count("answered in the journal", stored.len() as u64);
    for booked in answers {
        let what = format!("booking {}", booked.booking);
        match stored.get(&booked.booking) {
            None => findings.offend(
                what,
                format!("was answered (key {}) and is lost", booked.key),
            ),
            Some(row)
                if (row.tutor_id, row.starts_at, row.ends_at)
                    != (booked.tutor, booked.starts_at, booked.ends_at) =>
            {
                findings.offend(
                    what,
                    format!("is not what was answered to key {}", booked.key),
                );
            }
            Some(_) => {}
        }
    }
    Ok(findings)
}

/// Tasks that were accepted exist, one per key.
async fn accepted(pool: &PgPool, journal: &Journal) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    let mut keys: BTreeMap<&str, i64> = BTreeMap::new();
    for operation in &journal.operations {
        if let (Action::Task { key, .. }, Some((Answer::Accepted { task, .. }, _))) =
            (&operation.action, operation.answer())
            && let Some(first) = keys.insert(key, *task).filter(|first| first != task)
        {
            findings.offend(
                format!("key {key}"),
                format!("was accepted as task {first} and as task {task}"),
            );
        }
    }
    let ids: Vec<i64> = keys.values().copied().collect();
    let stored = sql::existing(pool, TASKS, &ids).await?;
    findings.count("accepted in the journal", keys.len() as u64);
    for (key, task) in keys {
        if !stored.contains(&task) {
            findings.offend(
                format!("task {task}"),
                format!("was accepted (key {key}) and is lost"),
            );
        }
    }
    Ok(findings)
}

pub async fn accounts(pool: &PgPool) -> Result<Findings, sqlx::Error> {
    let mut findings = Findings::default();
    for kind in [RECHARGES, BOOKINGS, TASKS] {
        let account = sql::account(pool, kind).await?;
        findings.count("announced", account.announced.cast_unsigned());
        findings.count("delivered", account.delivered.cast_unsigned());
        findings.count("pending", account.pending.cast_unsigned());
        findings.count("dead", account.dead.cast_unsigned());
        let sum = account.delivered + account.pending + account.dead;
        if account.announced != sum {
            findings.offend(
                format!("{}.outbox", kind.schema),
                format!(
                    "has {} delivered + {} pending + {} dead = {sum} events for {} {}s",
                    account.delivered, account.pending, account.dead, account.announced, kind.what
                ),
            );
        }
        for (event, id, error) in sql::dead_events(pool, kind).await? {
            let id = id.map_or_else(|| "?".to_owned(), |id| id.to_string());
            let error = error.unwrap_or_default();
            findings.offend(
                format!("event {event}"),
                format!("of {} {id} was given up by the relay: {error}", kind.what),
            );
        }
    }
    Ok(findings)
}
