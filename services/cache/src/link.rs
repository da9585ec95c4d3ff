//! The way to Redis. Nothing is read over a connection before what an earlier one may have missed was purged.
//!
//! While Redis is away, invalidations fail; and a Redis that was killed may come back from its log with values that
//! were deleted. So a broken link never heals by itself: a new one is made, which first removes all values and leases,
//! and only then serves.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use kit::Instance;
use redis::{
    AsyncConnectionConfig, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use tokio_util::sync::CancellationToken;

use crate::{error::StoreError, purge, waiters::Waiters};

/// How long a command may take: beyond it Redis counts as away.
const RESPONSE: Duration = Duration::from_secs(1);
/// How long a connection attempt may take.
const CONNECT: Duration = Duration::from_millis(800);
/// How often a standing link is tried, and a broken one made anew.
const CHECK: Duration = Duration::from_millis(250);

/// One standing connection, until anything about it fails.
#[derive(Clone)]
pub struct Link {
    connection: MultiplexedConnection,
    ended: CancellationToken,
}

impl Link {
    /// Runs commands over the link. Gives up as soon as the link ends, whoever noticed.
    pub async fn run<T, F>(
        &self,
        commands: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let result = tokio::select! {
            biased;
            result = kit::timing::timed("redis", commands(self.connection.clone())) => result,
            () = self.ended.cancelled() => return Err(StoreError::Away),
        };
        result.map_err(|error| {
            if kit::redis::is_unavailable(&error) {
                self.end(&error);
                StoreError::Away
            } else {
                StoreError::Redis(error)
            }
        })
    }

    /// Declares the link broken: everybody on it gives up, and the next one begins with a purge.
    pub fn end(&self, cause: &dyn std::error::Error) {
        if !self.ended.is_cancelled() {
            tracing::warn!(error = %cause, "the link to Redis is given up");
            self.ended.cancel();
        }
    }
}

/// Keeps a link to Redis.
pub struct Keeper {
    client: redis::Client,
    channel: String,
    current: RwLock<Option<Link>>,
    waiters: Arc<Waiters>,
}

impl Keeper {
    #[must_use]
    pub fn new(client: redis::Client, waiters: Arc<Waiters>) -> Self {
        // Channels, unlike keys, are shared by all logical databases of a server.
        let database = client.get_connection_info().redis_settings().db();
        Self {
            client,
            channel: format!("cache:wake:{database}"),
            current: RwLock::default(),
            waiters,
        }
    }

    /// Where wake-ups for waiters in other instances are published: the key, or nothing for all of them.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The link, if one stands.
    pub fn link(&self) -> Result<Link, StoreError> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .filter(|link| !link.ended.is_cancelled())
            .cloned()
            .ok_or(StoreError::Away)
    }

    /// Makes links, one after the other, for ever.
    pub async fn run(self: Arc<Self>, instance: Instance) {
        loop {
            match self.establish().await {
                Ok((link, wake_ups)) => {
                    self.set(Some(link.clone()));
                    instance.set_check("redis", true);
                    self.waiters.wake_all();
                    self.keep(&link, wake_ups).await;
                    self.set(None);
                    instance.set_check("redis", false);
                    self.waiters.wake_all();
                }
                Err(error) => {
                    tracing::debug!(error = %error, "no link to Redis yet");
                    instance.set_check("redis", false);
                }
            }
            tokio::time::sleep(CHECK).await;
        }
    }

    fn set(&self, link: Option<Link>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    async fn establish(&self) -> RedisResult<(Link, impl Stream<Item = Bytes> + Unpin + use<>)> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(RESPONSE))
            .set_connection_timeout(Some(CONNECT));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let subscribe = async {
            let mut subscription: PubSub = self.client.get_async_pubsub().await?;
            subscription.subscribe(&self.channel).await?;
            RedisResult::Ok(subscription)
        };
        let subscription = tokio::time::timeout(RESPONSE, subscribe)
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        let removed = purge::purge(&mut connection, "").await?.len();
        if removed > 0 {
            tracing::info!(
                removed,
                "the cache starts empty: an invalidation may have been missed"
            );
        }
        let wake_ups = subscription
            .into_on_message()
            .map(|message| Bytes::copy_from_slice(message.get_payload_bytes()));
        let link = Link {
            connection,
            ended: CancellationToken::new(),
        };
        Ok((link, wake_ups))
    }

    /// Passes wake-ups on and tries the link now and then, until it ends.
    async fn keep(&self, link: &Link, mut wake_ups: impl Stream<Item = Bytes> + Unpin) {
        let listen = async {
            while let Some(message) = wake_ups.next().await {
                match std::str::from_utf8(&message) {
                    Ok("") => self.waiters.wake_all(),
                    Ok(key) => self.waiters.wake(key),
                    Err(_) => {}
                }
            }
        };
        let check = async {
            loop {
                tokio::time::sleep(CHECK).await;
                let ping = link.run(|mut connection| async move {
                    redis::cmd("PING").query_async::<()>(&mut connection).await
                });
                if let Err(error) = ping.await {
                    return error;
                }
            }
        };
        tokio::select! {
            () = link.ended.cancelled() => {}
            () = listen => link.end(&StoreError::Away),
            error = check => link.end(&error),
        }
    }
}
