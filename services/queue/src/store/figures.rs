//! A queue's numbers and its settings.

use std::time::Duration;

use kit::messaging::Durability;
use serde::{Deserialize, Serialize};

use super::scripts::Reply;
use crate::{Error, config::Defaults};

/// A queue's numbers now, and its own settings.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub depth: u64,
    pub in_flight: u64,
    pub delayed: u64,
    /// Behind another message with the same ordering key.
    pub waiting: u64,
    pub dead: u64,
    pub bytes: u64,
    pub oldest_age: Duration,
    pub paused: bool,
    pub sent: u64,
    pub received: u64,
    pub acknowledged: u64,
    pub redelivered: u64,
    pub died: u64,
    pub settings: Settings,
}

/// What one queue does; what is absent is the service's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What an answer promises: `durable` answers when the disk has it, `fast` when Redis has it in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// Failures (deliveries that a consumer gave back) at which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    pub max_deliveries: Option<u32>,
    /// Crashes (deliveries whose consumer was not heard of again) at which a message is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    pub max_crashes: Option<u32>,
    /// Seconds a received message stays invisible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 30.0)]
    pub visibility_seconds: Option<f64>,
    /// Waiting messages above which sends are refused with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 100_000)]
    pub max_depth: Option<u32>,
    /// Bytes of all bodies that did not end above which sends are refused with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1_000_000_000)]
    pub max_bytes: Option<u64>,
    /// Seconds the oldest ready message may wait; beyond them sends are refused with 429. 0 for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 600.0)]
    pub max_age_seconds: Option<f64>,
    /// Seconds for which a dedupe id is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 300.0)]
    pub dedupe_seconds: Option<f64>,
    /// Seconds after which a message comes back that was given back for the first time; doubles with every failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.5)]
    pub backoff_seconds: Option<f64>,
    /// The longest backoff, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 60.0)]
    pub backoff_limit_seconds: Option<f64>,
}

impl Settings {
    /// What is absent, filled in.
    #[must_use]
    pub fn or(self, defaults: &Defaults) -> Self {
        let seconds = |duration: Duration| Some(duration.as_secs_f64());
        Self {
            durability: self.durability.or(Some(defaults.durability)),
            max_deliveries: self.max_deliveries.or(Some(defaults.max_deliveries)),
            max_crashes: self.max_crashes.or(Some(defaults.max_crashes)),
            visibility_seconds: self.visibility_seconds.or(seconds(defaults.visibility)),
            max_depth: self.max_depth.or(Some(defaults.max_depth)),
            max_bytes: self.max_bytes.or(Some(defaults.max_bytes)),
            max_age_seconds: self.max_age_seconds.or(seconds(defaults.max_age)),
            dedupe_seconds: self.dedupe_seconds.or(seconds(defaults.dedupe)),
            backoff_seconds: self.backoff_seconds.or(seconds(defaults.backoff)),
            backoff_limit_seconds: self
                .backoff_limit_seconds
                .or(seconds(defaults.backoff_limit)),
        }
    }

    /// The settings that are given, as the scripts keep them.
    pub(super) fn pairs(&self) -> Vec<(&'static str, u64)> {
        let ms = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1000.0).round() as u64);
        [
            (
                "fast",
                self.durability
                    .map(|durability| u64::from(durability == Durability::Fast)),
            ),
            ("max_deliveries", self.max_deliveries.map(u64::from)),
            ("max_crashes", self.max_crashes.map(u64::from)),
            ("visibility_ms", ms(self.visibility_seconds)),
            ("max_depth", self.max_depth.map(u64::from)),
            ("max_bytes", self.max_bytes),
            ("max_age_ms", ms(self.max_age_seconds)),
            ("dedupe_ms", ms(self.dedupe_seconds)),
            ("backoff_ms", ms(self.backoff_seconds)),
            ("backoff_limit_ms", ms(self.backoff_limit_seconds)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

impl Figures {
    /// In the order in which the script answers.
    pub(super) fn read(mut reply: Reply) -> Result<Self, Error> {
        let mut figure = || {
            reply
                .integer()
                .map(|number| u64::try_from(number).unwrap_or(0))
        };
        let figures = Self {
            depth: figure()?,
            in_flight: figure()?,
            delayed: figure()?,
            waiting: figure()?,
            dead: figure()?,
            bytes: figure()?,
            oldest_age: Duration::from_millis(figure()?),
            paused: figure()? == 1,
            sent: figure()?,
            received: figure()?,
            acknowledged: figure()?,
            redelivered: figure()?,
            died: figure()?,
            settings: Settings::default(),
        };
        let mut own = || reply.integer().map(|number| u64::try_from(number).ok());
        let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let seconds = |number: Option<u64>| number.map(|ms| ms as f64 / 1000.0);
        let settings = Settings {
            max_deliveries: small(own()?),
            max_crashes: small(own()?),
            visibility_seconds: seconds(own()?),
            max_depth: small(own()?),
            max_bytes: own()?,
            max_age_seconds: seconds(own()?),
            dedupe_seconds: seconds(own()?),
            backoff_seconds: seconds(own()?),
            backoff_limit_seconds: seconds(own()?),
            durability: own()?.map(|fast| {
                if fast == 1 {
                    Durability::Fast
                } else {
                    Durability::Durable
                }
            }),
        };
        Ok(Self {
            settings,
            ..figures
        })
    }
}
