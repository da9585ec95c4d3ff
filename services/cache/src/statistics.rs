//! Hits and misses: counted here, added up in Redis, so that several instances and restarts agree.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kit::caching::first_level::{BYPASSES, FIRST_LEVEL_HITS};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::Mutex;

use crate::{causes::Cause, error::StoreError, store::Store};

/// How often what was counted here is added to the sums.
const FLUSH: Duration = Duration::from_millis(500);
/// How often the gauges of what is stored are renewed.
const INSPECT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: Cause,
}

/// What this instance counts.
#[derive(Default)]
pub struct Statistics {
    hits: Counter,
    misses: Family<CauseLabels, Counter>,
    stale: Counter,
    pub fills: Counter,
    pub early: Counter,
    pub invalidations: Counter,
    pub flushes: Counter,
    pub lease_waits: Counter,
    evictions: Counter,
    entries: Gauge,
    bytes: Gauge,
    unsent_hits: AtomicU64,
    unsent_stale: AtomicU64,
    unsent_misses: [AtomicU64; Cause::ALL.len()],
    /// Held by whoever adds them to the sums.
    flushing: Mutex<()>,
}

/// Sums over all instances since the statistics began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Look-ups of this service that found a fresh value.
    pub hits: u64,
    /// Reads that gateways answered from their first levels.
    pub first_level_hits: u64,
    /// Look-ups that got a value past its freshness at once.
    pub stale: u64,
    /// Look-ups that found nothing fresh, by cause in the order of [`Cause::ALL`].
    pub misses: [u64; Cause::ALL.len()],
    /// Reads of cacheable routes that gateways sent past the cache.
    pub bypasses: u64,
}

impl Sums {
    /// Hits, wherever they were.
    #[must_use]
    pub fn all_hits(&self) -> u64 {
        self.hits + self.first_level_hits
    }

    #[must_use]
    pub fn all_misses(&self) -> u64 {
        self.misses.iter().sum()
    }

    /// Hits among hits and misses, 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let (hits, misses) = (self.all_hits(), self.all_misses());
        if hits + misses == 0 {
            0.0
        } else {
            hits as f64 / (hits + misses) as f64
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
        registry.register(
            "recarga_cache_stale",
            "Look-ups that got a value past its freshness at once, while somebody else rebuilds it",
            this.stale.clone(),
        );
        registry.register("recarga_cache_fills", "Values stored", this.fills.clone());
        registry.register(
            "recarga_cache_early_refreshes",
            "Leases to rebuild a value that was still fresh",
            this.early.clone(),
        );
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

    /// Counts a look-up that got a value past its freshness, and no lease.
    pub fn stale(&self) {
        self.stale.inc();
        self.unsent_stale.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a miss.
    pub fn miss(&self, cause: Cause) {
        self.misses.get_or_create(&CauseLabels { cause }).inc();
        self.unsent_misses[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The sums, with what this instance has yet to add.
    pub async fn sums(&self, store: &Store) -> Result<Sums, StoreError> {
        let link = store.keeper().link()?;
        let mut fields = vec![
            "hits".to_owned(),
            "stale".to_owned(),
            FIRST_LEVEL_HITS.to_owned(),
            BYPASSES.to_owned(),
        ];
        fields.extend(Cause::ALL.map(field));
        let found: Vec<Option<u64>> = link
            .run(|mut connection| async move {
                redis::cmd("HMGET")
                    .arg(&store.keeper().names().sums)
                    .arg(fields)
                    .query_async(&mut connection)
                    .await
            })
            .await?;
        let number = |index: usize| found.get(index).copied().flatten().unwrap_or(0);
        let unsent = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Sums {
            hits: number(0) + unsent(&self.unsent_hits),
            stale: number(1) + unsent(&self.unsent_stale),
            first_level_hits: number(2),
            bypasses: number(3),
            misses: array::from_fn(|cause| number(4 + cause) + unsent(&self.unsent_misses[cause])),
        })
    }

    /// Adds what was counted here to the sums; keeps it for later when Redis is away. What somebody else is adding has
    /// been added, or is counted here again, before it returns: the last one before the end leaves nothing on its way.
    pub async fn flush(&self, store: &Store) {
        let _turn = self.flushing.lock().await;
        let counters = [
            ("hits".to_owned(), &self.unsent_hits),
            ("stale".to_owned(), &self.unsent_stale),
        ]
        .into_iter()
        .chain(Cause::ALL.map(|cause| (field(cause), &self.unsent_misses[cause as usize])));
        let taken: Vec<_> = counters
            .map(|(field, counter)| (field, counter, counter.swap(0, Ordering::Relaxed)))
            .filter(|(_, _, count)| *count > 0)
            .collect();
        if taken.is_empty() {
            return;
        }
        let mut additions = redis::pipe();
        additions.atomic();
        for (field, _, count) in &taken {
            additions
                .cmd("HINCRBY")
                .arg(&store.keeper().names().sums)
                .arg(field)
                .arg(*count)
                .ignore();
        }
        let add = async {
            store
                .keeper()
                .link()?
                .run(|mut connection| async move {
                    additions.query_async::<()>(&mut connection).await
                })
                .await
        };
        if add.await.is_err() {
            for (_, counter, count) in taken {
                counter.fetch_add(count, Ordering::Relaxed);
            }
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

/// The field of the sums that a cause is added up in.
fn field(cause: Cause) -> String {
    format!("misses:{}", cause.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_have_no_division_by_zero() {
        for (hits, first_level_hits, misses, ratio) in [
            (0, 0, 0, 0.0),
            (3, 0, 1, 0.75),
            (2, 1, 1, 0.75),
            (0, 0, 9, 0.0),
            (0, 9, 0, 1.0),
        ] {
            let sums = Sums {
                hits,
                first_level_hits,
                misses: [misses, 0, 0, 0, 0],
                ..Sums::default()
            };
            assert!((sums.hit_ratio() - ratio).abs() < 1e-9);
        }
    }

    #[test]
    fn causes_are_counted_apart() {
        let statistics = Statistics::default();
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
            statistics.miss(cause);
            let labels = CauseLabels { cause };
            assert_eq!(statistics.misses.get_or_create(&labels).get(), 1);
        }
    }
}
