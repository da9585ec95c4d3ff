//! One reading of an instance's metrics: the ones the console knows, as typed keys.

use std::collections::BTreeMap;

use super::histogram::Histogram;

/// What only grows while a process lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    Requests,
    /// Answered with a 5xx status.
    Errors,
    /// The same, of one route.
    RouteErrors(String),
    CpuSeconds,
    Retries,
    RateLimited,
    CacheHits,
    CacheMisses,
    CacheFlushes,
    /// Look-ups that found nothing, by why.
    Missed(Cause),
    /// Reads past the cache, by the gateway's reason.
    Bypassed(String),
    CacheFills,
    CacheEarly,
    CacheInvalidations,
    CacheLeaseWaits,
    CacheEvictions,
    FirstLevelHits,
    FirstLevelMisses,
    Lookup(Lookup),
    /// Seconds that answers took whose value the cache had not, and how many there were.
    RebuildSeconds,
    Rebuilds,
    /// Requests a balancer sent to the upstream of this label.
    Upstream(String),
    UpstreamFailures(String),
    QueueSent(String),
    QueueAcknowledged(String),
    QueueReceived(String),
    QueueRedelivered(String),
    TasksCompleted,
    NotificationsSent,
    OutboxDelivered,
    OutboxFailures,
    /// Writes that were committed in groups, and the groups.
    CommitWrites,
    CommitGroups,
    Postgres(Sum),
    Redis(Keeper, Sum),
}

/// Why a value was not in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Cold,
    Expired,
    Invalidated,
    Flushed,
    Evicted,
    Bypass,
}

impl Cause {
    pub const ALL: [Self; 6] = [
        Self::Cold,
        Self::Expired,
        Self::Invalidated,
        Self::Flushed,
        Self::Evicted,
        Self::Bypass,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Flushed => "flushed",
            Self::Evicted => "evicted",
            Self::Bypass => "bypass",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

/// What a Redis is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    /// The cache, the limits, and the queue where it has none of its own.
    Shared,
    Queue,
}

/// What a store counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sum {
    Committed,
    RolledBack,
    /// Looked for and found in memory; or not.
    Found,
    Missing,
    Deadlocks,
    TemporaryBytes,
    WalBytes,
    Checkpoints,
    Commands,
    Evicted,
    Expired,
    Rejected,
    ReceivedBytes,
    SentBytes,
    DelayedSyncs,
}

/// What of a store goes up and down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Connections of clients, by state where it is told.
    Connections(String),
    MostConnections,
    Blocked,
    LocksWaiting,
    OldestTransaction,
    Bytes,
    ResidentBytes,
    MostBytes,
    Keys,
    /// 1 or 0.
    AofEnabled,
    AofOk,
    AofBytes,
    SnapshotOk,
    LastFork,
    Uptime,
}

/// How a gateway's look-up in the cache ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    Hit,
    Miss,
    Stale,
    Bypass,
}

impl Lookup {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
        }
    }
}

/// What goes up and down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    InFlight,
    ResidentBytes,
    StartTime,
    Draining,
    PostgresUp,
    RedisUp,
    QueueRedisUp,
    HostCpu,
    HostMemoryUsed,
    HostMemoryTotal,
    HostCores,
    UpstreamUp(String),
    UpstreamWeight(String),
    CacheEntries,
    CacheBytes,
    QueueDepth(String),
    QueueInFlight(String),
    QueueDead(String),
    QueueOldestAge(String),
    QueueDelayed(String),
    /// Messages behind another one with their ordering key.
    QueueBehind(String),
    QueueBytes(String),
    OutboxPending,
    OutboxOldestAge,
    CommitWaiting,
    TasksRunning,
    OpenFiles,
    MostFiles,
    Sockets,
    Threads,
    RuntimeTasks,
    FirstLevelEntries,
    FirstLevelBytes,
    Postgres(Level),
    Redis(Keeper, Level),
}

/// The numbers of one scrape. What was not exported is absent, never zero; only a process that shows its own start
/// and no request yet has answered none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub counters: BTreeMap<Counter, f64>,
    pub gauges: BTreeMap<Gauge, f64>,
    /// Requests answered from the cache (fresh or stale).
    pub cached: Histogram,
    /// All other requests.
    pub uncached: Histogram,
    /// All requests by route, of an instance that counts them so.
    pub routes: BTreeMap<String, Histogram>,
}

/// Builds a [`Sample`] out of single series.
#[derive(Debug, Default)]
pub struct Builder {
    sample: Sample,
    cached: BTreeMap<u64, u64>,
    uncached: BTreeMap<u64, u64>,
    routes: BTreeMap<String, BTreeMap<u64, u64>>,
}

/// Labels a single scrape may name; beyond it a hostile exporter is ignored, not remembered.
const MOST_LABELS: usize = 256;

impl Builder {
    /// Takes one series in; unknown names are ignored. `label` looks a label's value up.
    pub fn add<'a>(&mut self, name: &str, value: f64, label: impl Fn(&str) -> Option<&'a str>) {
        let labelled = |of: &str| label(of).unwrap_or("").to_owned();
        let counter = match name {
            "recarga_http_requests_total" => {
                if label("status").is_some_and(|status| status.starts_with('5')) {
                    self.count(Counter::Errors, value);
                    if let Some(route) = label("route") {
                        self.count(Counter::RouteErrors(route.to_owned()), value);
                    }
                } else {
                    self.count(Counter::Errors, 0.0);
                }
                Counter::Requests
            }
            "recarga_http_request_duration_seconds_bucket" => {
                return self.bucket(label("cache"), label("le"), value);
            }
            "recarga_http_route_duration_seconds_bucket" => {
                let known = self.routes.len();
                if let Some(route) = label("route")
                    && (known < MOST_LABELS || self.routes.contains_key(route))
                {
                    let side = self.routes.entry(route.to_owned()).or_default();
                    bucket(side, label("le"), value);
                }
                return;
            }
            "process_cpu_seconds_total" => Counter::CpuSeconds,
            "recarga_retries_total" => Counter::Retries,
            "recarga_rate_limited_total" => Counter::RateLimited,
            "recarga_cache_hits_total" => Counter::CacheHits,
            "recarga_cache_misses_total" => {
                if let Some(cause) = label("cause").and_then(Cause::parse) {
                    self.count(Counter::Missed(cause), value);
                }
                if let Some(reason) = label("reason") {
                    self.count(Counter::Bypassed(reason.to_owned()), value);
                }
                Counter::CacheMisses
            }
            "recarga_http_request_duration_seconds_sum" if label("cache") == Some("miss") => {
                Counter::RebuildSeconds
            }
            "recarga_http_request_duration_seconds_count" if label("cache") == Some("miss") => {
                Counter::Rebuilds
            }
            "recarga_cache_flushes_total" => Counter::CacheFlushes,
            "recarga_cache_fills_total" => Counter::CacheFills,
            "recarga_cache_early_refreshes_total" => Counter::CacheEarly,
            "recarga_cache_invalidations_total" => Counter::CacheInvalidations,
            "recarga_cache_lease_waits_total" => Counter::CacheLeaseWaits,
            "recarga_cache_evictions_total" => Counter::CacheEvictions,
            "recarga_first_level_hits_total" => Counter::FirstLevelHits,
            "recarga_first_level_misses_total" => Counter::FirstLevelMisses,
            "recarga_cache_lookups_total" => Counter::Lookup(match label("result") {
                Some("hit") => Lookup::Hit,
                Some("miss") => Lookup::Miss,
                Some("stale") => Lookup::Stale,
                _ => Lookup::Bypass,
            }),
            "recarga_upstream_requests_total" => Counter::Upstream(labelled("upstream")),
            "recarga_upstream_failures_total" => Counter::UpstreamFailures(labelled("upstream")),
            "recarga_queue_sent_total" => Counter::QueueSent(labelled("queue")),
            "recarga_queue_acknowledged_total" => Counter::QueueAcknowledged(labelled("queue")),
            "recarga_queue_received_total" => Counter::QueueReceived(labelled("queue")),
            "recarga_queue_redelivered_total" => Counter::QueueRedelivered(labelled("queue")),
            "recarga_tasks_completed_total" => Counter::TasksCompleted,
            "recarga_notifications_sent_total" => Counter::NotificationsSent,
            "recarga_outbox_delivered_total" => Counter::OutboxDelivered,
            "recarga_outbox_failures_total" => Counter::OutboxFailures,
            "recarga_commit_group_size_sum" => Counter::CommitWrites,
            "recarga_commit_group_size_count" => Counter::CommitGroups,
            _ => match (store_sum(name, &label), keeper(&label)) {
                (Some(sum), _) if name.starts_with("recarga_postgres_") => Counter::Postgres(sum),
                (Some(sum), Some(keeper)) => Counter::Redis(keeper, sum),
                _ => return self.add_gauge(name, value, label),
            },
        };
        self.count(counter, value);
    }

    fn add_gauge<'a>(&mut self, name: &str, value: f64, label: impl Fn(&str) -> Option<&'a str>) {
        let labelled = |of: &str| label(of).unwrap_or("").to_owned();
        let gauge = match name {
            "recarga_http_requests_in_flight" => Gauge::InFlight,
            "process_resident_memory_bytes" => Gauge::ResidentBytes,
            "process_start_time_seconds" => Gauge::StartTime,
            "recarga_draining" => Gauge::Draining,
            "recarga_store_up" => match label("store") {
                Some("postgres") => Gauge::PostgresUp,
                Some("redis") => Gauge::RedisUp,
                Some("queue") => Gauge::QueueRedisUp,
                _ => return,
            },
            "recarga_host_cpu_ratio" => Gauge::HostCpu,
            "recarga_host_memory_used_bytes" => Gauge::HostMemoryUsed,
            "recarga_host_memory_total_bytes" => Gauge::HostMemoryTotal,
            "recarga_host_cores" => Gauge::HostCores,
            "recarga_upstream_up" => Gauge::UpstreamUp(labelled("upstream")),
            "recarga_upstream_weight" => Gauge::UpstreamWeight(labelled("upstream")),
            "recarga_cache_entries" => Gauge::CacheEntries,
            "recarga_cache_bytes" => Gauge::CacheBytes,
            "recarga_queue_depth" => Gauge::QueueDepth(labelled("queue")),
            "recarga_queue_in_flight" => Gauge::QueueInFlight(labelled("queue")),
            "recarga_queue_dead" => Gauge::QueueDead(labelled("queue")),
            "recarga_queue_oldest_age_seconds" => Gauge::QueueOldestAge(labelled("queue")),
            "recarga_queue_delayed" => Gauge::QueueDelayed(labelled("queue")),
            "recarga_queue_waiting" => Gauge::QueueBehind(labelled("queue")),
            "recarga_queue_bytes" => Gauge::QueueBytes(labelled("queue")),
            "recarga_outbox_pending" => Gauge::OutboxPending,
            "recarga_outbox_oldest_age_seconds" => Gauge::OutboxOldestAge,
            "recarga_commit_waiting" => Gauge::CommitWaiting,
            "recarga_tasks_running" => Gauge::TasksRunning,
            "process_open_fds" => Gauge::OpenFiles,
            "process_max_fds" => Gauge::MostFiles,
            "process_open_sockets" => Gauge::Sockets,
            "process_threads" => Gauge::Threads,
            "recarga_runtime_tasks" => Gauge::RuntimeTasks,
            "recarga_first_level_entries" => Gauge::FirstLevelEntries,
            "recarga_first_level_bytes" => Gauge::FirstLevelBytes,
            _ => match (store_level(name, &label), keeper(&label)) {
                (Some(level), _) if name.starts_with("recarga_postgres_") => Gauge::Postgres(level),
                (Some(level), Some(keeper)) => Gauge::Redis(keeper, level),
                _ => return,
            },
        };
        if value.is_finite() && self.sample.gauges.len() < MOST_LABELS {
            // Several series of one gauge (one per route, say) add up.
            *self.sample.gauges.entry(gauge).or_default() += value;
        }
    }

    fn count(&mut self, counter: Counter, value: f64) {
        if value.is_finite() && value >= 0.0 && self.sample.counters.len() < MOST_LABELS {
            *self.sample.counters.entry(counter).or_default() += value;
        }
    }

    fn bucket(&mut self, cache: Option<&str>, bound: Option<&str>, count: f64) {
        let side = match cache {
            Some("hit" | "stale") => &mut self.cached,
            _ => &mut self.uncached,
        };
        bucket(side, bound, count);
    }

    pub fn build(mut self) -> Sample {
        // A family with labels has no series before its first event.
        if self.sample.gauges.contains_key(&Gauge::StartTime) {
            for counter in [Counter::Requests, Counter::Errors] {
                self.sample.counters.entry(counter).or_default();
            }
        }
        self.sample.cached = Histogram::from_cumulative(&self.cached);
        self.sample.uncached = Histogram::from_cumulative(&self.uncached);
        self.sample.routes = std::mem::take(&mut self.routes)
            .into_iter()
            .map(|(route, buckets)| (route, Histogram::from_cumulative(&buckets)))
            .collect();
        self.sample
    }
}

/// Which Redis a series is about.
fn keeper<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Keeper> {
    match label("store")? {
        "redis" => Some(Keeper::Shared),
        "queue" => Some(Keeper::Queue),
        _ => None,
    }
}

#[expect(clippy::match_same_arms, reason = "a line for each name, by store")]
fn store_sum<'a>(name: &str, label: impl Fn(&str) -> Option<&'a str>) -> Option<Sum> {
    let (store, figure) = name.strip_prefix("recarga_")?.split_once('_')?;
    let figure = figure.strip_suffix("_total")?;
    Some(match (store, figure) {
        ("postgres", "transactions") if label("outcome") == Some("committed") => Sum::Committed,
        ("postgres", "transactions") => Sum::RolledBack,
        ("postgres", "blocks") if label("source") == Some("memory") => Sum::Found,
        ("postgres", "blocks") => Sum::Missing,
        ("postgres", "deadlocks") => Sum::Deadlocks,
        ("postgres", "temporary_bytes") => Sum::TemporaryBytes,
        ("postgres", "wal_bytes") => Sum::WalBytes,
        ("postgres", "checkpoints") => Sum::Checkpoints,
        ("redis", "lookups") if label("result") == Some("hit") => Sum::Found,
        ("redis", "lookups") => Sum::Missing,
        ("redis", "commands") => Sum::Commands,
        ("redis", "evicted_keys") => Sum::Evicted,
        ("redis", "expired_keys") => Sum::Expired,
        ("redis", "rejected_connections") => Sum::Rejected,
        ("redis", "received_bytes") => Sum::ReceivedBytes,
        ("redis", "sent_bytes") => Sum::SentBytes,
        ("redis", "aof_delayed_fsyncs") => Sum::DelayedSyncs,
        _ => return None,
    })
}

#[expect(clippy::match_same_arms, reason = "a line for each name, by store")]
fn store_level<'a>(name: &str, label: impl Fn(&str) -> Option<&'a str>) -> Option<Level> {
    let (store, figure) = name.strip_prefix("recarga_")?.split_once('_')?;
    Some(match (store, figure) {
        ("postgres", "connections") => Level::Connections(label("state").unwrap_or("").to_owned()),
        ("postgres", "connections_max") => Level::MostConnections,
        ("postgres", "locks_waiting") => Level::LocksWaiting,
        ("postgres", "oldest_transaction_seconds") => Level::OldestTransaction,
        ("postgres", "database_bytes") => Level::Bytes,
        ("redis", "clients") => Level::Connections(String::new()),
        ("redis", "clients_max") => Level::MostConnections,
        ("redis", "clients_blocked") => Level::Blocked,
        ("redis", "memory_used_bytes") => Level::Bytes,
        ("redis", "memory_resident_bytes") => Level::ResidentBytes,
        ("redis", "memory_max_bytes") => Level::MostBytes,
        ("redis", "keys") => Level::Keys,
        ("redis", "aof_enabled") => Level::AofEnabled,
        ("redis", "aof_write_ok") => Level::AofOk,
        ("redis", "aof_bytes") => Level::AofBytes,
        ("redis", "snapshot_ok") => Level::SnapshotOk,
        ("redis", "last_fork_seconds") => Level::LastFork,
        ("redis", "uptime_seconds") => Level::Uptime,
        _ => return None,
    })
}

/// Takes one bucket of a histogram in, unless it makes no sense.
fn bucket(side: &mut BTreeMap<u64, u64>, bound: Option<&str>, count: f64) {
    let Some(bound) = bound.and_then(|text| text.parse::<f64>().ok()) else {
        return;
    };
    if bound.is_nan() || bound <= 0.0 || !count.is_finite() || count < 0.0 {
        return;
    }
    if side.len() < 4 * MOST_LABELS {
        let total = side.entry(bound.to_bits()).or_default();
        *total = total.saturating_add(count as u64);
    }
}

#[cfg(test)]
pub mod testing {
    //! Samples for tests.
    use super::*;

    pub fn of(counters: &[(Counter, f64)], gauges: &[(Gauge, f64)]) -> Sample {
        Sample {
            counters: counters.iter().cloned().collect(),
            gauges: gauges.iter().cloned().collect(),
            ..Sample::default()
        }
    }
}
