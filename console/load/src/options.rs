//! What traffic to make, how much of it, where to and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Journal, Mix, Population, Profile, Retries, Target};

/// The longest a run may last.
pub const LONGEST: Duration = Duration::from_hours(24);

/// Everything a run needs to know. Start from [`Options::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to, as `http://host:port`.
    pub target: String,
    /// Whether the target may be another machine.
    pub allow_remote: bool,
    pub mode: Mode,
    /// Open loop: how the rate changes over the time limit; [`Mode::Open`] says the highest.
    pub profile: Profile,
    /// Which calls, in which proportions.
    pub mix: Mix,
    /// Which cards, users, routes, tutors the calls are about.
    pub population: Population,
    /// The run ends by itself after this time, at most 24 hours. Ten minutes at first.
    pub time_limit: Duration,
    /// No mode starts more than this many requests per second.
    pub rate_cap: f64,
    /// A request without a full answer after this time is counted as timed out. Ten seconds at first.
    pub request_timeout: Duration,
    /// How often, and with what budget, a request is sent again that failed, timed out or was answered 429 or 5xx. Never at first.
    pub retries: Retries,
    /// Whether writes carry an idempotency key, as they do at first. Without one, what is sent again may be done twice.
    pub keyed: bool,
    /// Open loop: a request that could not start this long after it should have is dropped and counted.
    pub patience: Duration,
    /// When the time limit is reached, requests in flight may take this much longer.
    pub drain: Duration,
    pub credentials: Credentials,
    /// Draws calls and their times; the same seed gives the same sequence.
    pub seed: u64,
    /// Makes this run's idempotency keys differ from any other run's.
    pub run: u64,
    /// Hears of every write and its outcome.
    pub journal: Option<Journal>,
}

impl Options {
    /// A closed loop of eight connections for ten minutes at most 20,000 requests a second.
    ///
    /// `run` must differ from run to run (the time of day will do): it goes into the idempotency keys.
    #[must_use]
    pub fn new(target: impl Into<String>, run: u64) -> Self {
        Self {
            target: target.into(),
            allow_remote: false,
            mode: Mode::Closed { connections: 8 },
            profile: Profile::Constant,
            mix: Mix::contract(),
            population: Population::default(),
            time_limit: Duration::from_mins(10),
            rate_cap: 20_000.0,
            request_timeout: Duration::from_secs(10),
            retries: Retries::default(),
            keyed: true,
            patience: Duration::from_secs(2),
            drain: Duration::from_secs(2),
            credentials: Credentials::Demo,
            seed: 1,
            run,
            journal: None,
        }
    }

    /// Checks every option.
    ///
    /// # Errors
    /// Names the first option that makes no sense.
    pub fn validate(&self) -> Result<Target, Error> {
        let refuse = |option, reason: &str| {
            Err(Error::Option {
                option,
                reason: reason.to_owned(),
            })
        };
        let target = Target::parse(&self.target, self.allow_remote)?;
        if self.time_limit.is_zero() || self.time_limit > LONGEST {
            return refuse("time limit", "must be above zero and at most 24 hours");
        }
        if !(self.rate_cap.is_finite() && self.rate_cap > 0.0) {
            return refuse(
                "rate cap",
                "must be a positive number of requests per second",
            );
        }
        if self.request_timeout.is_zero() {
            return refuse("request time-out", "must be above zero");
        }
        if self.retries.most > 20 {
            return refuse("retries", "must be at most 20");
        }
        let budget = self.retries.budget_percent;
        if budget.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return refuse("retry budget", "must be 0 to 100 percent");
        }
        match self.mode {
            Mode::Closed { connections: 0 } | Mode::Open { connections: 0, .. } => {
                return refuse("connections", "must be at least one");
            }
            Mode::Closed { connections } | Mode::Open { connections, .. }
                if connections > 10_000 =>
            {
                return refuse("connections", "must be at most 10,000");
            }
            Mode::Open { rate, .. } if !rate.is_finite() || rate < 0.0 => {
                return refuse(
                    "rate",
                    "must be zero or a positive number of requests per second",
                );
            }
            Mode::Closed { .. } | Mode::Open { .. } => {}
        }
        if self.profile != Profile::Constant && matches!(self.mode, Mode::Closed { .. }) {
            return refuse("profile", "a closed loop has no rate that could change");
        }
        if self.mix.is_empty() {
            return refuse("mix", "must give at least one call a weight");
        }
        self.population.validate()?;
        Ok(target)
    }
}

/// Who sets the pace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loop", rename_all = "snake_case")]
pub enum Mode {
    /// The system does: each connection sends its next request after the last answer.
    Closed { connections: u32 },
    /// The schedule does: requests are due at their times, whatever the system does. At most `connections`
    /// are in flight; the others wait, and their wait counts.
    Open {
        /// Requests per second. Zero pauses.
        rate: f64,
        schedule: Schedule,
        connections: u32,
    },
}

/// How the due times of an open loop are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Evenly.
    Constant,
    /// Independently of one another, as the arrivals of strangers are.
    Poisson,
}

/// Where the token of calls that need one comes from.
#[derive(Clone)]
pub enum Credentials {
    /// `GET /token`, the demo token.
    Demo,
    /// `POST /token`.
    Password { username: String, password: String },
    /// One that the caller has already.
    Token(String),
    /// None; calls that need one will be refused.
    Anonymous,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Demo => "Demo",
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
            Self::Anonymous => "Anonymous",
        })
    }
}
