//! Tasks in PostgreSQL. Every change of a running task is fenced by its number of attempts: a worker that was given up
//! cannot overwrite what its successor did.

use kit::{Instance, timing::timed, traces};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::{
    Error,
    handlers::{status::Task, tasks::Tasks},
};

const SUBMIT: &str =
    "select outcome, (reply ->> 'task_id')::bigint, replayed from worker.submit($1, $2, $3, $4)";
/// The same with the trace that its event belongs to; told before, because the call depends on it.
const SUBMIT_TRACED: &str = "select s.outcome, (s.reply ->> 'task_id')::bigint, s.replayed
    from (select set_config('recarga.traceparent', $5, true) as trace) told
    cross join lateral worker.submit(case when told.trace is not null then $1::text end, $2, $3, $4) s";

#[derive(Clone)]
pub struct Store {
    instance: Instance,
    pool: PgPool,
}

/// Whether a delivered task is to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Yes, as this attempt.
    Attempt(i32),
    /// It was completed before.
    Completed,
    /// It failed for good before, for this reason.
    Failed(String),
    /// Nobody ever submitted it.
    Unknown,
}

impl Store {
    #[must_use]
    pub fn new(instance: &Instance, pool: PgPool) -> Self {
        Self {
            instance: instance.clone(),
            pool,
        }
    }

    /// Accepts a task and leaves its event in the outbox; true when this repeats an answer to the same key.
    pub async fn submit(
        &self,
        caller: &str,
        key: Option<&str>,
        task: &Value,
        text: &[u8],
    ) -> Result<(i64, bool), Error> {
        self.available()?;
        let event = traces::create("tasks");
        let call = sqlx::query_as(if event.is_some() {
            SUBMIT_TRACED
        } else {
            SUBMIT
        })
        .bind(caller)
        .bind(key)
        .bind(Sha256::digest(text).to_vec())
        .bind(task);
        let call = match &event {
            Some(event) => call.bind(event.traceparent()),
            None => call,
        };
        let (outcome, id, replayed): (String, Option<i64>, bool) =
            timed("pg", call.fetch_one(&self.pool)).await?;
        if let Some(event) = event {
            event.end(outcome == "accepted" && !replayed);
        }
        match (outcome.as_str(), id) {
            ("accepted", Some(id)) => Ok((id, replayed)),
            ("key_reused", _) => Err(Error::KeyReused),
            ("in_progress", _) => Err(Error::InProgress),
            _ => Err(Error::Unknown(outcome)),
        }
    }

    pub async fn task(&self, id: i64) -> Result<Option<Task>, Error> {
        self.available()?;
        let query = sqlx::query_as(
            "select id as task_id, state as status, result, attempts, reason, progress, created_at, started_at, finished_at \
             from worker.tasks where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool);
        Ok(timed("pg", query).await?)
    }

    pub async fn tasks(&self) -> Result<Tasks, Error> {
        self.available()?;
        let query = sqlx::query_as(
            "select count(*) filter (where state = 'queued'), count(*) filter (where state = 'completed'), \
             count(*) filter (where state = 'processing'), count(*) filter (where state = 'failed') from worker.tasks",
        )
        .fetch_one(&self.pool);
        let (queue_length, completed_tasks, processing_tasks, failed_tasks) =
            timed("pg", query).await?;
        Ok(Tasks {
            queue_length,
            completed_tasks,
            processing_tasks,
            failed_tasks,
        })
    }

    /// Begins an attempt, which voids all earlier ones. A failed task is begun again only when it was taken back from the
    /// dead letters.
    pub async fn claim(&self, id: i64, redriven: bool) -> Result<Claim, sqlx::Error> {
        let query = sqlx::query_scalar(
            "update worker.tasks set state = 'processing', attempts = attempts + 1, started_at = clock_timestamp(), \
             finished_at = null, reason = null, progress = 0 \
             where id = $1 and (state in ('queued', 'processing') or (state = 'failed' and $2)) returning attempts",
        )
        .bind(id)
        .bind(redriven)
        .fetch_optional(&self.pool);
        let attempt: Option<i32> = timed("pg", query).await?;
        if let Some(attempt) = attempt {
            return Ok(Claim::Attempt(attempt));
        }
        let ended: Option<Option<String>> =
            sqlx::query_scalar("select reason from worker.tasks where id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        Ok(match ended {
            None => Claim::Unknown,
            Some(None) => Claim::Completed,
            Some(Some(reason)) => Claim::Failed(reason),
        })
    }

    /// False when the attempt was voided by a later one.
    pub async fn complete(
        &self,
        id: i64,
        attempt: i32,
        result: &RawValue,
    ) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(
            "update worker.tasks set state = 'completed', result = $3, reason = null, progress = 1, finished_at = clock_timestamp() \
             where id = $1 and attempts = $2 and state = 'processing'",
        )
        .bind(id)
        .bind(attempt)
        .bind(result)
        .execute(&self.pool);
        let done = timed("pg", query).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes how far an attempt is, from 0 to 1. False when it was voided by a later one.
    pub async fn progress(
        &self,
        id: i64,
        attempt: i32,
        progress: f32,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "update worker.tasks set progress = $3 where id = $1 and attempts = $2 and state = 'processing'",
        )
        .bind(id)
        .bind(attempt)
        .bind(progress)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets the task wait for its next attempt. False when this attempt was voided.
    pub async fn requeue(&self, id: i64, attempt: i32, reason: &str) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(
            "update worker.tasks set state = 'queued', reason = $3 \
             where id = $1 and attempts = $2 and state = 'processing'",
        )
        .bind(id)
        .bind(attempt)
        .bind(reason)
        .execute(&self.pool);
        let done = timed("pg", query).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends the task as failed. False when this attempt was voided.
    pub async fn fail(&self, id: i64, attempt: i32, reason: &str) -> Result<bool, sqlx::Error> {
        let query = sqlx::query(
            "update worker.tasks set state = 'failed', reason = $3, finished_at = clock_timestamp() \
             where id = $1 and attempts = $2 and state = 'processing'",
        )
        .bind(id)
        .bind(attempt)
        .bind(reason)
        .execute(&self.pool);
        let done = timed("pg", query).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a task whose message the queue gave up; true when it was open until now.
    pub async fn bury(&self, id: i64, reason: &str) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "update worker.tasks set state = 'failed', reason = $2, finished_at = clock_timestamp() \
             where id = $1 and state in ('queued', 'processing')",
        )
        .bind(id)
        .bind(reason)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Refuses at once while PostgreSQL is known to be away, instead of waiting for a connection.
    fn available(&self) -> Result<(), Error> {
        if self.instance.check("postgres") {
            Ok(())
        } else {
            Err(Error::Away)
        }
    }
}
