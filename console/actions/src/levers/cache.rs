//! The cache: flushed by key, by prefix, as a whole.

use serde_json::Value;

use super::{Done, Levers, http::segment, scope};
use crate::{Failure, FlushScope, number::counted};

const WHO: &str = "the cache service";

/// What the cache holds, as its statistics tell.
pub(super) struct Contents {
    pub size: u64,
    pub keys: Vec<String>,
    /// Whether there are more keys than these.
    pub truncated: bool,
}

impl Levers {
    pub(super) async fn flush(&self, what: &FlushScope) -> Result<Done, Failure> {
        let base = &self.lab.cache_url;
        let request = match what {
            FlushScope::Key(key) => self.http.delete(format!("{base}/cache/{}", segment(key))),
            FlushScope::Prefix(prefix) => self
                .http
                .delete(format!("{base}/cache?prefix={}", segment(prefix))),
            FlushScope::All => self.http.post(format!("{base}/cache/flush")),
        };
        let answer = match (self.json(WHO, request).await, what) {
            (Err(Failure::Refused { status: 404, .. }), FlushScope::Key(key)) => {
                return Ok(Done::new(format!("{key} was not in the cache")));
            }
            (answer, _) => answer?,
        };
        if let FlushScope::Key(key) = what {
            return Ok(Done::new(format!("{key} is deleted from the cache")));
        }
        let count = answer["count"].as_u64().unwrap_or_default();
        let entries = counted(count, "entry", "entries");
        Ok(Done::new(format!("{entries} deleted: {}", scope(what))))
    }

    pub(super) async fn contents(&self) -> Result<Contents, Failure> {
        let url = format!("{}/cache/stats", self.lab.cache_url);
        let stats = self.json(WHO, self.http.get(url)).await?;
        let items = stats["items"].as_array().into_iter().flatten();
        Ok(Contents {
            size: stats["size"].as_u64().unwrap_or_default(),
            keys: items.filter_map(Value::as_str).map(str::to_owned).collect(),
            truncated: stats["items_truncated"].as_bool().unwrap_or_default(),
        })
    }
}
