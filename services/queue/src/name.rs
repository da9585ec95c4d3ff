//! Names of queues: short and plain, because they become parts of keys, paths and metric labels.

use std::fmt;

use axum::extract::FromRequestParts;
use http::request::Parts;
use kit::{Problem, extract::Path};

use crate::Error;

/// 1 to 64 small letters, digits, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(String);

impl QueueName {
    /// The queue of the older clients' `/enqueue` and `/dequeue`.
    #[must_use]
    pub fn of_older_clients() -> Self {
        Self("default".to_owned())
    }

    pub fn parse(text: &str) -> Result<Self, Error> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "queue",
                "a name is 1 to 64 small letters, digits, dashes and underscores",
            ))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The first segment of `/queues/{queue}/…`; further ones are ignored.
impl<S: Send + Sync> FromRequestParts<S> for QueueName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(segments) = Path::<Segments>::from_request_parts(parts, state).await?;
        Self::parse(&segments.queue).map_err(Problem::from)
    }
}

#[derive(serde::Deserialize)]
struct Segments {
    queue: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["a", "tasks", "a-b_c-9", &"x".repeat(64)] {
            assert!(QueueName::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "A",
            "a b",
            "a:b",
            "a/b",
            "ñ",
            "{a}",
            "a\0",
            &"x".repeat(65),
        ] {
            assert!(QueueName::parse(name).is_err(), "{name:?}");
        }
    }
}
