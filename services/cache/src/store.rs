//! The cache's operations on Redis.

use std::{collections::BTreeMap, sync::Arc, sync::LazyLock};

use bytes::Bytes;
use redis::Script;

use crate::{
    config::Config,
    envelope::Envelope,
    error::StoreError,
    key::{Key, VALUES, Variant},
    link::Keeper,
    purge,
    waiters::Waiters,
};

/// The most variants kept under one key.
const VARIANTS: usize = 128;
/// Keys that one script call deletes or inspects: more would keep others waiting.
const BATCH: usize = 50;

macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));
    };
}

script!(CLAIM, "claim.lua");
script!(STORE, "store.lua");
script!(RELEASE, "release.lua");
script!(DELETE, "delete.lua");
script!(INSPECT, "inspect.lua");

/// What a request for a value that was not fresh got.
#[derive(Debug)]
pub enum Claim {
    /// Somebody stored it in the meantime.
    Fresh(Envelope),
    /// The caller rebuilds it; an older value may stand in if that fails.
    Granted {
        token: String,
        stale: Option<Envelope>,
    },
    /// Somebody else rebuilds it, and is believed in for so many milliseconds.
    Busy {
        left_ms: u64,
        stale: Option<Envelope>,
    },
}

/// What is stored, in figures.
#[derive(Debug, Default)]
pub struct Contents {
    /// Fresh keys.
    pub size: u64,
    /// Bytes of JSON, stale ones included.
    pub bytes: u64,
    /// Keys with the seconds they stay fresh; not more than were asked for.
    pub items: BTreeMap<String, u64>,
}

/// How long a value lives.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub ttl_seconds: u32,
    pub stale_seconds: u32,
}

/// The store; shared by all handlers.
pub struct Store {
    keeper: Arc<Keeper>,
    waiters: Arc<Waiters>,
    lease_ms: u32,
    pub defaults: Lifetime,
}

impl Store {
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, waiters: Arc<Waiters>, config: &Config) -> Self {
        let defaults = Lifetime {
            ttl_seconds: config.default_ttl_seconds,
            stale_seconds: config.stale_seconds,
        };
        Self {
            keeper,
            waiters,
            lease_ms: config.lease_ms,
            defaults,
        }
    }

    #[must_use]
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// The stored value, fresh or not.
    pub async fn read(&self, key: &Key, variant: &Variant) -> Result<Option<Envelope>, StoreError> {
        let link = self.keeper.link()?;
        let found: Option<Bytes> = link
            .run(|mut connection| async move {
                redis::cmd("HGET")
                    .arg(key.values())
                    .arg(variant.as_str())
                    .query_async(&mut connection)
                    .await
            })
            .await?;
        Ok(found.and_then(Envelope::decode))
    }

    /// Takes the lease to rebuild a value.
    pub async fn claim(&self, key: &Key, variant: &Variant) -> Result<Claim, StoreError> {
        let link = self.keeper.link()?;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut call = CLAIM.key(key.values());
        call.key(key.leases())
            .arg(variant.as_str())
            .arg(now())
            .arg(&token)
            .arg(self.lease_ms);
        let (kind, left, value): (u8, i64, Bytes) = link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await?;
        let value = Envelope::decode(value);
        Ok(match (kind, value) {
            (0, Some(fresh)) => Claim::Fresh(fresh),
            (1, stale) => Claim::Granted { token, stale },
            (_, stale) => Claim::Busy {
                left_ms: u64::try_from(left).unwrap_or(0),
                stale,
            },
        })
    }

    /// Stores a value for the holder of a lease; false when the lease is void.
    pub async fn fill(
        &self,
        key: &Key,
        variant: &Variant,
        token: &str,
        json: Bytes,
        lifetime: Lifetime,
    ) -> Result<bool, StoreError> {
        self.put(key, variant, token, json, lifetime).await
    }

    /// Stores a value for whoever asks; a rebuild that is under way becomes void.
    pub async fn set(&self, key: &Key, json: Bytes, lifetime: Lifetime) -> Result<(), StoreError> {
        self.put(key, &Variant::default(), "", json, lifetime)
            .await?;
        Ok(())
    }

    async fn put(
        &self,
        key: &Key,
        variant: &Variant,
        token: &str,
        json: Bytes,
        lifetime: Lifetime,
    ) -> Result<bool, StoreError> {
        let link = self.keeper.link()?;
        let envelope = Envelope::new(json, now(), lifetime.ttl_seconds, lifetime.stale_seconds);
        let mut call = STORE.key(key.values());
        call.key(key.leases())
            .arg(variant.as_str())
            .arg(token)
            .arg(envelope.encode())
            .arg(envelope.stale_until)
            .arg(VARIANTS)
            .arg(self.keeper.channel())
            .arg(key.as_str());
        let stored: bool = link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await?;
        if stored {
            self.waiters.wake(key.as_str());
        }
        Ok(stored)
    }

    /// Gives a lease back, so that a waiter can have it; false when it was void.
    pub async fn release(
        &self,
        key: &Key,
        variant: &Variant,
        token: &str,
    ) -> Result<bool, StoreError> {
        let link = self.keeper.link()?;
        let mut call = RELEASE.key(key.leases());
        call.arg(variant.as_str())
            .arg(token)
            .arg(self.keeper.channel())
            .arg(key.as_str());
        let released: bool = link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await?;
        if released {
            self.waiters.wake(key.as_str());
        }
        Ok(released)
    }

    /// Deletes keys, all variants, and voids all their leases. How many had a fresh value.
    ///
    /// When this fails, the link is given up: what could not be deleted goes with the purge before the next one.
    pub async fn delete(&self, keys: &[Key]) -> Result<u64, StoreError> {
        let link = self.keeper.link()?;
        let mut found = 0;
        for batch in keys.chunks(BATCH) {
            let mut call = DELETE.prepare_invoke();
            call.arg(now()).arg(self.keeper.channel());
            for key in batch {
                call.key(key.values()).key(key.leases()).arg(key.as_str());
            }
            let count: u64 = link
                .run(|mut connection| async move { call.invoke_async(&mut connection).await })
                .await
                .inspect_err(|error| link.end(error))?;
            found += count;
            for key in batch {
                self.waiters.wake(key.as_str());
            }
        }
        Ok(found)
    }

    /// Deletes every key that begins with `prefix`, and voids the leases. The keys that were there.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let link = self.keeper.link()?;
        let removed = link
            .run(|mut connection| async move { purge::purge(&mut connection, prefix).await })
            .await
            .inspect_err(|error| link.end(error))?;
        self.waiters.wake_all();
        let channel = self.keeper.channel();
        link.run(|mut connection| async move {
            redis::cmd("PUBLISH")
                .arg(channel)
                .arg("")
                .query_async::<()>(&mut connection)
                .await
        })
        .await?;
        Ok(removed)
    }

    /// Looks at everything that is stored, in steps.
    pub async fn inspect(&self, most_items: usize) -> Result<Contents, StoreError> {
        let link = self.keeper.link()?;
        let mut contents = Contents::default();
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0;
        loop {
            let (next, found) = link
                .run(|mut connection| async move {
                    purge::scan(&mut connection, cursor, VALUES, "").await
                })
                .await?;
            let found: Vec<_> = found
                .into_iter()
                .filter(|key| seen.insert(key.clone()))
                .collect();
            for batch in found.chunks(BATCH) {
                let mut call = INSPECT.prepare_invoke();
                for key in batch {
                    call.key(key);
                }
                let figures: Vec<i64> = link
                    .run(|mut connection| async move { call.invoke_async(&mut connection).await })
                    .await?;
                let now = now();
                for (key, pair) in batch.iter().zip(figures.chunks_exact(2)) {
                    contents.bytes += u64::try_from(pair[1]).unwrap_or(0);
                    if pair[0] > now {
                        contents.size += 1;
                        if contents.items.len() < most_items {
                            let name = String::from_utf8_lossy(&key[VALUES.len()..]).into_owned();
                            let seconds = u64::try_from(pair[0] - now).unwrap_or(0).div_ceil(1000);
                            contents.items.insert(name, seconds);
                        }
                    }
                }
            }
            if next == 0 {
                return Ok(contents);
            }
            cursor = next;
        }
    }

    /// Keys that Redis itself removed for want of memory, since it started.
    pub async fn evictions(&self) -> Result<u64, StoreError> {
        let link = self.keeper.link()?;
        let report: String = link
            .run(|mut connection| async move {
                redis::cmd("INFO")
                    .arg("stats")
                    .query_async(&mut connection)
                    .await
            })
            .await?;
        Ok(report
            .lines()
            .find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse().ok())
            .unwrap_or(0))
    }

    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
