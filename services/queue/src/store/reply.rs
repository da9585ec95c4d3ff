//! What the scripts answer, as types.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use kit::messaging::{DeadLetter, Episode, Message, Receipt};
use redis::{FromRedisValue, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::scripts::Reply;
use crate::Error;

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn time(milliseconds: u64) -> DateTime<Utc> {
    i64::try_from(milliseconds)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or_default()
}

pub(super) fn text(value: Value) -> Result<String, Error> {
    String::from_redis_value(value).map_err(|_| Error::Unexpected("text was due"))
}

pub(super) fn number(value: Value) -> Result<u64, Error> {
    u64::from_redis_value(value).map_err(|_| Error::Unexpected("a number was due"))
}

fn raw(text: String) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(text).map_err(|_| Error::Unexpected("a body that is not JSON"))
}

/// The first field of an entry.
struct Words<'a> {
    id: &'a str,
    sent_at: DateTime<Utc>,
    deliveries: u32,
    redrives: u32,
    crashes: u32,
    ordering_key: Option<String>,
}

impl<'a> Words<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(Error::Unexpected("a word is missing"));
        let id = word()?;
        let mut figure = || {
            word()?
                .parse::<u64>()
                .map_err(|_| Error::Unexpected("a number was due"))
        };
        let (sent_at, deliveries, redrives, crashes, _failures) =
            (figure()?, figure()?, figure()?, figure()?, figure()?);
        Ok(Self {
            id,
            sent_at: time(sent_at),
            deliveries: deliveries as u32,
            redrives: redrives as u32,
            crashes: crashes as u32,
            ordering_key: words
                .next()
                .filter(|key| !key.is_empty())
                .map(str::to_owned),
        })
    }
}

/// The messages of a receive, behind the time of the next one.
pub(super) fn messages(mut reply: Reply) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::with_capacity(reply.values.len() / 5);
    while reply.values.len() > 0 {
        let entry = reply.word()?;
        let deliveries = reply.number()? as u32;
        let crashes = reply.number()? as u32;
        let text = reply.word()?;
        let words = Words::parse(&text)?;
        messages.push(Message {
            id: words.id.to_owned(),
            receipt: Receipt(format!("{entry}.{deliveries}")),
            body: raw(reply.word()?)?,
            deliveries,
            redrives: words.redrives,
            crashes,
            ordering_key: words.ordering_key,
            sent_at: words.sent_at,
        });
    }
    Ok(messages)
}

#[derive(Deserialize)]
struct StoredEpisode {
    d: u32,
    at: u64,
    e: String,
    r: Option<String>,
}

pub(super) fn dead_letter(
    (position, mut fields): (String, HashMap<String, String>),
) -> Result<DeadLetter, Error> {
    let mut field = |name| {
        fields
            .remove(name)
            .ok_or(Error::Unexpected("a field is missing"))
    };
    let text = field("m")?;
    let words = Words::parse(&text)?;
    let history = field("h")?;
    // An empty table of Lua is an object in JSON.
    let history: Vec<StoredEpisode> = serde_json::from_str(&history).unwrap_or_default();
    let died_at = field("a")?
        .parse()
        .map_err(|_| Error::Unexpected("a number was due"))?;
    Ok(DeadLetter {
        position,
        id: words.id.to_owned(),
        body: raw(field("b")?)?,
        deliveries: words.deliveries,
        redrives: words.redrives,
        crashes: words.crashes,
        ordering_key: words.ordering_key,
        sent_at: words.sent_at,
        died_at: time(died_at),
        reason: field("w")?,
        history: history
            .into_iter()
            .map(|episode| Episode {
                delivery: episode.d,
                at: time(episode.at),
                event: episode.e,
                reason: episode.r,
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_bad_ones_refused() {
        let words = Words::parse("id 1767225600000 2 1 3 4 card:7").expect("words");
        assert_eq!(
            (words.id, words.deliveries, words.redrives, words.crashes),
            ("id", 2, 1, 3)
        );
        assert_eq!(words.ordering_key.as_deref(), Some("card:7"));
        let words = Words::parse("id 1767225600000 0 0 0 0 ").expect("words");
        assert_eq!(words.ordering_key, None);
        for text in ["", "id", "id x 0 0 0 0 ", "id 1 0 0"] {
            assert!(Words::parse(text).is_err(), "{text:?}");
        }
    }
}
