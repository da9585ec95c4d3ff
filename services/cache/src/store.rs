//! The cache's operations on Redis.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kit::safeguards::Safeguard;

use crate::{
    acknowledgements::Announcement,
    causes::Causes,
    config::Config,
    deletion::{Deletions, Everywhere},
    envelope::{Envelope, Facts, HEAD, Lifetime, Standing},
    error::StoreError,
    keeper::Keeper,
    key::{Key, Variant},
    purge,
    waiters::Waiters,
};

/// The most variants kept under one key.
const VARIANTS: usize = 128;
/// Keys that one script call inspects: more would keep others waiting.
const BATCH: usize = 50;
/// Steps through Redis that one call for a list of keys takes at most.
const LIST_STEPS: usize = 20;

script!(CLAIM, "claim.lua");
announcing!(STORE, "store.lua");
script!(RELEASE, "release.lua");
announcing!(EVERYTHING, "everything.lua");
script!(INSPECT, "inspect.lua");
script!(LIST, "list.lua");

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

/// One key, in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub key: String,
    pub variants: u64,
    /// When the youngest variant was stored, in milliseconds since 1970.
    pub stored_at: i64,
    /// Until when the freshest one is fresh.
    pub fresh_until: i64,
    /// Until when any is kept.
    pub kept_until: i64,
    /// Bytes of JSON.
    pub bytes: u64,
    /// Variants that are remembered absences.
    pub absent: u64,
    /// Milliseconds that a lease on it lasts.
    pub lease_ms: u64,
}

/// How long values live when nobody says.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    pub ttl_seconds: u32,
    pub swr_seconds: u32,
    pub sie_seconds: u32,
    /// Of rebuilt values.
    pub jitter_percent: u8,
}

/// The store; shared by all handlers.
pub struct Store {
    keeper: Arc<Keeper>,
    waiters: Arc<Waiters>,
    causes: Arc<Causes>,
    deletions: Deletions,
    lease_ms: u32,
    pub defaults: Defaults,
}

impl Store {
    #[must_use]
    pub fn new(
        keeper: Arc<Keeper>,
        waiters: Arc<Waiters>,
        causes: Arc<Causes>,
        deletions: Deletions,
        config: &Config,
    ) -> Self {
        let defaults = Defaults {
            ttl_seconds: config.default_ttl_seconds,
            swr_seconds: config.swr_seconds,
            sie_seconds: config.sie_seconds,
            jitter_percent: config.ttl_jitter_percent,
        };
        Self {
            keeper,
            waiters,
            causes,
            deletions,
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
        let link = self.keeper.proven()?;
        let values = self.keeper.names().values_of(key);
        let found: Option<Bytes> = link
            .run(|mut connection| async move {
                redis::cmd("HGET")
                    .arg(values)
                    .arg(variant.as_str())
                    .query_async(&mut connection)
                    .await
            })
            .await?;
        Ok(found.and_then(Envelope::decode))
    }

    /// Takes the lease to rebuild a value; `early` also while it is fresh.
    pub async fn claim(
        &self,
        key: &Key,
        variant: &Variant,
        early: bool,
    ) -> Result<Claim, StoreError> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        if !Safeguard::Leases.is_on() {
            return self.grant_to_anybody(key, variant, token, early).await;
        }
        let link = self.keeper.proven()?;
        let mut call = CLAIM.key(self.keeper.names().values_of(key));
        call.key(self.keeper.names().leases_of(key))
            .arg(variant.as_str())
            .arg(now())
            .arg(&token)
            .arg(self.lease_ms)
            .arg(u8::from(early));
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

    /// Without leases everybody rebuilds.
    async fn grant_to_anybody(
        &self,
        key: &Key,
        variant: &Variant,
        token: String,
        early: bool,
    ) -> Result<Claim, StoreError> {
        let found = self.read(key, variant).await?;
        let now = now();
        Ok(match found {
            Some(fresh) if fresh.is_fresh(now) && !early => Claim::Fresh(fresh),
            found => Claim::Granted {
                token,
                stale: found.filter(|old| old.standing(now) != Standing::Over),
            },
        })
    }

    /// Stores a value for the holder of a lease, with its freshness shortened at random; what was stored, or nothing when
    /// the lease is void.
    pub async fn fill(
        &self,
        key: &Key,
        variant: &Variant,
        token: &str,
        json: Bytes,
        lifetime: Lifetime,
        facts: Facts,
    ) -> Result<Option<Envelope>, StoreError> {
        let lifetime = lifetime.jittered(self.defaults.jitter_percent, rand::random());
        let envelope = Envelope::new(json, now(), lifetime, facts);
        let link = self.keeper.link()?;
        let mut call = self.storing(key, variant, token, &envelope);
        call.arg("").arg(u8::from(!Safeguard::Leases.is_on()));
        let (stored, _): (bool, Vec<String>) = link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await?;
        if !stored {
            return Ok(None);
        }
        self.stored(key, variant, &envelope);
        Ok(Some(envelope))
    }

    /// Stores a value for whoever asks; a rebuild that is under way becomes void, and copies of what was there too.
    pub async fn set(&self, key: &Key, json: Bytes, lifetime: Lifetime) -> Result<(), StoreError> {
        let variant = Variant::default();
        let envelope = Envelope::new(json, now(), lifetime, Facts::WRITTEN);
        let link = self.keeper.link()?;
        let mut call = self.storing(key, &variant, "", &envelope);
        call.arg(self.keeper.deletions());
        let (_, announced): (bool, Vec<String>) = link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await
            .inspect_err(|error| link.end(error))?;
        self.stored(key, &variant, &envelope);
        let announcement = Announcement::read(&announced).ok_or(StoreError::Away)?;
        self.everywhere(announcement, link).settle().await;
        Ok(())
    }

    fn storing(
        &self,
        key: &Key,
        variant: &Variant,
        token: &str,
        envelope: &Envelope,
    ) -> redis::ScriptInvocation<'static> {
        let mut call = STORE.key(self.keeper.names().values_of(key));
        call.key(self.keeper.names().leases_of(key))
            .key(&self.keeper.names().holders)
            .arg(variant.as_str())
            .arg(token)
            .arg(envelope.encode())
            .arg(envelope.kept_until())
            .arg(VARIANTS)
            .arg(self.keeper.wake_ups())
            .arg(key.as_str());
        call
    }

    fn stored(&self, key: &Key, variant: &Variant, envelope: &Envelope) {
        self.causes
            .promise(key.as_str(), variant.as_str(), envelope.kept_until());
        self.waiters.wake(key.as_str());
    }

    fn everywhere(&self, announcement: Announcement, link: crate::link::Link) -> Everywhere {
        Everywhere::new(self.keeper.clone(), announcement, link)
    }

    /// Gives a lease back, so that a waiter can have it; false when it was void.
    pub async fn release(
        &self,
        key: &Key,
        variant: &Variant,
        token: &str,
    ) -> Result<bool, StoreError> {
        let link = self.keeper.link()?;
        let mut call = RELEASE.key(self.keeper.names().leases_of(key));
        call.arg(variant.as_str())
            .arg(token)
            .arg(self.keeper.wake_ups())
            .arg(key.as_str());
        let released: bool = link
            .run(|mut connection| async move { call.invoke_async(&mut connection).await })
            .await?;
        if released {
            self.waiters.wake(key.as_str());
        }
        Ok(released)
    }

    /// Deletes keys, all variants, voids all their leases, and waits until no gateway serves a copy. Those that had a
    /// fresh value.
    ///
    /// When this fails, the link is given up: what could not be deleted goes with the purge before the next one.
    pub async fn delete(&self, keys: Vec<Key>) -> Result<Vec<Key>, StoreError> {
        self.deletions.delete(keys).await
    }

    /// [`Self::delete`] that does not give up with Redis: it returns also, with [`StoreError::Fenced`], when there is no
    /// link and nothing old can be served before there is one and a purge over it.
    pub async fn forget(&self, keys: Vec<Key>) -> Result<Vec<Key>, StoreError> {
        loop {
            match self.deletions.delete(keys.clone()).await {
                Err(StoreError::Away) => {}
                other => return other,
            }
            if self.keeper.link_or_fence().await {
                return Err(StoreError::Fenced);
            }
        }
    }

    /// Deletes every key that begins with `prefix`, voids the leases, and waits until no gateway serves a copy. The keys
    /// that were there.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let link = self.keeper.link()?;
        let removed = link
            .run(|mut connection| async move {
                purge::purge(&mut connection, self.keeper.names(), prefix).await
            })
            .await
            .inspect_err(|error| link.end(error))?;
        // Gateways forget everything: this is rare, and they do not search.
        let channel = self.keeper.deletions();
        let announced: Vec<String> = link
            .run(|mut connection| async move {
                EVERYTHING
                    .key(&self.keeper.names().holders)
                    .arg(channel)
                    .invoke_async(&mut connection)
                    .await
            })
            .await
            .inspect_err(|error| link.end(error))?;
        self.waiters.wake_all();
        let announcement = Announcement::read(&announced).ok_or(StoreError::Away)?;
        self.everywhere(announcement, link).settle().await;
        Ok(removed)
    }

    /// Looks at everything that is stored, in steps.
    pub async fn inspect(&self, most_items: usize) -> Result<Contents, StoreError> {
        let link = self.keeper.link()?;
        let space = &self.keeper.names().values;
        let mut contents = Contents::default();
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0;
        loop {
            let (next, found) = link
                .run(|mut connection| async move {
                    purge::scan(&mut connection, cursor, space, "", purge::STEP).await
                })
                .await?;
            let found: Vec<_> = found
                .into_iter()
                .filter(|key| seen.insert(key.clone()))
                .collect();
            for batch in found.chunks(BATCH) {
                let mut call = INSPECT.prepare_invoke();
                call.arg(HEAD);
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
                            let name = String::from_utf8_lossy(&key[space.len()..]).into_owned();
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

    /// Keys that begin with `prefix`, about `limit` of them, from `cursor` (0 at first) on; and the next cursor, 0 at the end.
    /// The work is bounded: a call may find few keys, or none, though there are more. A key may be told twice.
    pub async fn list(
        &self,
        prefix: &str,
        mut cursor: u64,
        limit: usize,
    ) -> Result<(u64, Vec<Figures>), StoreError> {
        let link = self.keeper.link()?;
        let names = self.keeper.names();
        let space = &names.values;
        let mut found = Vec::new();
        let mut step = limit;
        for _ in 0..LIST_STEPS {
            let (next, keys) = link
                .run(|mut connection| async move {
                    purge::scan(&mut connection, cursor, space, prefix, step).await
                })
                .await?;
            if keys.is_empty() {
                step = (step * 2).min(purge::STEP);
            }
            for batch in keys.chunks(BATCH) {
                let mut call = LIST.prepare_invoke();
                call.arg(now()).arg(HEAD);
                for key in batch {
                    call.key(key)
                        .key([names.leases.as_bytes(), &key[space.len()..]].concat());
                }
                let figures: Vec<i64> = link
                    .run(|mut connection| async move { call.invoke_async(&mut connection).await })
                    .await?;
                let rows = batch.iter().zip(figures.as_chunks().0);
                found
                    .extend(rows.filter_map(|(key, row)| Figures::read(&key[space.len()..], *row)));
            }
            cursor = next;
            if cursor == 0 || found.len() >= limit {
                break;
            }
        }
        Ok((cursor, found))
    }

    /// How many keys begin with `prefix`, stale ones included: what [`Self::delete_prefix`] would delete.
    pub async fn count_prefix(&self, prefix: &str) -> Result<usize, StoreError> {
        let link = self.keeper.link()?;
        let space = &self.keeper.names().values;
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0;
        loop {
            let (next, keys) = link
                .run(|mut connection| async move {
                    purge::scan(&mut connection, cursor, space, prefix, purge::STEP).await
                })
                .await?;
            seen.extend(keys);
            if next == 0 {
                return Ok(seen.len());
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
    pub fn causes(&self) -> &Causes {
        &self.causes
    }

    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

impl Figures {
    /// `None` for a key that went in the meantime.
    fn read(key: &[u8], row: [i64; 7]) -> Option<Self> {
        let [
            variants,
            stored_at,
            fresh_until,
            kept_until,
            bytes,
            absent,
            lease_ms,
        ] = row;
        let count = |figure: i64| u64::try_from(figure).unwrap_or(0);
        (variants > 0).then(|| Self {
            key: String::from_utf8_lossy(key).into_owned(),
            variants: count(variants),
            stored_at,
            fresh_until,
            kept_until,
            bytes: count(bytes),
            absent: count(absent),
            lease_ms: count(lease_ms),
        })
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
