//! Measurements: many calls by a schedule or by the answers, each timed from the moment it was due.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use load::{Budget, Retries};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Field, Heard,
    calls::{Reply, Sending},
    lock,
};
use crate::{
    render::Filling,
    sample::Sample,
    script::{Amount, Key, Measure},
};

/// How long answers are waited for when everything is to end.
const HURRY: Duration = Duration::from_millis(500);
/// Between two looks at whether a stopped measurement has ended.
const LOOK: Duration = Duration::from_millis(10);

/// What all calls of a measurement share.
struct Shared {
    field: Arc<Field>,
    plan: Measure,
    budget: Mutex<Budget>,
    sending: Sending,
    began: Instant,
    run: u64,
    seed: u64,
    /// The answer to the latest call so far, by the call's number.
    last: Mutex<(u64, Reply)>,
}

impl Field {
    /// Sends the calls of a measurement, to its end or until it is stopped.
    pub(super) async fn measure(self: Arc<Self>, plan: Measure) {
        let name = plan.name.clone();
        let stop = CancellationToken::new();
        lock(&self.running).insert(name.clone(), stop.clone());
        let result = Arc::clone(&self).send_all(plan, &stop).await;
        self.scrape().await;
        lock(&self.running).remove(&name);
        self.tell(Heard::Measured(name, result));
    }

    async fn send_all(
        self: Arc<Self>,
        plan: Measure,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let sending = Sending::new(&self, &plan.calls, plan.caller).await?;
        // What metrics show from here on is the measurement's.
        self.scrape().await;
        self.tell(Heard::Began(plan.name.clone()));
        let (began, run, seed) = {
            let current = lock(&self.current);
            (current.began, current.number, current.seed)
        };
        let retries = Retries {
            most: plan.retries,
            budget_percent: plan.budget.map(f64::from),
        };
        let shared = Arc::new(Shared {
            budget: Mutex::new(Budget::new(retries)),
            field: Arc::clone(&self),
            sending,
            began,
            run,
            seed,
            last: Mutex::default(),
            plan,
        });
        let tasks = TaskTracker::new();
        match shared.plan.rate {
            None => by_answers(&shared, &tasks, stop),
            Some(rate) => by_schedule(&shared, &tasks, stop, rate).await,
        }
        tasks.close();
        tasks.wait().await;
        let (number, reply) = std::mem::take(&mut *lock(&shared.last));
        if number > 0 {
            self.tell(Heard::Answered(shared.plan.name.clone(), reply.answer()));
        }
        Ok(())
    }

    /// Ends a measurement; it is heard of when its last answers are there, also when it ended before.
    pub(super) fn stop(&self, name: &str) {
        let running = lock(&self.running).get(name).cloned();
        match running {
            None => self.tell(Heard::Measured(name.to_owned(), Ok(()))),
            Some(stop) => stop.cancel(),
        }
    }

    /// Ends all measurements soon.
    pub(super) async fn stop_all(&self) -> usize {
        let all: Vec<CancellationToken> = lock(&self.running).values().cloned().collect();
        for stop in &all {
            stop.cancel();
        }
        let until = Instant::now() + HURRY;
        while !lock(&self.running).is_empty() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        all.len()
    }
}

/// A closed loop: so many callers, each of whom waits for the answer to its last call.
fn by_answers(shared: &Arc<Shared>, tasks: &TaskTracker, stop: &CancellationToken) {
    let next = Arc::new(AtomicU64::new(0));
    let (times, until) = match shared.plan.amount {
        Amount::Times(times) => (u64::from(times), None),
        Amount::For(lasts) => (u64::MAX, Some(Instant::now() + lasts)),
    };
    let callers = u64::from(shared.plan.at_once).min(times);
    for _ in 0..callers {
        let (shared, next, stop) = (Arc::clone(shared), Arc::clone(&next), stop.clone());
        tasks.spawn(async move {
            loop {
                let over = until.is_some_and(|until| Instant::now() >= until);
                let number = next.fetch_add(1, Ordering::Relaxed) + 1;
                if over || stop.is_cancelled() || number > times {
                    return;
                }
                let unanswered = shared.call(number, Instant::now()).await;
                // Against somebody who is not there, a loop would only spin.
                if unanswered {
                    tokio::time::sleep(LOOK).await;
                }
            }
        });
    }
}

/// An open loop: each call is due at its moment, and waits where too many are in flight.
async fn by_schedule(
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    rate: f64,
) {
    let places = Arc::new(Semaphore::new(shared.plan.at_once as usize));
    let began = Instant::now();
    let times = match shared.plan.amount {
        Amount::Times(times) => u64::from(times),
        Amount::For(lasts) => (lasts.as_secs_f64() * rate).ceil() as u64,
    };
    for number in 1..=times {
        let due = began + Duration::from_secs_f64((number - 1) as f64 / rate);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let (shared, places) = (Arc::clone(shared), Arc::clone(&places));
        tasks.spawn(async move {
            // It is never closed.
            let _place = places.acquire().await;
            shared.call(number, due).await;
        });
    }
}

impl Shared {
    /// One call with its retries. Gives whether it was not answered.
    async fn call(&self, number: u64, due: Instant) -> bool {
        let plan = &self.plan;
        let index = ((number - 1) % plan.calls.len() as u64) as usize;
        let (path, body) = self.fill(number, index);
        let key = match plan.key {
            Key::Each => Some(format!("lab-{:x}-{}-{number}", self.run, plan.name)),
            Key::Same => Some(format!("lab-{:x}-{}", self.run, plan.name)),
            Key::None => None,
        };
        let started = Instant::now();
        lock(&self.budget).earn();
        let mut attempts = 0;
        let reply = loop {
            attempts += 1;
            let reply = self
                .sending
                .send(index, &path, body.clone(), key.as_deref(), plan.timeout)
                .await;
            let failed = reply.status == 0 || reply.status >= 500;
            if !failed || attempts > plan.retries || !lock(&self.budget).spend() {
                break reply;
            }
            tokio::time::sleep(plan.pause).await;
        };
        let ended = Instant::now();
        let milliseconds =
            |from: Instant| ended.saturating_duration_since(from).as_secs_f64() * 1e3;
        let sample = Sample {
            at_ms: due.saturating_duration_since(self.began).as_secs_f64() * 1e3,
            latency_ms: milliseconds(due),
            service_ms: milliseconds(started),
            status: reply.status,
            call: index as u16,
            attempts: attempts as u16,
            texts: reply.texts(&plan.keep),
            tiers: reply.tiers(),
        };
        let unanswered = reply.status == 0;
        {
            let mut last = lock(&self.last);
            if number >= last.0 {
                *last = (number, reply);
            }
        }
        self.field.tell(Heard::Sampled(plan.name.clone(), sample));
        unanswered
    }

    /// Path and body of a call: the same for the same seed, whoever is faster.
    fn fill(&self, number: u64, index: usize) -> (String, Option<String>) {
        let call = &self.sending.calls[index];
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(number);
        let mut filling = Filling {
            number,
            run: self.run,
            chance: &mut chance,
        };
        let path = filling.fill(&call.target.path);
        let body = call.body.as_ref().map(|body| filling.fill(body));
        (path, body)
    }
}
