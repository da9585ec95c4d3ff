//! The running traffic: connections that send, and the conductor that starts and ends them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::desk::{Desk, Due, Mailbox};
use crate::meter::{End, Meter};
use crate::mix::{Deck, Seen};
use crate::outcome::Exchange;
use crate::pace::Gate;
use crate::pacer::Pacer;
use crate::retry::{Budget, asks_again};
use crate::token::Tokens;
use crate::wire::Wire;
use crate::{Mode, Options, State, Target};

/// How long requests in flight may take after [`crate::Handle::stop`].
const HURRY: Duration = Duration::from_millis(120);
/// How long the first token may keep everything waiting; without it the traffic shows what is wrong.
const FIRST_TOKEN: Duration = Duration::from_secs(3);

/// Everything that connections, clock and handle share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub options: Options,
    pub target: Target,
    pub started_at: chrono::DateTime<chrono::Utc>,
    pub mode: Mutex<Mode>,
    pub meter: Mutex<Meter>,
    pub tokens: Tokens,
    pub desk: Desk,
    pub in_flight: AtomicU32,
    pub connects: AtomicU64,
    deck: RwLock<Deck>,
    seen: Mutex<Seen>,
    gate: Mutex<Gate>,
    keys: AtomicU64,
    budget: Mutex<Budget>,
    /// Zero of all times in the meter; set when the traffic begins.
    origin: OnceLock<Instant>,
    ended: OnceLock<Duration>,
    pacer: OnceLock<Pacer>,
    connections: Mutex<Connections>,
    workers: TaskTracker,
    /// Nothing new starts.
    pub stop: CancellationToken,
    /// Whoever waits for the end does not want to wait long.
    pub hurry: CancellationToken,
    /// Requests in flight are given up.
    abort: CancellationToken,
    pub finished: CancellationToken,
}

#[derive(Debug)]
struct Connections {
    allowed: u32,
    alive: BTreeSet<u32>,
}

impl Engine {
    pub fn new(
        options: Options,
        target: Target,
        started_at: chrono::DateTime<chrono::Utc>,
    ) -> Result<Self, crate::Error> {
        let tokens = Tokens::new(
            target.clone(),
            options.credentials.clone(),
            options.request_timeout,
        )?;
        let (Mode::Closed { connections } | Mode::Open { connections, .. }) = options.mode;
        Ok(Self {
            target,
            started_at,
            mode: Mutex::new(options.mode),
            meter: Mutex::new(Meter::along(options.profile, options.time_limit)),
            tokens,
            desk: Desk::default(),
            in_flight: AtomicU32::new(0),
            connects: AtomicU64::new(0),
            deck: RwLock::new(Deck::new(options.mix.clone(), options.population.clone())),
            seen: Mutex::default(),
            gate: Mutex::new(Gate::new(options.rate_cap)),
            keys: AtomicU64::new(0),
            budget: Mutex::new(Budget::new(options.retries)),
            origin: OnceLock::new(),
            ended: OnceLock::new(),
            pacer: OnceLock::new(),
            connections: Mutex::new(Connections {
                allowed: connections,
                alive: BTreeSet::new(),
            }),
            workers: TaskTracker::new(),
            stop: CancellationToken::new(),
            hurry: CancellationToken::new(),
            abort: CancellationToken::new(),
            finished: CancellationToken::new(),
            options,
        })
    }

    /// Runs the traffic from its first token to its last answer.
    pub async fn conduct(self: Arc<Self>) {
        let mut first = Err(crate::Error::Token("not fetched yet".into()));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            fetched = tokio::time::timeout(FIRST_TOKEN, self.tokens.fetch()) => {
                first = fetched.unwrap_or_else(|_| Err(crate::Error::Token("no answer in time".into())));
                if let Err(error) = &first {
                    self.meter().last_error = Some(error.to_string());
                }
            }
        }
        let origin = *self.origin.get_or_init(Instant::now);
        let keeper = Arc::clone(&self);
        let renewal = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            if keeper.tokens.fetches() {
                keeper.tokens.keep(first).await;
            }
        }));

        let clock = self.start_clock(origin);
        self.populate();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(self.options.time_limit) => {}
        }
        self.stop.cancel();
        if let Some(pacer) = self.pacer.get() {
            pacer.stop();
        }
        self.workers.close();
        tokio::select! {
            () = self.workers.wait() => {}
            () = tokio::time::sleep(self.options.drain) => {}
            () = async { self.hurry.cancelled().await; tokio::time::sleep(HURRY).await } => {}
        }
        self.abort.cancel();
        self.workers.wait().await;
        drop(renewal);
        if let Some(Err(_)) = clock.map(std::thread::JoinHandle::join) {
            tracing::error!("the load's clock panicked");
        }
        let end = self.now();
        self.meter().advance(end);
        let _ = self.ended.set(end);
        self.finished.cancel();
    }

    fn start_clock(self: &Arc<Self>, origin: Instant) -> Option<std::thread::JoinHandle<()>> {
        let Mode::Open { rate, schedule, .. } = *self.mode() else {
            return None;
        };
        let rate = rate.min(self.options.rate_cap);
        self.meter().set_rate(rate);
        let engine = Arc::clone(self);
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream(1);
        let ring = move |due: Option<Duration>| {
            let now = engine.now();
            let patience = engine.options.patience;
            let expired = match due {
                Some(at) => {
                    let call = engine.deck().draw(&mut rng, &mut engine.seen());
                    engine.desk.offer(
                        Due {
                            call,
                            at,
                            waited: false,
                        },
                        now,
                        patience,
                    )
                }
                None => engine.desk.expired(now, patience),
            };
            if !expired.is_empty() {
                let mut meter = engine.meter();
                for due in expired {
                    meter.drop_one(now, due.call.kind());
                }
            }
        };
        let course = (self.options.profile, self.options.time_limit);
        match Pacer::start(origin, course, schedule, rate, self.options.seed, ring) {
            Ok((pacer, thread)) => {
                // The rate may have been set meanwhile.
                if let Mode::Open { rate, .. } = *self.mode() {
                    pacer.set_rate(rate.min(self.options.rate_cap));
                }
                let _ = self.pacer.set(pacer);
                Some(thread)
            }
            Err(error) => {
                self.meter().last_error = Some(error.to_string());
                self.stop.cancel();
                None
            }
        }
    }

    /// Requests per second of an open loop from now on; of a closed loop, nothing changes.
    pub fn set_rate(&self, rate: f64) {
        let wanted = if rate.is_finite() {
            rate.clamp(0.0, self.options.rate_cap)
        } else {
            0.0
        };
        {
            let mut mode = self.mode();
            let Mode::Open { rate, .. } = &mut *mode else {
                return;
            };
            *rate = wanted;
        }
        self.meter().set_rate(wanted);
        if let Some(pacer) = self.pacer.get() {
            pacer.set_rate(wanted);
        }
    }

    /// Other calls from now on; what is due already stays as it is.
    pub fn set_mix(&self, mix: crate::Mix) {
        let deck = Deck::new(mix, self.options.population.clone());
        *self.deck.write().unwrap_or_else(PoisonError::into_inner) = deck;
    }

    pub fn set_connections(self: &Arc<Self>, wanted: u32) {
        let wanted = wanted.clamp(1, 10_000);
        {
            let mut mode = self.mode();
            let (Mode::Closed { connections } | Mode::Open { connections, .. }) = &mut *mode;
            *connections = wanted;
        }
        self.connections().allowed = wanted;
        self.desk.dismiss(wanted);
        // Before it has begun there is nothing to add to: the conductor will read the number.
        if self.origin.get().is_some() {
            self.populate();
        }
    }

    /// Starts the connections that are allowed and not there.
    fn populate(self: &Arc<Self>) {
        if self.stop.is_cancelled() {
            return;
        }
        let mut connections = self.connections();
        for index in 0..connections.allowed {
            if connections.alive.insert(index) {
                self.workers.spawn(Arc::clone(self).work(index));
            }
        }
    }

    async fn work(self: Arc<Self>, index: u32) {
        let mut wire = Wire::new(self.target.clone());
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream(u64::from(index) + 2);
        let mailbox = Mailbox::new(index);
        let open = matches!(*self.mode(), Mode::Open { .. });
        let mut failures = 0_u32;
        loop {
            if self.leaves(index) {
                break;
            }
            let due = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                due = async {
                    if open { self.desk.next(&mailbox).await } else { Some(self.own_turn(&mut rng, failures).await) }
                } => due,
            };
            let Some(due) = due else { continue };
            failures = if self.send(&mut wire, due, open).await {
                0
            } else {
                failures + 1
            };
        }
        self.connections().alive.remove(&index);
    }

    /// Whether the connection is one too many.
    fn leaves(&self, index: u32) -> bool {
        index >= self.connections().allowed
    }

    /// A closed loop's next request: at once, but below the cap, and slower while nothing answers.
    async fn own_turn(&self, rng: &mut ChaCha8Rng, failures: u32) -> Due {
        let wait = self
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(self.now());
        let backoff = Duration::from_millis(match failures {
            0 => 0,
            _ => 10 << failures.min(6),
        });
        let wait = wait.max(backoff);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let call = self.deck().draw(rng, &mut self.seen());
        Due {
            call,
            at: self.now(),
            waited: false,
        }
    }

    /// Sends one request, again where it may be, and counts every attempt. Returns whether the connection worked.
    async fn send(&self, wire: &mut Wire, due: Due, open: bool) -> bool {
        let kind = due.call.kind();
        let started = self.now();
        if due.waited && started.saturating_sub(due.at) > self.options.patience {
            self.meter().drop_one(started, kind);
            return true;
        }
        let key = (kind.is_write() && self.options.keyed).then(|| {
            format!(
                "load-{:x}-{:x}",
                self.options.run,
                self.keys.fetch_add(1, Ordering::Relaxed)
            )
        });
        self.budget().earn();
        let mut attempts = 0;
        let result = loop {
            let result = self
                .attempt(wire, &due, key.as_deref(), open, attempts)
                .await;
            attempts += 1;
            if attempts > self.options.retries.most || !self.may_succeed_later(&result) {
                break result;
            }
            let may = self.budget().spend();
            self.meter().again(kind, may);
            if !may {
                break result;
            }
        };
        if kind.is_write() {
            self.follow_up(due.call, key.unwrap_or_default(), &result);
        }
        !matches!(result, Err((End::Failed, _)))
    }

    async fn attempt(
        &self,
        wire: &mut Wire,
        due: &Due,
        key: Option<&str>,
        open: bool,
        earlier: u32,
    ) -> Exchange {
        let kind = due.call.kind();
        let started = self.now();
        let lag = (open && !due.waited && earlier == 0).then(|| started.saturating_sub(due.at));
        self.meter()
            .start(started, kind, lag, due.waited && earlier == 0);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let token = self.tokens.current();
        let connects = wire.connects;
        let exchange = wire.call(&due.call, token.as_ref(), key, kind.is_write());
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(self.options.request_timeout, exchange) => match result {
                Ok(result) => result.map_err(Some),
                Err(_) => Err(None),
            }.map_err(|failure| match failure {
                Some(failure) => (End::Failed, Some(failure)),
                None => (End::TimedOut, None),
            }),
            () = self.abort.cancelled() => Err((End::Abandoned, None)),
        };
        let ended = self.now();
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.connects
            .fetch_add(wire.connects - connects, Ordering::Relaxed);
        self.record(due, started, ended, &result);
        result
    }

    fn may_succeed_later(&self, result: &Exchange) -> bool {
        if self.stop.is_cancelled() {
            return false;
        }
        match result {
            Ok(reply) => asks_again(reply.status, reply.header("retry-after").is_some()),
            Err((End::Failed | End::TimedOut, _)) => true,
            Err(_) => false,
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the traffic began; zero before.
    pub fn now(&self) -> Duration {
        self.origin.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Time the traffic has lasted, or did last.
    pub fn elapsed(&self) -> Duration {
        self.ended.get().copied().unwrap_or_else(|| self.now())
    }

    pub fn state(&self) -> State {
        if self.finished.is_cancelled() {
            State::Finished
        } else if self.stop.is_cancelled() {
            State::Stopping
        } else if self.origin.get().is_some() {
            State::Running
        } else {
            State::Starting
        }
    }

    pub fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deck(&self) -> RwLockReadGuard<'_, Deck> {
        self.deck.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
