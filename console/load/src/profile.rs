//! Profiles: how the rate of an open loop changes over a run. Arithmetic only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A named course of the rate over a run. What a name means does not change within a [`Profile::VERSION`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The whole rate all the time.
    #[default]
    Constant,
    /// From nothing to the whole rate in a straight line, to see where it bends.
    Ramp,
    /// A fifth of the rate; the whole rate for the middle fifth of the time; a fifth again, to see it recover.
    Spike,
    /// The whole rate for the first second of every five, and nothing between.
    Burst,
    /// Up to the whole rate within the first twentieth of the time, a minute at most, and there for long.
    Soak,
}

/// How often a burst comes, and how long it lasts.
const PERIOD: Duration = Duration::from_secs(5);
const BURST: Duration = Duration::from_secs(1);
/// The rate around a spike, as a part of the whole.
const AROUND: f64 = 0.2;

/// A stretch of a run over which the rate changes evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    pub until: Duration,
    /// The part of the rate where it is looked at, 0 to 1.
    pub part: f64,
    /// By how much of the rate it grows a second.
    pub slope: f64,
}

impl Profile {
    pub const ALL: [Self; 5] = [
        Self::Constant,
        Self::Ramp,
        Self::Spike,
        Self::Burst,
        Self::Soak,
    ];

    /// The version of all profiles; `ramp/1` names one of it.
    pub const VERSION: u32 = 1;

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Ramp => "ramp",
            Self::Spike => "spike",
            Self::Burst => "burst",
            Self::Soak => "soak",
        }
    }

    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Constant => "the whole rate all the time",
            Self::Ramp => "from nothing to the whole rate in a straight line",
            Self::Spike => "a fifth of the rate, and all of it for the middle fifth of the time",
            Self::Burst => "the whole rate for one second in five",
            Self::Soak => "up to the whole rate soon, and there for long",
        }
    }

    /// How long a run of it lasts when nobody says.
    #[must_use]
    pub fn usual_time(self) -> Duration {
        match self {
            Self::Constant => Duration::from_mins(10),
            Self::Ramp | Self::Spike | Self::Burst => Duration::from_mins(1),
            Self::Soak => Duration::from_hours(1),
        }
    }

    /// The part of the rate at a time of a run that lasts `whole`, 0 to 1.
    #[must_use]
    pub fn part(self, at: Duration, whole: Duration) -> f64 {
        self.stretch(at, whole).part
    }

    /// The stretch that a time is in; it ends after that time.
    pub(crate) fn stretch(self, at: Duration, whole: Duration) -> Stretch {
        let even = |until, part| Stretch {
            until,
            part,
            slope: 0.0,
        };
        let rising = |until: Duration| Stretch {
            until,
            part: at.as_secs_f64() / until.as_secs_f64(),
            slope: 1.0 / until.as_secs_f64(),
        };
        match self {
            Self::Ramp if at < whole => rising(whole),
            Self::Spike => {
                let (from, to) = (whole * 2 / 5, whole * 3 / 5);
                if at < from {
                    even(from, AROUND)
                } else if at < to {
                    even(to, 1.0)
                } else {
                    even(Duration::MAX, AROUND)
                }
            }
            Self::Burst => {
                let nanos = PERIOD.as_nanos();
                let periods = u32::try_from(at.as_nanos() / nanos).unwrap_or(u32::MAX - 1);
                let begun = PERIOD * periods;
                if at < begun + BURST {
                    even(begun + BURST, 1.0)
                } else {
                    even(begun + PERIOD, 0.0)
                }
            }
            Self::Soak => {
                let up = (whole / 20).min(Duration::from_mins(1));
                if at < up {
                    rising(up)
                } else {
                    even(Duration::MAX, 1.0)
                }
            }
            Self::Constant | Self::Ramp => even(Duration::MAX, 1.0),
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(self.name())
    }
}

/// A name, with its version or without.
impl std::str::FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Option {
            option: "profile",
            reason,
        };
        let (name, version) = match text.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if version.is_some_and(|version| version != Self::VERSION.to_string()) {
            return Err(refuse(format!(
                "{text:?} has another version; this build knows {name}/{}",
                Self::VERSION
            )));
        }
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                refuse(format!("{name:?} is no profile; there are {names}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_has_its_course() {
        let minute = Duration::from_mins(1);
        for (profile, course) in [
            (Profile::Constant, [1.0, 1.0, 1.0, 1.0, 1.0]),
            (Profile::Ramp, [0.0, 0.25, 0.5, 0.75, 1.0]),
            (Profile::Spike, [0.2, 0.2, 1.0, 0.2, 0.2]),
            (Profile::Burst, [1.0, 1.0, 1.0, 1.0, 1.0]),
            (Profile::Soak, [0.0, 1.0, 1.0, 1.0, 1.0]),
        ] {
            for (quarter, expected) in (0..).zip(course) {
                let part = profile.part(minute / 4 * quarter, minute);
                assert!(
                    (part - expected).abs() < 1e-9,
                    "{profile} {quarter}: {part}"
                );
            }
            assert_eq!(profile.name().parse::<Profile>().unwrap(), profile);
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
        }
        let silent = Profile::Burst.part(Duration::from_secs(1), minute);
        assert!(silent.abs() < 1e-9);
    }

    #[test]
    fn a_stretch_always_ends_later() {
        for profile in Profile::ALL {
            for whole in [1, 3, 60, 86_400] {
                for at in (0..whole * 3).step_by(7) {
                    let at = Duration::from_millis(at * 333);
                    let stretch = profile.stretch(at, Duration::from_secs(whole));
                    assert!(stretch.until > at, "{profile} {at:?}");
                    assert!((0.0..=1.0).contains(&stretch.part), "{profile} {at:?}");
                }
            }
        }
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!("ramp/1".parse::<Profile>().unwrap(), Profile::Ramp);
        assert!("ramp/2".parse::<Profile>().is_err());
        assert!("wave".parse::<Profile>().is_err());
    }
}
