//! The open loop: requests are due at their times, whatever the server does, and clients have limited patience.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use tokio::{
    runtime,
    sync::Semaphore,
    time::{sleep_until, timeout_at},
};
use tokio_util::task::TaskTracker;

use super::{
    Answer, Expected, Fault, Request,
    connection::{Connection, Scratch},
    request::{Verdict, check_local},
};
use crate::{Error, Latency, Schedule, histogram::Histogram, pace::Pace};

/// What to send, how often, and for how long.
#[derive(Clone, Debug)]
pub struct Open {
    pub target: SocketAddr,
    pub request: Request,
    pub expected: Expected,
    /// Requests a second.
    pub rate: f64,
    pub schedule: Schedule,
    /// Draws the arrivals; the same number gives the same ones.
    pub seed: u64,
    /// At most so many requests are on their way; the others wait, and their wait counts.
    pub connections: usize,
    /// From the moment a request is due: a client without an answer by then gives up and closes its connection.
    pub patience: Duration,
    /// Requests due in this time are sent and not counted.
    pub warm_up: Duration,
    pub duration: Duration,
}

/// What became of the requests that were due while it counted. Every one of them is in exactly one of the counts after `due`.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// The time that counted.
    pub elapsed: Duration,
    pub due: u64,
    /// Answered as expected, in time.
    pub accepted: u64,
    /// Answered with 503 or 429.
    pub refused: u64,
    /// Answered with something else, or not whole.
    pub failed: u64,
    /// Not answered in time.
    pub given_up: u64,
    /// From the moment they were due, those accepted.
    pub accepted_latency: Latency,
    /// From the moment they were due, those refused.
    pub refused_latency: Latency,
    /// How late the generator itself was; large values mean that the others speak of the generator.
    pub lag: Latency,
    /// What failed first.
    pub first_error: Option<String>,
}

impl Arrivals {
    /// Accepted answers a second.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64()
    }
}

impl Open {
    /// Runs it on this thread and blocks until the last client has its answer or has given up.
    ///
    /// # Errors
    /// When an option makes no sense or the target is not on this machine.
    pub fn run(&self) -> Result<Arrivals, Error> {
        self.check()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Start(error.to_string()))?;
        let worker = Arc::new(Worker {
            plan: self.clone(),
            scratch: Scratch::new(),
            places: Semaphore::new(self.connections),
            idle: Mutex::default(),
            tally: Mutex::new(Tally::new()),
        });
        runtime.block_on(conduct(&worker));
        Ok(worker.tally().report(self.duration))
    }

    fn check(&self) -> Result<(), Error> {
        check_local(self.target)?;
        let refuse = |option, reason: &str| {
            Err(Error::Option {
                option,
                reason: reason.to_owned(),
            })
        };
        if !(self.rate.is_finite() && self.rate > 0.0 && self.rate <= 1_000_000.0) {
            return refuse("rate", "must be above zero and at most a million a second");
        }
        if self.connections == 0 || self.connections > 60_000 {
            return refuse("connections", "must be 1 to 60,000");
        }
        if self.duration.is_zero() || self.patience.is_zero() {
            return refuse("duration", "and patience must be above zero");
        }
        Ok(())
    }
}

struct Worker {
    plan: Open,
    scratch: Scratch,
    places: Semaphore,
    /// Last in, first out, so that few connections stay warm.
    idle: Mutex<Vec<Connection>>,
    tally: Mutex<Tally>,
}

struct Tally {
    due: u64,
    accepted: Histogram,
    refused: Histogram,
    lag: Histogram,
    failed: u64,
    given_up: u64,
    first_error: Option<String>,
}

/// What became of one request.
enum Fate {
    Answered(Verdict),
    GivenUp,
}

async fn conduct(worker: &Arc<Worker>) {
    let plan = &worker.plan;
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut pace = Pace::new(plan.schedule, plan.rate, &mut rng);
    let clients = TaskTracker::new();
    let origin = Instant::now();
    let total = plan.warm_up + plan.duration;
    'all: while let Some(next) = pace.next().filter(|next| *next < total) {
        sleep_until((origin + next).into()).await;
        while let Some(due) = pace.take(origin.elapsed(), &mut rng) {
            if due >= total {
                break 'all;
            }
            let counts = due >= plan.warm_up;
            clients.spawn(client(Arc::clone(worker), origin + due, counts));
        }
    }
    clients.close();
    clients.wait().await;
}

async fn client(worker: Arc<Worker>, due: Instant, counts: bool) {
    let lag = due.elapsed();
    let fate = worker.send(due + worker.plan.patience).await;
    if counts {
        worker.tally().count(fate, due.elapsed(), lag);
    }
}

impl Worker {
    /// Sends one request over an idle connection or a new one.
    async fn send(&self, deadline: Instant) -> Fate {
        let Ok(place) = timeout_at(deadline.into(), self.places.acquire()).await else {
            return Fate::GivenUp;
        };
        let mut connection = self.idle().pop();
        let answer = timeout_at(deadline.into(), self.exchange(&mut connection)).await;
        let fate = if let Ok(answer) = answer {
            let keeps = matches!(&answer, Ok(answer) if answer.keeps);
            self.idle().extend(connection.filter(|_| keeps));
            Fate::Answered(self.plan.expected.judge(answer))
        } else {
            if let Some(connection) = connection {
                connection.reset();
            }
            Fate::GivenUp
        };
        drop(place);
        fate
    }

    async fn exchange(&self, connection: &mut Option<Connection>) -> Result<Answer, Fault> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(Connection::open(self.plan.target).await?),
        };
        connection.exchange(&self.plan.request, &self.scratch).await
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            due: 0,
            accepted: Histogram::fine(),
            refused: Histogram::fine(),
            lag: Histogram::fine(),
            failed: 0,
            given_up: 0,
            first_error: None,
        }
    }

    fn count(&mut self, fate: Fate, took: Duration, lag: Duration) {
        self.due += 1;
        self.lag.record(lag);
        let error = match fate {
            Fate::Answered(Verdict::Good) => return self.accepted.record(took),
            Fate::Answered(Verdict::Status(503 | 429)) => return self.refused.record(took),
            Fate::GivenUp => {
                self.given_up += 1;
                return;
            }
            Fate::Answered(Verdict::Status(status)) => format!("answered with status {status}"),
            Fate::Answered(Verdict::Length { wanted, found }) => {
                format!("answered with {found} bytes instead of {wanted}")
            }
            Fate::Answered(Verdict::Broken(fault)) => fault.to_string(),
        };
        self.failed += 1;
        self.first_error.get_or_insert(error);
    }

    fn report(&self, elapsed: Duration) -> Arrivals {
        let (accepted, refused) = (self.accepted.summary(), self.refused.summary());
        Arrivals {
            elapsed,
            due: self.due,
            accepted: accepted.count,
            refused: refused.count,
            failed: self.failed,
            given_up: self.given_up,
            accepted_latency: accepted,
            refused_latency: refused,
            lag: self.lag.summary(),
            first_error: self.first_error.clone(),
        }
    }
}
