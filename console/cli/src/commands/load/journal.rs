//! What `recarga load` was told about its writes, as a journal that `recarga verify` reads.

use std::path::Path;

use chrono::Utc;
use load::{Call, Outcome, Write};
use proof::journal::{Action, Answer, Error, FORMAT, Recorder, Start};
use serde_json::Value;

pub fn create(path: &Path) -> Result<Recorder, Error> {
    let start = Start {
        format: FORMAT,
        at: Utc::now(),
        seed: None,
        // Others may use the same cards, and trips are not written down.
        cards: Vec::new(),
    };
    Recorder::create(path, start)
}

pub fn hear(recorder: Recorder) -> load::Journal {
    load::Journal::new(move |write| {
        if let Some(action) = action(&write) {
            let operation = recorder.invoke(action);
            match write.outcome {
                Outcome::Acknowledged { status, body } => {
                    if let Some(answer) = answer(&write.call, &body) {
                        recorder.ok(operation, answer);
                    } else {
                        let words = format!("an answer {status} of another form");
                        recorder.unknown(operation, words);
                    }
                }
                Outcome::Refused { status, .. } => {
                    recorder.refused(operation, status, String::new());
                }
                Outcome::Unknown { status } => {
                    let words = status.map_or_else(|| "no answer".to_owned(), |s| s.to_string());
                    recorder.unknown(operation, words);
                }
            }
        }
    })
}

/// Nothing for writes that no invariant is checked by.
fn action(write: &Write) -> Option<Action> {
    let key = write.idempotency_key.clone();
    Some(match write.call {
        Call::Recharge { card, amount } => Action::Recharge {
            card: card.cast_signed(),
            amount: amount.cast_signed(),
            key,
        },
        Call::Book { student, tutor } => Action::Book {
            student: student.cast_signed(),
            tutor: tutor.cast_signed(),
            key,
        },
        Call::LongTask { .. } => Action::Task { key, fails: false },
        _ => return None,
    })
}

fn answer(call: &Call, body: &[u8]) -> Option<Answer> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let replayed = false;
    match call {
        Call::Recharge { .. } => Some(Answer::Recharged {
            recharge: body["recharge_id"].as_i64()?,
            balance: body["balance"].as_i64()?,
            replayed,
        }),
        Call::Book { .. } => Some(Answer::Booked {
            booking: body["booking_id"].as_i64()?,
            tutor: body["tutor_id"].as_i64()?,
            starts_at: serde_json::from_value(body["starts_at"].clone()).ok()?,
            ends_at: serde_json::from_value(body["ends_at"].clone()).ok()?,
            replayed,
        }),
        Call::LongTask { .. } => Some(Answer::Accepted {
            task: body["task_id"].as_i64()?,
            replayed,
        }),
        _ => None,
    }
}
