//! Hits and misses: counted here, added up in Redis, so that several instances and restarts agree.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{error::StoreError, store::Store};

/// The Redis hash that holds the sums.
const SUMS: &str = "cache:stats";
/// How often what was counted here is added to the sums.
const FLUSH: Duration = Duration::from_millis(500);
/// How often the gauges of what is stored are renewed.
const INSPECT: Duration = Duration::from_secs(5);
/// Deleted keys whose next miss is known to be due to that.
const REMEMBERED: usize = 10_000;

/// Why a value was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
pub enum Cause {
    /// Never stored, as far as this instance knows.
    cold,
    /// Its time was over.
    expired,
    /// A write made it void.
    invalidated,
    /// It went with a flush or a prefix.
    flushed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: Cause,
}

/// What this instance counts.
#[derive(Default)]
pub struct Statistics {
    hits: Counter,
    misses: Family<CauseLabels, Counter>,
    pub fills: Counter,
    pub invalidations: Counter,
    pub flushes: Counter,
    pub lease_waits: Counter,
    evictions: Counter,
    entries: Gauge,
    bytes: Gauge,
    unsent_hits: AtomicU64,
    unsent_misses: AtomicU64,
    departed: Mutex<HashMap<String, Cause>>,
}

/// Sums over all instances since the statistics began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    pub hits: u64,
    pub misses: u64,
}

impl Sums {
    /// Hits among all look-ups, 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(self) -> f64 {
        let all = self.hits + self.misses;
        if all == 0 {
            0.0
        } else {
            self.hits as f64 / all as f64
        }
    }
}

impl Statistics {
    /// Registers the metrics.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "recarga_cache_hits",
            "Look-ups that found a fresh value",
            this.hits.clone(),
        );
        registry.register(
            "recarga_cache_misses",
            "Look-ups that did not, by cause",
            this.misses.clone(),
        );
        registry.register("recarga_cache_fills", "Values stored", this.fills.clone());
        registry.register(
            "recarga_cache_invalidations",
            "Keys deleted one by one",
            this.invalidations.clone(),
        );
        registry.register(
            "recarga_cache_flushes",
            "Flushes, of everything or of a prefix",
            this.flushes.clone(),
        );
        registry.register(
            "recarga_cache_lease_waits",
            "Look-ups that waited for somebody else's rebuild",
            this.lease_waits.clone(),
        );
        registry.register(
            "recarga_cache_evictions",
            "Keys Redis removed for want of memory while this instance watched",
            this.evictions.clone(),
        );
        registry.register(
            "recarga_cache_entries",
            "Keys with a fresh value",
            this.entries.clone(),
        );
        registry.register(
            "recarga_cache_bytes",
            "Bytes of JSON stored, stale ones included",
            this.bytes.clone(),
        );
        this
    }

    pub fn hit(&self) {
        self.hits.inc();
        self.unsent_hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a miss; `expired` says whether an old value was still there.
    pub fn miss(&self, key: &str, expired: bool) {
        let departed = self.departed().remove(key);
        let cause = match departed {
            Some(cause) => cause,
            None if expired => Cause::expired,
            None => Cause::cold,
        };
        self.misses.get_or_create(&CauseLabels { cause }).inc();
        self.unsent_misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers why keys went, for the next miss on each.
    pub fn departure<'a>(&self, keys: impl IntoIterator<Item = &'a str>, cause: Cause) {
        let mut departed = self.departed();
        for key in keys {
            if departed.len() >= REMEMBERED && !departed.contains_key(key) {
                return;
            }
            departed.insert(key.to_owned(), cause);
        }
    }

    fn departed(&self) -> std::sync::MutexGuard<'_, HashMap<String, Cause>> {
        self.departed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums, with what this instance has yet to add.
    pub async fn sums(&self, store: &Store) -> Result<Sums, StoreError> {
        let link = store.keeper().link()?;
        let (hits, misses): (Option<u64>, Option<u64>) = link
            .run(|mut connection| async move {
                redis::cmd("HMGET")
                    .arg(SUMS)
                    .arg("hits")
                    .arg("misses")
                    .query_async(&mut connection)
                    .await
            })
            .await?;
        Ok(Sums {
            hits: hits.unwrap_or(0) + self.unsent_hits.load(Ordering::Relaxed),
            misses: misses.unwrap_or(0) + self.unsent_misses.load(Ordering::Relaxed),
        })
    }

    /// Adds what was counted here to the sums; keeps it for later when Redis is away.
    pub async fn flush(&self, store: &Store) {
        let hits = self.unsent_hits.swap(0, Ordering::Relaxed);
        let misses = self.unsent_misses.swap(0, Ordering::Relaxed);
        if hits == 0 && misses == 0 {
            return;
        }
        let add = async {
            store
                .keeper()
                .link()?
                .run(|mut connection| async move {
                    redis::pipe()
                        .atomic()
                        .cmd("HINCRBY")
                        .arg(SUMS)
                        .arg("hits")
                        .arg(hits)
                        .ignore()
                        .cmd("HINCRBY")
                        .arg(SUMS)
                        .arg("misses")
                        .arg(misses)
                        .ignore()
                        .query_async::<()>(&mut connection)
                        .await
                })
                .await
        };
        if add.await.is_err() {
            self.unsent_hits.fetch_add(hits, Ordering::Relaxed);
            self.unsent_misses.fetch_add(misses, Ordering::Relaxed);
        }
    }

    /// Keeps the sums and the gauges up to date, for ever.
    pub async fn run(self: Arc<Self>, store: Arc<Store>) {
        let mut inspect = tokio::time::interval(INSPECT);
        inspect.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut evicted = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(FLUSH) => self.flush(&store).await,
                _ = inspect.tick() => self.renew_gauges(&store, &mut evicted).await,
            }
        }
    }

    async fn renew_gauges(&self, store: &Store, evicted: &mut Option<u64>) {
        if let Ok(contents) = store.inspect(0).await {
            self.entries
                .set(i64::try_from(contents.size).unwrap_or(i64::MAX));
            self.bytes
                .set(i64::try_from(contents.bytes).unwrap_or(i64::MAX));
        }
        if let Ok(now) = store.evictions().await {
            // Redis counts from its own start: a smaller number means it was restarted.
            let before = evicted.replace(now).unwrap_or(now);
            self.evictions
                .inc_by(now.checked_sub(before).unwrap_or(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_have_no_division_by_zero() {
        for (hits, misses, ratio) in [(0, 0, 0.0), (3, 1, 0.75), (0, 9, 0.0), (9, 0, 1.0)] {
            assert!((Sums { hits, misses }.hit_ratio() - ratio).abs() < 1e-9);
        }
    }

    #[test]
    fn misses_are_told_apart() {
        let statistics = Statistics::default();
        statistics.departure(["a"], Cause::flushed);
        statistics.departure(["b"], Cause::invalidated);
        for (key, expired) in [("a", false), ("a", true), ("b", true), ("c", false)] {
            statistics.miss(key, expired);
        }
        let count = |cause| {
            statistics
                .misses
                .get_or_create(&CauseLabels { cause })
                .get()
        };
        assert_eq!(
            [
                count(Cause::flushed),
                count(Cause::expired),
                count(Cause::invalidated),
                count(Cause::cold)
            ],
            [1, 1, 1, 1]
        );
    }
}
