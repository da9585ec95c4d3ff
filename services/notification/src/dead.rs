//! Follows the dead letters of the queues: a notification whose instances all died, or that the queue gave up first, ends as
//! failed with the queue's reason.

use std::time::Duration;

use kit::{
    Instance,
    messaging::{Client, Event},
    outage::Outage,
};
use serde::de::IgnoredAny;

use crate::{QUEUES, store::Store};

/// How often the dead letters are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How many are read at once.
const PAGE: usize = 100;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Queue(#[from] kit::client::CallError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Works until the shutdown.
pub async fn follow(instance: Instance, queue: Client, store: Store) {
    let mut outage = Outage::new("following the dead letters");
    // Where the last look ended. All are looked at again after a restart, which changes nothing.
    let mut seen: [Option<String>; QUEUES.len()] = Default::default();
    loop {
        let mut outcome = Ok(());
        for (name, seen) in QUEUES.iter().zip(&mut seen) {
            outcome = outcome.and(look(&queue, name, &store, seen).await);
        }
        match outcome {
            Ok(()) => outage.over(),
            Err(error) => outage.failed(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = instance.shutdown().requested() => return,
        }
    }
}

async fn look(
    queue: &Client,
    name: &str,
    store: &Store,
    seen: &mut Option<String>,
) -> Result<(), Error> {
    loop {
        let letters = queue.dead_letters(name, seen.as_deref(), PAGE).await?;
        for letter in &letters {
            if let Ok(event) = serde_json::from_str::<Event<IgnoredAny>>(letter.body.get())
                && store.bury(event.event_id, &letter.reason).await?
            {
                let event_id = event.event_id;
                tracing::warn!(%event_id, reason = letter.reason, "a notification was given up");
            }
            *seen = Some(letter.position.clone());
        }
        if letters.len() < PAGE {
            return Ok(());
        }
    }
}
