//! The last sampled requests, with where their time went: what the console draws as waterfalls.
//!
//! A request that is not sampled costs one atomic load: nothing is allocated, nothing is locked.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, routing::get};
use chrono::{DateTime, SecondsFormat, Utc};
use kit::{
    Problem, extract,
    record::Exchange,
    timing::{self, Entry},
};
use serde::{Deserialize, Serialize};

use crate::snapshot::Rounded;

/// How many samples are kept.
pub const SAMPLES: usize = 256;
/// Bytes of a path that are kept.
const PATH: usize = 512;
/// Bytes of an upstream's `Server-Timing` that are read.
const TIMING: usize = 4096;

/// Why a request was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was one of so many a second.
    Regular,
    /// It failed: a status of 500 or more.
    Error,
    /// It took long.
    Slow,
}

/// How many requests are sampled.
#[derive(Clone, Copy, Debug)]
pub struct SampleSettings {
    /// A second, and as many failed and as many slow ones; 0 samples nothing.
    pub per_second: u32,
    /// From this on a request is slow.
    pub slow: Duration,
}

impl Default for SampleSettings {
    fn default() -> Self {
        Self {
            per_second: 10,
            slow: Duration::from_millis(250),
        }
    }
}

/// What is known of an answered request besides its [`Exchange`].
#[derive(Clone, Copy, Debug)]
pub struct Details<'a> {
    pub route: &'a str,
    /// Who answered, or failed to.
    pub upstream: Option<&'a str>,
    /// 0 when it never came to one.
    pub attempts: u32,
    /// From the request's arrival to the attempt that was answered.
    pub sent_after: Duration,
}

/// The ring of samples; cheap to clone.
#[derive(Clone, Debug)]
pub struct Samples(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    per_second: u32,
    slow: Duration,
    epoch: Instant,
    buckets: [Bucket; 3],
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    at: DateTime<Utc>,
    why: Why,
    request_id: Box<str>,
    method: Box<str>,
    path: Box<str>,
    route: Box<str>,
    status: u16,
    cache: &'static str,
    elapsed: Duration,
    upstream: Option<Box<str>>,
    attempts: u32,
    sent_after: Duration,
    timing: Box<str>,
}

/// One sampled request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Grows with every sample.
    pub id: u64,
    pub request_id: String,
    /// When the request came.
    pub at: String,
    pub why: Why,
    pub method: String,
    /// Without the query; cut off after 512 bytes.
    pub path: String,
    pub route: String,
    pub status: u16,
    /// `hit`, `miss`, `stale`, `bypass` or `none`.
    pub cache: String,
    /// Milliseconds from the request's head to the answer's.
    pub duration_ms: f64,
    /// Who answered, or failed to; null when it never came to an upstream.
    pub upstream: Option<String>,
    pub attempts: u32,
    /// The waterfall: this hop first, then every hop and store behind it. Starts count from `at`.
    pub timing: Vec<Entry>,
}

/// What `GET /admin/requests` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sampled {
    /// The newest id there is; 0 before the first.
    pub last: u64,
    /// How many of those asked for are not told, because they are gone or because of the limit.
    pub skipped: u64,
    /// How many are kept.
    pub capacity: usize,
    /// Samples a second, and as many failed and as many slow ones.
    pub per_second: u32,
    /// From this on a request is slow.
    pub slow_ms: u64,
    /// The oldest first.
    pub requests: Vec<Sample>,
}

/// Lets so many a second through, and so many at once.
#[derive(Debug)]
struct Bucket {
    /// Nanoseconds for one; 0 lets none through.
    interval: u64,
    /// When the bucket is full again, in nanoseconds.
    full_at: AtomicU64,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        Self {
            interval: 1_000_000_000_u64
                .checked_div(per_second.into())
                .unwrap_or(0),
            full_at: AtomicU64::new(0),
        }
    }

    fn admit(&self, now: u64) -> bool {
        let full_at = self.full_at.load(Ordering::Relaxed);
        if self.interval == 0 || full_at + self.interval > now + 1_000_000_000 {
            return false;
        }
        // Who loses the race is not sampled: there was another in the same moment.
        let next = full_at.max(now) + self.interval;
        self.full_at
            .compare_exchange(full_at, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

impl Samples {
    #[must_use]
    pub fn new(settings: SampleSettings, now: Instant) -> Self {
        let bucket = || Bucket::new(settings.per_second);
        Self(Arc::new(Inner {
            per_second: settings.per_second,
            slow: settings.slow,
            epoch: now,
            buckets: [bucket(), bucket(), bucket()],
            ring: Mutex::default(),
        }))
    }

    /// Whether a request that was answered `now` is to be [kept](Self::keep).
    #[must_use]
    pub fn admit(&self, status: u16, elapsed: Duration, now: Instant) -> Option<Why> {
        let why = if status >= 500 {
            Why::Error
        } else if elapsed >= self.0.slow {
            Why::Slow
        } else {
            Why::Regular
        };
        let now = now.saturating_duration_since(self.0.epoch).as_nanos() as u64;
        self.0.buckets[why as usize].admit(now).then_some(why)
    }

    /// Keeps a request that was answered `now`; `timing` is what its upstream wrote of itself.
    #[cold]
    pub fn keep<'t>(
        &self,
        why: Why,
        exchange: &Exchange<'_>,
        details: &Details<'_>,
        timing: impl Iterator<Item = &'t [u8]>,
        now: DateTime<Utc>,
    ) {
        let mut joined = String::new();
        for value in timing.filter_map(|value| std::str::from_utf8(value).ok()) {
            if joined.len() + value.len() <= TIMING {
                joined.push_str(value);
                joined.push(',');
            }
        }
        let mut kept = Kept {
            number: 0,
            at: now - exchange.elapsed,
            why,
            request_id: exchange.id.into(),
            method: exchange.method.into(),
            path: exchange.path[..exchange.path.floor_char_boundary(PATH)].into(),
            route: details.route.into(),
            status: exchange.status,
            cache: exchange.cache.as_str(),
            elapsed: exchange.elapsed,
            upstream: details.upstream.map(Into::into),
            attempts: details.attempts,
            sent_after: details.sent_after,
            timing: joined.into(),
        };
        let mut ring = self.ring();
        ring.last += 1;
        kept.number = ring.last;
        if ring.kept.len() == SAMPLES {
            ring.kept.pop_front();
        }
        ring.kept.push_back(kept);
    }

    /// The samples after `after`, the newest `limit` of them. One that is ahead of the newest comes from an earlier life of this
    /// process: then all are meant.
    #[must_use]
    pub fn read(&self, after: u64, limit: usize) -> Sampled {
        let ring = self.ring();
        let after = if after > ring.last { 0 } else { after };
        let newer = ring
            .kept
            .iter()
            .rev()
            .take_while(|kept| kept.number > after);
        let mut requests: Vec<Sample> = newer.take(limit).map(Kept::show).collect();
        requests.reverse();
        Sampled {
            last: ring.last,
            skipped: ring.last - after - requests.len() as u64,
            capacity: SAMPLES,
            per_second: self.0.per_second,
            slow_ms: u64::try_from(self.0.slow.as_millis()).unwrap_or(u64::MAX),
            requests,
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn show(&self) -> Sample {
        let sent = milliseconds(self.sent_after);
        let mut entries = timing::parse(&self.timing);
        for (index, entry) in entries.iter_mut().enumerate() {
            // The first is the upstream itself, which cannot know when it was asked.
            let start = entry.start_ms.or((index == 0).then_some(0.0));
            entry.start_ms = start.map(|start| (start + sent).rounded());
        }
        let duration_ms = milliseconds(self.elapsed);
        entries.insert(
            0,
            Entry {
                name: "balancer".to_owned(),
                start_ms: Some(0.0),
                duration_ms,
            },
        );
        Sample {
            id: self.number,
            request_id: self.request_id.to_string(),
            at: self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            why: self.why,
            method: self.method.to_string(),
            path: self.path.to_string(),
            route: self.route.to_string(),
            status: self.status,
            cache: self.cache.to_owned(),
            duration_ms,
            upstream: self.upstream.as_deref().map(str::to_owned),
            attempts: self.attempts,
            timing: entries,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).rounded()
}

/// `GET /admin/requests?after=&limit=`: the samples after an id (all, unless told), the newest `limit` of them (50 unless told).
pub fn router(samples: Samples) -> Router {
    Router::new()
        .route("/admin/requests", get(requests))
        .with_state(samples)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn requests(
    State(samples): State<Samples>,
    extract::Query(wanted): extract::Query<Wanted>,
) -> Result<Json<Sampled>, Problem> {
    let limit = wanted.limit.unwrap_or(50);
    if !(1..=SAMPLES).contains(&limit) {
        return Err(Problem::invalid(
            "limit",
            format!("must be 1 to {SAMPLES}, not {limit}"),
        ));
    }
    Ok(Json(samples.read(wanted.after, limit)))
}

#[cfg(test)]
mod tests;
