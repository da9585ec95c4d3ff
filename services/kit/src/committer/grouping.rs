//! Which jobs go together: of one kind, up to a limit, and never two groups at a time that lock the same thing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// What decides where a job goes.
pub trait Place {
    /// Jobs of different kinds are never in one group.
    fn kind(&self) -> u8;

    /// What it locks in the database, such as the number of a row.
    fn lock(&self) -> i64;
}

/// Jobs that wait, and the locks of those that do not any more.
///
/// A job whose lock is held by a group on its way is parked until that group is back, and then goes with all others of
/// that lock. So a hot row makes large groups on one connection instead of several that wait for each other, and a row
/// that somebody else has locked holds up one connection, not all.
#[derive(Debug)]
pub struct Grouping<J> {
    ready: BTreeMap<u8, VecDeque<(u64, J)>>,
    parked: HashMap<i64, VecDeque<(u64, J)>>,
    held: HashSet<i64>,
    waiting: usize,
    capacity: usize,
    next: u64,
}

impl<J: Place> Grouping<J> {
    /// For up to `capacity` waiting jobs.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            ready: BTreeMap::new(),
            parked: HashMap::new(),
            held: HashSet::new(),
            waiting: 0,
            capacity,
            next: 0,
        }
    }

    /// Adds a job; gives it back when too many wait.
    pub fn push(&mut self, job: J) -> Result<(), J> {
        if self.waiting >= self.capacity {
            return Err(job);
        }
        self.waiting += 1;
        let number = self.next;
        self.next += 1;
        self.ready
            .entry(job.kind())
            .or_default()
            .push_back((number, job));
        Ok(())
    }

    /// Takes up to `limit` jobs of the kind that has waited longest. Their locks are held until [`Self::release`].
    pub fn take(&mut self, limit: usize) -> Option<Vec<J>> {
        // Another kind may have some to give when all of the first are parked.
        loop {
            let (_, queue) = self
                .ready
                .iter_mut()
                .filter(|(_, queue)| !queue.is_empty())
                .min_by_key(|(_, queue)| queue.front().map(|(number, _)| *number))?;
            let mut group = Vec::new();
            while group.len() < limit
                && let Some((number, job)) = queue.pop_front()
            {
                if self.held.contains(&job.lock()) {
                    self.parked
                        .entry(job.lock())
                        .or_default()
                        .push_back((number, job));
                } else {
                    group.push(job);
                }
            }
            if !group.is_empty() {
                self.waiting -= group.len();
                self.held.extend(group.iter().map(Place::lock));
                return Some(group);
            }
        }
    }

    /// Says that a group with these locks is done.
    pub fn release(&mut self, locks: impl IntoIterator<Item = i64>) {
        for lock in locks {
            self.held.remove(&lock);
            for (number, job) in self.parked.remove(&lock).into_iter().flatten().rev() {
                self.ready
                    .entry(job.kind())
                    .or_default()
                    .push_front((number, job));
            }
        }
    }

    /// How many jobs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether another group could perhaps be taken now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.values().any(|queue| !queue.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Job {
        id: u32,
        kind: u8,
        lock: i64,
    }

    impl Place for Job {
        fn kind(&self) -> u8 {
            self.kind
        }

        fn lock(&self) -> i64 {
            self.lock
        }
    }

    fn job(id: u32, kind: u8, lock: i64) -> Job {
        Job { id, kind, lock }
    }

    fn ids(group: Option<Vec<Job>>) -> Vec<u32> {
        group.into_iter().flatten().map(|job| job.id).collect()
    }

    #[test]
    fn takes_what_waits_in_order_up_to_the_limit() {
        let mut grouping = Grouping::new(10);
        for id in 0..5 {
            grouping.push(job(id, 0, i64::from(id))).expect("room");
        }
        assert_eq!(ids(grouping.take(3)), [0, 1, 2]);
        assert_eq!(ids(grouping.take(3)), [3, 4]);
        assert_eq!(grouping.take(3), None);
    }

    #[test]
    fn a_hot_lock_goes_together_and_holds_nobody_else_up() {
        let mut grouping = Grouping::new(10);
        grouping.push(job(0, 0, 7)).expect("room");
        assert_eq!(ids(grouping.take(8)), [0]);
        for (id, lock) in [(1, 7), (2, 7), (3, 8), (4, 7)] {
            grouping.push(job(id, 0, lock)).expect("room");
        }
        assert_eq!(ids(grouping.take(8)), [3]);
        assert_eq!((grouping.take(8), grouping.waiting()), (None, 3));
        grouping.release([7]);
        assert_eq!(ids(grouping.take(8)), [1, 2, 4]);
    }

    #[test]
    fn the_kind_that_waits_longest_goes_first_and_alone() {
        let mut grouping = Grouping::new(10);
        for (id, kind) in [(0, 1), (1, 0), (2, 1)] {
            grouping.push(job(id, kind, i64::from(id))).expect("room");
        }
        assert_eq!(ids(grouping.take(8)), [0, 2]);
        assert_eq!(ids(grouping.take(8)), [1]);
    }

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let mut grouping = Grouping::new(1);
        assert!(grouping.push(job(0, 0, 0)).is_ok());
        assert_eq!(grouping.push(job(1, 0, 1)), Err(job(1, 0, 1)));
        grouping.take(1);
        assert!(grouping.push(job(1, 0, 1)).is_ok());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { kind: u8, lock: i64 },
        Take { limit: usize },
        Release { which: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..2_u8, 0..5_i64).prop_map(|(kind, lock)| Step::Push { kind, lock }),
            2 => (1..4_usize).prop_map(|limit| Step::Take { limit }),
            2 => any::<prop::sample::Index>().prop_map(|which| Step::Release { which: which.index(64) }),
        ]
    }

    proptest! {
        #[test]
        fn groups_never_share_a_lock_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..200)) {
            let mut grouping = Grouping::new(1_000);
            let mut under_way: Vec<Vec<Job>> = Vec::new();
            let (mut pushed, mut seen) = (0_u32, BTreeSet::new());
            let mut last: HashMap<(u8, i64), u32> = HashMap::new();
            let mut check = |group: Vec<Job>, limit: usize, under_way: &mut Vec<Vec<Job>>| {
                prop_assert!(group.len() <= limit && group.iter().all(|job| job.kind == group[0].kind));
                for job in &group {
                    prop_assert!(under_way.iter().flatten().all(|other| other.lock != job.lock));
                    prop_assert!(seen.insert(job.id));
                    // In the order they came, those of one lock and kind.
                    let before = last.insert((job.kind, job.lock), job.id);
                    prop_assert!(before.is_none_or(|before| before < job.id));
                }
                under_way.push(group);
                Ok(())
            };
            for step in steps {
                match step {
                    Step::Push { kind, lock } => {
                        prop_assert!(grouping.push(job(pushed, kind, lock)).is_ok());
                        pushed += 1;
                    }
                    Step::Take { limit } => {
                        if let Some(group) = grouping.take(limit) {
                            check(group, limit, &mut under_way)?;
                        }
                    }
                    Step::Release { which } if !under_way.is_empty() => {
                        let group = under_way.swap_remove(which % under_way.len());
                        grouping.release(group.iter().map(Place::lock));
                    }
                    Step::Release { .. } => {}
                }
            }
            while grouping.waiting() > 0 {
                for group in under_way.drain(..) {
                    grouping.release(group.iter().map(Place::lock));
                }
                let group = grouping.take(3).expect("all locks are free");
                check(group, 3, &mut under_way)?;
            }
            prop_assert_eq!(seen.len(), pushed as usize);
        }
    }
}
