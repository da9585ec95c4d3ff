//! Producers and consumers of two queues of their own: one used as it should be, one through the naive pair.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::client::{Client, Outcome, Reply, Request};
use crate::{
    history::{naive, queue},
    journal::{Action, Answer, Delivery, Operation},
    verify::Check,
};

/// The queue.
const QUEUE: &str = "chaos";
/// How long a message is its receiver's.
const VISIBILITY: f64 = 1.0;
/// A consumer that is late is so late.
const LATE: Duration = Duration::from_millis(1_400);
/// How often the same batch is sent at the most.
const ATTEMPTS: u32 = 3;

/// Loops at work.
#[derive(Debug)]
pub struct Queues {
    client: Client,
    urls: Arc<[String]>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Queues {
    /// Starts them; `urls` are the queue instances'.
    ///
    /// # Errors
    /// When the queue cannot be set up.
    pub async fn start(
        client: &Client,
        urls: Vec<String>,
        run: u64,
        seed: u64,
    ) -> Result<Self, String> {
        let first = urls.first().ok_or("there is no queue instance")?;
        let settings = Request {
            method: Method::PUT,
            to: format!("{first}/queues/{QUEUE}"),
            key: None,
            body: Some(
                json!({"max_deliveries": 1000, "max_crashes": 1000, "visibility_seconds": VISIBILITY}),
            ),
        };
        let reply = client.send(&settings).await?;
        if !reply.status.is_success() {
            return Err(format!(
                "setting the queue up was answered {}",
                reply.status
            ));
        }
        let queues = Self {
            client: client.clone(),
            urls: urls.into(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let next = Arc::new(AtomicU64::new(0));
        for number in 0..6_u64 {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            chance.set_stream(1_000 + number);
            let user = User {
                client: client.clone(),
                urls: queues.urls.clone(),
                chance,
                stop: queues.stop.clone(),
                next: next.clone(),
                run,
            };
            match number {
                0 => queues.tasks.spawn(user.produce()),
                1..4 => queues.tasks.spawn(user.consume()),
                4 => queues.tasks.spawn(user.enqueue()),
                _ => queues.tasks.spawn(user.dequeue()),
            };
        }
        queues.tasks.close();
        Ok(queues)
    }

    /// Lets every loop finish, then takes what is left in both queues. Gives what could not be taken.
    ///
    /// # Errors
    /// When they are not empty within the time.
    pub async fn drain(self, within: Duration) -> Result<Remains, String> {
        self.stop.cancel();
        self.tasks.wait().await;
        let deadline = Instant::now() + within;
        let mut user = User {
            client: self.client.clone(),
            urls: self.urls.clone(),
            chance: ChaCha8Rng::seed_from_u64(0),
            stop: CancellationToken::new(),
            next: Arc::default(),
            run: 0,
        };
        loop {
            let empty = user.take_all().await;
            if empty {
                break;
            }
            if Instant::now() >= deadline {
                return Err(format!("the queue {QUEUE} is not empty after {within:?}"));
            }
        }
        let mut remains = Remains::default();
        loop {
            match user.take_one().await {
                Outcome::Ok(Answer::Dequeued { message: None }) => break,
                Outcome::Ok(_) => {}
                _ if Instant::now() >= deadline => {
                    return Err("the naive queue cannot be emptied".to_owned());
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        remains.values = user.dead().await?;
        Ok(remains)
    }
}

/// What is left in the queues at the end.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Values among the dead letters. Everything else was taken.
    pub values: BTreeSet<String>,
}

/// The histories of both queues; without remains, nothing is said about losses.
#[must_use]
pub fn check(operations: &[Operation], remains: Option<&Remains>) -> Vec<Check> {
    let values = remains.map(|remains| &remains.values);
    let taken = BTreeSet::new();
    let ids = remains.map(|_| &taken);
    vec![
        Check::history(
            "the queue a total queue, its receipts fenced",
            queue::check(QUEUE, operations, values),
        ),
        Check::history(
            "enqueue and dequeue lose and double nothing",
            naive::check(operations, ids),
        ),
    ]
}

struct User {
    client: Client,
    urls: Arc<[String]>,
    chance: ChaCha8Rng,
    stop: CancellationToken,
    next: Arc<AtomicU64>,
    run: u64,
}

impl User {
    /// Any instance: they are all the same.
    fn url(&mut self) -> String {
        self.urls[self.chance.random_range(0..self.urls.len())].clone()
    }

    fn value(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("v-{:x}-{number}", self.run)
    }

    async fn rest(&mut self, milliseconds: std::ops::Range<u64>) {
        let pause = Duration::from_millis(self.chance.random_range(milliseconds));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn produce(mut self) {
        while !self.stop.is_cancelled() {
            self.rest(50..250).await;
            let count = self.chance.random_range(1..6);
            let values: Vec<String> = (0..count).map(|_| self.value()).collect();
            let messages: Vec<Value> = values
                .iter()
                .map(|value| json!({"body": {"value": value}, "dedupe_id": value}))
                .collect();
            for attempt in 1..=ATTEMPTS {
                let action = Action::Send {
                    queue: QUEUE.to_owned(),
                    values: values.clone(),
                };
                let to = format!("{}/queues/{QUEUE}/messages", self.url());
                let request = Request::post(to, None, json!({"messages": messages}));
                let outcome = self.client.operate(action, &request, sent).await;
                // Now and then once more, as a relay does that lost the answer.
                let again = match outcome {
                    Outcome::Ok(_) => self.chance.random_bool(0.1),
                    Outcome::Unknown => self.chance.random_bool(0.7),
                    Outcome::Refused => false,
                };
                if !again || attempt == ATTEMPTS {
                    break;
                }
                self.rest(20..300).await;
            }
        }
    }

    async fn consume(mut self) {
        while !self.stop.is_cancelled() {
            self.rest(10..100).await;
            for delivery in self.receive(4).await {
                match self.chance.random_range(0..10) {
                    // Forgotten: somebody else will get it.
                    0 => {}
                    // Somebody else has it by now, and this receipt must be void.
                    1 | 2 => {
                        tokio::time::sleep(LATE).await;
                        self.acknowledge(&delivery).await;
                    }
                    _ => self.acknowledge(&delivery).await,
                }
            }
        }
    }

    async fn receive(&mut self, max: u32) -> Vec<(Delivery, String)> {
        let to = format!(
            "{}/queues/{QUEUE}/messages?max={max}&wait_seconds=1",
            self.url()
        );
        let action = Action::Receive {
            queue: QUEUE.to_owned(),
        };
        let mut receipts = Vec::new();
        let read = |reply: &Reply| {
            let messages = reply.body["messages"].as_array()?;
            let deliveries = messages.iter().map(delivery).collect::<Option<Vec<_>>>()?;
            receipts = deliveries;
            Some(Answer::Received {
                deliveries: receipts
                    .iter()
                    .map(|(delivery, _)| delivery.clone())
                    .collect(),
            })
        };
        let request = Request::get(to);
        if !matches!(
            self.client.operate(action, &request, read).await,
            Outcome::Ok(_)
        ) {
            self.rest(50..200).await;
        }
        receipts
    }

    async fn acknowledge(&mut self, (delivery, receipt): &(Delivery, String)) {
        let action = Action::Acknowledge {
            queue: QUEUE.to_owned(),
            message: delivery.message.clone(),
            delivery: delivery.delivery,
        };
        let to = format!("{}/queues/{QUEUE}/messages/{receipt}", self.url());
        let request = Request {
            method: Method::DELETE,
            to,
            key: None,
            body: None,
        };
        let read = |reply: &Reply| match reply.status.as_u16() {
            200..300 => Some(Answer::Acknowledged { late: false }),
            409 => Some(Answer::Acknowledged { late: true }),
            _ => None,
        };
        self.client.operate(action, &request, read).await;
    }

    async fn enqueue(mut self) {
        while !self.stop.is_cancelled() {
            self.rest(100..400).await;
            let value = self.value();
            let action = Action::Enqueue {
                value: value.clone(),
            };
            let to = format!("{}/enqueue", self.url());
            let body = json!({"task_type": "chaos", "payload": {"value": value}});
            let read = |reply: &Reply| {
                let message = reply.body["id"].as_str()?.to_owned();
                reply
                    .status
                    .is_success()
                    .then_some(Answer::Enqueued { message })
            };
            let request = Request::post(to, None, body);
            self.client.operate(action, &request, read).await;
        }
    }

    async fn dequeue(mut self) {
        while !self.stop.is_cancelled() {
            self.rest(100..400).await;
            self.take_one().await;
        }
    }

    async fn take_one(&mut self) -> Outcome {
        let request = Request::get(format!("{}/dequeue", self.url()));
        let read = |reply: &Reply| match reply.status.as_u16() {
            200 => Some(Answer::Dequeued {
                message: Some(reply.body["id"].as_str()?.to_owned()),
            }),
            404 => Some(Answer::Dequeued { message: None }),
            _ => None,
        };
        self.client.operate(Action::Dequeue, &request, read).await
    }

    /// Takes what can be taken now; whether nothing is left, not even with somebody who was given it.
    async fn take_all(&mut self) -> bool {
        for taken in self.receive(100).await {
            self.acknowledge(&taken).await;
        }
        let request = Request::get(format!("{}/queues/{QUEUE}", self.url()));
        let Ok(reply) = self.client.send(&request).await else {
            return false;
        };
        ["depth", "in_flight", "delayed"]
            .iter()
            .all(|name| reply.body[name] == 0)
    }

    async fn dead(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        let mut after = String::new();
        loop {
            let to = format!("{}/queues/{QUEUE}/dead?limit=100{after}", self.url());
            let reply = self.client.send(&Request::get(to)).await?;
            let letters = reply.body["messages"]
                .as_array()
                .ok_or("the dead letters cannot be read")?;
            let Some(last) = letters.last() else {
                return Ok(values);
            };
            let value = |letter: &Value| letter["body"]["value"].as_str().map(str::to_owned);
            values.extend(letters.iter().filter_map(value));
            after = format!("&after={}", last["position"].as_str().unwrap_or_default());
        }
    }
}

fn sent(reply: &Reply) -> Option<Answer> {
    reply.status.is_success().then_some(())?;
    let ids = reply.body["ids"].as_array()?.iter();
    let messages = ids
        .map(|id| id.as_str().map(str::to_owned))
        .collect::<Option<Vec<_>>>()?;
    Some(Answer::Sent { messages })
}

/// A message of a receive's answer, with its receipt.
fn delivery(message: &Value) -> Option<(Delivery, String)> {
    let delivery = Delivery {
        message: message["id"].as_str()?.to_owned(),
        delivery: u32::try_from(message["deliveries"].as_u64()?).ok()?,
        value: message["body"]["value"].as_str()?.to_owned(),
    };
    Some((delivery, message["receipt"].as_str()?.to_owned()))
}
