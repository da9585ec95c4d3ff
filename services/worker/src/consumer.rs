//! Takes tasks off the queue and works on a bounded number at a time, keeping each while it runs.

use std::{sync::Arc, time::Duration};

use kit::{
    Instance,
    messaging::{Client, Intake, Message, Release, process},
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    QUEUE,
    settings::Settings,
    store::{Claim, Store},
};

/// How often the progress of a task is written down, when it moved.
const REPORT: Duration = Duration::from_millis(500);
/// In how many steps the pretended work goes.
const STEPS: u16 = 50;

/// A task as its outbox event announces it.
#[derive(Debug, Deserialize)]
pub struct Announced {
    pub task_id: i64,
    #[serde(default)]
    task: Value,
}

/// The bounds of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub concurrency: usize,
    pub attempts: u32,
    pub visibility: Duration,
    /// How long a task may go on after a stop was asked for.
    pub finish: Duration,
}

/// What all tasks of an instance share; cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    instance: Instance,
    store: Store,
    queue: Client,
    settings: Settings,
    limits: Limits,
    metrics: Metrics,
}

#[derive(Clone, Default)]
struct Metrics {
    running: Gauge,
    completed: Counter,
    failed: Counter,
}

/// How an attempt ended.
enum Ending {
    Completed(Box<RawValue>),
    Failed(String),
    /// The queue gave the task to somebody else.
    Lost,
    Stopping,
}

impl Consumer {
    #[must_use]
    pub fn new(
        instance: &Instance,
        store: Store,
        queue: Client,
        settings: Settings,
        limits: Limits,
    ) -> Self {
        let metrics = Metrics::default();
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_tasks_running",
                "Tasks being worked on",
                metrics.running.clone(),
            );
            registry.register(
                "recarga_tasks_completed",
                "Tasks this instance completed",
                metrics.completed.clone(),
            );
            registry.register(
                "recarga_tasks_failed",
                "Tasks this instance gave up",
                metrics.failed.clone(),
            );
        });
        Self {
            instance: instance.clone(),
            store,
            queue,
            settings,
            limits,
            metrics,
        }
    }

    /// Works until the shutdown.
    pub async fn run(self, mut intake: Intake) {
        let room = Arc::new(Semaphore::new(self.limits.concurrency));
        loop {
            // Never takes more than there is room for: the rest is for other workers.
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            let max = 1 + room.available_permits();
            let Some(messages) = intake.next(max.min(100)).await else {
                return;
            };
            let mut permit = Some(permit);
            for message in messages {
                let permit = match permit.take() {
                    Some(permit) => permit,
                    None => match room.clone().acquire_owned().await {
                        Ok(permit) => permit,
                        Err(_) => return,
                    },
                };
                self.instance.spawn(self.clone().handle(message, permit));
            }
        }
    }

    async fn handle(self, message: Message, _permit: OwnedSemaphorePermit) {
        let span = process(&self.instance, QUEUE, std::iter::once(&message));
        let completed = span.scope(self.see_through(&message)).await;
        span.end((!completed).then_some("not_completed"));
    }

    /// Whether the task is completed now.
    async fn see_through(&self, message: &Message) -> bool {
        let announced: Announced = match message.read() {
            Ok(announced) => announced,
            Err(error) => {
                self.dead(message, &format!("not a task: {error}")).await;
                return false;
            }
        };
        let id = announced.task_id;
        let attempt = match self.store.claim(id, message.redrives > 0).await {
            Ok(Claim::Attempt(attempt)) => attempt,
            // Delivered again after its end.
            Ok(Claim::Completed) => {
                self.acknowledge(message).await;
                return true;
            }
            Ok(Claim::Failed(reason)) => {
                self.dead(message, &reason).await;
                return false;
            }
            Ok(Claim::Unknown) => {
                self.dead(message, "there is no such task").await;
                return false;
            }
            Err(error) => {
                self.later(message, &error).await;
                return false;
            }
        };
        self.metrics.running.inc();
        let ending = self.attempt(message, id, attempt, &announced.task).await;
        self.metrics.running.dec();
        match ending {
            Ending::Completed(result) => match self.store.complete(id, attempt, &result).await {
                Ok(true) => {
                    self.metrics.completed.inc();
                    tracing::info!(task_id = id, attempt, "a task was completed");
                    self.acknowledge(message).await;
                    return true;
                }
                Ok(false) => {
                    tracing::warn!(task_id = id, attempt, "a later attempt has taken over");
                }
                Err(error) => self.later(message, &error).await,
            },
            Ending::Failed(reason) => self.failed(message, id, attempt, &reason).await,
            Ending::Lost => {
                tracing::warn!(
                    task_id = id,
                    attempt,
                    "the queue gave the task to somebody else"
                );
            }
            Ending::Stopping => {
                tracing::info!(task_id = id, attempt, "a task is given back unfinished");
                let reason = "the worker stopped";
                if let Err(error) = self.store.requeue(id, attempt, reason).await {
                    tracing::debug!(error = %error, "the task still says processing; its next attempt changes that");
                }
                self.release(message, Some(Duration::ZERO), reason, true)
                    .await;
            }
        }
        false
    }

    /// Works on a task, keeping its message until the work is done.
    async fn attempt(&self, message: &Message, id: i64, attempt: i32, task: &Value) -> Ending {
        let (progress, seen) = watch::channel(0.0);
        let work = async {
            tokio::select! {
                done = self.work(task, &progress) => match done {
                    Ok(result) => Ending::Completed(result),
                    Err(reason) => Ending::Failed(reason),
                },
                () = self.stopping() => Ending::Stopping,
                () = self.report(id, attempt, seen) => Ending::Lost,
            }
        };
        self.queue
            .hold(QUEUE, &message.receipt, self.limits.visibility, work)
            .await
            .unwrap_or(Ending::Lost)
    }

    /// Ends when a task may no longer go on because of a stop.
    async fn stopping(&self) {
        self.instance.shutdown().requested().await;
        tokio::time::sleep(self.limits.finish).await;
    }

    /// Writes progress down as long as the attempt is the task's latest.
    async fn report(&self, id: i64, attempt: i32, mut seen: watch::Receiver<f32>) {
        loop {
            tokio::time::sleep(REPORT).await;
            if !seen.has_changed().unwrap_or(false) {
                continue;
            }
            let progress = *seen.borrow_and_update();
            match self.store.progress(id, attempt, progress).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(error = %error, "a task's progress could not be written down");
                }
            }
        }
    }

    /// The pretended work.
    async fn work(
        &self,
        task: &Value,
        progress: &watch::Sender<f32>,
    ) -> Result<Box<RawValue>, String> {
        let time = self.settings.task_time();
        for step in 1..=STEPS {
            tokio::time::sleep(time / u32::from(STEPS)).await;
            progress.send_replace(f32::from(step) / f32::from(STEPS));
        }
        if task.get("fail").and_then(Value::as_bool) == Some(true) {
            return Err("the task asked to fail".to_owned());
        }
        let result = json!({
            "message": "The task is done",
            "seconds": time.as_secs_f64(),
            "worker": self.instance.name(),
        });
        serde_json::value::to_raw_value(&result).map_err(|error| error.to_string())
    }

    /// A next attempt after the queue's backoff, or the end: failed in the table first, then among the dead letters.
    async fn failed(&self, message: &Message, id: i64, attempt: i32, reason: &str) {
        // Those that ended with their workers do not speak against the task; the queue counts them apart.
        let failures = message.deliveries.saturating_sub(message.crashes);
        let last = failures >= self.limits.attempts;
        let noted = if last {
            self.store.fail(id, attempt, reason).await
        } else {
            self.store.requeue(id, attempt, reason).await
        };
        match noted {
            Ok(true) if last => {
                self.metrics.failed.inc();
                tracing::warn!(task_id = id, attempt, reason, "a task failed for good");
                self.dead(message, reason).await;
            }
            Ok(true) => {
                tracing::info!(
                    task_id = id,
                    attempt,
                    reason,
                    "a task failed and is tried again"
                );
                self.release(message, None, reason, false).await;
            }
            Ok(false) => {}
            Err(error) => self.later(message, &error).await,
        }
    }

    /// Gives a message back because of the database, which is not the message's fault.
    async fn later(&self, message: &Message, error: &sqlx::Error) {
        tracing::debug!(error = %error, "a task cannot be recorded now");
        let blameless = kit::postgres::is_unavailable(error);
        let reason: String = error.to_string().chars().take(500).collect();
        self.release(message, Some(Duration::from_secs(1)), &reason, blameless)
            .await;
    }

    async fn acknowledge(&self, message: &Message) {
        let receipts = std::slice::from_ref(&message.receipt);
        if let Err(error) = self.queue.acknowledge(QUEUE, receipts).await {
            tracing::debug!(error = %error, "a task could not be acknowledged; it comes again and ends then");
        }
    }

    /// Without a delay, the queue's backoff decides.
    async fn release(
        &self,
        message: &Message,
        delay: Option<Duration>,
        reason: &str,
        uncounted: bool,
    ) {
        let release = Release {
            delay_seconds: delay.map(|delay| delay.as_secs_f64()),
            reason: Some(reason.to_owned()),
            uncounted,
        };
        let released = self.queue.release(QUEUE, &message.receipt, &release).await;
        if let Err(error) = released {
            tracing::debug!(error = %error, "a task could not be given back; it comes back by itself");
        }
    }

    async fn dead(&self, message: &Message, reason: &str) {
        let reason: String = reason.chars().take(1_000).collect();
        if let Err(error) = self.queue.dead(QUEUE, &message.receipt, &reason).await {
            tracing::debug!(error = %error, "a task could not be given up; it comes again");
        }
    }
}
