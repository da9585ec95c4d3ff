//! Wakes waiting receives: one subscription per process feeds all of them, so that none holds a connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use kit::{Instance, Shutdown, redis::Servers};
use tokio::sync::Notify;

/// Where the scripts say `QUEUE:COUNT` when messages became ready.
const CHANNEL: &str = "queue:wake";
/// How long to wait before subscribing again.
const RETRY: Duration = Duration::from_millis(250);
/// Entries above which those of queues that nobody waits for are dropped.
const PRUNE_ABOVE: usize = 512;

/// The receives waiting in this process, by queue; cheap to clone.
#[derive(Clone, Default)]
pub struct Wakers(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

impl Wakers {
    /// What a receive of this queue waits on.
    pub fn of(&self, queue: &str) -> Arc<Notify> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.len() > PRUNE_ABOVE {
            queues.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        queues.entry(queue.to_owned()).or_default().clone()
    }

    /// Wakes as many receives as there are new messages.
    fn wake(&self, queue: &str, messages: usize) {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = queues.get(queue) {
            for _ in 0..messages.min(1000) {
                notify.notify_one();
            }
        }
    }

    /// Wakes everybody: something may have been missed.
    fn wake_all(&self) {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in queues.values() {
            notify.notify_waiters();
        }
    }

    /// Listens until the shutdown, subscribing again whenever the connection is lost.
    pub fn listen(&self, instance: &Instance, servers: Servers) {
        let (wakers, shutdown) = (self.clone(), instance.shutdown().clone());
        instance.spawn(async move {
            while !shutdown.is_requested() {
                if let Err(error) = wakers.follow(&servers, &shutdown).await {
                    tracing::debug!(error = %error, "cannot listen for new messages; waiting receives look by themselves");
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = shutdown.requested() => {}
                }
            }
        });
    }

    async fn follow(
        &self,
        servers: &Servers,
        shutdown: &Shutdown,
    ) -> Result<(), redis::RedisError> {
        let primary = servers.primary().await?;
        let mut subscription = primary.client().get_async_pubsub().await?;
        subscription.subscribe(CHANNEL).await?;
        self.wake_all();
        let mut messages = subscription.on_message();
        let replaced = servers.replaced(&primary);
        tokio::pin!(replaced);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = &mut replaced => return Ok(()),
                () = shutdown.requested() => return Ok(()),
            };
            let Some(message) = message else {
                return Ok(());
            };
            let text: String = message.get_payload()?;
            if let Some((queue, count)) = text.rsplit_once(':') {
                self.wake(queue, count.parse().unwrap_or(1));
            }
        }
    }
}
