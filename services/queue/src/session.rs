//! One time with a Redis.

use std::sync::atomic::{AtomicUsize, Ordering};

use kit::redis::Primary;
use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::Notify;

/// Connections that all calls share: Redis reads 16 KiB of a connection before it turns to the next one, and one fsync serves
/// all it has read in a turn.
const CONNECTIONS: usize = 8;

/// Connections to the same server, all of which are made anew when one is lost.
pub struct Session {
    number: u64,
    connections: Vec<MultiplexedConnection>,
    next: AtomicUsize,
    lost: Notify,
}

impl Session {
    pub async fn open(number: u64, primary: &Primary) -> RedisResult<Self> {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            connections.push(primary.connect().await?);
        }
        Ok(Self::of(number, connections))
    }

    fn of(number: u64, connections: Vec<MultiplexedConnection>) -> Self {
        Self {
            number,
            connections,
            next: AtomicUsize::new(0),
            lost: Notify::new(),
        }
    }

    /// The same connections under another number.
    pub fn renumbered(&self, number: u64) -> Self {
        Self::of(number, self.connections.clone())
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn connection(&self) -> MultiplexedConnection {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        self.connections[turn].clone()
    }

    /// Tells that a connection is of no use any more.
    pub fn lose(&self) {
        self.lost.notify_one();
    }

    /// Returns when one was lost.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }
}
