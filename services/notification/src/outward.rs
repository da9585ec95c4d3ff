//! Channels that leave the system: each notification is written down as pending, goes out, and then the outcome is written
//! down; what fails for a while comes back after the queue's backoff, what fails for good is given up with its reason.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use kit::{
    Instance,
    messaging::{Intake, Message, Release, process},
    outage::Outage,
};
use prometheus_client::metrics::counter::Counter;
use uuid::Uuid;

use crate::{
    channel::{Failure, Outward},
    consumer::{blame, give_up},
    event::Notice,
    store::{Outcome, Standing, Store},
};

/// How many notifications of a loop are on their way at a time.
const AT_A_TIME: usize = 16;
/// How long a loop rests when the database failed it.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a second message about an event waits before it looks again.
const TWIN_PAUSE: Duration = Duration::from_secs(1);

/// What all loops of an instance share.
#[derive(Clone)]
pub struct Courier {
    store: Store,
    channel: Outward,
    attempts: u32,
    sent: Counter,
    retried: Counter,
    failed: Counter,
}

impl Courier {
    #[must_use]
    pub fn new(instance: &Instance, store: Store, channel: Outward, attempts: u32) -> Self {
        let courier = Self {
            store,
            channel,
            attempts,
            sent: Counter::default(),
            retried: Counter::default(),
            failed: Counter::default(),
        };
        instance.metrics().register(|registry| {
            for (name, help, counter) in [
                (
                    "recarga_notifications_sent",
                    "Notifications sent by this instance",
                    &courier.sent,
                ),
                (
                    "recarga_notifications_retried",
                    "Attempts of this instance that failed and are made again",
                    &courier.retried,
                ),
                (
                    "recarga_notifications_failed",
                    "Notifications this instance gave up",
                    &courier.failed,
                ),
            ] {
                registry.register(name, help, counter.clone());
            }
        });
        courier
    }

    /// Works until the shutdown; what is on its way then is finished.
    pub async fn run(self, mut intake: Intake) {
        let mut outage = Outage::new("recording notifications");
        while let Some(messages) = intake.next(AT_A_TIME).await {
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
        match self.register(&useful).await {
            Ok(standings) => {
                outage.over();
                self.dispatch(intake, &useful, &standings).await;
            }
            Err(error) if kit::postgres::is_unavailable(&error) => {
                outage.failed(&error);
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
                    match self.register(&one).await {
                        Ok(standings) => self.dispatch(intake, &one, &standings).await,
                        Err(error) => blame(intake, &one[0].0, &error).await,
                    }
                }
            }
        }
    }

    /// Claims the events and writes the notifications down as pending.
    async fn register(
        &self,
        useful: &[(Message, Notice)],
    ) -> Result<HashMap<Uuid, Standing>, sqlx::Error> {
        if useful.is_empty() {
            return Ok(HashMap::new());
        }
        let pairs: Vec<(&Message, &Notice)> = useful.iter().map(|(m, n)| (m, n)).collect();
        self.store.register(&pairs, self.channel.name()).await
    }

    async fn dispatch(
        &self,
        intake: &Intake,
        useful: &[(Message, Notice)],
        standings: &HashMap<Uuid, Standing>,
    ) {
        let each = useful.iter().map(async |(message, notice)| {
            match standings.get(&notice.event_id) {
                Some(standing) if standing.pending && !standing.is_carried_by(message) => {
                    let reason = "another message about the same event is on its way";
                    release(intake, message, Some(TWIN_PAUSE), reason, true).await;
                }
                Some(standing) if standing.pending => {
                    let only = std::iter::once(message);
                    let span = process(intake.instance(), intake.queue(), only);
                    let went_out = span.scope(self.send(intake, message, notice)).await;
                    span.end((!went_out).then_some("not_delivered"));
                }
                // It went out, or another event has notified about the same booking or recharge.
                _ => acknowledge(intake, message).await,
            }
        });
        futures::future::join_all(each).await;
    }

    /// Whether it went out.
    async fn send(&self, intake: &Intake, message: &Message, notice: &Notice) -> bool {
        let began = Instant::now();
        let Some(outcome) = intake.hold(message, self.channel.deliver(notice)).await else {
            tracing::warn!(event_id = %notice.event_id, "the queue gave a notification to somebody else");
            return false;
        };
        // Those that ended with their instances do not speak against the message.
        let failures = message.deliveries.saturating_sub(message.crashes);
        let outcome = match outcome {
            Err(Failure::Transient { reason, .. }) if failures >= self.attempts => Err(
                Failure::Permanent(format!("tried {failures} times; {reason}")),
            ),
            other => other,
        };
        let noted = match &outcome {
            Ok(()) => Outcome::Sent,
            Err(Failure::Transient { reason, .. }) => Outcome::Retry(reason),
            Err(Failure::Permanent(reason)) => Outcome::Failed(reason),
        };
        let name = self.channel.name();
        let noted = self
            .store
            .note(notice.event_id, name, noted, began.elapsed());
        if let Err(error) = noted.await {
            tracing::warn!(error = %error, event_id = %notice.event_id, "what became of a notification cannot be written down; it is sent again");
            release(intake, message, Some(PAUSE), &error.to_string(), true).await;
            return false;
        }
        let went_out = outcome.is_ok();
        match outcome {
            Ok(()) => {
                self.sent.inc();
                acknowledge(intake, message).await;
            }
            Err(Failure::Transient { reason, after }) => {
                self.retried.inc();
                tracing::info!(event_id = %notice.event_id, reason, "a notification did not go out and is tried again");
                release(intake, message, after, &reason, false).await;
            }
            Err(Failure::Permanent(reason)) => {
                self.failed.inc();
                tracing::warn!(event_id = %notice.event_id, reason, "a notification failed for good");
                let reason: String = reason.chars().take(1_000).collect();
                let ended = intake
                    .client()
                    .dead(intake.queue(), &message.receipt, &reason)
                    .await;
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "a message could not be given up; it comes again");
                }
            }
        }
        went_out
    }
}

async fn acknowledge(intake: &Intake, message: &Message) {
    let receipts = std::slice::from_ref(&message.receipt);
    if let Err(error) = intake.client().acknowledge(intake.queue(), receipts).await {
        tracing::debug!(error = %error, "a message could not be acknowledged; it comes again and ends then");
    }
}

async fn release(
    intake: &Intake,
    message: &Message,
    delay: Option<Duration>,
    reason: &str,
    uncounted: bool,
) {
    let release = Release {
        delay_seconds: delay.map(|delay| delay.as_secs_f64()),
        reason: Some(reason.chars().take(500).collect()),
        uncounted,
    };
    let released = intake
        .client()
        .release(intake.queue(), &message.receipt, &release)
        .await;
    if let Err(error) = released {
        tracing::debug!(error = %error, "a message could not be given back; it comes back by itself");
    }
}
