//! Connections that break on purpose: a TCP proxy with faults that can be switched while it runs, and a board of them that
//! stands between all processes of a lab.

mod board;
mod proxy;

use std::{fmt, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

pub use board::{Board, Pair};
pub use proxy::Proxy;

/// What is wrong with a connection; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Toxics {
    /// Added in each direction.
    pub latency: Duration,
    /// Up to this much more, drawn for each piece; nothing overtakes.
    pub jitter: Duration,
    /// Bytes a second in each direction.
    pub bandwidth: Option<NonZeroU32>,
    /// What the client sends disappears. The connection stays open, and is reset when this is lifted.
    pub swallow_up: bool,
    /// What the server sends disappears.
    pub swallow_down: bool,
    /// Connections are reset, those that are there and those that come.
    pub reset: bool,
    /// Connections are reset, and new ones are refused.
    pub cut: bool,
}

impl Toxics {
    #[must_use]
    pub fn is_clear(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what was swallowed can still be on its way.
    fn swallows(&self) -> bool {
        self.swallow_up || self.swallow_down
    }

    /// Whether connections must end now.
    fn breaks(&self) -> bool {
        self.reset || self.cut
    }
}

impl fmt::Display for Toxics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if !self.latency.is_zero() || !self.jitter.is_zero() {
            words.push(format!(
                "latency {} ms + up to {} ms",
                self.latency.as_millis(),
                self.jitter.as_millis()
            ));
        }
        if let Some(bandwidth) = self.bandwidth {
            words.push(format!("{bandwidth} bytes/s"));
        }
        match (self.swallow_up, self.swallow_down) {
            (true, true) => words.push("half-open, nothing passes".to_owned()),
            (true, false) => words.push("half-open, requests disappear".to_owned()),
            (false, true) => words.push("half-open, answers disappear".to_owned()),
            (false, false) => {}
        }
        if self.reset {
            words.push("reset".to_owned());
        }
        if self.cut {
            words.push("cut".to_owned());
        }
        if words.is_empty() {
            words.push("clear".to_owned());
        }
        formatter.write_str(&words.join(", "))
    }
}
