//! Whether copies may be served: a lease by our own clock, and guards that keep what was asked for before a deletion from
//! being kept after it. No I/O, no clock of its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kit::caching::first_level::{LEASE, MARGIN};

/// A lease that others believe in until it runs out or they hear from us.
#[derive(Debug)]
pub struct Lease {
    start: Instant,
    /// Until when it is held, in microseconds after the start; 0 for not at all.
    until: AtomicU64,
}

impl Lease {
    /// Not held yet.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            until: AtomicU64::new(0),
        }
    }

    #[must_use]
    pub fn is_held(&self, now: Instant) -> bool {
        self.after_start(now) < self.until.load(Ordering::Acquire)
    }

    /// A renewal was confirmed that was *begun* then: others count from when they saw it, which was later.
    pub fn renewed(&self, begun: Instant) {
        let until = self.after_start(begun) + micros(LEASE) - micros(MARGIN);
        self.until.fetch_max(until, Ordering::AcqRel);
    }

    /// It is not held any more, whatever was confirmed.
    pub fn lose(&self) {
        self.until.store(0, Ordering::Release);
    }

    fn after_start(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.start))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

/// What had been deleted when something was asked for: as long as it is the same, nothing of it was deleted since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub epoch: u64,
    generation: u64,
}

/// How many keys share a generation, at most all of them: a deletion of one keeps look-ups of the others from being kept.
const SHARDS: usize = 1024;

/// Counts deletions: of everything (epochs) and of keys, by shard (generations).
#[derive(Debug)]
pub struct Guard {
    epoch: AtomicU64,
    generations: Box<[Mutex<u64>]>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            generations: (0..SHARDS).map(|_| Mutex::new(0)).collect(),
        }
    }
}

impl Guard {
    /// Copies from other epochs are void.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// To be taken before a value is asked for.
    #[must_use]
    pub fn stamp(&self, key: &str) -> Stamp {
        let generation = *self.generation(key);
        Stamp {
            epoch: self.epoch(),
            generation,
        }
    }

    /// Forgets a key; nothing is kept under it meanwhile.
    pub fn delete(&self, key: &str, forget: impl FnOnce()) {
        let mut generation = self.generation(key);
        *generation += 1;
        forget();
    }

    /// Voids everything.
    pub fn delete_all(&self, forget: impl FnOnce()) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        forget();
    }

    /// Keeps a value that was asked for under a stamp, unless it was deleted since; says whether it was kept. A deletion
    /// comes either before, and then it is not kept, or after, and then it is forgotten.
    pub fn keep(&self, key: &str, stamp: Stamp, keep: impl FnOnce()) -> bool {
        let generation = self.generation(key);
        // Everything may go meanwhile: the copy is of the stamp's epoch, and void then.
        let current = Stamp {
            epoch: self.epoch(),
            generation: *generation,
        };
        if current != stamp {
            return false;
        }
        keep();
        true
    }

    fn generation(&self, key: &str) -> MutexGuard<'_, u64> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let shard = hasher.finish() as usize % SHARDS;
        self.generations[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_lease_is_counted_from_when_its_renewal_was_begun() {
        let start = Instant::now();
        let lease = Lease::new(start);
        assert!(!lease.is_held(start));
        lease.renewed(start + ms(100));
        for (after, held) in [(100, true), (1049, true), (1050, false), (5000, false)] {
            assert_eq!(lease.is_held(start + ms(after)), held, "{after}");
        }
        // Confirmations may overtake each other.
        lease.renewed(start + ms(50));
        assert!(lease.is_held(start + ms(1049)));
        lease.lose();
        assert!(!lease.is_held(start + ms(100)));
    }

    #[test]
    fn what_was_asked_for_before_a_deletion_is_not_kept_after_it() {
        let guard = Guard::default();
        let before = guard.stamp("a");
        assert!(guard.keep("a", before, || {}));
        guard.delete("a", || {});
        assert!(!guard.keep("a", before, || unreachable!("it was deleted")));
        let after = guard.stamp("a");
        assert!(guard.keep("a", after, || {}));
        guard.delete_all(|| {});
        assert!(!guard.keep("a", after, || unreachable!("everything was deleted")));
        assert_eq!(guard.epoch(), after.epoch + 1);
    }

    /// One step of the model below.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A writer commits the next version, and Redis deletes: all in one, then gateways hear of it later.
        Write,
        /// A gateway begins a look-up: it takes a stamp.
        Ask(usize),
        /// The look-up is answered by the shared cache or the source, with what is current then.
        Answer(usize),
        /// It is kept, if the guard lets it.
        Keep(usize),
        /// A gateway hears of the oldest deletion it has not heard of, and acknowledges it.
        Hear(usize),
        /// A gateway renews its lease: it hears of everything first, for the ping comes behind it.
        Renew(usize),
        /// A gateway is stopped for a while: time passes.
        Pass(u64),
        /// A reader asks a gateway.
        Read(usize),
        /// A gateway loses its subscription, and with it what it has not heard of.
        Lose(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Write),
            4 => (0_usize..3).prop_map(Step::Ask),
            4 => (0_usize..3).prop_map(Step::Answer),
            4 => (0_usize..3).prop_map(Step::Keep),
            4 => (0_usize..3).prop_map(Step::Hear),
            4 => (0_usize..3).prop_map(Step::Renew),
            2 => (1_u64..700).prop_map(Step::Pass),
            8 => (0_usize..3).prop_map(Step::Read),
            1 => (0_usize..3).prop_map(Step::Lose),
        ]
    }

    /// One gateway of the model.
    struct Gateway {
        lease: Lease,
        guard: Guard,
        copy: Option<(u64, u64)>,
        asked: Option<(Stamp, Option<u64>)>,
        /// The deletions that were published and not heard of.
        unheard: Vec<u64>,
        acknowledged: u64,
        /// When it was last seen to renew, by the table.
        holds: bool,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// The whole protocol on a model: a write is answered when every gateway in the table has acknowledged or a lease's
        /// time has passed since the deletion; no read that begins after that answer returns an older version.
        #[test]
        fn no_read_is_older_than_an_answered_write(steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut gateways: Vec<Gateway> = (0..3).map(|_| Gateway {
                lease: Lease::new(start),
                guard: Guard::default(),
                copy: None,
                asked: None,
                unheard: Vec::new(),
                acknowledged: 0,
                holds: false,
            }).collect();
            let mut version = 0_u64;
            // Writes that wait for their answer: when deleted, and whom for.
            let mut waiting: HashMap<u64, (Instant, Vec<usize>)> = HashMap::new();
            let mut answered = 0_u64;
            for step in steps {
                match step {
                    Step::Write => {
                        version += 1;
                        let holders = (0..3).filter(|index| gateways[*index].holds).collect();
                        waiting.insert(version, (now, holders));
                        for gateway in &mut gateways {
                            gateway.unheard.push(version);
                        }
                    }
                    Step::Ask(index) => {
                        let gateway = &mut gateways[index];
                        gateway.asked = Some((gateway.guard.stamp("k"), None));
                    }
                    Step::Answer(index) => {
                        if let Some((_, answer)) = &mut gateways[index].asked {
                            answer.get_or_insert(version);
                        }
                    }
                    Step::Keep(index) => {
                        let gateway = &mut gateways[index];
                        if let Some((stamp, Some(answer))) = gateway.asked {
                            let copy = &mut gateway.copy;
                            gateway.guard.keep("k", stamp, || *copy = Some((stamp.epoch, answer)));
                            gateway.asked = None;
                        }
                    }
                    Step::Hear(index) => {
                        let gateway = &mut gateways[index];
                        if !gateway.unheard.is_empty() {
                            let number = gateway.unheard.remove(0);
                            let copy = &mut gateway.copy;
                            gateway.guard.delete("k", || *copy = None);
                            gateway.acknowledged = number;
                        }
                    }
                    Step::Renew(index) => {
                        let gateway = &mut gateways[index];
                        let begun = now;
                        for number in std::mem::take(&mut gateway.unheard) {
                            let copy = &mut gateway.copy;
                            gateway.guard.delete("k", || *copy = None);
                            gateway.acknowledged = number;
                        }
                        if !gateway.lease.is_held(now) {
                            let copy = &mut gateway.copy;
                            gateway.guard.delete_all(|| *copy = None);
                        }
                        gateway.holds = true;
                        gateway.lease.renewed(begun);
                    }
                    Step::Lose(index) => {
                        let gateway = &mut gateways[index];
                        gateway.lease.lose();
                        let copy = &mut gateway.copy;
                        gateway.guard.delete_all(|| *copy = None);
                        gateway.unheard.clear();
                    }
                    Step::Pass(milliseconds) => now += ms(milliseconds),
                    Step::Read(index) => {
                        let gateway = &gateways[index];
                        if gateway.lease.is_held(now)
                            && let Some((epoch, copy)) = gateway.copy
                            && epoch == gateway.guard.epoch()
                        {
                            prop_assert!(copy >= answered, "read {copy} after {answered} was answered");
                        }
                    }
                }
                // The cache service answers whom it can.
                let done: Vec<u64> = waiting.iter()
                    .filter(|(number, (at, holders))| {
                        now >= *at + LEASE
                            || holders.iter().all(|index| gateways[*index].acknowledged >= **number)
                    })
                    .map(|(number, _)| *number)
                    .collect();
                for number in done {
                    waiting.remove(&number);
                    answered = answered.max(number);
                }
            }
        }
    }
}
