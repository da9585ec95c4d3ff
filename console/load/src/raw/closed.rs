//! The closed loop: so many connections, each of which sends its next request when it has its answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Barrier, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use super::{
    Expected, Fault, Request, Tally,
    connection::{Connection, Scratch},
    request::check_local,
};
use crate::Error;

/// Between a failure and the next attempt, so that a server that refuses everything is not stormed.
const PAUSE: Duration = Duration::from_millis(1);

/// What to send, how, and for how long.
#[derive(Clone, Debug)]
pub struct Closed {
    pub target: SocketAddr,
    pub request: Request,
    pub expected: Expected,
    /// At least one per thread.
    pub connections: usize,
    /// One is as fast as most servers on the same machine.
    pub threads: usize,
    /// Runs but does not count, apart from errors.
    pub warm_up: Duration,
    pub duration: Duration,
    /// How long the first connections, and after the end the last answers, are waited for.
    pub patience: Duration,
}

/// A run's counts, and what was sampled at the two ends of the time that counts.
#[derive(Clone, Debug)]
pub struct Measured<T> {
    pub tally: Tally,
    /// The time that counted.
    pub elapsed: Duration,
    /// Good answers a second.
    pub rate: f64,
    /// Processor time that the generator itself took meanwhile, where the system tells.
    pub generator_cpu: Option<Duration>,
    pub begin: T,
    pub end: T,
}

impl Closed {
    /// Runs it on threads of its own and blocks until it is over. `sample` is called when the counting begins and when it ends.
    ///
    /// # Errors
    /// When an option makes no sense, the target is not on this machine, or a first connection cannot be opened.
    pub fn run<T: Send>(&self, sample: impl Fn() -> T + Sync) -> Result<Measured<T>, Error> {
        self.check()?;
        let start = Start {
            ready: Barrier::new(self.threads),
            failed: AtomicBool::new(false),
            begin: OnceLock::new(),
        };
        let mut parts = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads)
                .map(|number| {
                    let share = (self.connections + number) / self.threads;
                    let (start, sample) = (&start, &sample);
                    let work = move || drive(self, share, start, (number == 0).then_some(sample));
                    thread::Builder::new()
                        .name(format!("load-{number}"))
                        .spawn_scoped(scope, work)
                        .expect("the system has threads")
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("the loop does not panic"))
                .collect::<Result<Vec<_>, Error>>()
        })?
        .into_iter();
        let first = parts.next().expect("there is at least one thread");
        let (begin, end, elapsed) = first.samples.expect("the first thread takes the samples");
        let (mut tally, mut generator_cpu) = (first.tally, first.cpu);
        for part in parts {
            tally.add(part.tally);
            generator_cpu = generator_cpu.zip(part.cpu).map(|(one, other)| one + other);
        }
        Ok(Measured {
            rate: tally.good as f64 / elapsed.as_secs_f64(),
            tally,
            elapsed,
            generator_cpu,
            begin,
            end,
        })
    }

    fn check(&self) -> Result<(), Error> {
        check_local(self.target)?;
        let refuse = |option, reason: &str| {
            Err(Error::Option {
                option,
                reason: reason.to_owned(),
            })
        };
        if self.threads == 0 || self.threads > 64 {
            return refuse("threads", "must be 1 to 64");
        }
        if self.connections < self.threads || self.connections > 10_000 {
            return refuse(
                "connections",
                "must be at least one per thread and at most 10,000",
            );
        }
        if self.duration.is_zero() {
            return refuse("duration", "must be above zero");
        }
        Ok(())
    }
}

/// How the threads begin together.
struct Start {
    ready: Barrier,
    failed: AtomicBool,
    begin: OnceLock<Instant>,
}

/// What one thread brings home.
struct Part<T> {
    tally: Tally,
    cpu: Option<Duration>,
    /// The two samples and the time between them.
    samples: Option<(T, T, Duration)>,
}

/// What the connections of one thread share.
struct Worker {
    plan: Closed,
    scratch: Scratch,
    tally: Mutex<Tally>,
    begin: Instant,
    end: Instant,
}

fn drive<T>(
    plan: &Closed,
    share: usize,
    start: &Start,
    sample: Option<&(impl Fn() -> T + Sync)>,
) -> Result<Part<T>, Error> {
    let opened = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Start(error.to_string()))
        .and_then(|runtime| {
            let connections = runtime.block_on(open(plan, share))?;
            Ok((runtime, connections))
        });
    start.failed.fetch_or(opened.is_err(), Ordering::SeqCst);
    start.ready.wait();
    let (runtime, connections) = opened?;
    if start.failed.load(Ordering::SeqCst) {
        return Err(Error::Start("another thread could not connect".to_owned()));
    }
    let begin = *start.begin.get_or_init(|| Instant::now() + plan.warm_up);
    let worker = Arc::new(Worker {
        plan: plan.clone(),
        scratch: Scratch::new(),
        tally: Mutex::new(Tally::new()),
        begin,
        end: begin + plan.duration,
    });
    let (cpu, samples) = runtime.block_on(conduct(&worker, connections, sample));
    drop(runtime);
    let tally = worker.tally().clone();
    Ok(Part {
        tally,
        cpu,
        samples,
    })
}

async fn open(plan: &Closed, connections: usize) -> Result<Vec<Connection>, Error> {
    let failed = |reason: String| Error::NoAnswer {
        target: plan.target.to_string(),
        reason,
    };
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        let connection = timeout(plan.patience, Connection::open(plan.target))
            .await
            .map_err(|_| failed(format!("no connection within {:?}", plan.patience)))?;
        opened.push(connection.map_err(|fault| failed(fault.to_string()))?);
    }
    Ok(opened)
}

async fn conduct<T>(
    worker: &Arc<Worker>,
    connections: Vec<Connection>,
    sample: Option<&(impl Fn() -> T + Sync)>,
) -> (Option<Duration>, Option<(T, T, Duration)>) {
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(converse(Arc::clone(worker), connection));
    }
    sleep_until(worker.begin.into()).await;
    let first = sample.map(|sample| sample());
    let cpu = thread_cpu();
    sleep_until(worker.end.into()).await;
    let cpu = thread_cpu()
        .zip(cpu)
        .map(|(now, before)| now.saturating_sub(before));
    let samples = first
        .zip(sample.map(|sample| sample()))
        .map(|(first, last)| (first, last, worker.plan.duration));
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(worker.plan.patience, all).await;
    worker.tally().without_answer(tasks.len() as u64);
    tasks.shutdown().await;
    (cpu, samples)
}

/// One connection's requests, until the end.
async fn converse(worker: Arc<Worker>, first: Connection) {
    let plan = &worker.plan;
    let mut connection = Some(first);
    let mut asked = Instant::now();
    loop {
        let answer = match &mut connection {
            Some(connection) => connection.exchange(&plan.request, &worker.scratch).await,
            None => reopen(&worker, &mut connection).await,
        };
        let keeps = matches!(&answer, Ok(answer) if answer.keeps);
        let broke = answer.is_err();
        let now = Instant::now();
        let measured = (worker.begin..worker.end).contains(&now);
        let verdict = plan.expected.judge(answer);
        worker
            .tally()
            .count(&verdict, now.duration_since(asked), measured);
        if !keeps {
            connection = None;
        }
        if now >= worker.end {
            return;
        }
        asked = now;
        if broke {
            sleep(PAUSE).await;
        }
    }
}

/// Opens a connection anew and sends the first request on it.
async fn reopen(worker: &Worker, place: &mut Option<Connection>) -> Result<super::Answer, Fault> {
    let connection = place.insert(Connection::open(worker.plan.target).await?);
    worker.tally().reconnects += 1;
    connection
        .exchange(&worker.plan.request, &worker.scratch)
        .await
}

impl Worker {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Processor time of this thread so far; only Linux tells it in a file.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
