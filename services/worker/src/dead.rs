//! Follows the dead letters of the tasks' queue: a task whose workers all died never reports, the queue gives it up, and
//! here it ends as failed, with the queue's reason.

use std::time::Duration;

use kit::{Instance, messaging::Client, outage::Outage};

use crate::{QUEUE, consumer::Announced, store::Store};

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
    let mut outage = Outage::new("following the dead tasks");
    // Where the last look ended. All are looked at again after a restart, which changes nothing.
    let mut seen = None;
    loop {
        match look(&queue, &store, &mut seen).await {
            Ok(()) => outage.over(),
            Err(error) => outage.failed(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = instance.shutdown().requested() => return,
        }
    }
}

async fn look(queue: &Client, store: &Store, seen: &mut Option<String>) -> Result<(), Error> {
    loop {
        let letters = queue.dead_letters(QUEUE, seen.as_deref(), PAGE).await?;
        for letter in &letters {
            if let Ok(announced) = serde_json::from_str::<Announced>(letter.body.get())
                && store.bury(announced.task_id, &letter.reason).await?
            {
                let task_id = announced.task_id;
                tracing::warn!(task_id, reason = letter.reason, "a task was given up");
            }
            *seen = Some(letter.position.clone());
        }
        if letters.len() < PAGE {
            return Ok(());
        }
    }
}
