//! An instance's counters over the last seconds, unrolled: a restart begins again at zero, the totals here do not.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    Moment, WINDOW,
    histogram::Histogram,
    sample::{Counter, Gauge, Sample},
};

/// How far from its edge the window's first reading may be.
const NEARLY: Duration = Duration::from_millis(500);

/// Totals since this console first saw the instance, on top of what it had counted by then.
#[derive(Clone, Debug, Default)]
struct Totals {
    counters: BTreeMap<Counter, f64>,
    cached: Histogram,
    uncached: Histogram,
}

#[derive(Clone, Debug)]
struct Point {
    at: Moment,
    totals: Totals,
}

/// The points of the last window and one before it.
#[derive(Clone, Debug, Default)]
pub struct History {
    raw: Sample,
    points: VecDeque<Point>,
}

impl History {
    /// Takes one more reading in.
    pub fn push(&mut self, at: Moment, sample: Sample) {
        let restarted = self.is_other_process(&sample);
        let totals = match self.points.back() {
            None => Totals {
                counters: sample.counters.clone(),
                cached: sample.cached.clone(),
                uncached: sample.uncached.clone(),
            },
            Some(last) => self.advance(&last.totals, &sample, restarted),
        };
        self.raw = sample;
        self.points.push_back(Point { at, totals });
        self.trim(at);
    }

    fn is_other_process(&self, sample: &Sample) -> bool {
        let started = |of: &Sample| of.gauges.get(&Gauge::StartTime).copied();
        match (started(&self.raw), started(sample)) {
            (Some(before), Some(now)) => (now - before).abs() > 1.5,
            _ => false,
        }
    }

    fn advance(&self, last: &Totals, sample: &Sample, restarted: bool) -> Totals {
        let mut totals = last.clone();
        for (counter, &now) in &sample.counters {
            let before = self.raw.counters.get(counter).copied().unwrap_or(0.0);
            // Even without a new start time, a counter that went down began again.
            let added = if restarted || now < before {
                now
            } else {
                now - before
            };
            *totals.counters.entry(counter.clone()).or_default() += added;
        }
        let grown = |now: &Histogram, before: &Histogram| {
            if restarted || now.samples() < before.samples() {
                now.clone()
            } else {
                now.since(before)
            }
        };
        totals
            .cached
            .merge(&grown(&sample.cached, &self.raw.cached));
        totals
            .uncached
            .merge(&grown(&sample.uncached, &self.raw.uncached));
        totals
    }

    /// Forgets what no window needs any more.
    fn trim(&mut self, now: Moment) {
        // Readings come nearly a second apart: the nearest one to the edge begins the window.
        let edge = now.saturating_sub(WINDOW) + NEARLY;
        while self.points.len() > 2 && self.points[1].at <= edge {
            self.points.pop_front();
        }
    }

    /// The newest total of a counter, surviving restarts.
    pub fn total(&self, counter: &Counter) -> Option<f64> {
        self.points.back()?.totals.counters.get(counter).copied()
    }

    /// How much a counter grew over the window. None when unknown; a counter not exported yet counts from zero.
    pub fn grown(&self, counter: &Counter) -> Option<f64> {
        let (first, last) = self.ends()?;
        let now = last.totals.counters.get(counter)?;
        Some(now - first.totals.counters.get(counter).copied().unwrap_or(0.0))
    }

    /// Growth per second over the window.
    pub fn rate(&self, counter: &Counter) -> Option<f64> {
        let (first, last) = self.ends()?;
        per_second(self.grown(counter)?, first.at, last.at)
    }

    /// Growth per second between the last two readings.
    pub fn latest_rate(&self, counter: &Counter) -> Option<f64> {
        let last = self.points.back()?;
        let before = self.points.get(self.points.len().checked_sub(2)?)?;
        let was = before.totals.counters.get(counter).copied().unwrap_or(0.0);
        per_second(last.totals.counters.get(counter)? - was, before.at, last.at)
    }

    /// Requests of the window: (answered from the cache, all others).
    pub fn latencies(&self) -> Option<(Histogram, Histogram)> {
        let (first, last) = self.ends()?;
        Some((
            last.totals.cached.since(&first.totals.cached),
            last.totals.uncached.since(&first.totals.uncached),
        ))
    }

    /// The names of all labels for which `pick` finds a counter.
    pub fn labels<'a>(
        &'a self,
        pick: impl Fn(&'a Counter) -> Option<&'a str> + 'a,
    ) -> impl Iterator<Item = &'a str> + 'a {
        self.raw.counters.keys().filter_map(pick)
    }

    pub fn gauge(&self, gauge: &Gauge) -> Option<f64> {
        self.raw.gauges.get(gauge).copied()
    }

    pub fn gauges(&self) -> &BTreeMap<Gauge, f64> {
        &self.raw.gauges
    }

    /// The window's ends; none without two readings.
    fn ends(&self) -> Option<(&Point, &Point)> {
        let last = self.points.back()?;
        let first = self.points.front()?;
        (first.at < last.at).then_some((first, last))
    }
}

fn per_second(grown: f64, from: Moment, to: Moment) -> Option<f64> {
    let seconds = to.checked_sub(from)?.as_secs_f64();
    (seconds > 0.0).then_some(grown / seconds)
}

#[cfg(test)]
mod tests {
    use super::super::sample::testing::of;
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn requests(count: f64, started: f64) -> Sample {
        of(
            &[(Counter::Requests, count)],
            &[(Gauge::StartTime, started)],
        )
    }

    #[test]
    fn one_reading_is_no_rate() {
        let mut history = History::default();
        history.push(at(1), requests(100.0, 5.0));
        assert_eq!(history.rate(&Counter::Requests), None);
        assert_eq!(history.total(&Counter::Requests), Some(100.0));
    }

    #[test]
    fn rates_are_differences_over_time() {
        let mut history = History::default();
        for second in 0..30_u32 {
            history.push(at(second.into()), requests(f64::from(second) * 20.0, 5.0));
        }
        assert_eq!(history.rate(&Counter::Requests), Some(20.0));
        assert_eq!(history.latest_rate(&Counter::Requests), Some(20.0));
        assert_eq!(history.grown(&Counter::Requests), Some(200.0));
        assert!(history.points.len() <= 12);
    }

    #[test]
    fn readings_that_come_a_little_late_do_not_widen_the_window() {
        let mut history = History::default();
        for second in 0..30_u32 {
            let late = Duration::from_millis(u64::from(second % 7) * 10);
            let count = f64::from(second) * 20.0;
            history.push(at(second.into()) + late, requests(count, 5.0));
            if second >= 10 {
                assert_eq!(history.grown(&Counter::Requests), Some(200.0));
            }
        }
    }

    #[test]
    fn a_restart_never_makes_a_rate_negative() {
        let mut history = History::default();
        history.push(at(1), requests(1_000.0, 5.0));
        history.push(at(2), requests(1_010.0, 5.0));
        // Restarted: it even counted beyond the old value already, only the start time tells.
        history.push(at(3), requests(2_000.0, 60.0));
        history.push(at(4), requests(2_010.0, 60.0));
        assert_eq!(
            history.grown(&Counter::Requests),
            Some(2_020.0 - 10.0 + 10.0)
        );
    }

    #[test]
    fn a_counter_that_went_down_began_again() {
        let mut history = History::default();
        let count = |n| of(&[(Counter::Requests, n)], &[]);
        history.push(at(1), count(500.0));
        history.push(at(2), count(7.0));
        assert_eq!(history.grown(&Counter::Requests), Some(7.0));
        assert_eq!(history.total(&Counter::Requests), Some(507.0));
    }

    #[test]
    fn a_label_seen_first_in_the_window_counts_from_zero() {
        let mut history = History::default();
        history.push(at(1), of(&[(Counter::Requests, 1.0)], &[]));
        history.push(
            at(2),
            of(&[(Counter::Requests, 1.0), (Counter::CacheHits, 4.0)], &[]),
        );
        assert_eq!(history.grown(&Counter::CacheHits), Some(4.0));
        assert_eq!(history.grown(&Counter::CacheMisses), None);
    }
}
