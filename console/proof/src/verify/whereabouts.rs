//! Where in the queues' Redis an event is. Looks at whatever a queue keeps, so that it needs to know little of how.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use kit::{messaging::TAG, redis::Servers};
use redis::aio::MultiplexedConnection;

use super::sql::Announced;

/// The Redis servers that may hold messages.
#[derive(Debug)]
pub struct Queues {
    urls: Vec<String>,
    trouble: Mutex<Option<String>>,
}

impl Queues {
    pub fn new(urls: &[String]) -> Self {
        Self {
            urls: urls.to_vec(),
            trouble: Mutex::default(),
        }
    }

    /// Why one could not be asked, if so.
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The events of these ids that are in the queue: `waiting`, or `dead`.
    pub async fn find(&self, kind: Announced, ids: &[i64]) -> BTreeMap<i64, String> {
        let mut found = BTreeMap::new();
        for url in &self.urls {
            match texts(url, kind.queue).await {
                Ok(texts) => {
                    for (key, text) in texts {
                        let place = if key.contains(":dead") {
                            "dead"
                        } else {
                            "waiting"
                        };
                        for id in ids.iter().filter(|id| names(&text, kind.member, **id)) {
                            let known = found.entry(*id).or_insert_with(|| place.to_owned());
                            if place == "waiting" {
                                place.clone_into(known);
                            }
                        }
                    }
                }
                Err(error) => {
                    let words = format!("a Redis could not be asked where events are: {error}");
                    *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
                }
            }
        }
        found
    }
}

/// Whether a message's text holds the member with that number.
fn names(text: &str, member: &str, id: i64) -> bool {
    let quoted = format!("\"{member}\"");
    let id = id.to_string();
    text.match_indices(&quoted).any(|(at, _)| {
        let rest = text[at + quoted.len()..]
            .trim_start()
            .strip_prefix(':')
            .map(str::trim_start);
        rest.and_then(|rest| rest.strip_prefix(id.as_str()))
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Every text in the keys of a queue, with its key.
async fn texts(url: &str, queue: &str) -> redis::RedisResult<Vec<(String, String)>> {
    let servers = Servers::parse(url, TAG)?;
    let mut connection = servers.connect().await?;
    let pattern = format!("queue:{{{queue}}}*");
    let mut all = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(&*servers.key(&pattern))
            .arg("COUNT")
            .arg(1_000)
            .query_async(&mut connection)
            .await?;
        for key in keys {
            let value = contents(&mut connection, &key).await?;
            let mut texts = Vec::new();
            flatten(&value, &mut texts);
            all.extend(texts.into_iter().map(|text| (key.clone(), text)));
        }
        if next == 0 {
            return Ok(all);
        }
        cursor = next;
    }
}

async fn contents(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> redis::RedisResult<redis::Value> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await?;
    let mut command = match kind.as_str() {
        "stream" => redis::cmd("XRANGE"),
        "hash" => redis::cmd("HVALS"),
        "list" => redis::cmd("LRANGE"),
        _ => return Ok(redis::Value::Nil),
    };
    command.arg(key);
    match kind.as_str() {
        "stream" => command.arg("-").arg("+"),
        "list" => command.arg(0).arg(-1),
        _ => &mut command,
    };
    command.query_async(connection).await
}

fn flatten(value: &redis::Value, texts: &mut Vec<String>) {
    match value {
        redis::Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(bytes).into_owned()),
        redis::Value::SimpleString(text) => texts.push(text.clone()),
        redis::Value::Array(values) | redis::Value::Set(values) => {
            for value in values {
                flatten(value, texts);
            }
        }
        redis::Value::Map(pairs) => {
            for (_, value) in pairs {
                flatten(value, texts);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_as_a_whole_number() {
        for (text, found) in [
            (r#"{"booking_id": 12, "x": 1}"#, true),
            (r#"{"x":1,"booking_id":12}"#, true),
            (r#"{"booking_id":123}"#, false),
            (r#"{"booking_id":1}"#, false),
            (r#"{"other_id":12}"#, false),
            // As a packed message holds it.
            ("\u{7f}b\u{1}{\"booking_id\":12}", true),
        ] {
            assert_eq!(names(text, "booking_id", 12), found, "{text}");
        }
    }
}
