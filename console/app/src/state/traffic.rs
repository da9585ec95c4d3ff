//! Traffic made from here, single actions, and what came of them.

/// The speeds that slower and faster step through, in requests per second.
pub const SPEEDS: [f64; 11] = [
    5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 500.0, 750.0, 1_000.0, 2_000.0,
];

/// Steady traffic starts at this place of [`SPEEDS`].
const FIRST_SPEED: usize = 3;

/// What the operator asked for, and what the generator says of it.
#[derive(Debug)]
pub struct Traffic {
    speed: usize,
    on: bool,
    pub seen: Option<Seen>,
}

/// A generator's account of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Answers per second over its last seconds.
    pub rate: Option<f64>,
    pub answered: u64,
    /// Server errors, failures and time-outs.
    pub errors: u64,
    /// Percentile from the intended start, over its last seconds, in seconds.
    pub p95: Option<f64>,
    pub finished: bool,
    pub last_error: Option<String>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            speed: FIRST_SPEED,
            on: false,
            seen: None,
        }
    }
}

impl Traffic {
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Requests per second asked for (when off: that would be).
    pub fn rate(&self) -> f64 {
        SPEEDS[self.speed]
    }

    pub fn start(&mut self) -> f64 {
        self.on = true;
        self.seen = None;
        self.rate()
    }

    pub fn stop(&mut self) {
        self.on = false;
    }

    /// One step faster; the new rate if traffic is running.
    pub fn faster(&mut self) -> Option<f64> {
        self.speed = (self.speed + 1).min(SPEEDS.len() - 1);
        self.on.then(|| self.rate())
    }

    /// One step slower; the new rate if traffic is running.
    pub fn slower(&mut self) -> Option<f64> {
        self.speed = self.speed.saturating_sub(1);
        self.on.then(|| self.rate())
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

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Recharged(Recharge),
    Burst {
        answered: u64,
        /// Of the answered, those with another status than success.
        refused: u64,
        /// Without an answer.
        errors: u64,
        /// Seconds for all of them.
        took: f64,
        /// Seconds.
        p95: Option<f64>,
        /// What went wrong last, if anything.
        why: Option<String>,
    },
    Flushed {
        entries: u64,
    },
    /// What was tried, and why it failed.
    Failed {
        what: &'static str,
        why: String,
    },
}

/// One recharge, as answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recharge {
    pub card: u64,
    /// Pesos, as are the balances.
    pub amount: i64,
    pub before: Option<i64>,
    pub after: i64,
    pub gateway: Option<String>,
    pub milliseconds: f64,
}

impl Outcome {
    pub fn notice(&self) -> Notice {
        match self {
            Self::Recharged(recharge) => {
                let before = recharge.before.map_or_else(|| "–".to_owned(), pesos);
                let gateway = recharge.gateway.as_deref().unwrap_or("an unnamed gateway");
                Notice::good(format!(
                    "card {} recharged with {}: {before} → {} by {gateway} in {:.1} ms",
                    recharge.card,
                    pesos(recharge.amount),
                    pesos(recharge.after),
                    recharge.milliseconds,
                ))
            }
            Self::Burst {
                answered,
                refused,
                errors,
                took,
                p95,
                why,
            } => {
                let p95 = p95.map_or_else(String::new, |p95| format!(", p95 {:.0} ms", p95 * 1e3));
                let why = why
                    .as_ref()
                    .map_or_else(String::new, |why| format!(": {why}"));
                let text = format!(
                    "burst: {answered} answered in {:.0} ms{p95}, {refused} refused, {errors} failed{why}",
                    took * 1e3
                );
                if *errors == 0 && *refused == 0 {
                    Notice::good(text)
                } else {
                    Notice::bad(text)
                }
            }
            Self::Flushed { entries } => {
                Notice::good(format!("cache flushed: {entries} entries deleted"))
            }
            Self::Failed { what, why } => Notice::bad(format!("{what} failed: {why}")),
        }
    }
}

/// `$12,500`: an amount of pesos with its thousands apart.
pub fn pesos(amount: i64) -> String {
    let digits = amount.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}${text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pesos_are_grouped() {
        let cases = [
            (0, "$0"),
            (950, "$950"),
            (12_500, "$12,500"),
            (-1_234_567, "-$1,234,567"),
        ];
        for (amount, text) in cases {
            assert_eq!(pesos(amount), text);
        }
    }

    #[test]
    fn speeds_have_ends() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.faster(), None, "off: only the setting moves");
        assert_eq!(Some(traffic.start()), Some(100.0));
        for _ in 0..20 {
            traffic.faster();
        }
        assert_eq!(Some(traffic.rate()), Some(2_000.0));
        for _ in 0..20 {
            traffic.slower();
        }
        assert_eq!(Some(traffic.rate()), Some(5.0));
    }

    #[test]
    fn traffic_that_ends_by_itself_says_why() {
        let mut traffic = Traffic::default();
        traffic.start();
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
