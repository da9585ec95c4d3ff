//! What one instance counted, reading by reading, as far back as the console looks: dense for seconds, sparse for minutes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    Moment,
    histogram::Histogram,
    lens::{KEPT, Lens},
    sample::{Counter, Gauge, Sample},
};

/// How far from its edge the window's first reading may be.
const NEARLY: Duration = Duration::from_millis(500);

/// How old readings may be in each tier, and how far apart they are kept there.
const TIERS: [(Duration, Duration); 3] = [
    (Duration::from_secs(20), Duration::ZERO),
    (Duration::from_mins(3), Duration::from_secs(5)),
    (KEPT, Duration::from_secs(20)),
];

/// Which place of a reading's numbers means what; an instance exports the same names every time.
#[derive(Clone, Debug, Default)]
struct Places {
    counters: BTreeMap<Counter, usize>,
    gauges: BTreeMap<Gauge, usize>,
    routes: BTreeMap<String, usize>,
}

/// One reading: totals since this console first saw the instance, on top of what it had counted by then.
#[derive(Clone, Debug)]
struct Point {
    at: Moment,
    /// By place; a place that was not known then is missing, one without a value is not a number.
    counters: Box<[f64]>,
    gauges: Box<[f64]>,
    cached: Histogram,
    uncached: Histogram,
    routes: Box<[Histogram]>,
}

/// The readings of one instance.
#[derive(Clone, Debug, Default)]
pub struct History {
    raw: Sample,
    places: Places,
    /// The newest tier first; inside a tier the oldest first.
    tiers: [VecDeque<Point>; TIERS.len()],
}

impl History {
    /// Takes one more reading in.
    pub fn push(&mut self, at: Moment, sample: Sample) {
        let restarted = self.is_other_process(&sample);
        let point = self.advance(at, &sample, restarted);
        self.raw = sample;
        self.tiers[0].push_back(point);
        self.thin(at);
    }

    fn is_other_process(&self, sample: &Sample) -> bool {
        let started = |of: &Sample| of.gauges.get(&Gauge::StartTime).copied();
        match (started(&self.raw), started(sample)) {
            (Some(before), Some(now)) => (now - before).abs() > 1.5,
            _ => false,
        }
    }

    fn advance(&mut self, at: Moment, sample: &Sample, restarted: bool) -> Point {
        let last = self.tiers[0].back();
        let mut counters = last.map_or_else(Vec::new, |last| last.counters.to_vec());
        for (counter, &now) in &sample.counters {
            let before = self.raw.counters.get(counter).copied().unwrap_or(0.0);
            // Even without a new start time, a counter that went down began again.
            let added = if restarted || now < before {
                now
            } else {
                now - before
            };
            let place = place_of(&mut self.places.counters, counter);
            if place >= counters.len() {
                counters.resize(place + 1, f64::NAN);
            }
            let total = &mut counters[place];
            *total = if total.is_nan() {
                added
            } else {
                *total + added
            };
        }
        let mut gauges = vec![f64::NAN; self.places.gauges.len()];
        for (gauge, &value) in &sample.gauges {
            let place = place_of(&mut self.places.gauges, gauge);
            if place >= gauges.len() {
                gauges.resize(place + 1, f64::NAN);
            }
            gauges[place] = value;
        }
        let total = |last: Option<&Histogram>, now: &Histogram, before: &Histogram| {
            let grown = if restarted || now.samples() < before.samples() {
                now.clone()
            } else {
                now.since(before)
            };
            match last {
                Some(last) => {
                    let mut sum = last.clone();
                    sum.merge(&grown);
                    sum
                }
                None => now.clone(),
            }
        };
        let cached = total(
            last.map(|last| &last.cached),
            &sample.cached,
            &self.raw.cached,
        );
        let uncached = total(
            last.map(|last| &last.uncached),
            &sample.uncached,
            &self.raw.uncached,
        );
        let mut routes = last.map_or_else(Vec::new, |last| last.routes.to_vec());
        let none = Histogram::default();
        for (route, now) in &sample.routes {
            let place = match self.places.routes.get(route) {
                Some(place) => *place,
                None => place_of(&mut self.places.routes, route),
            };
            if place >= routes.len() {
                routes.resize(place + 1, Histogram::default());
            }
            let before = self.raw.routes.get(route).unwrap_or(&none);
            routes[place] = total(last.map(|_| &routes[place]), now, before);
        }
        Point {
            at,
            counters: counters.into(),
            gauges: gauges.into(),
            cached,
            uncached,
            routes: routes.into(),
        }
    }

    /// Moves what is old to a sparser tier, and forgets what is older than all of them.
    fn thin(&mut self, now: Moment) {
        for tier in 0..TIERS.len() {
            let edge = now.saturating_sub(TIERS[tier].0);
            while self.tiers[tier]
                .front()
                .is_some_and(|point| point.at < edge)
            {
                let Some(point) = self.tiers[tier].pop_front() else {
                    break;
                };
                let Some(next) = self.tiers.get_mut(tier + 1) else {
                    continue;
                };
                let far = next
                    .back()
                    .is_none_or(|last| point.at.saturating_sub(last.at) >= TIERS[tier + 1].1);
                if far {
                    next.push_back(point);
                }
            }
        }
    }

    /// All readings, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = &Point> {
        self.tiers.iter().flat_map(|tier| tier.iter().rev())
    }

    /// The newest total of a counter, surviving restarts.
    pub fn total(&self, counter: &Counter) -> Option<f64> {
        let place = *self.places.counters.get(counter)?;
        counted(
            self.tiers[0]
                .back()
                .or_else(|| self.newest_first().next())?,
            place,
        )
    }

    /// How much a counter grew over the lens' window. None when unknown; a counter not exported yet counts from zero.
    pub fn grown(&self, counter: &Counter, lens: Lens) -> Option<f64> {
        let (first, last) = self.ends(lens)?;
        let place = *self.places.counters.get(counter)?;
        Some(counted(last, place)? - counted(first, place).unwrap_or(0.0))
    }

    /// Growth per second over the lens' window.
    pub fn rate(&self, counter: &Counter, lens: Lens) -> Option<f64> {
        let (first, last) = self.ends(lens)?;
        per_second(self.grown(counter, lens)?, first.at, last.at)
    }

    /// Growth per second between the last two readings.
    pub fn latest_rate(&self, counter: &Counter) -> Option<f64> {
        let mut points = self.newest_first();
        let (last, before) = (points.next()?, points.next()?);
        let place = *self.places.counters.get(counter)?;
        let was = counted(before, place).unwrap_or(0.0);
        per_second(counted(last, place)? - was, before.at, last.at)
    }

    /// Requests of the window: (answered from the cache, all others).
    pub fn latencies(&self, lens: Lens) -> Option<(Histogram, Histogram)> {
        let (first, last) = self.ends(lens)?;
        Some((
            last.cached.since(&first.cached),
            last.uncached.since(&first.uncached),
        ))
    }

    /// Requests between the last two readings, whatever answered them.
    pub fn latest_latencies(&self) -> Option<Histogram> {
        let mut points = self.newest_first();
        let (last, before) = (points.next()?, points.next()?);
        let mut all = last.cached.since(&before.cached);
        all.merge(&last.uncached.since(&before.uncached));
        Some(all)
    }

    /// Requests of the window by route, where the instance counts them so.
    pub fn routes(&self, lens: Lens) -> Vec<(&str, Histogram)> {
        let Some((first, last)) = self.ends(lens) else {
            return Vec::new();
        };
        let none = Histogram::default();
        self.places
            .routes
            .iter()
            .filter_map(|(route, &place)| {
                let now = last.routes.get(place)?;
                let before = first.routes.get(place).unwrap_or(&none);
                Some((route.as_str(), now.since(before)))
            })
            .filter(|(_, window)| window.samples() > 0)
            .collect()
    }

    /// The names of all labels for which `pick` finds a counter.
    pub fn labels<'a>(
        &'a self,
        pick: impl Fn(&'a Counter) -> Option<&'a str> + 'a,
    ) -> impl Iterator<Item = &'a str> + 'a {
        self.raw.counters.keys().filter_map(pick)
    }

    /// The newest value of a gauge.
    pub fn gauge(&self, gauge: &Gauge) -> Option<f64> {
        self.raw.gauges.get(gauge).copied()
    }

    /// The value of a gauge at a moment.
    pub fn gauge_at(&self, gauge: &Gauge, at: Moment) -> Option<f64> {
        let place = *self.places.gauges.get(gauge)?;
        let point = self.newest_first().find(|point| point.at <= at)?;
        point
            .gauges
            .get(place)
            .copied()
            .filter(|value| !value.is_nan())
    }

    pub fn gauges(&self) -> &BTreeMap<Gauge, f64> {
        &self.raw.gauges
    }

    /// The window's ends; none without two readings.
    fn ends(&self, lens: Lens) -> Option<(&Point, &Point)> {
        let mut points = self.newest_first().skip_while(|point| point.at > lens.at);
        let last = points.next()?;
        // Readings come nearly a second apart: the nearest one to the edge begins the window.
        let edge = lens.at.saturating_sub(lens.window) + NEARLY;
        let mut first = None;
        for point in points {
            first = Some(point);
            if point.at <= edge {
                break;
            }
        }
        first.map(|first| (first, last))
    }
}

/// A name's place, a new one where it has none yet.
fn place_of<K: Ord + Clone>(places: &mut BTreeMap<K, usize>, key: &K) -> usize {
    let next = places.len();
    if let Some(place) = places.get(key) {
        return *place;
    }
    places.insert(key.clone(), next);
    next
}

fn counted(point: &Point, place: usize) -> Option<f64> {
    point
        .counters
        .get(place)
        .copied()
        .filter(|total| !total.is_nan())
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

    /// The ten seconds before now.
    fn lens(at: Moment) -> Lens {
        Lens {
            at,
            window: super::super::lens::NOW,
        }
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
        assert_eq!(history.rate(&Counter::Requests, lens(at(1))), None);
        assert_eq!(history.total(&Counter::Requests), Some(100.0));
    }

    #[test]
    fn rates_are_differences_over_time() {
        let mut history = History::default();
        for second in 0..30_u32 {
            history.push(at(second.into()), requests(f64::from(second) * 20.0, 5.0));
        }
        assert_eq!(history.rate(&Counter::Requests, lens(at(29))), Some(20.0));
        assert_eq!(history.latest_rate(&Counter::Requests), Some(20.0));
        assert_eq!(history.grown(&Counter::Requests, lens(at(29))), Some(200.0));
    }

    #[test]
    fn an_hour_of_readings_stays_small_and_the_past_can_be_asked() {
        let mut history = History::default();
        for second in 0..3_600_u32 {
            // Twice as many requests in the second half of each minute.
            let rate = if second % 60 < 30 { 10.0 } else { 20.0 };
            let before = history.total(&Counter::Requests).unwrap_or(0.0);
            history.push(at(second.into()), requests(before + rate, 5.0));
        }
        let points: usize = history.tiers.iter().map(VecDeque::len).sum();
        assert!(points < 110, "{points}");
        let wide = Lens {
            at: at(3_599),
            window: Duration::from_mins(15),
        };
        let rate = history.rate(&Counter::Requests, wide).unwrap();
        assert!((rate - 15.0).abs() < 0.5, "{rate}");
        let then = Lens {
            at: at(3_000),
            window: Duration::from_mins(1),
        };
        let rate = history.rate(&Counter::Requests, then).unwrap();
        assert!((rate - 15.0).abs() < 4.0, "{rate}");
        assert_eq!(history.gauge_at(&Gauge::StartTime, at(3_000)), Some(5.0));
        assert_eq!(
            history.gauge_at(&Gauge::StartTime, at(10)),
            None,
            "forgotten"
        );
    }

    #[test]
    fn readings_that_come_a_little_late_do_not_widen_the_window() {
        let mut history = History::default();
        for second in 0..30_u32 {
            let late = Duration::from_millis(u64::from(second % 7) * 10);
            let count = f64::from(second) * 20.0;
            history.push(at(second.into()) + late, requests(count, 5.0));
            if second >= 10 {
                let now = lens(at(second.into()) + late);
                assert_eq!(history.grown(&Counter::Requests, now), Some(200.0));
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
            history.grown(&Counter::Requests, lens(at(4))),
            Some(2_020.0 - 10.0 + 10.0)
        );
    }

    #[test]
    fn a_counter_that_went_down_began_again() {
        let mut history = History::default();
        let count = |n| of(&[(Counter::Requests, n)], &[]);
        history.push(at(1), count(500.0));
        history.push(at(2), count(7.0));
        assert_eq!(history.grown(&Counter::Requests, lens(at(4))), Some(7.0));
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
        assert_eq!(history.grown(&Counter::CacheHits, lens(at(2))), Some(4.0));
        assert_eq!(history.grown(&Counter::CacheMisses, lens(at(2))), None);
    }
}
