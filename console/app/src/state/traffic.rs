//! Traffic made from here, and notices.

use actions::TrafficPlan;
use load::Profile;

/// Steady traffic starts at this rate, in requests per second.
const FIRST_RATE: f64 = 50.0;

/// Rates that slower and faster keep to.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=5_000.0;

/// What the operator asked for, and what the generator says of it.
#[derive(Debug)]
pub struct Traffic {
    plan: TrafficPlan,
    on: bool,
    pub seen: Option<Seen>,
}

/// A generator's account of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Requests per second that it means to send now.
    pub asked: Option<f64>,
    /// Answers per second over its last seconds.
    pub rate: Option<f64>,
    pub answered: u64,
    /// Server errors, failures and time-outs.
    pub errors: u64,
    /// Percentile from the intended start, over its last seconds, in seconds.
    pub p95: Option<f64>,
    /// The same from the actual start: what a generator that waits for slow answers would see.
    pub raw_p95: Option<f64>,
    /// Seconds until it ends by itself.
    pub left: Option<f64>,
    /// What was sent, by call: its name, how often, and how often it failed.
    pub calls: Vec<(String, u64, u64)>,
    pub finished: bool,
    pub last_error: Option<String>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            plan: TrafficPlan {
                seconds: 3_600,
                ..TrafficPlan::new(Profile::Constant, FIRST_RATE)
            },
            on: false,
            seen: None,
        }
    }
}

impl Traffic {
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// What runs, or would.
    pub fn plan(&self) -> &TrafficPlan {
        &self.plan
    }

    /// The plan as the line that starts it.
    pub fn plan_line(&self) -> String {
        actions::Action::Traffic(self.plan.clone()).to_string()
    }

    /// Requests per second asked for (when off: that would be).
    pub fn rate(&self) -> f64 {
        self.plan.rate
    }

    pub fn start(&mut self, plan: TrafficPlan) {
        self.plan = plan;
        self.on = true;
        self.seen = None;
    }

    pub fn stop(&mut self) {
        self.on = false;
    }

    pub fn set_rate(&mut self, rate: f64) {
        self.plan.rate = rate;
    }

    pub fn set_mix(&mut self, mix: load::Mix) {
        self.plan.mix = mix;
    }

    /// The rate so many steps of a tenth faster or slower, as a round number.
    pub fn stepped(&self, steps: i32) -> f64 {
        let rate = self.plan.rate * 1.1_f64.powi(steps);
        let unit = match rate {
            r if r < 20.0 => 1.0,
            r if r < 200.0 => 5.0,
            r if r < 2_000.0 => 10.0,
            _ => 100.0,
        };
        let rounded = (rate / unit).round() * unit;
        // However small the step, it is one.
        let stepped = if (rounded - self.plan.rate).abs() < f64::EPSILON {
            self.plan.rate + unit * f64::from(steps.signum())
        } else {
            rounded
        };
        stepped.clamp(*RATES.start(), *RATES.end())
    }

    /// Takes the generator's word in; a notice if it ended without being asked to.
    pub fn heard(&mut self, seen: Option<Seen>) -> Option<Notice> {
        let ended = seen.as_ref().is_none_or(|seen| seen.finished);
        let why = seen.as_ref().and_then(|seen| seen.last_error.clone());
        if seen.is_some() {
            self.seen = seen;
        }
        if !(ended && self.on) {
            return None;
        }
        self.on = false;
        Some(match why {
            Some(why) => Notice::bad(format!("traffic ended: {why}")),
            None => Notice::info("traffic ended: its time limit was reached"),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Under way; stays until something replaces it.
    Busy,
    Info,
    Good,
    Bad,
}

/// One line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
}

impl Notice {
    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(Tone::Busy, text)
    }

    pub fn info(text: impl Into<String>) -> Self {
        Self::new(Tone::Info, text)
    }

    pub fn good(text: impl Into<String>) -> Self {
        Self::new(Tone::Good, text)
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(Tone::Bad, text)
    }

    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            tone,
            text: super::logs::printable(&text.into()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "rates are round numbers")]
mod tests {
    use super::*;

    #[test]
    fn steps_are_tenths_and_have_ends() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.stepped(1), 55.0);
        assert_eq!(traffic.stepped(-1), 45.0);
        for _ in 0..200 {
            let next = traffic.stepped(1);
            assert!(next > traffic.rate() || next == *RATES.end());
            traffic.set_rate(next);
        }
        assert_eq!(traffic.rate(), *RATES.end());
        for _ in 0..200 {
            let next = traffic.stepped(-1);
            assert!(next < traffic.rate() || next == *RATES.start());
            traffic.set_rate(next);
        }
        assert_eq!(traffic.rate(), *RATES.start());
    }

    #[test]
    fn traffic_that_ends_by_itself_says_why() {
        let mut traffic = Traffic::default();
        traffic.start(traffic.plan().clone());
        let failed = Seen {
            finished: true,
            last_error: Some("no token".into()),
            ..Seen::default()
        };
        assert_eq!(
            traffic.heard(Some(failed)),
            Some(Notice::bad("traffic ended: no token"))
        );
        assert!(!traffic.is_on());
        assert_eq!(traffic.heard(None), None);
    }
}
