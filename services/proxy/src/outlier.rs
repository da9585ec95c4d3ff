//! Outlier ejection: upstreams that fail more than the others are left out for a while. Pure; time and chance are passed in.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::settings::{Invalid, invalid, within};

/// Who is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierSettings {
    /// Failures in a row (5xx, no answer, an answer that broke off) that eject an upstream, while another one works. 0 to 1,000;
    /// 0 switches this rule off.
    pub consecutive_failures: u32,
    /// Milliseconds between two comparisons of success rates. 100 to 600,000.
    pub interval_ms: u64,
    /// An upstream whose success rate is lower than the mean of all by more than this many standard deviations is ejected.
    /// 0 to 10; 0 switches this rule off. Of n upstreams none can be further off than the square root of n - 1, so it must be
    /// below that for `minimum_hosts`.
    pub deviations: f64,
    /// And lower than the mean by at least this many percentage points, so that nobody is ejected for a trifle. 0 to 100.
    pub margin_percent: f64,
    /// Upstreams with enough requests that a comparison needs. 2 to 1,000.
    pub minimum_hosts: u32,
    /// Requests within an interval that an upstream needs to be compared. 1 to 1,000,000.
    pub minimum_requests: u32,
    /// Milliseconds of the first ejection, up to a fifth more by chance; the nth takes n times as long. 10 to 3,600,000.
    pub base_ejection_ms: u64,
    /// The longest ejection in milliseconds, chance left aside. `base_ejection_ms` to 86,400,000.
    pub max_ejection_ms: u64,
    /// The largest part of the pool that is ejected at a time, in percent; one may always be, while others remain. 0 to 100; 0
    /// switches ejection off.
    pub max_ejection_percent: u32,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            interval_ms: 5_000,
            deviations: 1.2,
            margin_percent: 10.0,
            minimum_hosts: 3,
            minimum_requests: 50,
            base_ejection_ms: 10_000,
            max_ejection_ms: 300_000,
            max_ejection_percent: 50,
        }
    }
}

impl OutlierSettings {
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        within(
            "outlier.consecutive_failures",
            self.consecutive_failures,
            0..=1_000,
        )?;
        within("outlier.interval_ms", self.interval_ms, 100..=600_000)?;
        within("outlier.deviations", self.deviations, 0.0..=10.0)?;
        within("outlier.margin_percent", self.margin_percent, 0.0..=100.0)?;
        within("outlier.minimum_hosts", self.minimum_hosts, 2..=1_000)?;
        within(
            "outlier.minimum_requests",
            self.minimum_requests,
            1..=1_000_000,
        )?;
        within(
            "outlier.base_ejection_ms",
            self.base_ejection_ms,
            10..=3_600_000,
        )?;
        within(
            "outlier.max_ejection_ms",
            self.max_ejection_ms,
            self.base_ejection_ms..=86_400_000,
        )?;
        within(
            "outlier.max_ejection_percent",
            self.max_ejection_percent,
            0..=100,
        )?;
        let furthest = f64::from(self.minimum_hosts - 1).sqrt();
        if self.deviations >= furthest {
            return Err(invalid(
                "outlier.deviations",
                format!(
                    "must be below {furthest:.2}, the furthest that one of {} (outlier.minimum_hosts) can be off the mean",
                    self.minimum_hosts
                ),
            ));
        }
        Ok(())
    }

    /// Whether anybody is ever ejected.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.max_ejection_percent > 0 && (self.consecutive_failures > 0 || self.deviations > 0.0)
    }

    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// How long the `count`th ejection takes; `chance` is uniform in 0..1.
    fn ejection(&self, count: u32, chance: f64) -> Duration {
        let longer = self.base_ejection_ms.saturating_mul(u64::from(count));
        Duration::from_millis(longer.min(self.max_ejection_ms)).mul_f64(1.0 + 0.2 * chance)
    }

    /// How many of `hosts` may be ejected at a time.
    fn most(&self, hosts: usize) -> usize {
        if self.max_ejection_percent == 0 {
            return 0;
        }
        (hosts * self.max_ejection_percent as usize / 100).max(1)
    }
}

/// Why an upstream was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EjectionReason {
    ConsecutiveFailures,
    SuccessRate,
}

impl EjectionReason {
    pub const ALL: [Self; 2] = [Self::ConsecutiveFailures, Self::SuccessRate];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// What is remembered of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Record {
    failures_in_a_row: u32,
    /// Since the last comparison.
    answered: u32,
    failed: u32,
    ejected_until: Option<Instant>,
    /// How many ejections the next one must be longer than; falls by one with each interval spent well.
    ejections: u32,
}

impl Record {
    #[must_use]
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// When it was or will be let in again; `None` when it was never ejected.
    #[must_use]
    pub fn ejected_until(&self) -> Option<Instant> {
        self.ejected_until
    }

    pub fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
        self.answered = self.answered.saturating_add(1);
    }

    /// Whether these were as many in a row as it takes; then see whether there is [`Room`] to eject it.
    pub fn failed(&mut self, settings: &OutlierSettings) -> bool {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
        settings.consecutive_failures > 0 && self.failures_in_a_row >= settings.consecutive_failures
    }

    /// Leaves it out; for how long.
    pub fn eject(&mut self, now: Instant, chance: f64, settings: &OutlierSettings) -> Duration {
        self.ejections = self.ejections.saturating_add(1);
        let time = settings.ejection(self.ejections, chance);
        *self = Self {
            ejected_until: Some(now + time),
            ejections: self.ejections,
            ..Self::default()
        };
        time
    }

    /// Lets it in at once, with a clean record.
    pub fn pardon(&mut self) {
        *self = Self::default();
    }

    fn works(&self) -> bool {
        self.failures_in_a_row == 0
    }

    /// The part that succeeded since the last comparison, 0 to 1; `None` if there were too few.
    fn success_rate(&self, settings: &OutlierSettings) -> Option<f64> {
        let requests = self.answered.saturating_add(self.failed);
        (requests >= settings.minimum_requests)
            .then(|| f64::from(self.answered) / f64::from(requests))
    }
}

/// One upstream as the rules over the whole pool see it.
#[derive(Debug)]
pub struct Host<'a> {
    pub record: &'a mut Record,
    /// Whether requests would go to it, ejection left aside: it is up, its breaker is not open.
    pub usable: bool,
}

/// The room there is for one more ejection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    hosts: usize,
    ejected: usize,
    /// Others that take requests now.
    available: usize,
    /// Whether one of those has answered its last request.
    one_works: bool,
}

impl Room {
    /// Counts one upstream; `other` than the one that may be ejected.
    pub fn count(&mut self, record: &Record, usable: bool, other: bool, now: Instant) {
        self.hosts += 1;
        let ejected = record.is_ejected(now);
        self.ejected += usize::from(ejected);
        if other && usable && !ejected {
            self.available += 1;
            self.one_works |= record.works();
        }
    }

    /// Whether the ejection may be.
    ///
    /// An ejection for failures in a row also needs another upstream that works: when all fail alike, because something behind
    /// all of them is gone, sending more to the others would mend nothing.
    #[must_use]
    pub fn allows(&self, reason: EjectionReason, settings: &OutlierSettings) -> bool {
        self.available > 0
            && self.ejected < settings.most(self.hosts)
            && (self.one_works || reason == EjectionReason::SuccessRate)
    }
}

/// Compares the success rates of all, ejects those that are far below, and begins a new interval. `chances` gives numbers
/// uniform in 0..1. The positions of those ejected, with their times.
pub fn sweep(
    hosts: &mut [Host<'_>],
    now: Instant,
    mut chances: impl FnMut() -> f64,
    settings: &OutlierSettings,
) -> Vec<(usize, Duration)> {
    let mut rates: Vec<(usize, f64)> = hosts
        .iter()
        .enumerate()
        .filter(|(_, host)| host.usable && !host.record.is_ejected(now))
        .filter_map(|(position, host)| Some((position, host.record.success_rate(settings)?)))
        .collect();
    let mut ejected = Vec::new();
    if let Some(threshold) = threshold(rates.iter().map(|(_, rate)| *rate), settings) {
        // The worst first: the cap may not leave room for all.
        rates.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        for &(position, rate) in rates.iter().take_while(|(_, rate)| *rate < threshold) {
            let mut room = Room::default();
            for (other, host) in hosts.iter().enumerate() {
                room.count(host.record, host.usable, other != position, now);
            }
            if room.allows(EjectionReason::SuccessRate, settings) {
                tracing::debug!(rate, threshold, "a success rate is far below the others");
                let time = hosts[position].record.eject(now, chances(), settings);
                ejected.push((position, time));
            }
        }
    }
    for host in hosts {
        host.record.answered = 0;
        host.record.failed = 0;
        if !host.record.is_ejected(now) {
            host.record.ejections = host.record.ejections.saturating_sub(1);
        }
    }
    ejected
}

/// The success rate below which an upstream is far off the others.
fn threshold(rates: impl Iterator<Item = f64> + Clone, settings: &OutlierSettings) -> Option<f64> {
    let count = rates.clone().count();
    if settings.deviations <= 0.0 || count < settings.minimum_hosts as usize {
        return None;
    }
    let mean = rates.clone().sum::<f64>() / count as f64;
    let variance = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / count as f64;
    let off = (settings.deviations * variance.sqrt()).max(settings.margin_percent / 100.0);
    Some(mean - off)
}

#[cfg(test)]
mod tests;
