//! How fast an upstream answers: a moving average that jumps to peaks, forgets with time, and takes failures for slowness.

use std::time::{Duration, Instant};

use crate::policy::P2cSettings;

/// What one answer, or the lack of it, adds to the share of failures.
const GAIN: f64 = 0.1;

/// What the policy `p2c` expects of one upstream.
///
/// * **Peaks**: an answer slower than the average becomes the average; faster ones lower it only as time passes.
/// * **Fading**: without news the estimate fades towards the pool's mean, not to zero: a slow upstream is tried again after a
///   while, and is not flooded then. One of which nothing is known is at the mean.
/// * **Failures** only ever raise the score, however fast they came. The share of failures, times what a failure costs, is
///   added to the latency; `Retry-After` keeps it up for as long as the upstream asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    seconds: f64,
    /// The recent share of failures, 0 to 1.
    failing: f64,
    /// When the last answer came; `None` before the first.
    at: Option<Instant>,
    /// Until when the upstream asked to be left alone.
    away_until: Option<Instant>,
}

impl Latency {
    /// The expected latency in seconds, failures left aside. `mean` is the pool's.
    #[must_use]
    pub fn seconds(&self, now: Instant, mean: f64, settings: &P2cSettings) -> f64 {
        match self.at {
            None => mean,
            Some(at) => mean + (self.seconds - mean) * fade(at, now, settings),
        }
    }

    /// The expected share of failures, 0 to 1.
    #[must_use]
    pub fn failing(&self, now: Instant, settings: &P2cSettings) -> f64 {
        match self.away_until {
            Some(until) if now < until => 1.0,
            _ => self.failed_lately(now, settings),
        }
    }

    /// The share of failures that was seen, faded.
    fn failed_lately(&self, now: Instant, settings: &P2cSettings) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        // The wait it asked for is not time in which it could have proved itself.
        let from = self.away_until.map_or(at, |until| until.max(at));
        self.failing * fade(from, now, settings)
    }

    /// The latency a request should expect in seconds, with what the risk of a failure is worth.
    #[must_use]
    pub fn cost(&self, now: Instant, mean: f64, settings: &P2cSettings) -> f64 {
        self.seconds(now, mean, settings)
            + self.failing(now, settings) * settings.failure_cost().as_secs_f64()
    }

    /// An answer came after `took`.
    pub fn succeeded(&mut self, took: Duration, now: Instant, settings: &P2cSettings) {
        let took = took.as_secs_f64();
        self.seconds = match self.at {
            Some(at) if took < self.seconds => {
                let keep = fade(at, now, settings);
                self.seconds * keep + took * (1.0 - keep)
            }
            _ => took,
        };
        self.failing = self.failed_lately(now, settings) * (1.0 - GAIN);
        self.at = Some(now);
    }

    /// No answer came, or one that was a failure. `retry_after` is what it asked for.
    pub fn failed(
        &mut self,
        took: Duration,
        retry_after: Option<Duration>,
        now: Instant,
        mean: f64,
        settings: &P2cSettings,
    ) {
        self.seconds = self.seconds(now, mean, settings).max(took.as_secs_f64());
        let failing = self.failed_lately(now, settings);
        self.failing = failing + (1.0 - failing) * GAIN;
        self.at = Some(now);
        if let Some(wait) = retry_after {
            let until = now + wait.min(settings.retry_after_cap());
            self.away_until = self.away_until.max(Some(until));
        }
    }

    /// The last estimate in seconds as it was then; `None` before the first answer.
    #[must_use]
    pub fn measured(&self) -> Option<f64> {
        self.at.map(|_| self.seconds)
    }
}

/// The mean of a pool's estimates, by traffic: what to expect of an upstream that nothing is known of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    seconds: Option<f64>,
    at: Option<Instant>,
}

impl Mean {
    /// Before the first answer all are alike, whatever this says.
    const UNKNOWN: f64 = 0.001;

    /// Takes in the estimate of an upstream that has just answered.
    pub fn observe(&mut self, estimate: f64, now: Instant, settings: &P2cSettings) {
        self.seconds = Some(match (self.seconds, self.at) {
            (Some(mean), Some(at)) => {
                let keep = fade(at, now, settings);
                mean * keep + estimate * (1.0 - keep)
            }
            _ => estimate,
        });
        self.at = Some(now);
    }

    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(Self::UNKNOWN)
    }
}

/// What is left of something learnt at `then`: 1 at first, 1/e after the decay time.
fn fade(then: Instant, now: Instant, settings: &P2cSettings) -> f64 {
    let age = now.saturating_duration_since(then).as_secs_f64();
    (-age / settings.decay().as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: P2cSettings = P2cSettings::DEFAULT;
    const MEAN: f64 = 0.010;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn peaks_count_at_once_and_calm_counts_with_time() {
        let start = Instant::now();
        let mut latency = Latency::default();
        assert!((latency.cost(start, MEAN, &SETTINGS) - MEAN).abs() < 1e-12);
        latency.succeeded(ms(5), start, &SETTINGS);
        latency.succeeded(ms(200), start + ms(1), &SETTINGS);
        assert!((latency.seconds(start + ms(1), MEAN, &SETTINGS) - 0.2).abs() < 1e-9);
        latency.succeeded(ms(5), start + ms(2), &SETTINGS);
        assert!(latency.seconds(start + ms(2), MEAN, &SETTINGS) > 0.199);
        // One decay time of answers at 5 ms leaves 1/e of the difference.
        let mut now = start + ms(2);
        for _ in 0..500 {
            now += SETTINGS.decay() / 500;
            latency.succeeded(ms(5), now, &SETTINGS);
        }
        let expected = 0.005 + 0.195 / std::f64::consts::E;
        let seconds = latency.seconds(now, MEAN, &SETTINGS);
        assert!((seconds - expected).abs() < 0.001, "{seconds}");
    }

    #[test]
    fn without_news_it_fades_to_the_mean_from_both_sides() {
        let start = Instant::now();
        for took in [ms(1), ms(500)] {
            let mut latency = Latency::default();
            latency.succeeded(took, start, &SETTINGS);
            let later = start + SETTINGS.decay() * 20;
            assert!((latency.cost(later, MEAN, &SETTINGS) - MEAN).abs() < 1e-6);
        }
    }

    #[test]
    fn a_fast_failure_costs_more_than_a_slow_answer() {
        let now = Instant::now();
        let (mut failing, mut slow) = (Latency::default(), Latency::default());
        failing.failed(ms(0), None, now, MEAN, &SETTINGS);
        slow.succeeded(ms(50), now, &SETTINGS);
        assert!(failing.cost(now, MEAN, &SETTINGS) > slow.cost(now, MEAN, &SETTINGS));
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_cap() {
        let now = Instant::now();
        let mut latency = Latency::default();
        latency.failed(ms(1), Some(Duration::from_secs(2)), now, MEAN, &SETTINGS);
        let failing = |latency: &Latency, after| latency.failing(now + after, &SETTINGS);
        assert!((failing(&latency, ms(1_999)) - 1.0).abs() < 1e-12);
        assert!((failing(&latency, ms(2_000)) - GAIN).abs() < 1e-12);
        latency.failed(ms(1), Some(Duration::from_hours(1)), now, MEAN, &SETTINGS);
        let cap = ms(10_000);
        assert!((failing(&latency, ms(9_999)) - 1.0).abs() < 1e-12);
        assert!(failing(&latency, cap) < 0.5);
        // A shorter wish does not shorten the longer one.
        latency.failed(ms(1), Some(ms(1)), now, MEAN, &SETTINGS);
        assert!((failing(&latency, ms(9_999)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_mean_is_the_first_estimate_and_then_follows() {
        let start = Instant::now();
        let mut mean = Mean::default();
        mean.observe(0.050, start, &SETTINGS);
        assert!((mean.seconds() - 0.050).abs() < 1e-12);
        mean.observe(0.001, start + SETTINGS.decay() * 10, &SETTINGS);
        assert!((mean.seconds() - 0.001).abs() < 1e-4);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Succeeded(u64),
        Failed(u64, Option<u64>),
        Pass(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0_u64..2_000).prop_map(Event::Succeeded),
            (0_u64..2_000, prop::option::of(0_u64..100_000))
                .prop_map(|(took, wait)| Event::Failed(took, wait)),
            (0_u64..20_000).prop_map(Event::Pass),
        ]
    }

    proptest! {
        #[test]
        fn a_failure_never_lowers_the_score(events in prop::collection::vec(event(), 0..60), took in 0_u64..2_000) {
            let mut now = Instant::now();
            let mut latency = Latency::default();
            for event in events {
                match event {
                    Event::Succeeded(took) => latency.succeeded(ms(took), now, &SETTINGS),
                    Event::Failed(took, wait) => {
                        let before = latency.cost(now, MEAN, &SETTINGS);
                        latency.failed(ms(took), wait.map(ms), now, MEAN, &SETTINGS);
                        prop_assert!(latency.cost(now, MEAN, &SETTINGS) >= before - 1e-12);
                    }
                    Event::Pass(time) => now += ms(time),
                }
            }
            let before = latency.cost(now, MEAN, &SETTINGS);
            latency.failed(ms(took), None, now, MEAN, &SETTINGS);
            prop_assert!(latency.cost(now, MEAN, &SETTINGS) >= before - 1e-12);
            prop_assert!(latency.cost(now, MEAN, &SETTINGS).is_finite());
        }
    }
}
