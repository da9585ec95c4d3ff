//! When the requests of an open loop are due: arithmetic only, the clock is passed in.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::{Profile, Schedule};

/// Due times, one after the other, all counted from the start of the run.
#[derive(Debug)]
pub(crate) struct Pace {
    schedule: Schedule,
    profile: Profile,
    /// How long the run is to last.
    whole: Duration,
    rate: f64,
    /// The due time before the next one, or the moment the rate last changed.
    last: Duration,
    next: Option<Duration>,
}

impl Pace {
    pub fn new(schedule: Schedule, rate: f64, rng: &mut impl Rng) -> Self {
        Self::along(Profile::Constant, Duration::MAX, schedule, rate, rng)
    }

    /// The rate follows a profile over `whole`; `rate` is its highest.
    pub fn along(
        profile: Profile,
        whole: Duration,
        schedule: Schedule,
        rate: f64,
        rng: &mut impl Rng,
    ) -> Self {
        let mut pace = Self {
            schedule,
            profile,
            whole,
            rate,
            last: Duration::ZERO,
            next: None,
        };
        pace.next = pace.after(Duration::ZERO, rng);
        pace
    }

    /// The time the next request is due; none while the rate is zero.
    pub fn next(&self) -> Option<Duration> {
        self.next
    }

    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes the next due time, if it has come.
    pub fn take(&mut self, now: Duration, rng: &mut impl Rng) -> Option<Duration> {
        let due = self.next.filter(|due| *due <= now)?;
        self.last = due;
        self.next = self.after(due, rng);
        Some(due)
    }

    /// From now on, this many requests per second. What was due before now stays due.
    pub fn set_rate(&mut self, now: Duration, rate: f64, rng: &mut impl Rng) {
        let overdue = self.next.filter(|due| *due <= now);
        self.rate = rate;
        self.next = overdue.or_else(|| match self.schedule {
            // An even schedule keeps its distance from the last request, so that changing the rate many
            // times a second neither starves nor floods.
            Schedule::Constant => self.after(self.last, rng).map(|due| due.max(now)),
            Schedule::Poisson => self.after(now, rng),
        });
    }

    fn after(&self, last: Duration, rng: &mut impl Rng) -> Option<Duration> {
        if self.rate <= 0.0 {
            return None;
        }
        // How many requests' worth of the rate must pass.
        let mut wanted = match self.schedule {
            Schedule::Constant => 1.0,
            // 1 − u is in (0, 1], where the logarithm is finite.
            Schedule::Poisson => -(1.0 - rng.random::<f64>()).ln(),
        };
        let mut at = last;
        loop {
            let stretch = self.profile.stretch(at, self.whole);
            let (rate, slope) = (self.rate * stretch.part, self.rate * stretch.slope);
            let span = stretch.until.saturating_sub(at).as_secs_f64();
            let within = span * (rate + slope * span / 2.0);
            if within >= wanted {
                // The root of rate·t + slope·t²/2 = wanted, in the form that does not cancel.
                let root = (rate * rate + 2.0 * slope * wanted).max(0.0).sqrt();
                let seconds = 2.0 * wanted / (rate + root);
                return Some(at + Duration::from_secs_f64(seconds.min(1e6)));
            }
            // Nothing is due after the end; only a profile that pauses gets here.
            if stretch.until >= self.whole {
                return None;
            }
            wanted -= within;
            at = stretch.until;
        }
    }
}

/// Keeps a closed loop below its cap: requests may not start faster than this, a few milliseconds' worth
/// of burst aside.
#[derive(Debug)]
pub(crate) struct Gate {
    interval: Duration,
    free_at: Duration,
}

impl Gate {
    /// Timers are only good to a millisecond; without this much burst they would set the rate.
    const BURST: Duration = Duration::from_millis(5);

    pub fn new(rate: f64) -> Self {
        Self {
            interval: Duration::from_secs_f64(1.0 / rate.max(1e-6)),
            free_at: Duration::ZERO,
        }
    }

    /// Takes a place and says how long to wait for it.
    pub fn admit(&mut self, now: Duration) -> Duration {
        self.free_at = self.free_at.max(now.saturating_sub(Self::BURST)) + self.interval;
        self.free_at.saturating_sub(now + self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(3)
    }

    fn count(pace: &mut Pace, until: Duration, rng: &mut ChaCha8Rng) -> usize {
        std::iter::from_fn(|| pace.take(until, rng)).count()
    }

    #[test]
    fn constant_is_even() {
        let mut rng = rng();
        let mut pace = Pace::new(Schedule::Constant, 100.0, &mut rng);
        assert_eq!(pace.take(Duration::from_millis(9), &mut rng), None);
        assert_eq!(
            pace.take(Duration::from_millis(10), &mut rng),
            Some(Duration::from_millis(10))
        );
        assert_eq!(
            count(&mut pace, Duration::from_millis(10_005), &mut rng),
            999
        );
    }

    #[test]
    fn poisson_keeps_the_rate_and_spreads() {
        let mut rng = rng();
        let mut pace = Pace::new(Schedule::Poisson, 1000.0, &mut rng);
        let dues: Vec<_> =
            std::iter::from_fn(|| pace.take(Duration::from_secs(20), &mut rng)).collect();
        assert!((19_300..20_700).contains(&dues.len()), "{}", dues.len());
        let gaps: Vec<f64> = dues
            .windows(2)
            .map(|pair| pair[1].as_secs_f64() - pair[0].as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (0.9..1.1).contains(&(variance.sqrt() / mean)),
            "an exponential's deviation equals its mean"
        );
    }

    #[test]
    fn a_profile_sets_how_many_are_due_when() {
        let minute = Duration::from_mins(1);
        for (schedule, slack) in [(Schedule::Constant, 2), (Schedule::Poisson, 250)] {
            for (profile, expected) in [
                (Profile::Constant, [1500, 1500, 1500, 1500]),
                (Profile::Ramp, [187, 563, 937, 1313]),
                (Profile::Spike, [300, 780, 780, 300]),
                (Profile::Burst, [300, 300, 300, 300]),
                (Profile::Soak, [1350, 1500, 1500, 1500]),
            ] {
                let mut rng = rng();
                let mut pace = Pace::along(profile, minute, schedule, 100.0, &mut rng);
                for (quarter, expected) in (1..).zip(expected) {
                    let due = count(&mut pace, minute / 4 * quarter, &mut rng);
                    assert!(
                        due.abs_diff(expected) <= slack,
                        "{profile} {quarter}: {due}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_new_rate_keeps_the_profile() {
        let mut rng = rng();
        let minute = Duration::from_mins(1);
        let mut pace = Pace::along(Profile::Burst, minute, Schedule::Constant, 100.0, &mut rng);
        assert_eq!(count(&mut pace, Duration::from_secs(3), &mut rng), 100);
        pace.set_rate(Duration::from_secs(3), 10.0, &mut rng);
        let silent = count(&mut pace, Duration::from_millis(4_999), &mut rng);
        // One that the old rate had made due at the end of the burst keeps its place at most.
        assert!(silent <= 1, "{silent}");
        let burst = count(&mut pace, Duration::from_secs(9), &mut rng);
        assert!((9..=11).contains(&burst), "{burst}");
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let mut rng = rng();
        let mut pace = Pace::new(Schedule::Constant, 0.1, &mut rng);
        pace.set_rate(Duration::from_secs(1), 1000.0, &mut rng);
        let started = count(&mut pace, Duration::from_secs(2), &mut rng);
        assert!((999..=1001).contains(&started), "{started}");
        pace.set_rate(Duration::from_secs(2), 0.0, &mut rng);
        assert_eq!(pace.next(), None);
        pace.set_rate(Duration::from_secs(3), 10.0, &mut rng);
        let resumed = count(&mut pace, Duration::from_secs(4), &mut rng);
        assert!(
            (10..=11).contains(&resumed),
            "{resumed}: a pause is not made up for"
        );
    }

    #[test]
    fn what_was_due_stays_due() {
        let mut rng = rng();
        let mut pace = Pace::new(Schedule::Constant, 10.0, &mut rng);
        pace.set_rate(Duration::from_secs(1), 20.0, &mut rng);
        assert_eq!(
            pace.take(Duration::from_secs(1), &mut rng),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn the_gate_holds_the_cap() {
        let mut gate = Gate::new(100.0);
        let (mut now, mut admitted) = (Duration::ZERO, 0);
        while now < Duration::from_secs(10) {
            now += gate.admit(now);
            admitted += 1;
        }
        assert!((995..=1005).contains(&admitted), "{admitted}");
    }
}
