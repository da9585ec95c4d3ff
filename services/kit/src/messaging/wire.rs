//! What the queue's calls carry, for the service and its callers alike.

use std::{borrow::Cow, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

/// What a queue promises when it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It is on disk: no crash of Redis or of its machine takes it back.
    #[default]
    Durable,
    /// It is in Redis's memory: a crash of Redis may take back the last moments.
    Fast,
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Durable => "durable",
            Self::Fast => "fast",
        })
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "durable" => Ok(Self::Durable),
            "fast" => Ok(Self::Fast),
            other => Err(format!("{other:?} is neither durable nor fast")),
        }
    }
}

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
    /// Messages with the same key are received one at a time, in the order in which they were sent (delayed ones: in
    /// which they became due).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
}

impl Outgoing {
    /// A message for at once.
    pub fn new(body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self {
            body: serde_json::value::to_raw_value(body)?,
            delay_seconds: None,
            dedupe_id: None,
            ordering_key: None,
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
    pub durability: Durability,
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
    /// How many of its deliveries ended because nobody was heard of again, which is how a message that kills its
    /// consumers shows.
    #[serde(default)]
    pub crashes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    pub sent_at: DateTime<Utc>,
}

impl Message {
    /// The body as a type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.body.get())
    }
}

/// What the relay adds to a payload for those who look at traces.
#[derive(Deserialize)]
struct Carried<'a> {
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
}

/// Where in a trace a message was made, if its body says so: beside the event's id.
pub(crate) fn traceparent(body: &RawValue) -> Option<Cow<'_, str>> {
    let carried: Carried = serde_json::from_str(body.get()).ok()?;
    carried.traceparent
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
    /// What the receipts are worth: a durable one outlives a crash of Redis.
    pub durability: Durability,
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
    pub durability: Durability,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Extend {
    /// Seconds from now until the message comes back.
    #[schema(example = 30.0)]
    pub visibility_seconds: f64,
}

/// How a message is given back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Release {
    /// Seconds before it may be received again. When absent, a delivery that counts waits for the queue's backoff, which
    /// doubles with every failure, and one that does not comes back at once.
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

/// A batch to give back, all in the same way.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReleaseBatch {
    /// 1 to 100 receipts.
    pub receipts: Vec<Receipt>,
    #[serde(flatten)]
    pub release: Release,
}

/// What became of a batch that was given back.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Released {
    /// How many messages were given back; at its last failure a message is given up instead.
    pub released: u64,
    /// The receipts that were void.
    pub late: Vec<Receipt>,
    pub durability: Durability,
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
    /// How many of its deliveries ended because nobody was heard of again.
    #[serde(default)]
    pub crashes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
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
