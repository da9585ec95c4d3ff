//! Keeps the way to Redis, and confirms that what was answered over it is on disk: everything that waits shares one question to Redis, asked on a connection
//! that does nothing else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kit::{
    Instance,
    messaging::{
        Durability,
        disk::{self, FENCE, Method, Unfit},
    },
    redis::{Primary, Servers},
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, oneshot};

use crate::{Error, STORE, session::Session};

/// How often the settings of Redis are looked at.
const CHECK: Duration = Duration::from_millis(500);
/// How long to wait before connecting again.
const RETRY: Duration = Duration::from_millis(200);
/// Longer than `WAITAOF` waits.
const RESPONSE: Duration = Duration::from_secs(3);
/// How long a start waits for Redis to say what it is; one that is away is asked later.
const START: Duration = Duration::from_secs(3);
/// The way to Redis and what confirms, shared by all calls; cheap to clone.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    waiters: mpsc::UnboundedSender<Waiter>,
}

/// What the queues of a service promise.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    /// Of queues that do not say otherwise.
    pub default: Durability,
    /// How many replicas have on disk what a durable queue has answered.
    pub replicas: u32,
}

/// Taken before something is written: what is written after it is confirmed by the same process of Redis or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Clone)]
enum State {
    Away,
    Unfit(Unfit, Arc<Session>),
    Fit(Arc<Session>),
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
    /// Looks at Redis and keeps looking. Fails when it says now that it cannot keep what is promised; `durable` tells
    /// whether a durable queue exists when the default is fast.
    pub async fn start(
        instance: &Instance,
        servers: Servers,
        promised: Promised,
        durable: impl AsyncFnOnce(MultiplexedConnection) -> Option<String>,
    ) -> Result<Self, kit::Error> {
        let (waiters, receiver) = mpsc::unbounded_channel();
        let disk = Self {
            state: Arc::new(Mutex::new(State::Away)),
            waiters,
        };
        instance.set_check(STORE, false);
        let mut keeper = Keeper {
            instance: instance.clone(),
            fence: servers.key(FENCE).into_owned(),
            servers,
            promised,
            state: disk.state.clone(),
            metrics: Metrics::register(instance),
            sessions: 0,
        };
        let first = tokio::time::timeout(START, keeper.connect()).await;
        let first = first.ok().and_then(Result::ok);
        if let Some(link) = &first {
            if let Err(unfit) = &link.method
                && !unfit.passes
            {
                let promise = match promised.default {
                    Durability::Durable => Some("queues are durable".to_owned()),
                    Durability::Fast => durable(link.session.connection())
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
            }
            keeper.set(link.state());
        }
        // Not among the tasks that a stop ends first: calls in flight need it to their end. It ends with the last of them.
        tokio::spawn(keeper.keep(receiver, first));
        Ok(disk)
    }

    /// The way to Redis, while there is one.
    pub fn session(&self) -> Option<Arc<Session>> {
        match &*self.state() {
            State::Fit(session) | State::Unfit(_, session) => Some(session.clone()),
            State::Away => None,
        }
    }

    /// None while nothing could be confirmed.
    pub fn ticket(&self) -> Option<Ticket> {
        match &*self.state() {
            State::Fit(session) => Some(Ticket(session.number())),
            State::Away | State::Unfit(..) => None,
        }
    }

    /// Why there is no ticket.
    pub fn refusal(&self) -> Error {
        match &*self.state() {
            State::Unfit(unfit, _) => Error::Unfit(unfit.clone()),
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

/// A session, and the connection that confirms what is done over it.
struct Link {
    primary: Primary,
    session: Arc<Session>,
    connection: MultiplexedConnection,
    method: Result<Method, Unfit>,
}

impl Link {
    fn state(&self) -> State {
        match &self.method {
            Ok(_) => State::Fit(self.session.clone()),
            Err(unfit) => State::Unfit(unfit.clone(), self.session.clone()),
        }
    }
}

/// Why a session is over.
enum End {
    /// It is made anew.
    Over,
    /// Nobody can ask any more.
    Unused,
}

struct Keeper {
    instance: Instance,
    servers: Servers,
    fence: String,
    promised: Promised,
    state: Arc<Mutex<State>>,
    metrics: Metrics,
    sessions: u64,
}

impl Keeper {
    async fn connect(&mut self) -> redis::RedisResult<Link> {
        let primary = self.servers.primary().await?;
        let mut connection = primary.connect_with(RESPONSE).await?;
        let method = self.judge(&primary, &mut connection).await?;
        self.sessions += 1;
        let session = Session::open(self.sessions, &primary).await?;
        Ok(Link {
            primary,
            session: Arc::new(session),
            connection,
            method,
        })
    }

    /// Whether Redis keeps what is promised, as far as it and its replicas say.
    async fn judge(
        &self,
        primary: &Primary,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<Result<Method, Unfit>> {
        let facts = disk::ask(connection).await?;
        let method = match disk::judge(&facts) {
            Ok(method) => method,
            Err(unfit) => return Ok(Err(unfit)),
        };
        if self.promised.replicas == 0 {
            return Ok(Ok(method));
        }
        let replicas = primary.replicas(connection).await?;
        let looks = replicas.iter().map(|replica| async {
            // The counts of `WAITAOF` leave out whoever has nothing on disk.
            if method == Method::WaitAof {
                return Some(facts.clone());
            }
            disk::ask(&mut replica.connect().await.ok()?).await.ok()
        });
        let looked = futures::future::join_all(looks).await;
        let enough = disk::judge_replicas(&looked, self.promised.replicas);
        Ok(enough.map(|()| method))
    }

    async fn keep(mut self, mut waiters: mpsc::UnboundedReceiver<Waiter>, mut first: Option<Link>) {
        loop {
            let began = Instant::now();
            let link = match first.take() {
                Some(link) => Some(link),
                None => self.connect().await.ok(),
            };
            if let Some(link) = link {
                self.set(link.state());
                match self.serve(link, &mut waiters).await {
                    End::Over => self.set(State::Away),
                    End::Unused => return,
                }
                if began.elapsed() > RETRY {
                    continue;
                }
            } else {
                self.set(State::Away);
            }
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

    /// Answers all who wait, those who come meanwhile in the next round, until the connections are of no use any more.
    async fn serve(
        &mut self,
        mut link: Link,
        waiters: &mut mpsc::UnboundedReceiver<Waiter>,
    ) -> End {
        let mut check = tokio::time::interval(CHECK);
        let (servers, primary) = (self.servers.clone(), link.primary.clone());
        let replaced = servers.replaced(&primary);
        tokio::pin!(replaced);
        loop {
            let judged = tokio::select! {
                biased;
                () = &mut replaced => return End::Over,
                () = link.session.lost() => return End::Over,
                _ = check.tick() => self.judge(&primary, &mut link.connection).await,
                waiter = waiters.recv() => {
                    let Some(waiter) = waiter else {
                        return End::Unused;
                    };
                    if self.answer(&mut link, waiter, waiters).await {
                        continue;
                    }
                    self.anew(&mut link.session);
                    self.judge(&primary, &mut link.connection).await
                }
            };
            match judged {
                Ok(method) if method == link.method => {}
                Ok(method) => {
                    link.method = method;
                    self.anew(&mut link.session);
                }
                Err(_) => return End::Over,
            }
            self.set(link.state());
        }
    }

    /// Answers a waiter and all who came with it; false when the disk did not confirm.
    async fn answer(
        &self,
        link: &mut Link,
        first: Waiter,
        waiters: &mut mpsc::UnboundedReceiver<Waiter>,
    ) -> bool {
        let mut group = vec![first];
        while let Ok(waiter) = waiters.try_recv() {
            group.push(waiter);
        }
        let Ok(method) = link.method else {
            group.into_iter().for_each(refuse);
            return true;
        };
        let replicas = self.promised.replicas;
        let outcome = disk::fence(&mut link.connection, method, replicas, &self.fence).await;
        self.metrics.rounds.inc();
        for waiter in group {
            if outcome.is_ok() && waiter.ticket == Ticket(link.session.number()) {
                self.metrics.confirmed.inc_by(waiter.answers as u64);
                let _ = waiter.confirmed.send(Ok(()));
            } else {
                refuse(waiter);
            }
        }
        outcome.is_ok()
    }

    /// The same connections under another number: what was answered over them so far is not known to be on disk, and never
    /// will be.
    fn anew(&mut self, session: &mut Arc<Session>) {
        self.sessions += 1;
        *session = Arc::new(session.renumbered(self.sessions));
    }

    fn set(&self, state: State) {
        let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = self.promised.default == Durability::Durable;
        match (&*known, &state) {
            (State::Unfit(before, _), State::Unfit(now, _)) if before == now => {}
            (_, State::Unfit(unfit, _)) => {
                tracing::error!(reason = %unfit, "Redis cannot keep what durable queues promise; they are refused");
                if needed {
                    self.instance.set_check("durable-storage", false);
                }
            }
            (_, State::Fit(_)) if needed => self.instance.set_check("durable-storage", true),
            _ => {}
        }
        self.instance
            .set_check(STORE, !matches!(state, State::Away));
        self.metrics
            .fit
            .set(i64::from(matches!(state, State::Fit(_))));
        *known = state;
    }
}

fn refuse(waiter: Waiter) {
    let _ = waiter.confirmed.send(Err(Error::Unconfirmed));
}
