//! `POST /queues/{queue}/messages`: one message or a batch, all of it or nothing.

use axum::{Json as Answer, extract::State};
use kit::{
    extract::Json,
    messaging::{BATCH_LIMIT, Outgoing, Sent},
    problem::ProblemBody,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{DELAY_LIMIT, seconds};
use crate::{AppState, Error, QueueName, store::Checked};

/// The largest body of one message, in bytes.
pub(super) const MESSAGE_LIMIT: usize = 256 * 1024;
/// The longest dedupe id and ordering key.
const ID_LIMIT: usize = 128;

/// Either `body` with its options, or `messages`.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"body": {"hello": "world"}, "delay_seconds": 0, "dedupe_id": "greeting-1"}))]
pub struct SendRequest {
    /// The one message's body: any JSON, up to 256 KiB.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// Seconds before the one message may be received.
    delay_seconds: Option<f64>,
    /// The one message's dedupe id, 1 to 128 visible ASCII characters.
    dedupe_id: Option<String>,
    /// The one message's ordering key, 1 to 128 visible ASCII characters: messages with the same one are received one at a
    /// time and in order.
    ordering_key: Option<String>,
    /// 1 to 100 messages.
    messages: Option<Vec<Outgoing>>,
}

/// Null is a body too, and not an absent one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Sends messages to a queue, which the first one makes.
#[utoipa::path(
    post, path = "/queues/{queue}/messages", tag = "queue",
    params(("queue" = String, Path, example = "lab")),
    request_body = SendRequest,
    responses(
        (status = 200, description = "Sent; a known dedupe id answers its first message's id", body = Sent),
        (status = 413, description = "A body is larger than 256 KiB", body = ProblemBody),
        (status = 429, description = "The queue holds its most, or its consumers are too far behind", body = ProblemBody),
        (status = 503, description = "Redis is away, or cannot keep what the queue promises", body = ProblemBody),
    )
)]
pub async fn send(
    State(state): State<AppState>,
    queue: QueueName,
    Json(request): Json<SendRequest>,
) -> Result<Answer<Sent>, Error> {
    let (messages, alone) = match (request.body, request.messages) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "messages",
                "send either a body or messages, not both",
            ));
        }
        (None, None) => return Err(Error::invalid("body", "this field is required")),
        (Some(body), None) => {
            let one = Outgoing {
                body,
                delay_seconds: request.delay_seconds,
                dedupe_id: request.dedupe_id,
                ordering_key: request.ordering_key,
            };
            (vec![one], true)
        }
        (None, Some(messages)) => (messages, false),
    };
    if !(1..=BATCH_LIMIT).contains(&messages.len()) {
        return Err(Error::invalid(
            "messages",
            format!("a batch has 1 to {BATCH_LIMIT} messages"),
        ));
    }
    let messages = messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| {
            check(message, |field| {
                if alone {
                    field.to_owned()
                } else {
                    format!("messages[{index}].{field}")
                }
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (ids, durability) = state.store.send(&queue, messages).await?;
    Ok(Answer(Sent {
        id: alone.then(|| ids.first().cloned()).flatten(),
        ids,
        durability,
    }))
}

fn check(message: Outgoing, field: impl Fn(&str) -> String) -> Result<Checked, Error> {
    if message.body.get().len() > MESSAGE_LIMIT {
        return Err(Error::TooLarge);
    }
    for (name, id) in [
        ("dedupe_id", &message.dedupe_id),
        ("ordering_key", &message.ordering_key),
    ] {
        if id.as_deref().is_some_and(|id| !is_plain(id)) {
            return Err(Error::invalid(
                field(name),
                format!("must be 1 to {ID_LIMIT} visible ASCII characters"),
            ));
        }
    }
    Ok(Checked {
        delay: seconds(
            &field("delay_seconds"),
            message.delay_seconds.unwrap_or(0.0),
            DELAY_LIMIT,
        )?,
        body: message.body,
        dedupe_id: message.dedupe_id,
        ordering_key: message.ordering_key,
    })
}

fn is_plain(id: &str) -> bool {
    (1..=ID_LIMIT).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}
