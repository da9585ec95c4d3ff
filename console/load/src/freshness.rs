//! Whether any read shows a value from before a write that was answered before the read began: the promise of the caches,
//! checked while traffic runs through all gateways at once.
//!
//! The value is a card's balance, which recharges only raise. Whoever else uses the cards spoils the measurement.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::header::HeaderValue;
use rustls::ClientConfig;
use serde::Serialize;

use crate::{Call, Credentials, Error, Target, token::Tokens, wire::Wire};

/// What each recharge adds, in pesos.
const AMOUNT: u64 = 1_000;
/// Violations that are told in full.
const TOLD: usize = 20;
/// How long whoever got no answer waits before the next attempt.
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of one value that only grows: pure bookkeeping.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// The newest value that a write was answered with.
    answered: i64,
    /// What it may be at most: everything that was ever asked for.
    possible: i64,
}

/// What a read is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Good,
    /// Older than a write that was answered before the read began.
    Old {
        at_least: i64,
    },
    /// Newer than anything that was asked for.
    Invented {
        at_most: i64,
    },
}

impl History {
    /// A value that nobody has changed yet.
    #[must_use]
    pub fn new(value: i64) -> Self {
        Self {
            answered: value,
            possible: value,
        }
    }

    /// A write begins that adds so much; whether it is carried out is not known before it is answered, and perhaps never.
    pub fn write_begins(&mut self, amount: i64) {
        self.possible += amount;
    }

    /// A write was answered with the value after it.
    pub fn write_answered(&mut self, value: i64) {
        self.answered = self.answered.max(value);
    }

    /// What a read that begins now must show at least.
    #[must_use]
    pub fn floor(&self) -> i64 {
        self.answered
    }

    /// Judges a read that ends now and began when `floor` was the floor.
    #[must_use]
    pub fn judge(&self, floor: i64, value: i64) -> Judgement {
        if value < floor {
            Judgement::Old { at_least: floor }
        } else if value > self.possible {
            Judgement::Invented {
                at_most: self.possible,
            }
        } else {
            Judgement::Good
        }
    }
}

/// What to do to whom.
#[derive(Clone, Debug)]
pub struct FreshnessOptions {
    /// The addresses of the gateways; reads and writes go to all of them.
    pub gateways: Vec<String>,
    /// Whether addresses off this machine are allowed.
    pub allow_remote: bool,
    /// How the gateways are spoken to, where they take TLS only.
    pub tls: Option<Arc<ClientConfig>>,
    pub credentials: Credentials,
    /// The cards, which nobody else may use meanwhile.
    pub cards: Vec<u64>,
    /// Reads that must have been answered at least.
    pub reads: u64,
    /// Connections that read, at each gateway.
    pub readers: usize,
    /// Connections that write; each has its own cards.
    pub writers: usize,
    /// How long a writer pauses between two writes.
    pub pause: Duration,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Told apart from other runs in the idempotency keys.
    pub run: u64,
}

/// One read that broke the promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub card: u64,
    pub gateway: String,
    /// `X-Cache` of the answer.
    pub cache: String,
    pub value: i64,
    /// The newest value that had been answered before the read began; or, for a value that nobody wrote, the highest possible.
    pub expected: i64,
    /// Milliseconds since the start of the run.
    pub at_ms: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// Reads that were answered with a value.
    pub reads: u64,
    /// Reads by their `X-Cache`.
    pub by_cache: BTreeMap<String, u64>,
    /// Reads that got no value: refused, or no answer.
    pub reads_failed: u64,
    /// Writes that were answered with success.
    pub writes: u64,
    /// Times that a write was sent again because its first answer was none or no success.
    pub writes_repeated: u64,
    /// Reads that broke the promise.
    pub violations: u64,
    /// The first of them.
    pub told: Vec<Violation>,
    pub elapsed: Duration,
}

/// What all tasks of a run share.
struct Run {
    options: FreshnessOptions,
    tokens: Tokens,
    started: Instant,
    histories: Vec<Mutex<History>>,
    reads: AtomicU64,
    finish: AtomicBool,
    freshness: Mutex<Freshness>,
}

/// Reads and writes until enough reads were answered and `until` is over.
///
/// # Errors
/// When there is no gateway or no card; when an address is none, or leads off this machine without leave; when there is no token to be had; when a card's balance
/// cannot be read at the start.
pub async fn check_freshness(
    options: FreshnessOptions,
    until: impl Future<Output = ()>,
) -> Result<Freshness, Error> {
    let targets = options
        .gateways
        .iter()
        .map(|gateway| {
            // With certificates to show, what is behind the address speaks TLS, however it was written.
            let shown = options.tls.is_some();
            let rest = gateway.strip_prefix("https://").filter(|_| shown);
            let plain = rest.map_or_else(|| gateway.clone(), |rest| format!("http://{rest}"));
            let target = Target::parse(&plain, options.allow_remote)?;
            Ok(target.behind(options.tls.clone()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let missing = |option| Error::Option {
        option,
        reason: "there must be at least one".to_owned(),
    };
    let first = targets.first().ok_or_else(|| missing("gateways"))?;
    if options.cards.is_empty() {
        return Err(missing("cards"));
    }
    let tokens = Tokens::new(first.clone(), options.credentials.clone(), options.timeout)?;
    tokens.fetch().await?;
    let mut wire = Wire::new(first.clone());
    let mut histories = Vec::with_capacity(options.cards.len());
    for card in &options.cards {
        let token = tokens.current();
        let read = read(&mut wire, *card, token.as_ref(), options.timeout).await;
        let (value, _) = read.map_err(|reason| Error::NoAnswer {
            target: first.to_string(),
            reason,
        })?;
        histories.push(Mutex::new(History::new(value)));
    }
    let run = Arc::new(Run {
        tokens,
        started: Instant::now(),
        histories,
        reads: AtomicU64::new(0),
        finish: AtomicBool::new(false),
        freshness: Mutex::default(),
        options,
    });
    let mut tasks = tokio::task::JoinSet::new();
    for (number, target) in targets.iter().enumerate() {
        for reader in 0..run.options.readers {
            tasks.spawn(run.clone().reader(target.clone(), number + reader));
        }
    }
    let writers = run.options.writers.max(1);
    for writer in 0..writers {
        tasks.spawn(run.clone().writer(targets.clone(), writer, writers));
    }
    until.await;
    while run.reads.load(Ordering::Relaxed) < run.options.reads {
        tokio::time::sleep(PAUSE).await;
    }
    run.finish.store(true, Ordering::Relaxed);
    while tasks.join_next().await.is_some() {}
    let mut freshness = run.freshness().clone();
    freshness.elapsed = run.started.elapsed();
    Ok(freshness)
}

impl Run {
    fn is_over(&self) -> bool {
        self.finish.load(Ordering::Relaxed)
    }

    fn history(&self, card: usize) -> MutexGuard<'_, History> {
        self.histories[card]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn freshness(&self) -> MutexGuard<'_, Freshness> {
        self.freshness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn reader(self: Arc<Self>, target: Target, first: usize) {
        let mut wire = Wire::new(target.clone());
        let mut card = first % self.options.cards.len();
        while !self.is_over() {
            // Not in step with the other readers.
            card = (card + 1 + usize::from(rand::random::<u8>() & 3)) % self.options.cards.len();
            let floor = self.history(card).floor();
            let token = self.tokens.current();
            let number = self.options.cards[card];
            let read = read(&mut wire, number, token.as_ref(), self.options.timeout).await;
            let Ok((value, cache)) = read else {
                self.freshness().reads_failed += 1;
                wire = Wire::new(target.clone());
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            self.reads.fetch_add(1, Ordering::Relaxed);
            let judgement = self.history(card).judge(floor, value);
            let mut freshness = self.freshness();
            freshness.reads += 1;
            *freshness.by_cache.entry(cache.clone()).or_default() += 1;
            let expected = match judgement {
                Judgement::Good => continue,
                Judgement::Old { at_least } => at_least,
                Judgement::Invented { at_most } => at_most,
            };
            freshness.violations += 1;
            if freshness.told.len() < TOLD {
                let at_ms = self.started.elapsed().as_millis();
                freshness.told.push(Violation {
                    card: number,
                    gateway: target.to_string(),
                    cache,
                    value,
                    expected,
                    at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
                });
            }
        }
    }

    async fn writer(self: Arc<Self>, targets: Vec<Target>, writer: usize, writers: usize) {
        let mut wires: Vec<Wire> = targets.iter().cloned().map(Wire::new).collect();
        let mine: Vec<usize> = (0..self.options.cards.len())
            .filter(|card| card % writers == writer)
            .collect();
        let mut number = 0_usize;
        while !self.is_over() && !mine.is_empty() {
            number += 1;
            let card = mine[number % mine.len()];
            let key = format!("fresh-{:x}-{writer}-{number}", self.options.run);
            self.history(card).write_begins(AMOUNT.cast_signed());
            let mut attempt = 0;
            let value = loop {
                let gateway = (number + attempt) % wires.len();
                match self.write(&mut wires[gateway], card, &key).await {
                    Ok(value) => break Some(value),
                    // Enough reads were answered; whether this write was carried out does not matter any more.
                    Err(_) if self.is_over() => break None,
                    Err(_) => {
                        self.freshness().writes_repeated += 1;
                        wires[gateway] = Wire::new(targets[gateway].clone());
                        attempt += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            };
            if let Some(value) = value {
                self.history(card).write_answered(value);
                self.freshness().writes += 1;
            }
            tokio::time::sleep(self.options.pause).await;
        }
    }

    async fn write(&self, wire: &mut Wire, card: usize, key: &str) -> Result<i64, String> {
        let call = Call::Recharge {
            card: self.options.cards[card],
            amount: AMOUNT,
        };
        let token = self.tokens.current();
        let (status, value, _) =
            exchange(wire, &call, token.as_ref(), Some(key), self.options.timeout).await?;
        if status == 201 {
            value.ok_or_else(|| "an answer without a balance".to_owned())
        } else {
            Err(format!("an answer with {status}"))
        }
    }
}

async fn read(
    wire: &mut Wire,
    card: u64,
    token: Option<&HeaderValue>,
    timeout: Duration,
) -> Result<(i64, String), String> {
    let (status, value, cache) =
        exchange(wire, &Call::Balance { card }, token, None, timeout).await?;
    match (status, value) {
        (200, Some(value)) => Ok((value, cache)),
        (200, None) => Err("an answer without a balance".to_owned()),
        (status, _) => Err(format!("an answer with {status}")),
    }
}

/// One call: its status, the balance in its body, and `X-Cache`.
async fn exchange(
    wire: &mut Wire,
    call: &Call,
    token: Option<&HeaderValue>,
    key: Option<&str>,
    timeout: Duration,
) -> Result<(u16, Option<i64>, String), String> {
    #[derive(serde::Deserialize)]
    struct Body {
        balance: i64,
    }
    let reply = tokio::time::timeout(timeout, wire.call(call, token, key, true))
        .await
        .map_err(|_| format!("nothing within {timeout:?}"))?
        .map_err(|failure| failure.to_string())?;
    let value = serde_json::from_slice::<Body>(&reply.body).ok();
    let cache = reply.header("x-cache").unwrap_or("NONE").to_owned();
    Ok((reply.status, value.map(|body| body.balance), cache))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_judged_by_what_was_answered_before_it_began() {
        let mut history = History::new(100);
        let early = history.floor();
        history.write_begins(10);
        // While the write is on its way both are right.
        assert_eq!(history.judge(early, 100), Judgement::Good);
        assert_eq!(history.judge(early, 110), Judgement::Good);
        assert_eq!(
            history.judge(early, 120),
            Judgement::Invented { at_most: 110 }
        );
        history.write_answered(110);
        // A read that began before the answer may still show the old value.
        assert_eq!(history.judge(early, 100), Judgement::Good);
        let late = history.floor();
        assert_eq!(history.judge(late, 100), Judgement::Old { at_least: 110 });
        assert_eq!(history.judge(late, 110), Judgement::Good);
    }

    #[test]
    fn a_write_that_is_never_answered_may_have_been_carried_out() {
        let mut history = History::new(0);
        history.write_begins(10);
        history.write_begins(10);
        history.write_answered(20);
        assert_eq!(history.floor(), 20);
        history.write_begins(10);
        assert_eq!(history.judge(history.floor(), 30), Judgement::Good);
        assert_eq!(history.judge(history.floor(), 20), Judgement::Good);
        // Answers may overtake each other.
        history.write_answered(10);
        assert_eq!(history.floor(), 20);
    }
}
