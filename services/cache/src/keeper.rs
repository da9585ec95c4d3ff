//! Keeps a link to Redis: makes it, purges before it is used, proves it again and again, and passes its messages on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use kit::{
    Instance,
    caching::first_level::{BEAT, BEAT_LIFE, Channels, Gone, LEASE, SUCCESSION, acknowledged},
    redis::{Primary, Servers},
};
use redis::{
    Msg, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use crate::{
    acknowledgements::Acknowledgements,
    causes::{Cause, Causes},
    error::StoreError,
    fence::{Proof, leases_over_at},
    key::Names,
    link::{Link, Replaced, Silence},
    purge,
    waiters::Waiters,
};

/// How long a command may take: beyond it Redis counts as away.
const RESPONSE: Duration = Duration::from_secs(1);
/// How long after a failure the next attempt begins.
const PAUSE: Duration = Duration::from_millis(100);

script!(BEAT_SCRIPT, "beat.lua");
announcing!(EVERYTHING, "everything.lua");

/// What stands now.
struct Standing {
    link: Option<Link>,
    /// Without a link: when no first level holds a lease any more.
    leases_over_at: Instant,
    /// Whether a purge has begun after which there may be a link: what is committed from now on it does not cover.
    purging: bool,
}

/// Keeps a link to Redis.
pub struct Keeper {
    servers: Servers,
    names: Names,
    wake_ups: String,
    channels: Channels,
    standing: watch::Sender<Standing>,
    waiters: Arc<Waiters>,
    causes: Arc<Causes>,
    acknowledgements: Acknowledgements,
    /// When the runtime that answers requests was last seen to move.
    serving: Arc<Proof>,
}

/// Ends the keeper's thread when it is dropped.
pub struct Guard {
    _stop: DropGuard,
    _watch: AbortOnDropHandle<()>,
}

/// What a subscription brings.
type Messages = futures::stream::BoxStream<'static, Msg>;

/// A link that was made, and what belongs to it.
struct Made {
    primary: Primary,
    link: Link,
    clock: RedisClock,
    messages: Messages,
}

/// What Redis' own clock showed, at least, when ours showed something.
#[derive(Clone, Copy)]
struct RedisClock {
    at: Instant,
    milliseconds: u64,
}

impl RedisClock {
    fn read(at: Instant, (seconds, microseconds): (u64, u64)) -> Self {
        Self {
            at,
            milliseconds: seconds * 1000 + microseconds / 1000,
        }
    }

    /// What it shows now, or a little less.
    fn now(self) -> u64 {
        self.milliseconds + u64::try_from(self.at.elapsed().as_millis()).unwrap_or(0)
    }
}

impl Keeper {
    #[must_use]
    pub fn new(servers: Servers, waiters: Arc<Waiters>, causes: Arc<Causes>) -> Self {
        // Channels, unlike keys, are shared by all logical databases of a server.
        let database = servers.database();
        let standing = Standing {
            link: None,
            // Who ran here before us may have given a sign of life just before it died.
            leases_over_at: leases_over_at(Instant::now()),
            purging: false,
        };
        Self {
            channels: Channels::new(&servers),
            wake_ups: format!("cache:wake:{database}"),
            names: Names::on(&servers),
            servers,
            standing: watch::Sender::new(standing),
            waiters,
            causes,
            acknowledgements: Acknowledgements::default(),
            serving: Arc::new(Proof::new(Instant::now())),
        }
    }

    /// Makes links on a thread of its own, until the guard is dropped; and watches the runtime that this is called on.
    pub fn start(self: &Arc<Self>, instance: &Instance) -> Result<Guard, kit::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(kit::Error::other)?;
        let stop = CancellationToken::new();
        let (keeper, instance, stopped) = (self.clone(), instance.clone(), stop.clone());
        std::thread::Builder::new()
            .name("redis-link".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = keeper.run(&instance) => {}
                        () = stopped.cancelled() => {}
                    }
                });
            })
            .map_err(kit::Error::other)?;
        let keeper = self.clone();
        Ok(Guard {
            _stop: stop.drop_guard(),
            _watch: AbortOnDropHandle::new(tokio::spawn(async move { keeper.watch().await })),
        })
    }

    /// Notices when the runtime stood still.
    async fn watch(&self) {
        loop {
            let now = Instant::now();
            if self.serving.is_broken(now)
                && let Ok(link) = self.link()
            {
                link.end(&Silence);
            }
            self.serving.answered(now);
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Where wake-ups for waiters in other instances are published, with the key.
    #[must_use]
    pub fn wake_ups(&self) -> &str {
        &self.wake_ups
    }

    /// What everything is called in Redis.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Where deletions are published.
    #[must_use]
    pub fn deletions(&self) -> &str {
        &self.channels.gone
    }

    #[must_use]
    pub fn acknowledgements(&self) -> &Acknowledgements {
        &self.acknowledgements
    }

    /// The link, if one stands: for what is written or only counted.
    pub fn link(&self) -> Result<Link, StoreError> {
        self.standing
            .borrow()
            .link
            .as_ref()
            .filter(|link| !link.is_ended())
            .cloned()
            .ok_or(StoreError::Away)
    }

    /// The link, if it was proven alive just now: for what is served.
    pub fn proven(&self) -> Result<Link, StoreError> {
        let link = self.link()?;
        if link.is_proven() {
            Ok(link)
        } else {
            Err(StoreError::Away)
        }
    }

    /// Returns when there may be a link to try, or (with true) when it is a promise that nothing from before now is served
    /// any more: there is no link, all is purged before there is one, and no first level holds a lease.
    pub async fn link_or_fence(&self) -> bool {
        let mut changes = self.standing.subscribe();
        let (mut fenced, mut away_until) = (false, None);
        self.standing.send_if_modified(|standing| {
            // A link that has just ended still stands here for a moment.
            if standing.link.is_none() && !standing.purging {
                away_until = Some(standing.leases_over_at);
                fenced = standing.leases_over_at <= Instant::now();
            }
            false
        });
        if !fenced {
            let end = away_until.unwrap_or_else(|| Instant::now() + PAUSE);
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(end.into()) => {}
            }
        }
        fenced
    }

    /// Makes links, one after the other, for ever.
    async fn run(&self, instance: &Instance) {
        loop {
            match self.establish(instance.name()).await {
                Ok(made) => {
                    let Made {
                        primary,
                        link,
                        clock,
                        messages,
                    } = made;
                    self.standing.send_modify(|standing| {
                        standing.link = Some(link.clone());
                        standing.purging = false;
                    });
                    instance.set_check("redis", true);
                    self.waiters.wake_all();
                    self.keep(&link, &primary, clock, messages, instance.name())
                        .await;
                    self.standing.send_modify(|standing| {
                        standing.link = None;
                        // The last sign of life was given before now.
                        standing.leases_over_at = leases_over_at(Instant::now());
                    });
                    instance.set_check("redis", false);
                    self.waiters.wake_all();
                }
                Err(error) => {
                    tracing::debug!(error = %error, "no link to Redis yet");
                    self.standing
                        .send_modify(|standing| standing.purging = false);
                    instance.set_check("redis", false);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn establish(&self, name: &str) -> RedisResult<Made> {
        let begun = Instant::now();
        let primary = self.servers.primary().await?;
        let agreed = Instant::now();
        let mut connection = primary.connect_with(RESPONSE).await?;
        let subscribe = async {
            let mut subscription: PubSub = primary.client().get_async_pubsub().await?;
            let channels = [
                &self.wake_ups,
                &self.channels.gone,
                &self.channels.acknowledged,
            ];
            subscription.subscribe(&channels).await?;
            RedisResult::Ok(subscription)
        };
        let subscription = tokio::time::timeout(RESPONSE, subscribe)
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
        if self.servers.are_several() {
            // Nobody believes the one before it any more when this one begins.
            tokio::time::sleep_until((agreed + SUCCESSION).into()).await;
        }
        self.standing
            .send_modify(|standing| standing.purging = true);
        let removed = purge::purge(&mut connection, &self.names, "").await?.len();
        self.causes.everything(Cause::flushed);
        if removed > 0 {
            tracing::info!(
                removed,
                "the cache starts empty: an invalidation may have been missed"
            );
        }
        // Before the first sign of life: whoever renews a lease after that has heard of this.
        let _: Vec<String> = EVERYTHING
            .key(&self.names.holders)
            .arg(&self.channels.gone)
            .invoke_async(&mut connection)
            .await?;
        let unknown_until = Instant::now() + LEASE;
        let time = redis::cmd("TIME").query_async(&mut connection).await?;
        let clock = RedisClock::read(Instant::now(), time);
        let asked = Instant::now();
        let clock = self.beat(&mut connection, clock, name).await?;
        let word = self.servers.are_several().then(|| Proof::new(begun));
        Ok(Made {
            link: Link::new(connection, asked, self.serving.clone(), word, unknown_until),
            primary,
            clock,
            messages: subscription.into_on_message().boxed(),
        })
    }

    /// Makes sure again and again that this still is the server that is written to, until it is not known for too long.
    async fn believe(&self, link: &Link, primary: &Primary) {
        let Some(word) = link.word() else {
            return std::future::pending().await;
        };
        while !word.is_broken(Instant::now()) {
            let asked = Instant::now();
            if self.servers.agree(primary).await {
                word.answered(asked);
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Passes messages on and proves the link again and again, until it ends.
    async fn keep(
        &self,
        link: &Link,
        primary: &Primary,
        clock: RedisClock,
        mut messages: Messages,
        name: &str,
    ) {
        let listen = async {
            while let Some(message) = messages.next().await {
                self.hear(&message);
            }
        };
        let prove = async {
            let mut clock = clock;
            loop {
                tokio::time::sleep(BEAT).await;
                let asked = Instant::now();
                if link.proof().is_broken(asked) {
                    return StoreError::Away;
                }
                let answer = link.ask(|mut connection| async move {
                    self.beat(&mut connection, clock, name).await
                });
                match tokio::time::timeout_at(link.proof().breaks_at().into(), answer).await {
                    Ok(Ok(now)) => clock = now,
                    Ok(Err(error)) => return error,
                    Err(_) => return StoreError::Away,
                }
                // An answer that was waiting for us while we were stopped is no proof.
                if link.proof().is_broken(Instant::now()) {
                    return StoreError::Away;
                }
                link.proof().answered(asked);
            }
        };
        tokio::select! {
            () = link.ended() => {}
            () = listen => link.end(&StoreError::Away),
            () = self.believe(link, primary) => link.end(&Replaced),
            error = prove => link.end(&error),
        }
    }

    fn hear(&self, message: &Msg) {
        let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) else {
            return;
        };
        let channel = message.get_channel_name();
        if channel == self.channels.acknowledged {
            if let Some((holder, number)) = acknowledged(text) {
                self.acknowledgements.acknowledge(holder, number);
            }
        } else if channel == self.wake_ups {
            self.waiters.wake(text);
        } else if let Some(gone) = Gone::parse(text) {
            match gone.each() {
                Some(keys) => keys.for_each(|key| self.waiters.wake(key)),
                None => self.waiters.wake_all(),
            }
        }
    }

    /// Gives a sign of life, which is also a proof of the connection. It counts from when requests could last be answered.
    async fn beat(
        &self,
        connection: &mut MultiplexedConnection,
        clock: RedisClock,
        name: &str,
    ) -> RedisResult<RedisClock> {
        let life = BEAT_LIFE.saturating_sub(self.serving.age(Instant::now()));
        let until = clock.now() + u64::try_from(life.as_millis()).unwrap_or(0);
        let time = BEAT_SCRIPT
            .key(&self.names.alive)
            .arg(until)
            .arg(name)
            .invoke_async(connection)
            .await?;
        Ok(RedisClock::read(Instant::now(), time))
    }
}
