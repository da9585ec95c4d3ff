//! Collects what single calls ask for while an earlier one is on its way: one call to Redis serves all who wait, and a call
//! that comes alone waits for nobody.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::QueueName;

/// What waits, by queue; cheap to clone.
pub struct Combiner<J>(Arc<Mutex<HashMap<QueueName, Vec<J>>>>);

/// The right and the duty to carry out what comes for one queue. Dropped before its time, it drops what waits.
pub struct Lead<J> {
    combiner: Combiner<J>,
    queue: QueueName,
    first: Option<J>,
    over: bool,
}

impl<J> Default for Combiner<J> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<J> Clone for Combiner<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J> Combiner<J> {
    /// Hands a job over. Whoever gets the lead carries it out, and whatever comes meanwhile.
    pub fn join(&self, queue: &QueueName, job: J) -> Option<Lead<J>> {
        let mut queues = self.queues();
        if let Some(waiting) = queues.get_mut(queue) {
            waiting.push(job);
            return None;
        }
        queues.insert(queue.clone(), Vec::new());
        Some(Lead {
            combiner: self.clone(),
            queue: queue.clone(),
            first: Some(job),
            over: false,
        })
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<QueueName, Vec<J>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Lead<J> {
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// The jobs to carry out next, in the order in which they came: at least one, and no more than `count` or `bytes`
    /// allow. Without any the lead is over.
    pub fn next(&mut self, count: usize, bytes: usize, size: impl Fn(&J) -> usize) -> Vec<J> {
        if let Some(first) = self.first.take() {
            return vec![first];
        }
        let mut queues = self.combiner.queues();
        let Some(waiting) = queues.get_mut(&self.queue) else {
            return Vec::new();
        };
        let mut sum = 0;
        let fitting = waiting
            .iter()
            .take(count)
            .enumerate()
            .take_while(|(place, job)| {
                sum += size(job);
                *place == 0 || sum <= bytes
            })
            .count();
        let rest = waiting.split_off(fitting);
        let group = std::mem::replace(waiting, rest);
        if group.is_empty() {
            self.over = true;
            queues.remove(&self.queue);
        }
        group
    }
}

impl<J> Drop for Lead<J> {
    fn drop(&mut self) {
        // Otherwise nobody would ever take what waits.
        if !self.over {
            self.combiner.queues().remove(&self.queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> QueueName {
        QueueName::parse(name).expect("a name")
    }

    #[test]
    fn who_comes_first_leads_and_the_others_are_taken_along() {
        let combiner = Combiner::default();
        let mut lead = combiner.join(&queue("a"), 1).expect("the lead");
        assert!(combiner.join(&queue("b"), 9).is_some());
        for job in 2..=6 {
            assert!(combiner.join(&queue("a"), job).is_none());
        }
        let size = |job: &i32| *job as usize;
        assert_eq!(lead.next(3, 100, size), [1]);
        assert_eq!(lead.next(2, 100, size), [2, 3]);
        // One that is too large goes alone.
        assert_eq!(lead.next(9, 3, size), [4]);
        assert_eq!(lead.next(9, 11, size), [5, 6]);
        assert!(lead.next(9, 9, size).is_empty());
        drop(lead);
        assert!(combiner.join(&queue("a"), 7).is_some());
    }

    #[test]
    fn a_leader_that_breaks_down_leaves_nobody_waiting() {
        let combiner = Combiner::default();
        let lead = combiner.join(&queue("a"), Arc::new(1)).expect("the lead");
        let waiting = Arc::new(2);
        assert!(combiner.join(&queue("a"), waiting.clone()).is_none());
        drop(lead);
        assert_eq!(Arc::strong_count(&waiting), 1);
        assert!(combiner.join(&queue("a"), Arc::new(3)).is_some());
    }
}
