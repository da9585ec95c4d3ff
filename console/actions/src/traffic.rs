//! Plans of steady traffic: a named profile, its calls, its rate, its time, its seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use load::{Credentials, Mix, Mode, Options, Profile, Retries, Schedule};

use crate::{
    ParseError,
    number::span,
    parse::{mix, rate},
    reader::Reader,
};

/// Connections that the traffic may hold when nobody says.
const CONNECTIONS: u32 = 64;
/// How long an answer is waited for when nobody says.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that traffic runs, in seconds: a day.
const LONGEST: u64 = 86_400;

/// What traffic to make.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficPlan {
    pub profile: Profile,
    pub mix: Mix,
    /// Requests a second, where the profile is at its highest.
    pub rate: f64,
    /// It ends by itself after this time.
    pub seconds: u64,
    /// Draws the calls and their parameters; the same number gives the same sequence.
    pub seed: u64,
    pub manners: Manners,
}

/// How the clients behave that the traffic stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Manners {
    /// The most requests in flight, 1 to 10,000.
    pub connections: u32,
    /// An answer is waited for this long, a millisecond to a minute.
    pub timeout: Duration,
    pub retries: Retries,
    /// Whether writes carry an idempotency key.
    pub keyed: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            timeout: TIMEOUT,
            retries: Retries::default(),
            keyed: true,
        }
    }
}

impl Manners {
    fn read(reader: &mut Reader) -> Result<Self, ParseError> {
        let usual = Self::default();
        let connections = reader.number("connections", 1..=10_000)?;
        let timeout = reader.time("timeout")?.unwrap_or(usual.timeout);
        if timeout.is_zero() || timeout > Duration::from_mins(1) {
            return Err(ParseError::new(
                &format!("timeout={}", span(timeout)),
                "a minute at most is wanted, such as timeout=500ms",
            ));
        }
        let most = reader.number("retries", 0..=20)?.unwrap_or_default();
        let budget_percent = match reader.option("budget")?.as_deref() {
            None | Some("none") => None,
            Some(text) => {
                let percent = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
                Some(percent.map(f64::abs).ok_or_else(|| {
                    ParseError::new(
                        &format!("budget={text}"),
                        "retries for each hundred requests are wanted, such as budget=20%, or budget=none",
                    )
                })?)
            }
        };
        let keyed = match reader.option("keys")?.as_deref() {
            None | Some("on") => true,
            Some("off") => false,
            Some(text) => {
                return Err(ParseError::new(
                    &format!("keys={text}"),
                    "on or off is wanted",
                ));
            }
        };
        Ok(Self {
            connections: connections.map_or(usual.connections, |number| number as u32),
            timeout,
            retries: Retries {
                most: most as u32,
                budget_percent,
            },
            keyed,
        })
    }

    /// What differs from the usual.
    fn words(&self) -> Vec<String> {
        let usual = Self::default();
        let mut words = Vec::new();
        if self.connections != usual.connections {
            words.push(format!("connections={}", self.connections));
        }
        if self.timeout != usual.timeout {
            words.push(format!("timeout={}", span(self.timeout)));
        }
        if self.retries.most != 0 {
            words.push(format!("retries={}", self.retries.most));
        }
        if let Some(percent) = self.retries.budget_percent {
            words.push(format!("budget={percent}%"));
        }
        if !self.keyed {
            words.push("keys=off".to_owned());
        }
        words
    }
}

impl TrafficPlan {
    /// No plan may ask for more requests a second.
    pub const MOST_RATE: f64 = 20_000.0;

    /// A plan with the profile's usual time, the contract's mix and the first seed.
    #[must_use]
    pub fn new(profile: Profile, rate: f64) -> Self {
        Self {
            profile,
            mix: Mix::contract(),
            rate,
            seconds: profile.usual_time().as_secs(),
            seed: 1,
            manners: Manners::default(),
        }
    }

    /// What [`load::Traffic::start`] takes. The target is the lab's front door, and is refused when it is on another machine
    /// without leave.
    pub fn options(
        &self,
        public_url: &str,
        credentials: Credentials,
        allow_remote: bool,
    ) -> Result<Options, load::Error> {
        // Differs from run to run: it goes into the idempotency keys.
        let run = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64);
        let options = Options {
            allow_remote,
            credentials,
            mode: Mode::Open {
                rate: self.rate,
                schedule: Schedule::Constant,
                connections: self.manners.connections,
            },
            request_timeout: self.manners.timeout,
            retries: self.manners.retries,
            keyed: self.manners.keyed,
            profile: self.profile,
            mix: self.mix.clone(),
            time_limit: Duration::from_secs(self.seconds),
            rate_cap: Self::MOST_RATE,
            seed: self.seed,
            ..Options::new(public_url, run)
        };
        options.validate()?;
        Ok(options)
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, ParseError> {
        let rate = match reader.option("rate")? {
            Some(text) => rate(&text)?,
            None => {
                return Err(ParseError::new(
                    "traffic",
                    "the rate is missing, such as rate=100",
                ));
            }
        };
        let seconds = match reader.time("for")? {
            None => None,
            Some(time) if time.subsec_nanos() == 0 && (1..=LONGEST).contains(&time.as_secs()) => {
                Some(time.as_secs())
            }
            Some(time) => {
                return Err(ParseError::new(
                    &format!("for={}", span(time)),
                    "whole seconds up to a day are wanted",
                ));
            }
        };
        let mix = reader.option("mix")?.map(|text| mix(&text)).transpose()?;
        let seed = reader.number("seed", 0..=u64::MAX)?;
        let manners = Manners::read(reader)?;
        let word = reader.word("the profile")?;
        let profile = word.parse().map_err(|error: load::Error| match error {
            load::Error::Option { reason, .. } => ParseError::new(&word, reason),
            other => ParseError::new(&word, other.to_string()),
        })?;
        let usual = Self::new(profile, rate);
        Ok(Self {
            profile,
            mix: mix.unwrap_or(usual.mix),
            rate,
            seconds: seconds.unwrap_or(usual.seconds),
            seed: seed.unwrap_or(usual.seed),
            manners,
        })
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![
            self.profile.name().to_owned(),
            format!("rate={}", self.rate),
            format!("for={}", span(Duration::from_secs(self.seconds))),
            format!("mix={}", self.mix),
            format!("seed={}", self.seed),
        ];
        words.extend(self.manners.words());
        words
    }
}
