//! Whether a queue is total: what was sent is received or still there, what was acknowledged never comes back, and a
//! receipt is void once its message was given to somebody else.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::journal::{Action, Answer, Operation};

/// What is known of one message.
#[derive(Debug, Default)]
struct Message<'a> {
    value: &'a str,
    /// Delivery number, when the receive was sent, when it was answered.
    deliveries: Vec<(u32, u64, u64)>,
    /// Delivery number, when the acknowledgement was sent, when it was answered, whether it counted.
    endings: Vec<(u32, u64, u64, bool)>,
    /// An acknowledgement without an answer.
    perhaps_ended: bool,
}

/// What is known of one value: a message's content, which is also its dedupe id.
#[derive(Debug, Default)]
struct Value {
    sent: bool,
    ids: BTreeSet<String>,
}

/// Checks one queue. `remaining` are the values found in it at the end, dead letters included; without it, nothing is
/// said about losses.
#[must_use]
pub fn check(
    queue: &str,
    operations: &[Operation],
    remaining: Option<&BTreeSet<String>>,
) -> Findings {
    let mut findings = Findings::default();
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    let mut messages: BTreeMap<&str, Message> = BTreeMap::new();
    for operation in operations {
        match &operation.action {
            Action::Send {
                queue: other,
                values: sent,
            } if other == queue => {
                for value in sent {
                    values.entry(value).or_default();
                }
                if let Some((Answer::Sent { messages: ids }, _)) = operation.answer() {
                    for (value, id) in sent.iter().zip(ids) {
                        let value = values.entry(value).or_default();
                        value.sent = true;
                        value.ids.insert(id.clone());
                    }
                }
            }
            Action::Receive { queue: other } if other == queue => {
                let Some((Answer::Received { deliveries }, answered)) = operation.answer() else {
                    continue;
                };
                for delivery in deliveries {
                    let message = messages.entry(&delivery.message).or_default();
                    message.value = &delivery.value;
                    message
                        .deliveries
                        .push((delivery.delivery, operation.invoked_us, answered));
                }
            }
            Action::Acknowledge {
                queue: other,
                message,
                delivery,
            } if other == queue => {
                let message = messages.entry(message).or_default();
                match operation.answer() {
                    Some((Answer::Acknowledged { late }, answered)) => {
                        let sent = operation.invoked_us;
                        message.endings.push((*delivery, sent, answered, !late));
                    }
                    _ => message.perhaps_ended |= !operation.is_refused(),
                }
            }
            _ => {}
        }
    }
    judge_values(&values, &messages, remaining, &mut findings);
    for (id, message) in &messages {
        judge_message(id, message, &values, &mut findings);
    }
    findings
}

fn judge_values(
    values: &BTreeMap<&str, Value>,
    messages: &BTreeMap<&str, Message>,
    remaining: Option<&BTreeSet<String>>,
    findings: &mut Findings,
) {
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut received: BTreeSet<&str> = BTreeSet::new();
    let mut taken: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, message) in messages {
        if !message.deliveries.is_empty() {
            received.insert(message.value);
            taken.entry(message.value).or_default().insert(id);
        }
        if message.perhaps_ended || message.endings.iter().any(|(.., counted)| *counted) {
            ended.insert(message.value);
        }
    }
    findings.count("values sent", values.len() as u64);
    findings.count("values received", received.len() as u64);
    for (value, known) in values {
        if known.ids.len() > 1 {
            findings.offend(
                format!("value {value}"),
                format!(
                    "was sent twice under one dedupe id: its messages are {}",
                    list(known.ids.iter().map(String::as_str))
                ),
            );
        }
        // One that was received was in the queue, whatever its sender was told.
        let Some(remaining) = remaining.filter(|_| known.sent || received.contains(value)) else {
            continue;
        };
        if !ended.contains(value) && !remaining.contains(*value) {
            let why = if received.contains(value) {
                "was received and not acknowledged, and is not in the queue any more: lost"
            } else {
                "was acknowledged to its sender and is neither received nor in the queue: lost"
            };
            findings.offend(format!("value {value}"), why);
        }
    }
    for (value, ids) in taken {
        if ids.len() > 1 {
            findings.offend(
                format!("value {value}"),
                format!(
                    "came as different messages, {}: sent twice",
                    list(ids.into_iter())
                ),
            );
        }
    }
}

fn judge_message(
    id: &str,
    message: &Message,
    values: &BTreeMap<&str, Value>,
    findings: &mut Findings,
) {
    findings.count("deliveries", message.deliveries.len() as u64);
    findings.count("acknowledgements", message.endings.len() as u64);
    if !message.deliveries.is_empty() && !values.contains_key(message.value) {
        findings.offend(
            format!("message {id}"),
            format!("holds {:?}, which nobody sent", message.value),
        );
    }
    let ends: Vec<_> = message.endings.iter().filter(|end| end.3).collect();
    if ends.len() > 1 {
        findings.offend(
            format!("message {id}"),
            format!("was acknowledged {} times with success", ends.len()),
        );
    }
    for (delivery, sent, answered, _) in ends {
        if let Some(later) = message
            .deliveries
            .iter()
            .find(|(_, received, _)| received > answered)
        {
            findings.offend(
                format!("message {id}"),
                format!(
                    "was delivered again (delivery {}) after it had been acknowledged",
                    later.0
                ),
            );
        }
        if let Some(later) = message
            .deliveries
            .iter()
            .find(|(number, _, received)| number > delivery && received < sent)
        {
            findings.offend(
                format!("message {id}"),
                format!(
                    "was acknowledged with the receipt of delivery {delivery} when delivery {} had been made: the receipt should have been void",
                    later.0
                ),
            );
        }
    }
    let mut numbers: Vec<u32> = message
        .deliveries
        .iter()
        .map(|(number, ..)| *number)
        .collect();
    numbers.sort_unstable();
    if let Some([number, ..]) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
        findings.offend(
            format!("message {id}"),
            format!("was delivered twice as delivery {number}"),
        );
    }
}

fn list<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect::<Vec<_>>().join(" and ")
}
