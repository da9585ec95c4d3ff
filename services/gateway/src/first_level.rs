//! The first level: copies of cached values in this gateway's memory, served only while it is certain that every deletion
//! reaches them.
//!
//! The protocol, and why no read that begins after a write's 2xx finds the value from before it, is told in
//! [`kit::caching::first_level`]. This gateway's part of it:
//!
//! - [`keeper`] holds the subscription and the lease. A renewal counts only when its ping came back over the subscription,
//!   behind every deletion that was published before it. Without a lease nothing is served from here ([`Lease`]).
//! - A deletion is acknowledged when it has been carried out here, and acknowledgements are cumulative.
//! - A look-up that was begun before a deletion must not leave its answer here after it: it takes a [`Stamp`] before it
//!   asks, and what it got is kept only while the stamp is still good ([`Guard`]).
//! - A reader may share a look-up that somebody else has already sent only while the lease is held and the stamp of that
//!   look-up is still good: then no write that was answered before the reader came is newer than the look-up
//!   ([`FirstLevel::proof`]).

pub mod keeper;
mod lease;
mod metrics;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

pub use lease::{Guard, Lease, Stamp};
pub use metrics::Metrics;

use crate::{rule::Place, shape, table::Shape};

/// Variants kept of one key.
const VARIANTS: usize = 128;
/// What a copy takes besides its text, in bytes.
const OVERHEAD: usize = 256;

/// A cached value with all that is needed to answer with it.
#[derive(Debug)]
pub struct Copy {
    /// When it was stored, as far as we know.
    pub made: Instant,
    /// Until when it is a hit.
    pub fresh_until: Instant,
    /// How long its making took; nothing when nobody measured it.
    pub rebuild: Duration,
    /// Whether it is the absence of a value: the JSON is then a problem without an instance.
    pub absent: bool,
    /// The value.
    pub json: Bytes,
    /// The shape that the body below was made for.
    shape: Shape,
    /// The body for a hit.
    body: Bytes,
}

impl Copy {
    /// A value as the shared cache knows it.
    #[must_use]
    pub fn new(times: Times, absent: bool, json: Bytes, shape: &Shape, gateway_id: &str) -> Self {
        let body = if absent {
            json.clone()
        } else {
            shape::answer(shape, true, json.clone(), gateway_id)
        };
        Self {
            made: times.made,
            fresh_until: times.fresh_until,
            rebuild: times.rebuild,
            absent,
            json,
            shape: shape.clone(),
            body,
        }
    }

    /// The body for a hit of a route of this shape. Two routes of different shapes may share a key.
    #[must_use]
    pub fn body(&self, shape: &Shape, gateway_id: &str) -> Bytes {
        if self.shape == *shape {
            self.body.clone()
        } else {
            shape::answer(shape, true, self.json.clone(), gateway_id)
        }
    }

    /// Whole seconds since it was made.
    #[must_use]
    pub fn age_seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.made).as_secs()
    }

    fn bytes(&self) -> usize {
        let own_body = self.body.as_ptr() != self.json.as_ptr();
        self.json.len() + if own_body { self.body.len() } else { 0 } + OVERHEAD
    }
}

/// When a value was made, and until when it may be used.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub made: Instant,
    pub fresh_until: Instant,
    pub rebuild: Duration,
}

/// The copies under one key, by variant, of one epoch.
#[derive(Debug)]
struct Copies {
    epoch: u64,
    variants: Vec<(Box<str>, Arc<Copy>)>,
}

/// Entries leave with the freshness of their last variant.
struct Freshness;

impl Expiry<Arc<str>, Arc<Copies>> for Freshness {
    fn expire_after_create(
        &self,
        _: &Arc<str>,
        copies: &Arc<Copies>,
        now: Instant,
    ) -> Option<Duration> {
        let last = copies
            .variants
            .iter()
            .map(|(_, copy)| copy.fresh_until)
            .max();
        Some(last.map_or(Duration::ZERO, |last| last.saturating_duration_since(now)))
    }

    fn expire_after_update(
        &self,
        key: &Arc<str>,
        copies: &Arc<Copies>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, copies, now)
    }
}

/// The first level of this gateway; shared by all requests.
pub struct FirstLevel {
    copies: Cache<Arc<str>, Arc<Copies>>,
    lease: Lease,
    guard: Guard,
    metrics: Metrics,
    /// Hits that the shared statistics do not know of yet.
    unsent_hits: AtomicU64,
}

impl FirstLevel {
    /// One that holds up to so many bytes, and no lease yet.
    #[must_use]
    pub fn new(bytes: u64, metrics: Metrics) -> Self {
        let copies = Cache::builder()
            .max_capacity(bytes)
            .weigher(|key: &Arc<str>, copies: &Arc<Copies>| {
                let variants: usize = copies
                    .variants
                    .iter()
                    .map(|(variant, copy)| variant.len() + copy.bytes())
                    .sum();
                u32::try_from(key.len() + variants).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .expire_after(Freshness)
            .build();
        Self {
            copies,
            lease: Lease::new(Instant::now()),
            guard: Guard::default(),
            metrics,
            unsent_hits: AtomicU64::new(0),
        }
    }

    /// A copy that may be served.
    #[must_use]
    pub fn get(&self, place: &Place, now: Instant) -> Option<Arc<Copy>> {
        // The lease is looked at first: what is found later is not older than what was certain then.
        let found = self
            .lease
            .is_held(now)
            .then(|| self.copies.get(place.key.as_str()))
            .flatten()
            .filter(|copies| copies.epoch == self.guard.epoch())
            .and_then(|copies| copies.find(&place.variant, now));
        if found.is_some() {
            self.metrics.hits.inc();
            self.unsent_hits.fetch_add(1, Ordering::Relaxed);
        } else {
            self.metrics.misses.inc();
        }
        found
    }

    /// To be taken before a value is asked for that may be kept.
    #[cfg(test)]
    fn stamp(&self, key: &str) -> Stamp {
        self.guard.stamp(key)
    }

    /// A stamp that proves: whatever was asked for under the same stamp is not older than any write that was answered
    /// before `now`. None without a lease.
    #[must_use]
    pub fn proof(&self, key: &str, now: Instant) -> Option<Stamp> {
        self.lease.is_held(now).then(|| self.guard.stamp(key))
    }

    /// Keeps a copy that was asked for under a stamp, unless it was deleted since.
    pub fn keep(&self, place: &Place, stamp: Stamp, copy: Arc<Copy>) {
        let now = Instant::now();
        self.guard.keep(&place.key, stamp, || {
            let mut variants = Vec::with_capacity(1);
            if let Some(known) = self.copies.get(place.key.as_str())
                && known.epoch == stamp.epoch
            {
                let others = known.variants.iter().filter(|(variant, copy)| {
                    **variant != *place.variant && copy.fresh_until > now
                });
                variants.extend(others.take(VARIANTS - 1).cloned());
            }
            variants.push((place.variant.as_str().into(), copy));
            let copies = Copies {
                epoch: stamp.epoch,
                variants,
            };
            self.copies
                .insert(place.key.as_str().into(), Arc::new(copies));
        });
    }

    /// Forgets a key with all its variants.
    fn forget(&self, key: &str) {
        self.guard.delete(key, || self.copies.invalidate(key));
        self.metrics.invalidations.inc();
    }

    /// Forgets everything.
    fn forget_all(&self) {
        self.guard.delete_all(|| self.copies.invalidate_all());
        self.metrics.invalidations.inc();
    }

    /// A renewal was confirmed that was begun then. A first level that had lost its lease begins anew.
    fn renewed(&self, begun: Instant) {
        if !self.lease.is_held(Instant::now()) {
            self.forget_all();
        }
        self.lease.renewed(begun);
        self.metrics.lease.set(1);
    }

    /// Nothing is served from here any more.
    fn lose(&self) {
        self.lease.lose();
        self.metrics.lease.set(0);
        self.forget_all();
    }

    /// Brings the gauges up to date.
    fn measure(&self) {
        self.copies.run_pending_tasks();
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.entries.set(gauge(self.copies.entry_count()));
        self.metrics.bytes.set(gauge(self.copies.weighted_size()));
        if !self.lease.is_held(Instant::now()) {
            self.metrics.lease.set(0);
        }
    }
}

impl Copies {
    fn find(&self, variant: &str, now: Instant) -> Option<Arc<Copy>> {
        let (_, copy) = self.variants.iter().find(|(name, _)| **name == *variant)?;
        (copy.fresh_until > now).then(|| copy.clone())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn first_level(bytes: u64) -> FirstLevel {
        FirstLevel::new(bytes, Metrics::register(&mut Registry::default()))
    }

    fn place(key: &str, variant: &str) -> Place {
        Place {
            key: key.to_owned(),
            variant: variant.to_owned(),
        }
    }

    fn copy(json: &'static str, now: Instant, fresh: Duration) -> Arc<Copy> {
        let times = Times {
            made: now,
            fresh_until: now + fresh,
            rebuild: Duration::ZERO,
        };
        let json = Bytes::from_static(json.as_bytes());
        Arc::new(Copy::new(times, false, json, &Shape::Plain, "1"))
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn copies_are_served_under_a_lease_only() {
        let level = first_level(1 << 20);
        let now = Instant::now();
        let a = place("a", "");
        let keep = |json| level.keep(&a, level.stamp("a"), copy(json, now, MINUTE));
        keep("1");
        assert!(level.get(&a, now).is_none(), "there is no lease");
        level.renewed(now);
        assert!(level.get(&a, now).is_none(), "it began anew");
        keep("2");
        let found = level.get(&a, now).expect("a copy");
        assert_eq!(found.body(&Shape::Plain, "1"), "2");
        assert!(level.get(&place("a", "limit=1"), now).is_none());
        assert!(level.get(&a, now + MINUTE).is_none(), "the lease is over");
        level.lose();
        assert!(level.get(&a, now).is_none());
        level.renewed(now);
        assert!(level.get(&a, now).is_none(), "it began anew");
    }

    #[test]
    fn variants_come_and_go_together_and_expire_alone() {
        let level = first_level(1 << 20);
        let now = Instant::now();
        level.renewed(now);
        let keep = |variant: &str, fresh| {
            level.keep(
                &place("a", variant),
                level.stamp("a"),
                copy("1", now, fresh),
            );
        };
        keep("", Duration::from_millis(500));
        keep("limit=1", MINUTE);
        let there = |variant: &str, after: u64| {
            let then = now + Duration::from_millis(after);
            level.get(&place("a", variant), then).is_some()
        };
        assert!(there("", 0) && there("limit=1", 0));
        assert!(!there("", 500) && there("limit=1", 500));
        level.forget("a");
        assert!(!there("", 0) && !there("limit=1", 0));
        keep("limit=1", MINUTE);
        level.forget_all();
        assert!(!there("limit=1", 0));
    }

    #[test]
    fn one_key_may_have_two_shapes() {
        let now = Instant::now();
        let shape = Shape::Wrapped("data".to_owned());
        let times = Times {
            made: now,
            fresh_until: now + MINUTE,
            rebuild: Duration::ZERO,
        };
        let copy = Copy::new(times, false, Bytes::from_static(b"7"), &shape, "1");
        assert_eq!(
            copy.body(&shape, "1"),
            r#"{"cached":true,"data":7,"gateway_id":"1"}"#
        );
        assert_eq!(copy.body(&Shape::Plain, "1"), "7");
        assert_eq!(copy.age_seconds(now + Duration::from_millis(1999)), 1);
    }

    #[test]
    fn a_proof_needs_a_lease() {
        let level = first_level(1 << 20);
        let now = Instant::now();
        assert_eq!(level.proof("a", now), None);
        level.renewed(now);
        let proof = level.proof("a", now).expect("a lease");
        assert_eq!(proof, level.stamp("a"));
        level.forget("a");
        assert_ne!(level.proof("a", now), Some(proof));
    }

    #[test]
    fn it_is_bounded_by_bytes() {
        let level = first_level(64 * 1024);
        let now = Instant::now();
        level.renewed(now);
        let text: &'static str = Box::leak("x".repeat(1000).into_boxed_str());
        for number in 0..500 {
            let key = format!("k{number}");
            level.keep(&place(&key, ""), level.stamp(&key), copy(text, now, MINUTE));
        }
        level.measure();
        let bytes = level.metrics.bytes.get();
        assert!((1..=64 * 1024).contains(&bytes), "{bytes}");
        assert!(level.metrics.entries.get() < 64);
    }
}
