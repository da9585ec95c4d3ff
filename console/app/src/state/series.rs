//! One value per second of what the charts show, for as long as anything is kept.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    histogram::Histogram,
    lens::{KEPT, Lens},
};

/// Seconds kept.
const SECONDS: usize = KEPT.as_secs() as usize;

/// What a line of a chart is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Requests per second at the front door.
    Requests,
    /// 5xx answers per second at the front door.
    Errors,
    /// Of each second's look-ups, 0 to 1.
    Hits,
    HostCpu,
    /// Bytes.
    HostMemory,
    /// The console's own use: of one core, and bytes.
    OwnCpu,
    OwnMemory,
    /// Look-ups of the gateways per second, by how they ended.
    Lookups(super::sample::Lookup),
    /// Misses per second, all causes together.
    Missed,
    /// Percentiles of each second at the front door, in seconds.
    P50,
    P95,
    P99,
    /// Of all requests that the balancers sent in a second, the part of the instance of this name, 0 to 1.
    Share(String),
    /// Of one core, by instance.
    Cpu(String),
    /// Bytes, by instance.
    Memory(String),
    /// Messages that wait, over all queues or in one.
    Depth,
    QueueDepth(String),
    QueueSent(String),
    QueueAcknowledged(String),
    /// Requests per second that the generator was asked for, and that it was answered.
    TrafficAsked,
    TrafficAnswered,
    /// A percentile of the generator's, from the intended start and from the actual one, in seconds.
    TrafficCorrected,
    TrafficRaw,
}

impl Series {
    /// As files call it.
    pub fn name(&self) -> String {
        match self {
            Self::Requests => "requests".to_owned(),
            Self::Errors => "errors".to_owned(),
            Self::Hits => "cache hits".to_owned(),
            Self::HostCpu => "machine cpu".to_owned(),
            Self::HostMemory => "machine memory".to_owned(),
            Self::OwnCpu => "cpu of this console".to_owned(),
            Self::OwnMemory => "memory of this console".to_owned(),
            Self::Lookups(lookup) => format!("cache look-ups: {}", lookup.name()),
            Self::Missed => "cache misses".to_owned(),
            Self::P50 => "p50".to_owned(),
            Self::P95 => "p95".to_owned(),
            Self::P99 => "p99".to_owned(),
            Self::Share(name) => format!("share of {name}"),
            Self::Cpu(name) => format!("cpu of {name}"),
            Self::Memory(name) => format!("memory of {name}"),
            Self::Depth => "messages that wait".to_owned(),
            Self::QueueDepth(name) => format!("messages that wait in {name}"),
            Self::QueueSent(name) => format!("sent to {name}"),
            Self::QueueAcknowledged(name) => format!("acknowledged in {name}"),
            Self::TrafficAsked => "traffic asked".to_owned(),
            Self::TrafficAnswered => "traffic answered".to_owned(),
            Self::TrafficCorrected => "traffic p95 corrected".to_owned(),
            Self::TrafficRaw => "traffic p95 raw".to_owned(),
        }
    }

    pub fn unit(&self) -> &'static str {
        match self {
            Self::Requests
            | Self::Errors
            | Self::QueueSent(_)
            | Self::QueueAcknowledged(_)
            | Self::Lookups(_)
            | Self::Missed
            | Self::TrafficAsked
            | Self::TrafficAnswered => "per second",
            Self::Hits | Self::HostCpu | Self::Share(_) => "ratio",
            Self::Cpu(_) | Self::OwnCpu => "cores",
            Self::Memory(_) | Self::HostMemory | Self::OwnMemory => "bytes",
            Self::Depth | Self::QueueDepth(_) => "messages",
            Self::P50 | Self::P95 | Self::P99 | Self::TrafficCorrected | Self::TrafficRaw => {
                "seconds"
            }
        }
    }
}

/// How the seconds of one column become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Mean,
    Most,
}

/// Values by whole seconds; a second without one is unknown.
#[derive(Clone, Debug, Default)]
struct Line {
    /// The second of the newest value.
    newest: u64,
    values: VecDeque<f32>,
}

impl Line {
    fn put(&mut self, second: u64, value: f64) {
        if self.values.is_empty() {
            self.newest = second;
        } else if second <= self.newest {
            return;
        } else {
            for _ in self.newest + 1..second.min(self.newest + 1 + SECONDS as u64) {
                self.values.push_back(f32::NAN);
            }
            self.newest = second;
        }
        self.values.push_back(value as f32);
        while self.values.len() > SECONDS {
            self.values.pop_front();
        }
    }

    fn at(&self, second: u64) -> Option<f64> {
        let back = usize::try_from(self.newest.checked_sub(second)?).ok()?;
        let index = self.values.len().checked_sub(back + 1)?;
        Some(f64::from(self.values[index])).filter(|value| !value.is_nan())
    }
}

/// All lines, and each second's latencies.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    lines: BTreeMap<Series, Line>,
    /// Counts per band of latency, second by second; the newest last.
    heat: VecDeque<(u64, [u32; BANDS])>,
}

/// Bands of latency, each twice as wide as the one before; the first ends at 100 µs.
pub const BANDS: usize = 18;

/// The upper end of a band, in seconds; the last one has none.
pub fn band_end(band: usize) -> f64 {
    100e-6 * f64::from(1_u32 << band.min(31))
}

impl Charts {
    /// Sets a second's value; seconds must come in order.
    pub fn put(&mut self, series: Series, second: u64, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return;
        };
        self.lines.entry(series).or_default().put(second, value);
    }

    pub fn put_heat(&mut self, second: u64, latencies: &Histogram) {
        if self
            .heat
            .back()
            .is_some_and(|(newest, _)| *newest >= second)
        {
            return;
        }
        let mut bands = [0_u32; BANDS];
        for (bound, count) in latencies.buckets() {
            // A bucket belongs to the band that its upper bound lies in.
            let band = (0..BANDS - 1)
                .find(|&band| bound <= band_end(band) * 1.000_001)
                .unwrap_or(BANDS - 1);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            bands[band] = bands[band].saturating_add(count);
        }
        self.heat.push_back((second, bands));
        while self.heat.len() > SECONDS {
            self.heat.pop_front();
        }
    }

    /// Forgets lines that have had no value for as long as anything is kept.
    pub fn sweep(&mut self, second: u64) {
        self.lines
            .retain(|_, line| line.newest + SECONDS as u64 > second);
    }

    /// The newest known value not younger than the lens' moment and not older than its window.
    pub fn value(&self, series: &Series, lens: Lens) -> Option<f64> {
        let line = self.lines.get(series)?;
        let last = lens.at.as_secs();
        let first = lens.at.saturating_sub(lens.window).as_secs();
        (first..=last).rev().find_map(|second| line.at(second))
    }

    /// The window in `width` columns, the newest last: a column may stand for many seconds, or a second for many columns.
    pub fn columns(
        &self,
        series: &Series,
        lens: Lens,
        width: usize,
        fold: Fold,
    ) -> Vec<Option<f64>> {
        let Some(line) = self.lines.get(series) else {
            return vec![None; width];
        };
        spans(lens, width)
            .map(|(from, to)| {
                let known = (from..to).filter_map(|second| line.at(second));
                match fold {
                    Fold::Most => known.reduce(f64::max),
                    Fold::Mean => {
                        let (sum, count) = known
                            .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
                        (count > 0.0).then(|| sum / count)
                    }
                }
            })
            .collect()
    }

    /// Every line with a value for each second of the window, oldest first; lines without any are left out.
    pub fn seconds(&self, lens: Lens) -> Vec<(Series, Vec<Option<f64>>)> {
        let end = lens.at.as_secs() + 1;
        let begin = end.saturating_sub(lens.window.as_secs());
        self.lines
            .iter()
            .map(|(series, line)| {
                let values: Vec<_> = (begin..end).map(|second| line.at(second)).collect();
                (series.clone(), values)
            })
            .filter(|(_, values)| values.iter().any(Option::is_some))
            .collect()
    }

    /// The window's counts per band in `width` columns, the newest last.
    pub fn heat(&self, lens: Lens, width: usize) -> Vec<[u32; BANDS]> {
        spans(lens, width)
            .map(|(from, to)| {
                let begin = self.heat.partition_point(|(second, _)| *second < from);
                let end = self.heat.partition_point(|(second, _)| *second < to);
                let mut sum = [0_u32; BANDS];
                for (_, bands) in self.heat.range(begin..end) {
                    for (sum, count) in sum.iter_mut().zip(bands) {
                        *sum = sum.saturating_add(*count);
                    }
                }
                sum
            })
            .collect()
    }
}

/// Which seconds each column stands for: from the first to before the second.
pub fn spans(lens: Lens, width: usize) -> impl Iterator<Item = (u64, u64)> {
    let seconds = lens.window.as_secs().max(1);
    let end = lens.at.as_secs() + 1;
    let columns = width.max(1) as u64;
    (0..width as u64).map(move |column| {
        let back = |of: u64| (columns - of) * seconds / columns;
        let from = end.saturating_sub(back(column).max(1));
        let to = end.saturating_sub(back(column + 1)).max(from + 1);
        (from, to)
    })
}

/// The column that a moment falls into, if it is inside the window.
pub fn column_of(at: Duration, lens: Lens, width: usize) -> Option<usize> {
    let second = at.as_secs();
    spans(lens, width).position(|(from, to)| (from..to).contains(&second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(at: u64, window: u64) -> Lens {
        Lens {
            at: Duration::from_secs(at),
            window: Duration::from_secs(window),
        }
    }

    #[test]
    fn every_second_of_the_window_is_in_a_column() {
        for (window, width) in [(30, 30), (30, 7), (30, 100), (900, 60), (60, 61), (1, 5)] {
            let spans: Vec<_> = spans(lens(2_000, window), width).collect();
            assert_eq!(spans.len(), width);
            assert_eq!(spans[0].0, 2_001 - window, "{window} {width}");
            assert_eq!(spans[width - 1].1, 2_001, "{window} {width}");
            for pair in spans.windows(2) {
                assert!(pair[0].1 >= pair[1].0, "{pair:?} leaves seconds out");
                assert!(pair[0].0 <= pair[1].0);
            }
        }
    }

    #[test]
    fn unknown_seconds_stay_unknown() {
        let mut charts = Charts::default();
        charts.put(Series::Requests, 10, Some(4.0));
        charts.put(Series::Requests, 13, Some(8.0));
        charts.put(Series::Requests, 14, None);
        let columns = charts.columns(&Series::Requests, lens(14, 5), 5, Fold::Mean);
        assert_eq!(columns, [Some(4.0), None, None, Some(8.0), None]);
        let columns = charts.columns(&Series::Requests, lens(13, 4), 2, Fold::Most);
        assert_eq!(columns, [Some(4.0), Some(8.0)]);
        assert_eq!(charts.value(&Series::Requests, lens(14, 10)), Some(8.0));
        assert_eq!(charts.value(&Series::Requests, lens(12, 2)), Some(4.0));
        assert_eq!(charts.value(&Series::Errors, lens(14, 10)), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut charts = Charts::default();
        for second in 0..10_000 {
            charts.put(Series::Depth, second, Some(1.0));
        }
        charts.put(Series::Depth, 1_000_000, Some(2.0));
        assert!(charts.lines[&Series::Depth].values.len() <= SECONDS);
        charts.sweep(2_000_000);
        assert!(charts.lines.is_empty());
    }

    #[test]
    fn heat_is_kept_by_band() {
        let mut charts = Charts::default();
        let bounds = [
            (50e-6_f64, 3_u64),
            (0.003, 5),
            (900.0, 6),
            (f64::INFINITY, 6),
        ];
        let cumulative = bounds.iter().map(|(b, c)| (b.to_bits(), *c)).collect();
        charts.put_heat(7, &Histogram::from_cumulative(&cumulative));
        let heat = charts.heat(lens(8, 2), 2);
        assert_eq!((heat[0][0], heat[0][5], heat[0][BANDS - 1]), (3, 2, 1));
        assert_eq!(heat[1], [0; BANDS]);
    }
}
