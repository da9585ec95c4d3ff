//! The outbox relay: takes committed events from a schema's outbox to the queue, at least once, in the order of their commits
//! for each thing they are about, by as many relays at a time as there are instances.
//!
//! A relay holds shards of the outbox with locks of its session, not of a transaction: an open transaction would hold up
//! the watermark of all relays while the queue is being called. A relay that dies loses its session and with it the
//! shards; one that is frozen loses it to the server after [`FROZEN`], for one that works says something more often than
//! that ([`QUIET`]). Then another sends again what was not marked, which the queue knows by its id, and the one that wakes
//! up finds its session gone and marks nothing. So a frozen relay delays events by [`FROZEN`] and the [`IDLE`] pause of
//! another, at most.

mod statements;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use rand::RngExt;
use sqlx::{Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::Notify;

use crate::{
    Instance,
    client::CallError,
    messaging::{self, BATCH_LIMIT, Client, Outgoing},
    outage::Outage,
    traces::{Operation, Together, Tracer},
};
use statements::{Entry, Outbox, SHARDS};

/// How often the outbox is looked at without being woken: other instances' events, and those of a process that died.
const IDLE: Duration = Duration::from_millis(250);
/// The longest pause while the queue or the database is away.
const BACKOFF_LIMIT: Duration = Duration::from_secs(2);
/// How many shards one round works on, so that others find some.
const AT_ONCE: i64 = 8;
/// How many events of a shard one round takes.
const ROUND: i64 = 50;
/// How often the queue may refuse an event before it is given up.
const REFUSALS: i32 = 5;
/// How often the backlog is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// How long a connection takes at most.
const CONNECT: Duration = Duration::from_secs(2);
/// After so long without a word of a relay the server ends its session, and with it the hold on its shards.
const FROZEN: Duration = Duration::from_secs(5);
/// After so long without a word a relay says one before it calls the queue again.
const QUIET: Duration = Duration::from_secs(1);

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
        let outbox = Outbox::new(schema);
        instance.spawn(measure(
            instance.clone(),
            outbox.clone(),
            pool.clone(),
            metrics.clone(),
        ));
        let relaying = Relaying {
            outbox,
            client,
            metrics,
            pool,
            connection: None,
            tracer: instance.tracer().cloned(),
        };
        instance.spawn(relay(instance.clone(), relaying, wake.clone()));
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

async fn relay(instance: Instance, mut relaying: Relaying, wake: Arc<Notify>) {
    let shutdown = instance.shutdown();
    let mut outage = Outage::new("handing the outbox to the queue");
    let mut backoff = Duration::ZERO;
    loop {
        // Read before the round, so that a stop is followed by one last round.
        let last = shutdown.is_requested();
        let outcome = relaying.round().await;
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
                if matches!(error, RoundError::Database(_)) {
                    // Its locks go with it.
                    relaying.connection = None;
                }
                relaying.metrics.failures.inc();
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

/// One relay and its session.
struct Relaying {
    outbox: Outbox,
    client: Client,
    metrics: Metrics,
    /// Says where to connect to; its connections are not used.
    pool: PgPool,
    connection: Option<(Arc<PgConnectOptions>, PgConnection)>,
    tracer: Option<Tracer>,
}

impl Relaying {
    /// Takes one round of events to the queue.
    async fn round(&mut self) -> Result<Round, RoundError> {
        let options = self.pool.connect_options();
        let (_, connection) = match &mut self.connection {
            Some(kept) if Arc::ptr_eq(&kept.0, &options) => kept,
            other => {
                let of_relay = (*options)
                    .clone()
                    .options([("idle_session_timeout", FROZEN.as_millis().to_string())]);
                let connecting = PgConnection::connect_with(&of_relay);
                let connection = tokio::time::timeout(CONNECT, connecting)
                    .await
                    .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                other.insert((options, connection))
            }
        };
        let first = rand::rng().random_range(0..SHARDS);
        let Some(hold) = self.outbox.hold(connection, first, AT_ONCE).await? else {
            return Ok(Round::Done);
        };
        let entries = self.outbox.read(connection, &hold, ROUND).await?;
        let mut session = Session {
            connection,
            spoken: Instant::now(),
        };
        let sender = Sender {
            client: &self.client,
            tracer: self.tracer.as_ref(),
        };
        let tally = send(sender, &mut session, &entries).await?;
        self.mark(entries.len(), tally).await
    }

    /// Writes down what became of a round, and lets the shards go when that is committed.
    async fn mark(&mut self, count: usize, tally: Tally) -> Result<Round, RoundError> {
        let (_, connection) = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        if !tally.delivered.is_empty() {
            self.outbox.delivered(connection, &tally.delivered).await?;
        }
        self.metrics.delivered.inc_by(tally.delivered.len() as u64);
        for (id, reason) in &tally.refused {
            if self
                .outbox
                .refused(connection, *id, reason, REFUSALS)
                .await?
            {
                self.metrics.dead.inc();
                tracing::error!(outbox.id = id, reason, "an event was given up");
            }
        }
        if let Some(failure) = &tally.failure {
            self.outbox
                .failed(connection, &tally.waiting, &failure.to_string())
                .await?;
        }
        self.outbox.release(connection).await?;
        match tally.failure {
            Some(error) => Err(RoundError::Queue(error)),
            None if !tally.refused.is_empty() => Ok(Round::Refused),
            // Those of other shards, and those that came in the meantime, are there at once.
            None if count > 0 => Ok(Round::Full),
            None => Ok(Round::Done),
        }
    }
}

/// The session that holds the shards, while the queue is being called.
struct Session<'a> {
    connection: &'a mut PgConnection,
    spoken: Instant,
}

impl Session<'_> {
    /// Shows the server that this relay lives. Fails when the hold is lost: somebody else sends from here on.
    async fn keep(&mut self) -> Result<(), sqlx::Error> {
        if self.spoken.elapsed() >= QUIET {
            self.connection.ping().await?;
            self.spoken = Instant::now();
        }
        Ok(())
    }
}

/// Hands events to the queue.
#[derive(Clone, Copy)]
struct Sender<'a> {
    client: &'a Client,
    tracer: Option<&'a Tracer>,
}

impl Sender<'_> {
    /// Sends these together; each belongs to the trace that it was made in.
    async fn send(self, topic: &str, batch: &[&Entry]) -> Result<(), CallError> {
        let traced = batch.iter().map(|entry| {
            let id = Cow::Owned(entry.event_id.to_string());
            (id, messaging::traceparent(&entry.body))
        });
        let spans = Together::begin(self.tracer, Operation::Send, topic, traced);
        let messages = outgoing(batch);
        let sent = spans.scope(self.client.send_batch(topic, &messages)).await;
        spans.end(sent.as_ref().err().map(CallError::kind));
        sent.map(drop)
    }
}

/// Sends what was read, in its order, until all is sent or the queue cannot be reached.
async fn send(
    sender: Sender<'_>,
    session: &mut Session<'_>,
    entries: &[Entry],
) -> Result<Tally, sqlx::Error> {
    let mut topics: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        topics.entry(&entry.topic).or_default().push(entry);
    }
    let mut tally = Tally::default();
    for (topic, entries) in topics {
        for batch in entries.chunks(BATCH_LIMIT) {
            if tally.failure.is_none() {
                match deliver(sender, session, topic, batch, &mut tally).await {
                    Ok(()) => {}
                    Err(RoundError::Queue(error)) => tally.failure = Some(error),
                    Err(RoundError::Database(error)) => return Err(error),
                }
            }
        }
    }
    tally.waiting = entries
        .iter()
        .map(|entry| entry.id)
        .filter(|id| {
            !tally.delivered.contains(id) && !tally.refused.iter().any(|(refused, _)| refused == id)
        })
        .collect();
    Ok(tally)
}

#[derive(Default)]
struct Tally {
    delivered: Vec<i64>,
    refused: Vec<(i64, String)>,
    waiting: Vec<i64>,
    failure: Option<CallError>,
}

/// Sends one batch. A batch that is refused is sent again one by one, to find the event that is to blame.
async fn deliver(
    sender: Sender<'_>,
    session: &mut Session<'_>,
    topic: &str,
    batch: &[&Entry],
    tally: &mut Tally,
) -> Result<(), RoundError> {
    session.keep().await?;
    match sender.send(topic, batch).await {
        Ok(()) => tally.delivered.extend(batch.iter().map(|entry| entry.id)),
        Err(error) if !messaging::is_permanent(&error) => return Err(RoundError::Queue(error)),
        Err(error) if batch.len() == 1 => tally.refused.push((batch[0].id, error.to_string())),
        Err(_) => {
            for entry in batch {
                let alone = std::slice::from_ref(entry);
                session.keep().await?;
                match sender.send(topic, alone).await {
                    Ok(()) => tally.delivered.push(entry.id),
                    Err(error) if messaging::is_permanent(&error) => {
                        tally.refused.push((entry.id, error.to_string()));
                    }
                    Err(error) => return Err(RoundError::Queue(error)),
                }
            }
        }
    }
    Ok(())
}

fn outgoing(batch: &[&Entry]) -> Vec<Outgoing> {
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

async fn measure(instance: Instance, outbox: Outbox, pool: PgPool, metrics: Metrics) {
    loop {
        match outbox.measure(&pool).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_works_is_never_taken_for_frozen() {
        // The longest silences: between two rounds while the queue is away, and one call of the queue.
        assert!(BACKOFF_LIMIT.mul_f64(1.25) < FROZEN);
        assert!(QUIET + messaging::CALL_LIMIT < FROZEN);
    }
}
