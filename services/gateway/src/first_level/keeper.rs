//! Keeps the lease and carries out deletions, over one subscription and one connection for commands.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::BoxStream};
use kit::{
    Shutdown,
    caching::first_level::{
        ALIVE, BYPASSES, Channels, FIRST_LEVEL_HITS, Gone, HOLDERS, LEASE, RENEWAL, SUMS,
        acknowledgement,
    },
    redis::{Primary, Servers},
};
use redis::{Msg, RedisResult, Script, aio::MultiplexedConnection};

use super::FirstLevel;
use crate::metrics::Bypasses;

/// How long a command may take: beyond it Redis counts as away.
const RESPONSE: Duration = Duration::from_secs(1);
/// How long after a failure the next attempt begins.
const PAUSE: Duration = Duration::from_millis(100);
/// The most messages that are carried out before they are acknowledged.
const CHUNK: usize = 256;
/// How often what was counted here is added to the shared statistics, and the gauges are renewed.
const COUNT: Duration = Duration::from_millis(500);

static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error("the subscription ended")]
    Subscription,
    #[error("a ping did not come back over the subscription")]
    Ping,
    #[error("a message could not be understood")]
    Message,
    #[error("Redis was replaced by another one")]
    Replaced,
}

/// What is under way besides listening.
type Task<T> = Option<Pin<Box<dyn Future<Output = RedisResult<T>> + Send>>>;

/// Runs a task, or never returns when there is none.
async fn running<T>(task: &mut Task<T>) -> RedisResult<T> {
    match task {
        Some(future) => {
            let result = future.as_mut().await;
            *task = None;
            result
        }
        None => std::future::pending().await,
    }
}

/// Keeps a first level alive until the shutdown; `name` is this gateway's.
pub async fn keep(
    level: Arc<FirstLevel>,
    servers: Servers,
    name: String,
    bypasses: Arc<Bypasses>,
    shutdown: Shutdown,
) {
    let mut before = String::new();
    while !shutdown.is_requested() {
        let holder = format!("{name}:{}", uuid::Uuid::new_v4().simple());
        let session = Session {
            level: &level,
            bypasses: &bypasses,
            servers: &servers,
            channels: Channels::new(&servers),
            holder: holder.clone(),
            before: std::mem::replace(&mut before, holder.clone()),
        };
        let outcome = tokio::select! {
            outcome = session.run() => outcome,
            () = shutdown.requested() => Ok(()),
        };
        level.lose();
        level.measure();
        match outcome {
            Ok(()) => break,
            Err(error) => tracing::debug!(error = %error, "the first level is off"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.requested() => {}
        }
    }
    // Nobody need wait for us any more.
    let leave = async {
        let mut connection = servers.connect().await?;
        redis::cmd("HDEL")
            .arg(&*servers.key(HOLDERS))
            .arg(&before)
            .query_async::<()>(&mut connection)
            .await
    };
    let _ = tokio::time::timeout(PAUSE, leave).await;
}

/// One connection with its subscription, under one name.
struct Session<'a> {
    level: &'a FirstLevel,
    bypasses: &'a Bypasses,
    servers: &'a Servers,
    channels: Channels,
    holder: String,
    /// The name of the session before, which holds nothing any more.
    before: String,
}

impl Session<'_> {
    /// Runs until something fails.
    async fn run(self) -> Result<(), End> {
        let primary = self.servers.primary().await?;
        let connection = primary.connect_with(RESPONSE).await?;
        let pings = format!("{}{}", self.channels.pings, self.holder);
        let mut messages = tokio::time::timeout(RESPONSE, self.subscribe(&primary, &pings))
            .await
            .map_err(|_| End::Subscription)??;

        let replaced = self.servers.replaced(&primary);
        tokio::pin!(replaced);
        let mut heard = 0;
        let mut acknowledged = 0;
        let mut acknowledging: Task<()> = None;
        let mut renewing: Task<bool> = None;
        let mut counting: Task<()> = None;
        // Which ping is awaited, and when its renewal was begun.
        let mut ping: Option<(u64, Instant)> = None;
        let mut number = 0;
        let mut renewal = tokio::time::interval(RENEWAL);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = tokio::time::interval(COUNT);
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                chunk = messages.next() => {
                    for message in chunk.ok_or(End::Subscription)? {
                        let text = std::str::from_utf8(message.get_payload_bytes())
                            .map_err(|_| End::Message)?;
                        if message.get_channel_name() == pings {
                            // An older ping proves no less, but its renewal was begun earlier.
                            if let Some((_, begun)) = ping.take_if(|(awaited, _)| {
                                text.parse() == Ok(*awaited)
                            }) {
                                self.level.renewed(begun);
                            }
                        } else {
                            heard = self.hear(text)?;
                        }
                    }
                }
                () = &mut replaced => return Err(End::Replaced),
                result = running(&mut acknowledging) => result?,
                result = running(&mut renewing) => {
                    if !result? {
                        tracing::debug!("no cache service lives, or Redis was replaced: the first level is not renewed");
                        ping = None;
                    }
                }
                result = running(&mut counting) => result?,
                _ = renewal.tick() => {
                    if ping.is_some_and(|(_, begun)| begun.elapsed() > LEASE) {
                        return Err(End::Ping);
                    }
                    if renewing.is_none() && ping.is_none() {
                        number += 1;
                        ping = Some((number, Instant::now()));
                        renewing = Some(self.renew(connection.clone(), primary.clone(), &pings, number));
                    }
                    // In case an acknowledgement was lost on its way.
                    acknowledged = 0;
                }
                _ = count.tick() => {
                    self.level.measure();
                    if counting.is_none() {
                        counting = self.count(connection.clone());
                    }
                }
            }
            // Everything that had arrived is carried out: one acknowledgement for all of it.
            if heard > acknowledged && acknowledging.is_none() {
                acknowledged = heard;
                acknowledging = Some(self.acknowledge(connection.clone(), heard));
            }
        }
    }

    async fn subscribe(
        &self,
        primary: &Primary,
        pings: &str,
    ) -> RedisResult<BoxStream<'static, Vec<Msg>>> {
        let mut subscription = primary.client().get_async_pubsub().await?;
        subscription
            .subscribe(&[self.channels.gone.as_str(), pings])
            .await?;
        Ok(subscription.into_on_message().ready_chunks(CHUNK).boxed())
    }

    /// Carries a deletion out; its number.
    fn hear(&self, text: &str) -> Result<u64, End> {
        let gone = Gone::parse(text).ok_or(End::Message)?;
        match gone.each() {
            Some(keys) => keys.for_each(|key| self.level.forget(key)),
            None => self.level.forget_all(),
        }
        Ok(gone.sequence)
    }

    fn renew(
        &self,
        mut connection: MultiplexedConnection,
        primary: Primary,
        pings: &str,
        number: u64,
    ) -> Pin<Box<dyn Future<Output = RedisResult<bool>> + Send>> {
        let mut call = RENEW.key(&*self.servers.key(HOLDERS));
        call.key(&*self.servers.key(ALIVE))
            .arg(&self.holder)
            .arg(pings)
            .arg(number)
            .arg(&self.before);
        let servers = self.servers.clone();
        // The ping is sent only when this still is the server that others write to.
        Box::pin(async move {
            if !servers.agree(&primary).await {
                return Ok(false);
            }
            call.invoke_async(&mut connection).await
        })
    }

    fn acknowledge(
        &self,
        mut connection: MultiplexedConnection,
        number: u64,
    ) -> Pin<Box<dyn Future<Output = RedisResult<()>> + Send>> {
        let mut call = redis::cmd("PUBLISH");
        call.arg(&self.channels.acknowledged)
            .arg(acknowledgement(&self.holder, number));
        Box::pin(async move { call.query_async(&mut connection).await })
    }

    /// Adds what was counted since the last time to the shared statistics.
    fn count(&self, mut connection: MultiplexedConnection) -> Task<()> {
        let hits = self.level.unsent_hits.swap(0, Ordering::Relaxed);
        let bypasses = self.bypasses.take();
        let mut additions = redis::pipe();
        for (field, count) in [(FIRST_LEVEL_HITS, hits), (BYPASSES, bypasses)] {
            if count > 0 {
                let addition = additions.cmd("HINCRBY");
                addition
                    .arg(&*self.servers.key(SUMS))
                    .arg(field)
                    .arg(count)
                    .ignore();
            }
        }
        (hits + bypasses > 0).then(|| -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(async move { additions.query_async(&mut connection).await })
        })
    }
}
