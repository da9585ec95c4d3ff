//! A fixed number of the newest values.

use std::collections::VecDeque;

/// Keeps the last `capacity` values and forgets older ones.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    values: VecDeque<T>,
    capacity: usize,
}

impl<T> Ring<T> {
    pub fn new(capacity: usize) -> Self {
        Self {
            values: VecDeque::new(),
            capacity,
        }
    }

    pub fn push(&mut self, value: T) {
        if self.values.len() == self.capacity {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// The newest `count` values, oldest first.
    pub fn tail(&self, count: usize) -> impl Iterator<Item = &T> {
        self.values.range(self.values.len().saturating_sub(count)..)
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn forgets_the_oldest() {
        let mut ring = Ring::new(3);
        (1..=5).for_each(|n| ring.push(n));
        assert_eq!(ring.tail(2).copied().collect::<Vec<_>>(), [4, 5]);
        assert_eq!(ring.tail(9).copied().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
