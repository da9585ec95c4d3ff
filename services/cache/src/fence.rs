//! What a link to Redis may be used for, from when it was last proven alive: a clock that is asked, not one that runs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use kit::caching::first_level::{BEAT_LIFE, GAP, LEASE, PROOF};

/// When a link was last proven alive.
///
/// What counts is when a proof was *asked for*: its answer says nothing of what happened on the way back, and a process
/// that was stopped in between learns from it how long it was away.
#[derive(Debug)]
pub struct Proof {
    start: Instant,
    /// Microseconds after the start.
    last: AtomicU64,
}

impl Proof {
    /// A link that was made by something asked for at `asked`.
    #[must_use]
    pub fn new(asked: Instant) -> Self {
        Self {
            start: asked,
            last: AtomicU64::new(0),
        }
    }

    /// The link answered what was asked at `asked`.
    pub fn answered(&self, asked: Instant) {
        let after = asked.saturating_duration_since(self.start).as_micros();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.last.fetch_max(after, Ordering::AcqRel);
    }

    /// How long ago the last proof was asked for.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_micros(self.last.load(Ordering::Acquire));
        now.saturating_duration_since(self.start)
            .saturating_sub(last)
    }

    /// Whether what is read over the link may be served.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) <= PROOF
    }

    /// Whether somebody may have given us up: the link must not be used again.
    #[must_use]
    pub fn is_broken(&self, now: Instant) -> bool {
        self.age(now) > GAP
    }

    /// When the link is broken unless it is proven before.
    #[must_use]
    pub fn breaks_at(&self) -> Instant {
        self.start + Duration::from_micros(self.last.load(Ordering::Acquire)) + GAP
    }
}

/// When no first level holds a lease any more that was renewed on the strength of a sign of life given before `last`.
#[must_use]
pub fn leases_over_at(last: Instant) -> Instant {
    // The rest is for clocks that do not run equally fast.
    last + BEAT_LIFE + LEASE + Duration::from_millis(50)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_proof_is_as_old_as_its_question() {
        let start = Instant::now();
        let proof = Proof::new(start);
        for (after, fresh, broken) in [
            (0, true, false),
            (400, true, false),
            (401, false, false),
            (1000, false, false),
            (1001, false, true),
        ] {
            assert_eq!(proof.is_fresh(start + ms(after)), fresh, "{after}");
            assert_eq!(proof.is_broken(start + ms(after)), broken, "{after}");
        }
        assert_eq!(proof.breaks_at(), start + GAP);
        // An answer that comes late is an old proof.
        proof.answered(start + ms(100));
        assert!(!proof.is_fresh(start + ms(501)));
        // Answers may overtake each other.
        proof.answered(start + ms(50));
        assert_eq!(proof.age(start + ms(150)), ms(50));
        assert_eq!(proof.breaks_at(), start + ms(100) + GAP);
    }

    proptest! {
        /// A process that is stopped for longer than the gap never finds its link usable, whenever it was stopped and
        /// whatever was on its way then.
        #[test]
        fn nobody_wakes_up_unnoticed(
            beats in prop::collection::vec((50_u64..150, 1_u64..300), 0..20),
            stop in 1001_u64..5000,
            late in 0_u64..100,
        ) {
            let start = Instant::now();
            let proof = Proof::new(start);
            let mut now = start;
            let mut asked = start;
            for (pause, way) in beats {
                asked = now + ms(pause);
                now = asked + ms(way);
                proof.answered(asked);
            }
            let pending = now.max(asked);
            now = pending + ms(stop);
            // What it finds first: itself, or an answer that had been on its way.
            prop_assert!(!proof.is_fresh(now));
            prop_assert!(proof.is_broken(now + ms(late)));
            proof.answered(pending);
            prop_assert!(!proof.is_fresh(now));
        }
    }
}
