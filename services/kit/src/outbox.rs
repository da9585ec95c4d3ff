//! The outbox relay: takes committed events from a schema's outbox to the queue, at least once, by as many relays at a
//! time as there are instances.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use rand::RngExt;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgPool, Row};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    Instance,
    client::CallError,
    messaging::{self, BATCH_LIMIT, Client, Outgoing},
    outage::Outage,
};

/// How often the outbox is looked at without being woken: other instances' events, and those of a process that died.
const IDLE: Duration = Duration::from_millis(250);
/// The longest pause while the queue or the database is away.
const BACKOFF_LIMIT: Duration = Duration::from_secs(2);
/// How many events one round takes.
const ROUND: i64 = 200;
/// How often the queue may refuse an event before it is given up.
const REFUSALS: i32 = 5;
/// How often the backlog is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// A relay working in the background until the shutdown; cheap to clone.
#[derive(Clone)]
pub struct Relay {
    wake: Arc<Notify>,
}

impl Relay {
    /// Starts relaying `<schema>.outbox`. Each event's topic is the queue it goes to, its payload with `event_id` added
    /// is the body, and its id is the dedupe id.
    #[must_use]
    pub fn new(instance: &Instance, pool: PgPool, schema: &'static str, client: Client) -> Self {
        let wake = Arc::new(Notify::new());
        let metrics = Metrics::register(instance);
        let outbox = Outbox::new(pool, schema);
        instance.spawn(measure(instance.clone(), outbox.clone(), metrics.clone()));
        instance.spawn(relay(
            instance.clone(),
            outbox,
            client,
            metrics,
            wake.clone(),
        ));
        Self { wake }
    }

    /// Says that an event was committed just now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

#[derive(Clone)]
struct Metrics {
    pending: Gauge,
    dead: Counter,
    oldest_age: Gauge<f64, AtomicU64>,
    delivered: Counter,
    failures: Counter,
}

impl Metrics {
    fn register(instance: &Instance) -> Self {
        let metrics = Self {
            pending: Gauge::default(),
            dead: Counter::default(),
            oldest_age: Gauge::default(),
            delivered: Counter::default(),
            failures: Counter::default(),
        };
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_outbox_pending",
                "Events committed and not yet taken by the queue",
                metrics.pending.clone(),
            );
            registry.register(
                "recarga_outbox_dead",
                "Events this relay gave up, because the queue refused them for good",
                metrics.dead.clone(),
            );
            registry.register(
                "recarga_outbox_oldest_age_seconds",
                "Age of the oldest pending event; 0 without one",
                metrics.oldest_age.clone(),
            );
            registry.register(
                "recarga_outbox_delivered",
                "Events this relay handed to the queue",
                metrics.delivered.clone(),
            );
            registry.register(
                "recarga_outbox_failures",
                "Rounds of this relay that could not be finished",
                metrics.failures.clone(),
            );
        });
        metrics
    }
}

/// The statements on one schema's outbox.
#[derive(Clone)]
struct Outbox {
    pool: PgPool,
    take: Arc<str>,
    delivered: Arc<str>,
    refused: Arc<str>,
    failed: Arc<str>,
    measure: Arc<str>,
}

struct Entry {
    id: i64,
    event_id: Uuid,
    body: Box<RawValue>,
}

impl Outbox {
    fn new(pool: PgPool, schema: &'static str) -> Self {
        let table = format!("{schema}.outbox");
        Self {
            pool,
            take: format!(
                "select id, event_id, topic, payload || jsonb_build_object('event_id', event_id) as body \
                 from {table} where state = 'pending' order by id limit $1 for update skip locked"
            )
            .into(),
            delivered: format!(
                "update {table} set state = 'delivered', delivered_at = clock_timestamp(), attempts = attempts + 1, \
                 last_error = null where id = any($1)"
            )
            .into(),
            refused: format!(
                "update {table} set attempts = attempts + 1, last_error = $2, \
                 state = case when attempts + 1 >= $3 then 'dead' else 'pending' end where id = $1 returning state"
            )
            .into(),
            failed: format!(
                "update {table} set last_error = $2 where id = any($1) and last_error is distinct from $2"
            )
            .into(),
            measure: format!(
                "select (select count(*) from {table} where state = 'pending'), \
                 coalesce((select extract(epoch from clock_timestamp() - created_at)::float8 from {table} \
                 where state = 'pending' order by id limit 1), 0)"
            )
            .into(),
        }
    }
}

/// How a round ended without an error.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// There may be more.
    Full,
    /// Everything that was there is on its way.
    Done,
    /// The queue refused some event; it is tried again later.
    Refused,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Queue(CallError),
}

async fn relay(
    instance: Instance,
    outbox: Outbox,
    client: Client,
    metrics: Metrics,
    wake: Arc<Notify>,
) {
    let shutdown = instance.shutdown();
    let mut outage = Outage::new("handing the outbox to the queue");
    let mut backoff = Duration::ZERO;
    loop {
        // Read before the round, so that a stop is followed by one last round.
        let last = shutdown.is_requested();
        let outcome = round(&outbox, &client, &metrics).await;
        match outcome {
            Ok(Round::Full) if !last => {
                outage.over();
                continue;
            }
            Ok(_) => {
                outage.over();
                backoff = Duration::ZERO;
            }
            Err(ref error) => {
                metrics.failures.inc();
                outage.failed(error);
                backoff = (backoff * 2).clamp(IDLE, BACKOFF_LIMIT);
            }
        }
        if last {
            return;
        }
        let may_be_woken = matches!(outcome, Ok(Round::Done | Round::Full));
        let pause = backoff
            .max(IDLE)
            .mul_f64(rand::rng().random_range(0.75..1.25));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wake.notified(), if may_be_woken => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Takes one round of events to the queue. The rows stay locked until the queue has answered: another relay passes over
/// them, and a relay that dies leaves them pending.
async fn round(outbox: &Outbox, client: &Client, metrics: &Metrics) -> Result<Round, RoundError> {
    let mut transaction = outbox.pool.begin().await?;
    let rows = sqlx::query(AssertSqlSafe(outbox.take.clone()))
        .bind(ROUND)
        .fetch_all(&mut *transaction)
        .await?;
    let count = rows.len();
    if count == 0 {
        return Ok(Round::Done);
    }
    let mut topics: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for row in rows {
        topics
            .entry(row.try_get("topic")?)
            .or_default()
            .push(Entry {
                id: row.try_get("id")?,
                event_id: row.try_get("event_id")?,
                body: row.try_get("body")?,
            });
    }

    let mut tally = Tally::default();
    'sending: for (topic, entries) in &topics {
        for batch in entries.chunks(BATCH_LIMIT) {
            if let Err(error) = deliver(client, topic, batch, &mut tally).await {
                tally.failure = Some(error);
                break 'sending;
            }
        }
    }

    if !tally.delivered.is_empty() {
        sqlx::query(AssertSqlSafe(outbox.delivered.clone()))
            .bind(&tally.delivered)
            .execute(&mut *transaction)
            .await?;
    }
    for (id, reason) in &tally.refused {
        let state: String = sqlx::query_scalar(AssertSqlSafe(outbox.refused.clone()))
            .bind(id)
            .bind(reason)
            .bind(REFUSALS)
            .fetch_one(&mut *transaction)
            .await?;
        if state == "dead" {
            metrics.dead.inc();
            tracing::error!(outbox.id = id, reason, "an event was given up");
        }
    }
    if let Some(failure) = &tally.failure {
        let waiting: Vec<i64> = topics
            .values()
            .flatten()
            .map(|entry| entry.id)
            .filter(|id| {
                !tally.delivered.contains(id)
                    && !tally.refused.iter().any(|(refused, _)| refused == id)
            })
            .collect();
        sqlx::query(AssertSqlSafe(outbox.failed.clone()))
            .bind(&waiting)
            .bind(failure.to_string())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    metrics.delivered.inc_by(tally.delivered.len() as u64);

    match tally.failure {
        Some(error) => Err(RoundError::Queue(error)),
        None if !tally.refused.is_empty() => Ok(Round::Refused),
        None if i64::try_from(count).is_ok_and(|count| count < ROUND) => Ok(Round::Done),
        None => Ok(Round::Full),
    }
}

#[derive(Default)]
struct Tally {
    delivered: Vec<i64>,
    refused: Vec<(i64, String)>,
    failure: Option<CallError>,
}

/// Sends one batch. A batch that is refused is sent again one by one, to find the event that is to blame.
async fn deliver(
    client: &Client,
    topic: &str,
    batch: &[Entry],
    tally: &mut Tally,
) -> Result<(), CallError> {
    match client.send_batch(topic, &outgoing(batch)).await {
        Ok(_) => tally.delivered.extend(batch.iter().map(|entry| entry.id)),
        Err(error) if !messaging::is_permanent(&error) => return Err(error),
        Err(error) if batch.len() == 1 => tally.refused.push((batch[0].id, error.to_string())),
        Err(_) => {
            for entry in batch {
                let alone = std::slice::from_ref(entry);
                match client.send_batch(topic, &outgoing(alone)).await {
                    Ok(_) => tally.delivered.push(entry.id),
                    Err(error) if messaging::is_permanent(&error) => {
                        tally.refused.push((entry.id, error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

fn outgoing(batch: &[Entry]) -> Vec<Outgoing> {
    batch
        .iter()
        .map(|entry| Outgoing {
            body: entry.body.clone(),
            delay_seconds: None,
            dedupe_id: Some(entry.event_id.to_string()),
            ordering_key: None,
        })
        .collect()
}

async fn measure(instance: Instance, outbox: Outbox, metrics: Metrics) {
    loop {
        let measured: Result<(i64, f64), sqlx::Error> =
            sqlx::query_as(AssertSqlSafe(outbox.measure.clone()))
                .fetch_one(&outbox.pool)
                .await;
        match measured {
            Ok((pending, oldest_age)) => {
                metrics.pending.set(pending);
                metrics.oldest_age.set(oldest_age);
            }
            Err(error) => tracing::debug!(error = %error, "the outbox cannot be measured"),
        }
        tokio::select! {
            () = tokio::time::sleep(MEASURE) => {}
            () = instance.shutdown().requested() => return,
        }
    }
}
