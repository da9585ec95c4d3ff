//! The ways a notification goes out: into the log, to a webhook, by mail.

mod log;
mod smtp;
mod webhook;

use std::time::Duration;

use clap::ValueEnum;

pub use self::log::LogChannel;
use self::{smtp::Smtp, webhook::Webhook};
use crate::{config::Config, event::Notice};

/// Which way to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One line in the log each.
    #[default]
    Log,
    /// A signed POST each.
    Webhook,
    /// A mail each.
    Smtp,
}

/// The way that an instance takes. What leaves the system may arrive twice, when the system dies between the far side's
/// answer and its own note of it: each carries its event's id, by which the far side can tell.
#[derive(Clone)]
pub enum Channel {
    Log(LogChannel),
    Outward(Outward),
}

/// A channel that leaves the system, and so takes its time and may fail.
#[derive(Clone)]
pub enum Outward {
    Webhook(Webhook),
    Smtp(Smtp),
}

/// Why a notification did not go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Trying again cannot help.
    Permanent(String),
    /// It may go out later; the far side may have said when.
    Transient {
        reason: String,
        after: Option<Duration>,
    },
}

impl Failure {
    fn transient(reason: impl std::fmt::Display) -> Self {
        Self::Transient {
            reason: reason.to_string(),
            after: None,
        }
    }
}

impl Channel {
    pub fn new(config: &Config) -> Result<Self, kit::Error> {
        Ok(match config.channel {
            Kind::Log => Self::Log(LogChannel::new()),
            Kind::Webhook => Self::Outward(Outward::Webhook(Webhook::new(&config.webhook)?)),
            Kind::Smtp => Self::Outward(Outward::Smtp(Smtp::new(&config.smtp)?)),
        })
    }
}

impl Outward {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Smtp(_) => "smtp",
        }
    }

    pub async fn deliver(&self, notice: &Notice) -> Result<(), Failure> {
        match self {
            Self::Webhook(webhook) => webhook.deliver(notice).await,
            Self::Smtp(smtp) => smtp.deliver(notice).await,
        }
    }
}
