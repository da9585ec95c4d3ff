//! The channel `log`, in batches: one statement claims and records, then the notifications go out, then the batch is acknowledged.
//! A crash anywhere in between delivers the batch again, and the claims make the second time change nothing.

use std::time::Duration;

use kit::{
    Instance,
    messaging::{BATCH_LIMIT, Intake, Message, Receipt, Release, process},
    outage::Outage,
};
use prometheus_client::metrics::counter::Counter;

use crate::{channel::LogChannel, event::Notice, store::Store};

/// How long a loop rests when the database failed it.
const PAUSE: Duration = Duration::from_millis(250);

/// What all loops of an instance share.
#[derive(Clone)]
pub struct Consumer {
    store: Store,
    channel: LogChannel,
    sent: Counter,
    repeated: Counter,
}

impl Consumer {
    #[must_use]
    pub fn new(instance: &Instance, store: Store, channel: LogChannel) -> Self {
        let (sent, repeated) = (Counter::default(), Counter::default());
        instance.metrics().register(|registry| {
            registry.register(
                "recarga_notifications_sent",
                "Notifications sent by this instance",
                sent.clone(),
            );
            registry.register(
                "recarga_notifications_repeated",
                "Deliveries of events that were notified about before",
                repeated.clone(),
            );
        });
        Self {
            store,
            channel,
            sent,
            repeated,
        }
    }

    /// Works until the shutdown.
    pub async fn run(self, mut intake: Intake) {
        let mut outage = Outage::new("recording notifications");
        while let Some(messages) = intake.next(BATCH_LIMIT).await {
            self.batch(&intake, messages, &mut outage).await;
        }
    }

    async fn batch(&self, intake: &Intake, messages: Vec<Message>, outage: &mut Outage) {
        let mut useful = Vec::with_capacity(messages.len());
        for message in messages {
            match Notice::of(&message) {
                Ok(notice) => useful.push((message, notice)),
                Err(error) => give_up(intake, &message, &error).await,
            }
        }
        match self.record(intake, &useful).await {
            Ok(()) => outage.over(),
            Err(error) if kit::postgres::is_unavailable(&error) => {
                outage.failed(&error);
                // Not the messages' fault: they count as not delivered, and the next poll waits for the database.
                let messages: Vec<Message> =
                    useful.into_iter().map(|(message, _)| message).collect();
                intake
                    .give_back(&messages, "the database is unavailable")
                    .await;
                tokio::time::sleep(PAUSE).await;
            }
            // Some message is to blame; alone, each can only harm itself.
            Err(_) => {
                for one in useful {
                    let one = [one];
                    if let Err(error) = self.record(intake, &one).await {
                        blame(intake, &one[0].0, &error).await;
                    }
                }
            }
        }
    }

    /// Claims, notifies and acknowledges.
    async fn record(
        &self,
        intake: &Intake,
        useful: &[(Message, Notice)],
    ) -> Result<(), sqlx::Error> {
        if useful.is_empty() {
            return Ok(());
        }
        let messages = useful.iter().map(|(message, _)| message);
        let spans = process(intake.instance(), intake.queue(), messages);
        let recorded = spans.scope(self.record_all(intake, useful)).await;
        spans.end(recorded.as_ref().err().map(|_| "postgresql"));
        recorded
    }

    async fn record_all(
        &self,
        intake: &Intake,
        useful: &[(Message, Notice)],
    ) -> Result<(), sqlx::Error> {
        let mut new = self
            .store
            .record(useful.iter().map(|(_, notice)| notice))
            .await?;
        self.sent.inc_by(new.len() as u64);
        self.repeated.inc_by((useful.len() - new.len()) as u64);
        for (_, notice) in useful {
            if new.remove(&notice.event_id) {
                self.channel.send(notice);
            }
        }
        let receipts: Vec<Receipt> = useful.iter().map(|(m, _)| m.receipt.clone()).collect();
        let ended = intake.client().acknowledge(intake.queue(), &receipts).await;
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a batch could not be acknowledged; it comes again");
        }
        Ok(())
    }
}

/// Gives a message back that the database refuses; the queue gives it up after its last delivery.
pub(crate) async fn blame(intake: &Intake, message: &Message, error: &sqlx::Error) {
    tracing::warn!(error = %error, queue = intake.queue(), message = message.id, "a message cannot be recorded");
    let release = Release {
        delay_seconds: None,
        reason: Some(error.to_string().chars().take(500).collect()),
        uncounted: kit::postgres::is_unavailable(error),
    };
    let released = intake
        .client()
        .release(intake.queue(), &message.receipt, &release)
        .await;
    if let Err(error) = released {
        tracing::debug!(error = %error, "a message could not be given back; it comes back by itself");
    }
}

pub(crate) async fn give_up(intake: &Intake, message: &Message, error: &serde_json::Error) {
    let reason = format!("not an event that is notified about: {error}");
    tracing::warn!(
        queue = intake.queue(),
        message = message.id,
        reason,
        "a message is of no use"
    );
    let ended = intake
        .client()
        .dead(intake.queue(), &message.receipt, &reason)
        .await;
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a message could not be given up; it comes again");
    }
}
