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
    let mut messages = Vec::new();
    while reply.values.len() > 0 {
        let (entry, lines, bodies) = (reply.word()?, reply.word()?, reply.word()?);
        // A line of a block has two or three words; a message that is delivered again has seven, wherever it is kept.
        if lines.split([' ', '\n']).nth(3).is_none() || lines.contains('\n') {
            let place = Place::parse(&entry).ok_or(Error::Unexpected("a block without a place"))?;
            block(&place, &lines, &bodies, &mut messages)?;
        } else {
            messages.push(single(&entry, &lines, bodies)?);
        }
    }
    Ok(messages)
}

/// What has an entry of its own, or was delivered before.
fn single(entry: &str, words: &str, body: String) -> Result<Message, Error> {
    let words = Words::parse(words)?;
    let deliveries = words.deliveries + 1;
    Ok(Message {
        id: words.id.to_owned(),
        receipt: Receipt(format!("{entry}.{deliveries}")),
        body: raw(body)?,
        deliveries,
        redrives: words.redrives,
        crashes: words.crashes,
        ordering_key: words.ordering_key,
        sent_at: words.sent_at,
    })
}

/// Where in its block a message is.
struct Place<'a> {
    block: &'a str,
    index: usize,
    sent_at: DateTime<Utc>,
}

impl<'a> Place<'a> {
    /// None for an entry that is no block.
    fn parse(entry: &'a str) -> Option<Self> {
        let (block, place) = entry.rsplit_once('-')?;
        let (ms, _) = block.split_once('-')?;
        Some(Self {
            block,
            index: place.parse().ok()?,
            sent_at: time(ms.parse().ok()?),
        })
    }
}

/// Neighbours in a block, delivered for the first time.
fn block(
    first: &Place<'_>,
    lines: &str,
    mut bodies: &str,
    messages: &mut Vec<Message>,
) -> Result<(), Error> {
    for (line, place) in lines.split('\n').zip(first.index..) {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(Error::Unexpected("a word is missing"));
        let (id, size) = (word()?, word()?);
        let ordering_key = words.next().filter(|key| !key.is_empty());
        let (body, rest) = size
            .parse()
            .ok()
            .and_then(|size| bodies.split_at_checked(size))
            .ok_or(Error::Unexpected("a body of another size"))?;
        bodies = rest;
        messages.push(Message {
            id: id.to_owned(),
            receipt: Receipt(format!("{}-{place}.1", first.block)),
            body: raw(body.to_owned())?,
            deliveries: 1,
            redrives: 0,
            crashes: 0,
            ordering_key: ordering_key.map(str::to_owned),
            sent_at: first.sent_at,
        });
    }
    Ok(())
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
    fn a_block_is_read_and_a_bad_one_refused() {
        let read = |entry: &str, lines: &str, bodies: &str| {
            let mut messages = Vec::new();
            let place = Place::parse(entry).expect("a place in a block");
            block(&place, lines, bodies, &mut messages).map(|()| messages)
        };
        let messages = read("1767225600000-3-7", "a 1\nb 5 card:7\nc 2 ", "1\"é\\n\"[]");
        // Sizes are bytes.
        assert!(messages.is_err());
        let messages =
            read("1767225600000-3-7", "a 1\nb 4 card:7\nc 2 ", "1\"é\"[]").expect("a block");
        let told: Vec<_> = messages
            .iter()
            .map(|m| {
                (
                    m.id.as_str(),
                    m.receipt.0.as_str(),
                    m.body.get(),
                    m.ordering_key.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", "1767225600000-3-7.1", "1", None),
                ("b", "1767225600000-3-8.1", "\"é\"", Some("card:7")),
                ("c", "1767225600000-3-9.1", "[]", None),
            ]
        );
        assert_eq!(messages[0].sent_at, time(1_767_225_600_000));
        for (lines, bodies) in [
            ("", ""),
            ("a", "1"),
            ("a x", "1"),
            ("a 2", "1"),
            ("a 2", "é\""),
        ] {
            assert!(read("1-0-0", lines, bodies).is_err(), "{lines:?}");
        }
        for entry in ["1-0", "1", "", "1-0-x"] {
            assert!(Place::parse(entry).is_none(), "{entry:?}");
        }
    }

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
