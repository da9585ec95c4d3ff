//! A map of bounded size, shared by all threads, that forgets what was not used for longest.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 16;

/// Each shard keeps two generations. What is used is in the young one; when that has half of the shard's room, it becomes
/// the old one, and what was in the old one and not used since is gone. So there is no list to keep in order, and a flood of
/// new keys pushes out those who do not come back before those who do.
///
/// The hash function is keyed at random per process: nobody outside can aim at a shard.
pub struct Bounded<K, V> {
    shards: Vec<Mutex<Generations<K, V>>>,
    half: usize,
    hasher: RandomState,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> Bounded<K, V> {
    /// For at most so many keys (a few more when it is fewer than 32).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| {
                    Mutex::new(Generations {
                        young: HashMap::new(),
                        old: HashMap::new(),
                    })
                })
                .collect(),
            half: (capacity / SHARDS / 2).max(1),
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Generations<K, V>> {
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[number]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, which counts as a use.
    pub fn get(&self, key: &K) -> Option<V>
    where
        K: Clone,
    {
        let mut shard = self.shard(key);
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let value = shard.old.remove(key)?;
        self.put(&mut shard, key.clone(), value.clone());
        Some(value)
    }

    pub fn insert(&self, key: K, value: V) {
        let mut shard = self.shard(&key);
        shard.old.remove(&key);
        self.put(&mut shard, key, value);
    }

    /// Replaces the value of a key by what is made of it, and passes on what else is said.
    pub fn update<R>(&self, key: K, change: impl FnOnce(Option<V>) -> (V, R)) -> R {
        let mut shard = self.shard(&key);
        if let Some(slot) = shard.young.get_mut(&key) {
            let (value, result) = change(Some(slot.clone()));
            *slot = value;
            return result;
        }
        let before = shard.old.remove(&key);
        let (value, result) = change(before);
        self.put(&mut shard, key, value);
        result
    }

    fn put(&self, shard: &mut Generations<K, V>, key: K, value: V) {
        shard.young.insert(key, value);
        if shard.young.len() >= self.half {
            shard.old = std::mem::take(&mut shard.young);
        }
    }

    /// Forgets what need not be kept, and gives its memory back.
    pub fn retain(&self, keep: impl Fn(&V) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Generations { young, old } = &mut *shard;
            for generation in [young, old] {
                generation.retain(|_, value| keep(value));
                generation.shrink_to_fit();
            }
        }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.young.len() + shard.old.len()
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let map = Bounded::new(1000);
        for key in 0..100_000_u64 {
            map.insert(key, key);
            assert!(map.len() <= 1000);
        }
        assert!(map.len() > 300, "{}", map.len());
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let map = Bounded::new(1000);
        map.insert(u64::MAX, 7);
        map.insert(u64::MAX - 1, 8);
        for key in 0..10_000_u64 {
            map.insert(key, 0);
            assert_eq!(map.get(&u64::MAX), Some(7));
            assert_eq!(map.update(u64::MAX, |value| (7, value)), Some(7));
        }
        assert_eq!(map.get(&(u64::MAX - 1)), None);
    }

    #[test]
    fn values_are_replaced_and_swept() {
        // Room for all of them in one shard, wherever chance puts them.
        let map = Bounded::new(1000);
        for key in 0..20_u64 {
            map.insert(key, key);
            map.update(key, |value| (value.unwrap_or_default() + 1, ()));
        }
        assert_eq!(map.get(&3), Some(4));
        map.insert(3, 50);
        assert_eq!(map.get(&3), Some(50));
        map.retain(|value| *value > 20);
        assert_eq!(map.len(), 1);
    }
}
