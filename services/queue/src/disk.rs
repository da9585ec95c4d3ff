//! Confirms that what was answered is on disk: everything that waits shares one question to Redis, asked on a connection
//! that does nothing else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kit::{
    Instance,
    messaging::{
        Durability,
        disk::{self, Method, Unfit},
    },
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// How often the settings of Redis are looked at.
const CHECK: Duration = Duration::from_millis(500);
/// How long to wait before connecting again.
const RETRY: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_millis(800);
/// Longer than `WAITAOF` waits.
const RESPONSE: Duration = Duration::from_secs(3);
/// How long a start waits for Redis to say what it is; one that is away is asked later.
const START: Duration = Duration::from_secs(3);

/// What confirms, shared by all calls; cheap to clone.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    waiters: mpsc::UnboundedSender<Waiter>,
}

/// Taken before something is written: what is written after it is confirmed by the same process of Redis or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Clone, Debug)]
enum State {
    Away,
    Unfit(Unfit),
    Fit(Ticket),
}

struct Waiter {
    ticket: Ticket,
    answers: usize,
    confirmed: oneshot::Sender<Result<(), Error>>,
}

#[derive(Clone, Default)]
struct Metrics {
    fit: Gauge,
    rounds: Counter,
    confirmed: Counter,
}

impl Metrics {
    fn register(instance: &Instance) -> Self {
        let metrics = Self::default();
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_queue_durable",
                "1 while Redis keeps what durable queues promise",
                metrics.fit.clone(),
            );
            registry.register(
                "recarga_queue_disk_waits",
                "Times that Redis was asked whether everything is on disk",
                metrics.rounds.clone(),
            );
            registry.register(
                "recarga_queue_disk_confirmations",
                "Answers that were confirmed to be on disk; many share one wait",
                metrics.confirmed.clone(),
            );
        });
        metrics
    }
}

impl Disk {
    /// Looks at Redis and keeps looking. Fails when it says now that it cannot keep what is promised; `promised` tells
    /// whether a durable queue exists when the default is fast.
    pub async fn start(
        instance: &Instance,
        client: redis::Client,
        default: Durability,
        promised: impl AsyncFnOnce() -> Option<String>,
    ) -> Result<Self, kit::Error> {
        let (waiters, receiver) = mpsc::unbounded_channel();
        let disk = Self {
            state: Arc::new(Mutex::new(State::Away)),
            waiters,
        };
        let keeper = Keeper {
            instance: instance.clone(),
            client,
            default,
            state: disk.state.clone(),
            metrics: Metrics::register(instance),
            generation: 0,
        };
        let first = tokio::time::timeout(START, keeper.connect()).await;
        let first = match first {
            Ok(Ok(fit)) => Some(fit),
            Ok(Err(disk::Error::Unfit(unfit))) => {
                let promise = match default {
                    Durability::Durable => Some("queues are durable".to_owned()),
                    Durability::Fast => promised()
                        .await
                        .map(|queue| format!("the queue {queue} is durable")),
                };
                if let Some(promise) = promise {
                    return Err(kit::Error::config(
                        "RECARGA_REDIS_URL (--redis-url)",
                        format!(
                            "{promise}, which means that what is answered is on disk, and this Redis cannot keep that: {unfit}"
                        ),
                    ));
                }
                keeper.set(State::Unfit(unfit));
                None
            }
            Ok(Err(_)) | Err(_) => None,
        };
        // Not among the tasks that a stop ends first: calls in flight need it to their end. It ends with the last of them.
        tokio::spawn(keeper.keep(receiver, first));
        Ok(disk)
    }

    /// None while nothing could be confirmed.
    pub fn ticket(&self) -> Option<Ticket> {
        match *self.state() {
            State::Fit(ticket) => Some(ticket),
            State::Away | State::Unfit(_) => None,
        }
    }

    /// Why there is no ticket.
    pub fn refusal(&self) -> Error {
        match &*self.state() {
            State::Unfit(unfit) => Error::Unfit(unfit.clone()),
            State::Away | State::Fit(_) => Error::Away,
        }
    }

    /// Waits until everything is on disk that was answered since the ticket was taken, for so many answers.
    pub async fn confirm(&self, ticket: Ticket, answers: usize) -> Result<(), Error> {
        let (confirmed, answer) = oneshot::channel();
        let waiter = Waiter {
            ticket,
            answers,
            confirmed,
        };
        self.waiters.send(waiter).map_err(|_| Error::Away)?;
        answer.await.map_err(|_| Error::Away)?
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    instance: Instance,
    client: redis::Client,
    default: Durability,
    state: Arc<Mutex<State>>,
    metrics: Metrics,
    generation: u64,
}

impl Keeper {
    async fn connect(&self) -> Result<(MultiplexedConnection, Method), disk::Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let method = disk::judge(&disk::ask(&mut connection).await?)?;
        Ok((connection, method))
    }

    async fn keep(
        mut self,
        mut waiters: mpsc::UnboundedReceiver<Waiter>,
        mut first: Option<(MultiplexedConnection, Method)>,
    ) {
        loop {
            let connected = match first.take() {
                Some(connected) => Ok(connected),
                None => self.connect().await,
            };
            let error = match connected {
                Ok((connection, method)) => {
                    self.generation += 1;
                    let ticket = Ticket(self.generation);
                    self.set(State::Fit(ticket));
                    match self.serve(connection, method, ticket, &mut waiters).await {
                        Some(error) => error,
                        None => return,
                    }
                }
                Err(error) => error,
            };
            self.set(match error {
                disk::Error::Unfit(unfit) => State::Unfit(unfit),
                disk::Error::Unconfirmed | disk::Error::Redis(_) => State::Away,
            });
            let rest = tokio::time::sleep(RETRY);
            tokio::pin!(rest);
            loop {
                tokio::select! {
                    () = &mut rest => break,
                    waiter = waiters.recv() => match waiter {
                        Some(waiter) => refuse(waiter),
                        None => return,
                    },
                }
            }
        }
    }

    /// Answers all who wait, those who come meanwhile in the next round. Ends with the reason when nothing can be confirmed
    /// any more, and with none when nobody can ask any more.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        method: Method,
        ticket: Ticket,
        waiters: &mut mpsc::UnboundedReceiver<Waiter>,
    ) -> Option<disk::Error> {
        let mut check = tokio::time::interval(CHECK);
        loop {
            tokio::select! {
                biased;
                _ = check.tick() => {
                    let facts = match disk::ask(&mut connection).await {
                        Ok(facts) => facts,
                        Err(error) => return Some(error.into()),
                    };
                    if let Err(unfit) = disk::judge(&facts) {
                        return Some(unfit.into());
                    }
                }
                waiter = waiters.recv() => {
                    let mut group = vec![waiter?];
                    while let Ok(waiter) = waiters.try_recv() {
                        group.push(waiter);
                    }
                    let outcome = disk::fence(&mut connection, method).await;
                    self.metrics.rounds.inc();
                    for waiter in group {
                        if outcome.is_ok() && waiter.ticket == ticket {
                            self.metrics.confirmed.inc_by(waiter.answers as u64);
                            let _ = waiter.confirmed.send(Ok(()));
                        } else {
                            refuse(waiter);
                        }
                    }
                    if let Err(error) = outcome {
                        return Some(error);
                    }
                }
            }
        }
    }

    fn set(&self, state: State) {
        let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = self.default == Durability::Durable;
        match (&*known, &state) {
            (State::Unfit(before), State::Unfit(now)) if before == now => {}
            (_, State::Unfit(unfit)) => {
                tracing::error!(reason = %unfit, "Redis cannot keep what durable queues promise; they are refused");
                if needed {
                    self.instance.set_check("durable-storage", false);
                }
            }
            (_, State::Fit(_)) if needed => self.instance.set_check("durable-storage", true),
            _ => {}
        }
        self.metrics
            .fit
            .set(i64::from(matches!(state, State::Fit(_))));
        *known = state;
    }
}

fn refuse(waiter: Waiter) {
    let _ = waiter.confirmed.send(Err(Error::Unconfirmed));
}
