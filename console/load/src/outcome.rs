//! What an answer leads to: counts, remembered ids, the journal.

use std::collections::VecDeque;
use std::time::Duration;

use crate::desk::Due;
use crate::engine::Engine;
use crate::meter::{End, Sample};
use crate::mix::Seen;
use crate::wire::{Failure, Reply};
use crate::{Call, Outcome, Write};

/// An answer, or how it ended without one.
pub(crate) type Exchange = Result<Reply, (End, Option<Failure>)>;

impl Engine {
    pub fn record(&self, due: &Due, started: Duration, ended: Duration, result: &Exchange) {
        let reply = result.as_ref().ok();
        let sample = Sample {
            kind: due.call.kind(),
            due: due.at,
            started,
            ended,
            end: match result {
                Ok(reply) => End::Answered(reply.status),
                Err((end, _)) => *end,
            },
            bytes: reply.map_or(0, |reply| reply.bytes),
            gateway: reply.and_then(|reply| reply.header("x-gateway")),
            cache: reply.and_then(|reply| reply.header("x-cache")),
        };
        let mut meter = self.meter();
        meter.finish(&sample);
        match result {
            Err((_, Some(failure))) => meter.last_error = Some(failure.to_string()),
            Err((End::TimedOut, None)) => {
                meter.last_error = Some(format!(
                    "no answer within {:?}",
                    self.options.request_timeout
                ));
            }
            _ => {}
        }
        drop(meter);
        if reply.is_some_and(|reply| reply.status == 401) {
            self.tokens.refuse();
        }
    }

    /// Remembers the id a write has made, and tells the journal.
    pub fn follow_up(&self, call: Call, key: String, result: &Exchange) {
        let outcome = match result {
            Ok(reply) => match reply.status {
                status @ 200..=299 => {
                    self.remember(&call, &reply.body);
                    Outcome::Acknowledged {
                        status,
                        body: reply.body.clone(),
                    }
                }
                // A conflict over the key means that it is still running; its end is not known.
                status @ (300..=408 | 410..=499) => Outcome::Refused {
                    status,
                    body: reply.body.clone(),
                },
                409 if reply.header("retry-after").is_none() => Outcome::Refused {
                    status: 409,
                    body: reply.body.clone(),
                },
                status => Outcome::Unknown {
                    status: Some(status),
                },
            },
            Err(_) => Outcome::Unknown { status: None },
        };
        if let Some(journal) = &self.options.journal {
            journal.tell(Write {
                call,
                idempotency_key: key,
                outcome,
            });
        }
    }

    fn remember(&self, call: &Call, body: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Made {
            #[serde(alias = "trip_id", alias = "booking_id", alias = "task_id")]
            id: u64,
        }
        let Ok(Made { id }) = serde_json::from_slice(body) else {
            return;
        };
        let mut seen = self.seen();
        match call {
            Call::Board { station, .. } => keep(&mut seen.trips, (id, *station)),
            Call::Book { .. } => keep(&mut seen.bookings, id),
            Call::LongTask { .. } => keep(&mut seen.tasks, id),
            _ => {}
        }
    }
}

fn keep<T>(ids: &mut VecDeque<T>, id: T) {
    if ids.len() == Seen::DEPTH {
        ids.pop_front();
    }
    ids.push_back(id);
}
