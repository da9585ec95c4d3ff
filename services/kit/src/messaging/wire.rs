//! What the queue's calls carry, for the service and its callers alike.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A message on its way into a queue.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Outgoing {
    /// Any JSON, kept as it was written.
    #[schema(value_type = serde_json::Value)]
    pub body: Box<RawValue>,
    /// Seconds before it may be received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// A second message with this id is not sent within the queue's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_id: Option<String>,
}

impl Outgoing {
    /// A message for at once.
    pub fn new(body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self {
            body: serde_json::value::to_raw_value(body)?,
            delay_seconds: None,
            dedupe_id: None,
        })
    }
}

/// A batch to send.
#[derive(Debug, Serialize)]
pub struct Send<'a> {
    pub messages: Cow<'a, [Outgoing]>,
}

/// The ids of a sent batch, in its order.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Sent {
    /// The only one's id, when one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7c0e5a2e-6d0b-4a53-a7fc-5b0c2a1d9e44")]
    pub id: Option<String>,
    pub ids: Vec<String>,
}

/// Proof of one delivery: it is void when the message was given back, delivered again or ended.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(example = "1767225600000-0.1")]
pub struct Receipt(pub String);

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A received message.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Message {
    pub id: String,
    pub receipt: Receipt,
    #[schema(value_type = serde_json::Value)]
    pub body: Box<RawValue>,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// How often it was taken back from the dead letters.
    #[serde(default)]
    pub redrives: u32,
    pub sent_at: DateTime<Utc>,
}

impl Message {
    /// The body as a type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.body.get())
    }
}

/// An outbox event as the relay sends it: the payload with the event's id in it, for the consumer's inbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event<T> {
    pub event_id: Uuid,
    #[serde(flatten)]
    pub payload: T,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Messages {
    pub messages: Vec<Message>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Acknowledge {
    pub receipts: Vec<Receipt>,
}

/// What became of a batch of receipts.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Acknowledged {
    /// How many messages ended.
    pub acknowledged: u64,
    /// The receipts that were void.
    pub late: Vec<Receipt>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Extend {
    /// Seconds from now until the message comes back.
    #[schema(example = 30.0)]
    pub visibility_seconds: f64,
}

/// How a message is given back.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Release {
    /// Seconds before it may be received again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// Why, for its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True when the message itself is not to blame (a consumer that stops, a database that is away): the delivery does
    /// not count towards the most that the queue makes.
    #[serde(default)]
    pub uncounted: bool,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// Why nobody can use the message.
    pub reason: String,
}

/// A message that the queue gave up on.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetter {
    /// Its place among the dead letters.
    pub position: String,
    pub id: String,
    #[schema(value_type = serde_json::Value)]
    pub body: Box<RawValue>,
    pub deliveries: u32,
    pub redrives: u32,
    pub sent_at: DateTime<Utc>,
    pub died_at: DateTime<Utc>,
    pub reason: String,
    /// What happened at its latest deliveries, oldest first.
    pub history: Vec<Episode>,
}

/// One delivery that did not end a message.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Episode {
    pub delivery: u32,
    pub at: DateTime<Utc>,
    /// `released`, `expired` or `dead`.
    #[schema(example = "released")]
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeadLetters {
    pub messages: Vec<DeadLetter>,
}
