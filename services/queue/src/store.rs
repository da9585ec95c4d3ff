//! Queues in Redis: every change is one script, so that this process keeps no state that a kill could lose.

mod figures;
mod reply;
mod scripts;
mod singles;

use std::{
    borrow::{Borrow, Cow},
    collections::HashMap,
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use kit::{
    messaging::{DeadLetter, Durability, Message, Receipt, Release},
    redis::{Servers, is_lost},
    timing::timed,
};
use rand::RngExt;
use redis::{Script, ScriptInvocation, Value, aio::MultiplexedConnection};
use serde_json::value::RawValue;

pub use self::figures::{Figures, Settings};
use self::{
    reply::{dead_letter, messages, milliseconds, text},
    scripts::{BLOCK_BYTES, Both, Promise, Reply},
    singles::Singles,
};
use crate::{
    Error, QueueName,
    config::Defaults,
    disk::{Disk, Ticket},
};

/// The set of all queues' names.
pub const NAMES: &str = "queue:names";
/// A receive stops taking when the bodies reach this many bytes.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;
/// Receives of more than so many messages have a call to Redis of their own.
const SHARED: usize = 10;
/// How many dead letters one step takes back.
const REDRIVE_STEP: usize = 100;

/// The scripts and where they run; cheap to clone.
#[derive(Clone)]
pub struct Store {
    servers: Servers,
    disk: Disk,
    scripts: Arc<Both>,
    singles: Singles,
    defaults: Defaults,
}

/// A message that passed all checks.
#[derive(Debug)]
pub struct Checked {
    pub body: Box<RawValue>,
    pub delay: Duration,
    pub dedupe_id: Option<String>,
    pub ordering_key: Option<String>,
}

/// What a receive found.
#[derive(Debug)]
pub struct Taken {
    pub messages: Vec<Message>,
    pub durability: Durability,
    /// When a delayed message is due or a visibility ends next.
    pub next: Option<Duration>,
}

/// What a batch of receipts did.
#[derive(Debug)]
pub struct Ended {
    /// The receipts that were void.
    pub late: Vec<Receipt>,
    pub durability: Durability,
}

impl Store {
    pub fn new(servers: Servers, disk: Disk, defaults: Defaults) -> Self {
        Self {
            servers,
            disk,
            scripts: Arc::new(Both::new()),
            singles: Singles::default(),
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
        mut messages: Vec<Checked>,
    ) -> Result<(Vec<String>, Durability), Error> {
        if messages.len() == 1
            && let Some(message) = messages.pop()
        {
            let (id, durability) = self.send_one(queue, message).await?;
            return Ok((vec![id], durability));
        }
        let (ids, reply) = self.submit(queue, &messages).await?;
        self.confirm(reply.promise).await?;
        Ok((ids, reply.promise.durability))
    }

    /// Sends without waiting for the disk.
    async fn submit<M: Borrow<Checked>>(
        &self,
        queue: &QueueName,
        messages: &[M],
    ) -> Result<(Vec<String>, Reply), Error> {
        let defaults = &self.defaults;
        let (ticket, mut call) = self.call(&self.scripts.now().send, queue);
        call.key(&*self.names())
            .arg(queue.as_str())
            .arg(defaults.max_queues)
            .arg(defaults.max_depth)
            .arg(defaults.max_bytes)
            .arg(milliseconds(defaults.max_age))
            .arg(milliseconds(defaults.dedupe))
            .arg(messages.len());
        let mut ids = new_ids(messages.len());
        pack(&mut call, messages, &ids);
        let mut reply = self.answer(ticket, &call).await?;
        match reply.word()?.as_str() {
            "ok" => {}
            "queues" => return Err(Error::TooManyQueues(reply.number()?)),
            "depth" => return Err(Error::full("waiting messages", reply.number()?)),
            "bytes" => return Err(Error::full("bytes", reply.number()?)),
            _ => return Err(Error::Behind(Duration::from_millis(reply.number()?))),
        }
        while reply.values.len() > 0 {
            let place = reply.number()? as usize;
            let first = text(reply.next()?)?;
            *ids.get_mut(place).ok_or(Error::Unexpected("a place"))? = first;
        }
        Ok((ids, reply))
    }

    /// Takes what is ready, up to `max`. With `take`, what is taken is ended at once.
    pub async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Option<Duration>,
        take: bool,
    ) -> Result<Taken, Error> {
        // Large ones gain nothing from a shared call, and would wait for one another.
        if !take && max <= SHARED {
            return self.receive_one(queue, max, visibility).await;
        }
        let (taken, promise) = self.take(queue, max, visibility, take).await?;
        if !taken.messages.is_empty() {
            self.confirm(promise).await?;
        }
        Ok(taken)
    }

    /// Takes what is ready without waiting for the disk.
    async fn take(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Option<Duration>,
        end: bool,
    ) -> Result<(Taken, Promise), Error> {
        let (ticket, mut call) = self.call(&self.scripts.now().receive, queue);
        call.arg(max).arg(RECEIVE_BYTES);
        match visibility {
            Some(visibility) => call.arg(milliseconds(visibility)),
            None => call.arg(-1),
        };
        call.arg(milliseconds(self.defaults.visibility))
            .arg(self.defaults.max_crashes)
            .arg(u8::from(end));
        let mut reply = self.answer(ticket, &call).await?;
        let next = reply.integer()?;
        let promise = reply.promise;
        let taken = Taken {
            messages: messages(reply)?,
            durability: promise.durability,
            next: u64::try_from(next).ok().map(Duration::from_millis),
        };
        Ok((taken, promise))
    }

    /// Ends messages.
    pub async fn acknowledge(
        &self,
        queue: &QueueName,
        receipts: &[Receipt],
    ) -> Result<Ended, Error> {
        if let [receipt] = receipts {
            return self.end_one(queue, receipt.clone()).await;
        }
        let (ticket, mut call) = self.call(&self.scripts.now().acknowledge, queue);
        add(&mut call, receipts);
        self.ended(ticket, &call, receipts).await
    }

    pub async fn extend(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        visibility: Duration,
    ) -> Result<(), Error> {
        let (ticket, mut call) = self.call(&self.scripts.now().extend, queue);
        call.arg(milliseconds(visibility));
        add(&mut call, [receipt]);
        self.fenced(ticket, &call).await
    }

    /// Gives messages back; without a delay, after the queue's backoff.
    pub async fn release(
        &self,
        queue: &QueueName,
        receipts: &[Receipt],
        delay: Option<Duration>,
        release: &Release,
    ) -> Result<Ended, Error> {
        let (ticket, mut call) = self.call(&self.scripts.now().release, queue);
        match delay {
            Some(delay) => call.arg(milliseconds(delay)),
            None => call.arg(-1),
        };
        call.arg(release.reason.as_deref().unwrap_or(""))
            .arg(u8::from(release.uncounted))
            .arg(self.defaults.max_deliveries)
            .arg(milliseconds(self.defaults.backoff))
            .arg(milliseconds(self.defaults.backoff_limit))
            .arg(rand::rng().random_range(0.0..1.0));
        add(&mut call, receipts);
        self.ended(ticket, &call, receipts).await
    }

    pub async fn bury(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        reason: &str,
    ) -> Result<(), Error> {
        let (ticket, mut call) = self.call(&self.scripts.now().bury, queue);
        call.arg(reason);
        add(&mut call, [receipt]);
        self.fenced(ticket, &call).await
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
            .arg(format!("{}:dead", self.key(queue)))
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .arg(limit);
        let letters: Vec<(String, HashMap<String, String>)> = self
            .guarded(async |mut connection| command.query_async(&mut connection).await)
            .await?;
        letters.into_iter().map(dead_letter).collect()
    }

    /// How many dead letters there are.
    pub async fn dead(&self, queue: &QueueName) -> Result<u64, Error> {
        let mut command = redis::cmd("XLEN");
        command.arg(format!("{}:dead", self.key(queue)));
        self.guarded(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    /// Sends the oldest dead letters again, the first now and each `spacing` after the one before; gives how many. It goes
    /// in small steps, so that others get their turns, and what is to wait waits in Redis.
    pub async fn redrive(
        &self,
        queue: &QueueName,
        limit: usize,
        spacing: Duration,
    ) -> Result<u64, Error> {
        let mut count = 0;
        while count < limit as u64 {
            let step = REDRIVE_STEP.min(limit - count as usize);
            let first = spacing.as_secs_f64() * 1000.0 * count as f64;
            let (ticket, mut call) = self.call(&self.scripts.now().redrive, queue);
            call.arg(step)
                .arg(first)
                .arg(spacing.as_secs_f64() * 1000.0);
            let moved = self.counted(ticket, &call).await?;
            count += moved;
            if moved < step as u64 {
                break;
            }
        }
        Ok(count)
    }

    /// [`Self::redrive`] of the dead letters at these positions, as far as they are still there.
    pub async fn redrive_chosen(
        &self,
        queue: &QueueName,
        positions: &[String],
        spacing: Duration,
    ) -> Result<u64, Error> {
        let mut count = 0;
        for step in positions.chunks(REDRIVE_STEP) {
            let first = spacing.as_secs_f64() * 1000.0 * count as f64;
            let (ticket, mut call) = self.call(&self.scripts.now().redrive_chosen, queue);
            call.arg(first).arg(spacing.as_secs_f64() * 1000.0);
            call.arg(step);
            count += self.counted(ticket, &call).await?;
        }
        Ok(count)
    }

    /// How many of the dead letters at these positions are still there.
    pub async fn present(&self, queue: &QueueName, positions: &[String]) -> Result<u64, Error> {
        let dead = format!("{}:dead", self.key(queue));
        let mut looks = redis::pipe();
        for position in positions {
            looks.cmd("XRANGE").arg(&dead).arg(position).arg(position);
        }
        let found: Vec<Vec<redis::Value>> = self
            .guarded(async |mut connection| looks.query_async(&mut connection).await)
            .await?;
        Ok(found.iter().filter(|found| !found.is_empty()).count() as u64)
    }

    /// Ends the dead letters at these positions; gives how many of them were there.
    pub async fn forget_chosen(
        &self,
        queue: &QueueName,
        positions: &[String],
    ) -> Result<u64, Error> {
        let mut count = 0;
        for step in positions.chunks(REDRIVE_STEP) {
            let (ticket, mut call) = self.call(&self.scripts.now().forget_chosen, queue);
            call.arg(step);
            count += self.counted(ticket, &call).await?;
        }
        Ok(count)
    }

    /// Ends everything but the dead letters; gives how many messages.
    pub async fn purge(&self, queue: &QueueName) -> Result<u64, Error> {
        let (ticket, call) = self.call(&self.scripts.now().purge, queue);
        self.counted(ticket, &call).await
    }

    /// Ends the dead letters; gives how many.
    pub async fn forget(&self, queue: &QueueName) -> Result<u64, Error> {
        let (ticket, call) = self.call(&self.scripts.now().forget, queue);
        self.counted(ticket, &call).await
    }

    /// Ends a queue with all it holds, dead letters and settings included; gives how many messages.
    pub async fn drop(&self, queue: &QueueName) -> Result<u64, Error> {
        let (ticket, mut call) = self.call(&self.scripts.now().drop, queue);
        call.key(&*self.names()).arg(queue.as_str());
        self.counted(ticket, &call).await
    }

    /// All queues that were ever sent to, by name.
    pub async fn queues(&self) -> Result<Vec<QueueName>, Error> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(&*self.names());
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
        command.arg(&*self.names()).arg(queue.as_str());
        self.guarded(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    pub async fn figures(&self, queue: &QueueName) -> Result<Figures, Error> {
        let (ticket, call) = self.unpromised(&self.scripts.now().stats, queue);
        Figures::read(self.answer(ticket, &call).await?)
    }

    /// Changes the settings that are given, and makes the queue when there is none.
    pub async fn configure(&self, queue: &QueueName, settings: &Settings) -> Result<(), Error> {
        if settings.durability == Some(Durability::Durable) && self.disk.ticket().is_none() {
            return Err(self.disk.refusal());
        }
        let pairs = settings.pairs();
        let pairs = pairs.iter().map(|(name, value)| (*name, value.to_string()));
        self.set(queue, pairs).await
    }

    /// Whether receivers get nothing; what is sent waits.
    pub async fn pause(&self, queue: &QueueName, paused: bool) -> Result<(), Error> {
        let value = if paused { "1" } else { "" };
        self.set(queue, std::iter::once(("paused", value.to_owned())))
            .await
    }

    async fn set(
        &self,
        queue: &QueueName,
        pairs: impl Iterator<Item = (&'static str, String)>,
    ) -> Result<(), Error> {
        // Not refused on a weak Redis: making a queue fast is what helps there.
        let (_, mut call) = self.unpromised(&self.scripts.now().configure, queue);
        call.key(&*self.names())
            .arg(queue.as_str())
            .arg(self.defaults.max_queues);
        for (name, value) in pairs {
            call.arg(name).arg(value);
        }
        let ticket = self.disk.ticket();
        let mut reply = self.answer(ticket, &call).await?;
        if reply.word()? != "ok" {
            return Err(Error::TooManyQueues(reply.number()?));
        }
        if ticket.is_some() {
            self.confirm(reply.promise).await?;
        }
        Ok(())
    }

    /// A call of a script that changes a queue, and what its answer can be confirmed with.
    fn call<'a>(
        &self,
        script: &'a Script,
        queue: &QueueName,
    ) -> (Option<Ticket>, ScriptInvocation<'a>) {
        let ticket = self.disk.ticket();
        let call = self.begin(script, queue, ticket.is_some());
        (ticket, call)
    }

    /// A call of a script that may run whatever becomes of its effect.
    fn unpromised<'a>(
        &self,
        script: &'a Script,
        queue: &QueueName,
    ) -> (Option<Ticket>, ScriptInvocation<'a>) {
        (None, self.begin(script, queue, true))
    }

    fn begin<'a>(
        &self,
        script: &'a Script,
        queue: &QueueName,
        may_be_durable: bool,
    ) -> ScriptInvocation<'a> {
        let mut call = script.key(self.key(queue));
        call.arg(u8::from(may_be_durable))
            .arg(u8::from(self.defaults.durability == Durability::Fast));
        call
    }

    async fn answer(
        &self,
        ticket: Option<Ticket>,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, Error> {
        let values: Vec<Value> = self
            .guarded(async |mut connection| call.invoke_async(&mut connection).await)
            .await?;
        Reply::read(values, ticket)?.ok_or_else(|| self.disk.refusal())
    }

    /// Waits for the disk when the queue is durable.
    async fn confirm(&self, promise: Promise) -> Result<(), Error> {
        self.confirm_many(promise, 1).await
    }

    /// The same for so many answers.
    async fn confirm_many(&self, promise: Promise, answers: usize) -> Result<(), Error> {
        match (promise.durability, promise.ticket) {
            (Durability::Fast, _) => Ok(()),
            (Durability::Durable, Some(ticket)) => {
                timed("disk", self.disk.confirm(ticket, answers)).await
            }
            (Durability::Durable, None) => Err(self.disk.refusal()),
        }
    }

    async fn ended(
        &self,
        ticket: Option<Ticket>,
        call: &ScriptInvocation<'_>,
        receipts: &[Receipt],
    ) -> Result<Ended, Error> {
        let mut reply = self.answer(ticket, call).await?;
        if reply.values.len() < receipts.len() {
            self.confirm(reply.promise).await?;
        }
        let durability = reply.promise.durability;
        let late = reply
            .places()?
            .into_iter()
            .map(|place| receipts.get(place).cloned())
            .collect::<Option<_>>()
            .ok_or(Error::Unexpected("a place"))?;
        Ok(Ended { late, durability })
    }

    async fn fenced(
        &self,
        ticket: Option<Ticket>,
        call: &ScriptInvocation<'_>,
    ) -> Result<(), Error> {
        if self.counted(ticket, call).await? == 1 {
            Ok(())
        } else {
            Err(Error::Late)
        }
    }

    async fn counted(
        &self,
        ticket: Option<Ticket>,
        call: &ScriptInvocation<'_>,
    ) -> Result<u64, Error> {
        let mut reply = self.answer(ticket, call).await?;
        let count = reply.number()?;
        if count > 0 {
            self.confirm(reply.promise).await?;
        }
        Ok(count)
    }

    /// Refuses at once while Redis is known to be away, instead of waiting for a connection.
    async fn guarded<T>(
        &self,
        command: impl AsyncFnOnce(MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, Error> {
        let session = self.disk.session().ok_or(Error::Away)?;
        let answer = timed("redis", command(session.connection())).await;
        Ok(answer.inspect_err(|error| {
            if is_lost(error) {
                session.lose();
            }
        })?)
    }

    /// The common beginning of a queue's keys; the braces keep them together on a cluster.
    fn key(&self, queue: &QueueName) -> String {
        self.servers.key(&key(queue.as_str())).into_owned()
    }

    /// The set of all queues' names.
    fn names(&self) -> Cow<'static, str> {
        self.servers.key(NAMES)
    }
}

/// The name of a queue that was made durable, when there is one.
pub async fn durable_queue(
    servers: &Servers,
    mut connection: MultiplexedConnection,
) -> Option<String> {
    let names: Vec<String> = redis::cmd("SMEMBERS")
        .arg(&*servers.key(NAMES))
        .query_async(&mut connection)
        .await
        .ok()?;
    for name in names {
        let fast: Option<String> = redis::cmd("HGET")
            .arg(format!("{}:meta", servers.key(&key(&name))))
            .arg("fast")
            .query_async(&mut connection)
            .await
            .ok()?;
        if fast.as_deref() == Some("0") {
            return Some(name);
        }
    }
    None
}

fn new_ids(count: usize) -> Vec<String> {
    let mut chance = rand::rng();
    (0..count)
        .map(|_| {
            uuid::Builder::from_random_bytes(chance.random())
                .into_uuid()
                .to_string()
        })
        .collect()
}

/// Messages as the script takes them: many of which nothing is asked but that they be sent as the blocks that are kept,
/// others one by one.
fn pack<M: Borrow<Checked>>(call: &mut ScriptInvocation<'_>, messages: &[M], ids: &[String]) {
    let is_plain = |message: &M| {
        let message = message.borrow();
        message.delay.is_zero() && message.dedupe_id.is_none() && message.ordering_key.is_none()
    };
    if messages.len() > 1 && messages.iter().all(is_plain) {
        let mut place = 0;
        while place < messages.len() {
            let (mut lines, mut bodies, first) = (String::new(), String::new(), place);
            while let Some(message) = messages.get(place) {
                let body = message.borrow().body.get();
                if place > first && bodies.len() + body.len() > BLOCK_BYTES {
                    break;
                }
                let end = if place > first { "\n" } else { "" };
                let _ = write!(lines, "{end}{} {}", ids[place], body.len());
                bodies.push_str(body);
                place += 1;
            }
            call.arg(place - first).arg(lines).arg(bodies);
        }
        return;
    }
    call.arg(0);
    for (message, id) in messages.iter().zip(ids) {
        let plain = is_plain(message);
        let message = message.borrow();
        if plain {
            call.arg(id);
        } else {
            call.arg(format!(
                "{id} {} {} {}",
                milliseconds(message.delay),
                message.dedupe_id.as_deref().unwrap_or_default(),
                message.ordering_key.as_deref().unwrap_or_default(),
            ));
        }
        call.arg(message.body.get());
    }
}

/// A receipt's entry and its delivery's number, as the scripts take them.
fn add<'a>(call: &mut ScriptInvocation<'_>, receipts: impl IntoIterator<Item = &'a Receipt>) {
    for receipt in receipts {
        let (entry, delivery) = receipt.0.split_once('.').unwrap_or((&receipt.0, ""));
        call.arg(entry).arg(delivery);
    }
}

fn key(queue: &str) -> String {
    format!("queue:{{{queue}}}")
}
