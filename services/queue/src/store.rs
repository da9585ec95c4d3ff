//! Queues in Redis: every change is one script, so that this process keeps no state that a kill could lose.

mod reply;

use std::{collections::HashMap, time::Duration};

use kit::{
    Instance,
    messaging::{DeadLetter, Message, Receipt, Release},
    timing::timed,
};
use redis::{FromRedisValue, Script, ScriptInvocation, Value, aio::ConnectionManager};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use self::reply::{dead_letter, milliseconds, number, raw, text, time};
use crate::{Error, QueueName, config::Defaults};

/// The set of all queues' names.
const NAMES: &str = "queue:names";
/// A receive stops taking when the bodies reach this many bytes.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// The scripts over one shared connection; cheap to clone.
#[derive(Clone)]
pub struct Store {
    instance: Instance,
    connection: ConnectionManager,
    scripts: std::sync::Arc<Scripts>,
    defaults: Defaults,
}

struct Scripts {
    send: Script,
    receive: Script,
    acknowledge: Script,
    extend: Script,
    release: Script,
    dead: Script,
    redrive: Script,
    purge: Script,
    drop: Script,
    stats: Script,
}

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("store/lua/prelude.lua"),
            include_str!(concat!("store/lua/", $file, ".lua"))
        ))
    };
}

/// A message that passed all checks.
#[derive(Debug)]
pub struct Checked {
    pub body: Box<RawValue>,
    pub delay: Duration,
    pub dedupe_id: Option<String>,
}

/// What a receive found.
#[derive(Debug)]
pub struct Taken {
    pub messages: Vec<Message>,
    /// When a delayed message is due or a visibility ends next.
    pub next: Option<Duration>,
}

/// A queue's numbers now, and its settings.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub depth: u64,
    pub in_flight: u64,
    pub delayed: u64,
    pub dead: u64,
    pub oldest_age: Duration,
    pub sent: u64,
    pub received: u64,
    pub acknowledged: u64,
    pub redelivered: u64,
    pub died: u64,
    pub settings: Settings,
}

/// What one queue does; what is absent is the service's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Deliveries after which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    pub max_deliveries: Option<u32>,
    /// Seconds a received message stays invisible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 30.0)]
    pub visibility_seconds: Option<f64>,
    /// Waiting messages above which sends are refused with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 100_000)]
    pub max_depth: Option<u32>,
    /// Seconds for which a dedupe id is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 300.0)]
    pub dedupe_seconds: Option<f64>,
}

impl Store {
    pub fn new(instance: &Instance, connection: ConnectionManager, defaults: Defaults) -> Self {
        Self {
            instance: instance.clone(),
            connection,
            scripts: std::sync::Arc::new(Scripts {
                send: script!("send"),
                receive: script!("receive"),
                acknowledge: script!("acknowledge"),
                extend: script!("extend"),
                release: script!("release"),
                dead: script!("dead"),
                redrive: script!("redrive"),
                purge: script!("purge"),
                drop: script!("drop"),
                stats: script!("stats"),
            }),
            defaults,
        }
    }

    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Sends all messages or none, and gives their ids: an earlier message's where the dedupe id is known.
    pub async fn send(
        &self,
        queue: &QueueName,
        messages: &[Checked],
    ) -> Result<Vec<String>, Error> {
        let mut call = self.scripts.send.key(key(queue));
        call.key(NAMES)
            .arg(queue.as_str())
            .arg(self.defaults.max_queues)
            .arg(self.defaults.max_depth)
            .arg(milliseconds(self.defaults.dedupe));
        for message in messages {
            call.arg(Uuid::new_v4().to_string())
                .arg(milliseconds(message.delay))
                .arg(message.dedupe_id.as_deref().unwrap_or(""))
                .arg(message.body.get());
        }
        let mut reply = self.run::<Vec<Value>>(&call).await?.into_iter();
        let mut word = || {
            reply
                .next()
                .ok_or(Error::Unexpected("a short answer to send"))
        };
        match String::from_redis_value(word()?)
            .map_err(|_| Error::Unexpected("send"))?
            .as_str()
        {
            "ok" => reply
                .map(|id| String::from_redis_value(id).map_err(|_| Error::Unexpected("an id")))
                .collect(),
            "full" => Err(Error::Full(number(word()?)?)),
            _ => Err(Error::TooManyQueues(number(word()?)?)),
        }
    }

    /// Takes what is ready, up to `max`. With `take`, what is taken is ended at once.
    pub async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Option<Duration>,
        take: bool,
    ) -> Result<Taken, Error> {
        let mut call = self.scripts.receive.key(key(queue));
        call.arg(max).arg(RECEIVE_BYTES);
        match visibility {
            Some(visibility) => call.arg(milliseconds(visibility)),
            None => call.arg(-1),
        };
        call.arg(milliseconds(self.defaults.visibility))
            .arg(self.defaults.max_deliveries)
            .arg(u8::from(take));
        let mut reply = self.run::<Vec<Value>>(&call).await?.into_iter();
        let next = reply
            .next()
            .ok_or(Error::Unexpected("a short answer to receive"))?;
        let next = i64::from_redis_value(next).map_err(|_| Error::Unexpected("a due time"))?;
        let mut messages = Vec::with_capacity(reply.len() / 6);
        while let (Some(entry), Some(delivery), Some(id), Some(sent), Some(redrives), Some(body)) = (
            reply.next(),
            reply.next(),
            reply.next(),
            reply.next(),
            reply.next(),
            reply.next(),
        ) {
            let deliveries = number(delivery)? as u32;
            messages.push(Message {
                id: text(id)?,
                receipt: Receipt(format!("{}.{deliveries}", text(entry)?)),
                body: raw(text(body)?)?,
                deliveries,
                redrives: number(redrives)? as u32,
                sent_at: time(number(sent)?),
            });
        }
        Ok(Taken {
            messages,
            next: u64::try_from(next).ok().map(Duration::from_millis),
        })
    }

    /// Ends messages; gives the receipts that were late.
    pub async fn acknowledge(
        &self,
        queue: &QueueName,
        receipts: &[Receipt],
    ) -> Result<Vec<Receipt>, Error> {
        let mut call = self.scripts.acknowledge.key(key(queue));
        for receipt in receipts {
            call.arg(&receipt.0);
        }
        let late: Vec<String> = self.run(&call).await?;
        Ok(late.into_iter().map(Receipt).collect())
    }

    pub async fn extend(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<(), Error> {
        let mut call = self.scripts.extend.key(key(queue));
        call.arg(&receipt.0).arg(milliseconds(visibility));
        self.fenced(&call).await
    }

    pub async fn release(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        delay: Duration,
        release: &Release,
    ) -> Result<(), Error> {
        let mut call = self.scripts.release.key(key(queue));
        call.arg(&receipt.0)
            .arg(milliseconds(delay))
            .arg(release.reason.as_deref().unwrap_or(""))
            .arg(u8::from(release.uncounted))
            .arg(self.defaults.max_deliveries);
        self.fenced(&call).await
    }

    pub async fn dead(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        reason: &str,
    ) -> Result<(), Error> {
        let mut call = self.scripts.dead.key(key(queue));
        call.arg(&receipt.0).arg(reason);
        self.fenced(&call).await
    }

    /// Dead letters in the order they died, from behind `after` on.
    pub async fn dead_letters(
        &self,
        queue: &QueueName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut command = redis::cmd("XRANGE");
        command
            .arg(format!("{}:dead", key(queue)))
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .arg(limit);
        let letters: Vec<(String, HashMap<String, String>)> = self
            .guarded(async |mut connection| command.query_async(&mut connection).await)
            .await?;
        letters.into_iter().map(dead_letter).collect()
    }

    /// Sends the oldest dead letters again; gives how many.
    pub async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<u64, Error> {
        let mut call = self.scripts.redrive.key(key(queue));
        call.arg(limit);
        self.run(&call).await
    }

    /// Ends everything but the dead letters; gives how many messages.
    pub async fn purge(&self, queue: &QueueName) -> Result<u64, Error> {
        self.run(&self.scripts.purge.key(key(queue))).await
    }

    /// Ends a queue with all it holds, dead letters and settings included; gives how many messages.
    pub async fn drop(&self, queue: &QueueName) -> Result<u64, Error> {
        let mut call = self.scripts.drop.key(key(queue));
        call.key(NAMES).arg(queue.as_str());
        self.run(&call).await
    }

    /// All queues that were ever sent to, by name.
    pub async fn queues(&self) -> Result<Vec<QueueName>, Error> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(NAMES);
        let names: Vec<String> = self
            .guarded(async |mut connection| command.query_async(&mut connection).await)
            .await?;
        let mut queues: Vec<QueueName> = names
            .iter()
            .filter_map(|name| QueueName::parse(name).ok())
            .collect();
        queues.sort_unstable();
        Ok(queues)
    }

    pub async fn exists(&self, queue: &QueueName) -> Result<bool, Error> {
        let mut command = redis::cmd("SISMEMBER");
        command.arg(NAMES).arg(queue.as_str());
        self.guarded(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    pub async fn figures(&self, queue: &QueueName) -> Result<Figures, Error> {
        let reply: Vec<i64> = self.run(&self.scripts.stats.key(key(queue))).await?;
        let [
            depth,
            in_flight,
            delayed,
            dead,
            age,
            sent,
            received,
            acknowledged,
            redelivered,
            died,
            most,
            visibility,
            waiting,
            dedupe,
        ] = <[i64; 14]>::try_from(reply).map_err(|_| Error::Unexpected("stats"))?;
        let natural = |n: i64| u64::try_from(n).unwrap_or(0);
        let seconds = |n: i64| u64::try_from(n).ok().map(|ms| ms as f64 / 1000.0);
        Ok(Figures {
            depth: natural(depth),
            in_flight: natural(in_flight),
            delayed: natural(delayed),
            dead: natural(dead),
            oldest_age: Duration::from_millis(natural(age)),
            sent: natural(sent),
            received: natural(received),
            acknowledged: natural(acknowledged),
            redelivered: natural(redelivered),
            died: natural(died),
            settings: Settings {
                max_deliveries: u32::try_from(most).ok(),
                visibility_seconds: seconds(visibility),
                max_depth: u32::try_from(waiting).ok(),
                dedupe_seconds: seconds(dedupe),
            },
        })
    }

    /// Changes the settings that are given.
    pub async fn set(&self, queue: &QueueName, settings: &Settings) -> Result<(), Error> {
        let milliseconds = |seconds: f64| (seconds * 1000.0).round() as u64;
        let pairs = [
            ("max_deliveries", settings.max_deliveries.map(u64::from)),
            (
                "visibility_ms",
                settings.visibility_seconds.map(milliseconds),
            ),
            ("max_depth", settings.max_depth.map(u64::from)),
            ("dedupe_ms", settings.dedupe_seconds.map(milliseconds)),
        ];
        let mut pipeline = redis::pipe();
        pipeline.atomic().sadd(NAMES, queue.as_str()).ignore();
        for (name, value) in pairs {
            if let Some(value) = value {
                pipeline
                    .hset(format!("{}:meta", key(queue)), name, value)
                    .ignore();
            }
        }
        self.guarded(async |mut connection| pipeline.query_async(&mut connection).await)
            .await
    }

    async fn fenced(&self, call: &ScriptInvocation<'_>) -> Result<(), Error> {
        if self.run::<u8>(call).await? == 1 {
            Ok(())
        } else {
            Err(Error::Late)
        }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Error> {
        self.guarded(async |mut connection| call.invoke_async(&mut connection).await)
            .await
    }

    /// Refuses at once while Redis is known to be away, instead of waiting for a connection.
    async fn guarded<T>(
        &self,
        command: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>,
    ) -> Result<T, Error> {
        if !self.instance.check("redis") {
            return Err(Error::Away);
        }
        Ok(timed("redis", command(self.connection.clone())).await?)
    }
}

/// The common beginning of a queue's keys; the braces keep them together on a cluster.
fn key(queue: &QueueName) -> String {
    format!("queue:{{{queue}}}")
}
