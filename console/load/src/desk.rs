//! Where requests that are due meet connections that are free.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::Call;

/// Requests that may wait for a connection; more than this are dropped whatever the patience.
const DEPTH: usize = 100_000;

/// A request with its time.
#[derive(Debug)]
pub(crate) struct Due {
    pub call: Call,
    pub at: Duration,
    /// Whether it had to wait because every connection was busy.
    pub waited: bool,
}

/// A connection's letter box.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub index: u32,
    due: Mutex<Option<Due>>,
    wake: Notify,
}

impl Mailbox {
    pub fn new(index: u32) -> Arc<Self> {
        Arc::new(Self {
            index,
            due: Mutex::new(None),
            wake: Notify::new(),
        })
    }

    fn put(&self, due: Option<Due>) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = due;
        self.wake.notify_one();
    }
}

/// Hands each due request to the connection that was used last, so that few connections stay warm rather
/// than many lukewarm; lets requests wait when none is free.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Due>,
    free: Vec<Arc<Mailbox>>,
}

impl Desk {
    /// Places a request. Returns those that have now waited longer than the patience.
    pub fn offer(&self, mut due: Due, now: Duration, patience: Duration) -> Vec<Due> {
        let mut inner = self.lock();
        if let Some(mailbox) = inner.free.pop() {
            drop(inner);
            mailbox.put(Some(due));
            return Vec::new();
        }
        due.waited = true;
        inner.waiting.push_back(due);
        inner.expire(now, patience)
    }

    /// Takes the requests that have waited longer than the patience.
    pub fn expired(&self, now: Duration, patience: Duration) -> Vec<Due> {
        self.lock().expire(now, patience)
    }

    /// The next request for this connection; none when it is told to go.
    pub async fn next(&self, mailbox: &Arc<Mailbox>) -> Option<Due> {
        {
            let mut inner = self.lock();
            if let Some(due) = inner.waiting.pop_front() {
                return Some(due);
            }
            inner.free.push(Arc::clone(mailbox));
        }
        mailbox.wake.notified().await;
        mailbox
            .due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Tells free connections from this index on to go.
    pub fn dismiss(&self, from: u32) {
        let mut inner = self.lock();
        let (dismissed, kept) = inner
            .free
            .drain(..)
            .partition(|mailbox| mailbox.index >= from);
        inner.free = kept;
        drop(inner);
        let dismissed: Vec<Arc<Mailbox>> = dismissed;
        for mailbox in dismissed {
            mailbox.put(None);
        }
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn expire(&mut self, now: Duration, patience: Duration) -> Vec<Due> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.waiting.front() {
            if self.waiting.len() <= DEPTH && now.saturating_sub(oldest.at) <= patience {
                break;
            }
            expired.extend(self.waiting.pop_front());
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(at: u64) -> Due {
        Due {
            call: Call::Process,
            at: Duration::from_secs(at),
            waited: false,
        }
    }

    const PATIENCE: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn a_free_connection_gets_the_request_at_once() {
        let desk = Arc::new(Desk::default());
        let mailbox = Mailbox::new(0);
        let (other, theirs) = (Arc::clone(&desk), Arc::clone(&mailbox));
        let taker = tokio::spawn(async move { other.next(&theirs).await });
        while desk.lock().free.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(
            desk.offer(due(1), Duration::from_secs(1), PATIENCE)
                .is_empty()
        );
        assert!(!taker.await.unwrap().expect("a request").waited);
    }

    #[tokio::test]
    async fn requests_wait_and_expire_in_order() {
        let desk = Desk::default();
        for at in 1..=4 {
            assert!(
                desk.offer(due(at), Duration::from_secs(at), Duration::from_secs(9))
                    .is_empty()
            );
        }
        let expired = desk.expired(Duration::from_secs(5), PATIENCE);
        assert_eq!(
            expired
                .iter()
                .map(|due| due.at.as_secs())
                .collect::<Vec<_>>(),
            [1, 2]
        );
        let next = desk.next(&Mailbox::new(0)).await.expect("a request");
        assert!(next.waited && next.at.as_secs() == 3);
        assert_eq!(desk.waiting(), 1);
    }

    #[tokio::test]
    async fn the_dismissed_go() {
        let desk = Arc::new(Desk::default());
        let mailbox = Mailbox::new(5);
        let other = Arc::clone(&desk);
        let taker = tokio::spawn(async move { other.next(&mailbox).await });
        while desk.lock().free.is_empty() {
            tokio::task::yield_now().await;
        }
        desk.dismiss(5);
        assert!(taker.await.unwrap().is_none());
    }
}
