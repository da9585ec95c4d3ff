//! The events that cause notifications, and what is written to whom.

use chrono::{DateTime, Utc};
use kit::messaging::{Event, Message};
use serde::Deserialize;
use uuid::Uuid;

/// What the outboxes of the other services announce.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Payload {
    Booking {
        booking_id: i64,
        student_id: i64,
        student: String,
        tutor: String,
        subject: String,
        starts_at: DateTime<Utc>,
    },
    Recharge {
        recharge_id: i64,
        card_id: i64,
        user_id: i64,
        amount: i64,
        balance: i64,
    },
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Booking(i64),
    Recharge(i64),
}

/// A notification to be sent, once per event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub event_id: Uuid,
    pub subject: Subject,
    /// `student:ID` or `user:ID`.
    pub recipient: String,
    pub body: String,
}

impl Notice {
    /// Reads a message; the error says why it is of no use.
    pub fn of(message: &Message) -> Result<Self, serde_json::Error> {
        let event: Event<Payload> = message.read()?;
        let (subject, recipient, body) = match event.payload {
            Payload::Booking {
                booking_id,
                student_id,
                student,
                tutor,
                subject,
                starts_at,
            } => (
                Subject::Booking(booking_id),
                format!("student:{student_id}"),
                format!(
                    "{student}, your {subject} session with {tutor} begins on {}",
                    starts_at.format("%Y-%m-%d at %H:%M UTC")
                ),
            ),
            Payload::Recharge {
                recharge_id,
                card_id,
                user_id,
                amount,
                balance,
            } => (
                Subject::Recharge(recharge_id),
                format!("user:{user_id}"),
                format!("Card {card_id} was recharged with {amount} pesos and holds {balance} now"),
            ),
        };
        Ok(Self {
            event_id: event.event_id,
            subject,
            recipient,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use kit::messaging::Receipt;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Result<Notice, String> {
        let message = Message {
            id: "m".to_owned(),
            receipt: Receipt("1-0.1".to_owned()),
            body: serde_json::value::to_raw_value(body).expect("JSON"),
            deliveries: 1,
            redrives: 0,
            crashes: 0,
            ordering_key: None,
            sent_at: Utc::now(),
        };
        Notice::of(&message).map_err(|error| error.to_string())
    }

    #[test]
    fn events_become_sentences() {
        let id = Uuid::new_v4();
        let booking = read(&json!({
            "event_id": id, "type": "booking", "booking_id": 7, "student_id": 1, "student": "Ana", "tutor_id": 2,
            "tutor": "Luis", "subject": "Math", "starts_at": "2030-01-02T15:00:00.000000Z", "ends_at": "2030-01-02T16:00:00.000000Z",
        }))
        .expect("a booking");
        assert_eq!(booking.subject, Subject::Booking(7));
        assert_eq!(
            (booking.event_id, booking.recipient.as_str()),
            (id, "student:1")
        );
        assert_eq!(
            booking.body,
            "Ana, your Math session with Luis begins on 2030-01-02 at 15:00 UTC"
        );
        let recharge = read(&json!({
            "event_id": id, "type": "recharge", "recharge_id": 9, "card_id": 3, "user_id": 4, "amount": 20_000, "balance": 21_000,
        }))
        .expect("a recharge");
        assert_eq!(recharge.subject, Subject::Recharge(9));
        assert_eq!(recharge.recipient, "user:4");
    }

    #[test]
    fn other_messages_are_refused() {
        for body in [
            json!("text"),
            json!({"type": "booking"}),
            json!({"event_id": "not a uuid", "type": "recharge"}),
            json!({"event_id": Uuid::new_v4(), "type": "refund"}),
        ] {
            assert!(read(&body).is_err(), "{body}");
        }
    }
}
