//! What the scripts answer, as types.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use kit::messaging::{DeadLetter, Episode};
use redis::{FromRedisValue, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Error;

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time(milliseconds: u64) -> DateTime<Utc> {
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

pub(super) fn raw(text: String) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(text).map_err(|_| Error::Unexpected("a body that is not JSON"))
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
    let parsed = |text: String| {
        text.parse()
            .map_err(|_| Error::Unexpected("a number was due"))
    };
    let history = field("h")?;
    // An empty table of Lua is an object in JSON.
    let history: Vec<StoredEpisode> = serde_json::from_str(&history).unwrap_or_default();
    Ok(DeadLetter {
        position,
        id: field("i")?,
        body: raw(field("b")?)?,
        deliveries: parsed(field("n")?)? as u32,
        redrives: parsed(field("r")?)? as u32,
        sent_at: time(parsed(field("t")?)?),
        died_at: time(parsed(field("a")?)?),
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
