//! Who waits in this process for a key's rebuild: bounded per key, woken by event.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};

/// The waiting requests of one process, by key.
#[derive(Debug)]
pub struct Waiters {
    limit: usize,
    rooms: Mutex<HashMap<String, Room>>,
}

#[derive(Debug)]
struct Room {
    bell: Arc<Notify>,
    count: usize,
}

/// A place among a key's waiters; given up when dropped.
#[derive(Debug)]
pub struct Place<'a> {
    waiters: &'a Waiters,
    key: &'a str,
    bell: Arc<Notify>,
}

impl Waiters {
    /// Takes up to `limit` waiters for each key.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            rooms: Mutex::default(),
        }
    }

    /// A place among the waiters of `key`, or none when all are taken.
    pub fn enter<'a>(&'a self, key: &'a str) -> Option<Place<'a>> {
        let mut rooms = self.rooms();
        if let Some(room) = rooms.get_mut(key) {
            if room.count >= self.limit {
                return None;
            }
            room.count += 1;
            let bell = room.bell.clone();
            return Some(Place {
                waiters: self,
                key,
                bell,
            });
        }
        let bell = Arc::new(Notify::new());
        let room = Room {
            bell: bell.clone(),
            count: 1,
        };
        rooms.insert(key.to_owned(), room);
        Some(Place {
            waiters: self,
            key,
            bell,
        })
    }

    /// Wakes everybody who waits for `key`.
    pub fn wake(&self, key: &str) {
        let bell = self.rooms().get(key).map(|room| room.bell.clone());
        if let Some(bell) = bell {
            bell.notify_waiters();
        }
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        let bells: Vec<_> = self
            .rooms()
            .values()
            .map(|room| room.bell.clone())
            .collect();
        for bell in bells {
            bell.notify_waiters();
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// The next wake-up. Enable it before looking whether there is still a reason to wait, or the wake-up between the
    /// look and the wait is missed.
    pub fn woken(&self) -> Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut rooms = self.waiters.rooms();
        if let Some(room) = rooms.get_mut(self.key) {
            room.count -= 1;
            if room.count == 0 {
                rooms.remove(self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn places_are_bounded_per_key_and_given_back() {
        let waiters = Waiters::new(2);
        let first = waiters.enter("a");
        let _second = waiters.enter("a").expect("a second place");
        assert!(waiters.enter("a").is_none());
        assert!(waiters.enter("b").is_some());
        drop(first);
        assert!(waiters.enter("a").is_some());
    }

    #[test]
    fn a_wake_up_reaches_its_key_only() {
        let waiters = Waiters::new(2);
        let (a, b) = (
            waiters.enter("a").expect("a place"),
            waiters.enter("b").expect("a place"),
        );
        let (mut for_a, mut for_b) = (Box::pin(a.woken()), Box::pin(b.woken()));
        for_a.as_mut().enable();
        for_b.as_mut().enable();
        waiters.wake("a");
        assert!(for_a.now_or_never().is_some());
        assert!(for_b.as_mut().now_or_never().is_none());
        waiters.wake_all();
        assert!(for_b.now_or_never().is_some());
    }

    #[test]
    fn nobody_waiting_leaves_nothing_behind() {
        let waiters = Waiters::new(1);
        drop(waiters.enter("a"));
        waiters.wake("a");
        assert!(waiters.rooms().is_empty());
    }
}
