//! A steady load of everything that must not be lost, and of the reads that would show it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::client::{Client, Outcome, Reply, Request};
use crate::journal::{Action, Answer};

/// Tutors that are booked: few, so that bookings meet.
const TUTORS: i64 = 5;
/// Students are 1 to this.
const STUDENTS: i64 = 20;
/// Explicit beginnings are within so many hours.
const HOURS: i64 = 300;
/// Amounts on a card differ, as long as there are as many as these.
const AMOUNTS: u64 = 3_980;
/// Every so many-th write is sent again although it was answered.
const AGAIN: u64 = 10;
/// How often a write of unknown outcome is sent again at the most, when it is.
const ATTEMPTS: u32 = 4;

/// Loops at work.
#[derive(Debug)]
pub struct Traffic {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What all loops share.
#[derive(Clone)]
struct Shared {
    client: Client,
    cards: Arc<[i64]>,
    /// Makes keys differ from any other run's.
    run: u64,
    next: Arc<AtomicU64>,
    amounts: Arc<[AtomicU64]>,
    stop: CancellationToken,
    zero_hour: DateTime<Utc>,
}

impl Traffic {
    /// Starts about `rate` operations a second, as far as the lab lets them.
    #[must_use]
    pub fn start(client: &Client, cards: &[i64], run: u64, seed: u64, rate: f64) -> Self {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let zero_hour = Utc::now() + TimeDelta::days(30);
        let zero_hour = DateTime::from_timestamp(zero_hour.timestamp() / 3600 * 3600, 0);
        let shared = Shared {
            client: client.clone(),
            cards: cards.into(),
            run,
            next: Arc::default(),
            amounts: cards.iter().map(|_| AtomicU64::new(0)).collect(),
            stop: stop.clone(),
            zero_hour: zero_hour.unwrap_or_default(),
        };
        // Loops of each kind, and their part of the rate.
        let kinds = [
            (Kind::Recharge, 6, 0.3),
            (Kind::Balance, 6, 0.45),
            (Kind::Book, 3, 0.15),
            (Kind::Task, 2, 0.1),
        ];
        let mut number = 0;
        for (kind, loops, part) in kinds {
            let pause = Duration::from_secs_f64(f64::from(loops) / (rate * part).max(0.01));
            for _ in 0..loops {
                number += 1;
                let mut chance = ChaCha8Rng::seed_from_u64(seed);
                chance.set_stream(number);
                tasks.spawn(shared.clone().repeat(kind, pause, chance));
            }
        }
        tasks.close();
        Self { stop, tasks }
    }

    /// Lets every loop finish its request.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Recharge,
    Balance,
    Book,
    Task,
}

impl Shared {
    async fn repeat(self, kind: Kind, pause: Duration, mut chance: ChaCha8Rng) {
        while !self.stop.is_cancelled() {
            let pause = pause.mul_f64(chance.random_range(0.5..1.5));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
            match kind {
                Kind::Recharge => self.recharge(&mut chance).await,
                Kind::Balance => self.balance(&mut chance).await,
                Kind::Book => self.book(&mut chance).await,
                Kind::Task => self.task(&mut chance).await,
            }
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a write until it is decided; some that are decided once more, and some that are not never again.
    async fn write(
        &self,
        number: u64,
        chance: &mut ChaCha8Rng,
        action: &Action,
        request: &Request,
        read: impl Fn(&Reply) -> Option<Answer>,
    ) {
        let persists = chance.random_bool(0.6) || number.is_multiple_of(AGAIN);
        for attempt in 1..=ATTEMPTS {
            match self.client.operate(action.clone(), request, &read).await {
                Outcome::Unknown if persists && attempt < ATTEMPTS => {
                    let pause = Duration::from_millis(chance.random_range(20..600));
                    tokio::time::sleep(pause).await;
                }
                Outcome::Ok(_) if attempt == 1 && number.is_multiple_of(AGAIN) => {}
                Outcome::Ok(_) | Outcome::Refused | Outcome::Unknown => return,
            }
        }
    }

    async fn recharge(&self, chance: &mut ChaCha8Rng) {
        let number = self.number();
        let index = chance.random_range(0..self.cards.len());
        let card = self.cards[index];
        let turn = self.amounts[index].fetch_add(1, Ordering::Relaxed) % AMOUNTS;
        let amount = 1_000 + 50 * turn.cast_signed();
        let key = format!("chaos-{:x}-{number}", self.run);
        let action = Action::Recharge {
            card,
            amount,
            key: key.clone(),
        };
        let body = json!({"card_id": card, "amount": amount});
        let request = Request::post("/recharges", Some(&key), body);
        self.write(number, chance, &action, &request, recharged)
            .await;
    }

    async fn balance(&self, chance: &mut ChaCha8Rng) {
        let card = self.cards[chance.random_range(0..self.cards.len())];
        read_balance(&self.client, card).await;
    }

    async fn book(&self, chance: &mut ChaCha8Rng) {
        let number = self.number();
        let student = chance.random_range(1..=STUDENTS);
        let tutor = chance.random_range(1..=TUTORS);
        let key = format!("chaos-{:x}-{number}", self.run);
        let mut body = json!({"student_id": student, "tutor_id": tutor});
        // Half take what is free, half want an hour that somebody else may want as well.
        if chance.random() {
            let starts_at = self.zero_hour + TimeDelta::hours(chance.random_range(0..HOURS));
            body["starts_at"] = json!(starts_at);
        }
        let action = Action::Book {
            student,
            tutor,
            key: key.clone(),
        };
        let request = Request::post("/book", Some(&key), body);
        self.write(number, chance, &action, &request, booked).await;
    }

    async fn task(&self, chance: &mut ChaCha8Rng) {
        let number = self.number();
        let fails = chance.random_bool(0.1);
        let key = format!("chaos-{:x}-{number}", self.run);
        let action = Action::Task {
            key: key.clone(),
            fails,
        };
        let body = json!({"task": {"number": number, "fail": fails}});
        let request = Request::post("/longtask", Some(&key), body);
        self.write(number, chance, &action, &request, accepted)
            .await;
    }
}

/// Reads a balance and writes it down.
pub async fn read_balance(client: &Client, card: i64) -> Option<i64> {
    let request = Request::get(format!("/cards/{card}/balance"));
    let read = |reply: &Reply| {
        (reply.status.as_u16() == 200).then_some(())?;
        Some(Answer::Balance {
            balance: reply.body["balance"].as_i64()?,
            cache: reply.cache.clone(),
        })
    };
    match client
        .operate(Action::Balance { card }, &request, read)
        .await
    {
        Outcome::Ok(Answer::Balance { balance, .. }) => Some(balance),
        _ => None,
    }
}

fn recharged(reply: &Reply) -> Option<Answer> {
    (reply.status.as_u16() == 201).then_some(())?;
    Some(Answer::Recharged {
        recharge: reply.body["recharge_id"].as_i64()?,
        balance: reply.body["balance"].as_i64()?,
        replayed: reply.replayed,
    })
}

fn booked(reply: &Reply) -> Option<Answer> {
    (reply.status.as_u16() == 200).then_some(())?;
    let time = |name: &str| serde_json::from_value(reply.body[name].clone()).ok();
    Some(Answer::Booked {
        booking: reply.body["booking_id"].as_i64()?,
        tutor: reply.body["tutor_id"].as_i64()?,
        starts_at: time("starts_at")?,
        ends_at: time("ends_at")?,
        replayed: reply.replayed,
    })
}

fn accepted(reply: &Reply) -> Option<Answer> {
    (reply.status.as_u16() == 202).then_some(())?;
    Some(Answer::Accepted {
        task: reply.body["task_id"].as_i64()?,
        replayed: reply.replayed,
    })
}
