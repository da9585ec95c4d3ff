//! Plans of steady traffic: a named profile, its calls, its rate, its time, its seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use load::{Credentials, Mix, Mode, Options, Profile, Schedule};

use crate::{
    ParseError,
    number::span,
    parse::{mix, rate},
    reader::Reader,
};

/// Connections that the traffic may hold.
const CONNECTIONS: u32 = 64;
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
                connections: CONNECTIONS,
            },
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
        })
    }

    pub(crate) fn words(&self) -> Vec<String> {
        vec![
            self.profile.name().to_owned(),
            format!("rate={}", self.rate),
            format!("for={}", span(Duration::from_secs(self.seconds))),
            format!("mix={}", self.mix),
            format!("seed={}", self.seed),
        ]
    }
}
