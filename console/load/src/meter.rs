//! Counts and times every request; the clock is passed in, counted from the start of the run.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::{
    CacheCount, CallCount, CallReport, Kind, Latencies, Latency, Profile, Second, Statuses, Totals,
    Window,
};

/// Full seconds that the window covers.
const WINDOW: usize = 10;
/// Seconds that are kept for the report.
const SERIES: usize = 3600;
/// Names of gateways that are told apart; a stranger's server could invent any number.
const GATEWAYS: usize = 64;

/// `X-Cache` as the contract defines it.
const CACHE: [&str; 6] = ["HIT", "MISS", "STALE", "BYPASS", "NONE", "OTHER"];
const HIT: usize = 0;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answered(u16),
    Failed,
    TimedOut,
    Abandoned,
}

/// One request that was sent.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    pub kind: Kind,
    pub due: Duration,
    pub started: Duration,
    pub ended: Duration,
    pub end: End,
    pub bytes: u64,
    pub gateway: Option<&'a str>,
    pub cache: Option<&'a str>,
}

#[derive(Debug)]
struct CallMeter {
    totals: Totals,
    statuses: BTreeMap<u16, u64>,
    corrected: Histogram,
    service: Histogram,
}

#[derive(Debug)]
struct Slice {
    totals: Totals,
    hits: u64,
    corrected: Histogram,
    service: Histogram,
}

impl Slice {
    fn new() -> Self {
        Self {
            totals: Totals::default(),
            hits: 0,
            corrected: Histogram::coarse(),
            service: Histogram::coarse(),
        }
    }

    fn clear(&mut self) {
        self.totals = Totals::default();
        self.hits = 0;
        self.corrected.clear();
        self.service.clear();
    }
}

#[derive(Debug)]
pub(crate) struct Meter {
    totals: Totals,
    corrected: Histogram,
    service: Histogram,
    lag: Histogram,
    /// Made when a kind is first seen: most runs see few.
    calls: Vec<Option<Box<CallMeter>>>,
    gateways: BTreeMap<String, u64>,
    cache: Vec<Histogram>,
    /// The second that is being counted.
    second: u32,
    current: Slice,
    window: VecDeque<Slice>,
    series: VecDeque<Second>,
    rate: f64,
    profile: Profile,
    /// How long the run is to last.
    whole: Duration,
    pub last_error: Option<String>,
}

impl Meter {
    #[cfg(test)]
    pub fn new() -> Self {
        Self::along(Profile::Constant, Duration::MAX)
    }

    /// For a run that follows a profile over `whole`.
    pub fn along(profile: Profile, whole: Duration) -> Self {
        Self {
            totals: Totals::default(),
            corrected: Histogram::fine(),
            service: Histogram::fine(),
            lag: Histogram::fine(),
            calls: std::iter::repeat_with(|| None)
                .take(Kind::ALL.len())
                .collect(),
            gateways: BTreeMap::new(),
            cache: CACHE.map(|_| Histogram::fine()).into(),
            second: 0,
            current: Slice::new(),
            window: VecDeque::with_capacity(WINDOW),
            series: VecDeque::new(),
            rate: 0.0,
            profile,
            whole,
            last_error: None,
        }
    }

    /// The rate asked for from now on, for the series.
    pub fn set_rate(&mut self, rate: f64) {
        self.rate = rate;
    }

    /// A request is being sent. `lag` is how late, when that was the generator's own doing.
    pub fn start(&mut self, now: Duration, kind: Kind, lag: Option<Duration>, late: bool) {
        self.advance(now);
        if let Some(lag) = lag {
            self.lag.record(lag);
        }
        let late = u64::from(late);
        for totals in [
            &mut self.totals,
            &mut self.current.totals,
            &mut call(&mut self.calls, kind).totals,
        ] {
            totals.started += 1;
            totals.late += late;
        }
    }

    /// A request of this kind failed, and is sent again or may not be.
    pub fn again(&mut self, kind: Kind, may: bool) {
        for totals in [
            &mut self.totals,
            &mut self.current.totals,
            &mut call(&mut self.calls, kind).totals,
        ] {
            if may {
                totals.retried += 1;
            } else {
                totals.retries_denied += 1;
            }
        }
    }

    /// A request of this kind was due and will not be sent.
    pub fn drop_one(&mut self, now: Duration, kind: Kind) {
        self.advance(now);
        for totals in [
            &mut self.totals,
            &mut self.current.totals,
            &mut call(&mut self.calls, kind).totals,
        ] {
            totals.dropped += 1;
        }
    }

    /// A request is over.
    pub fn finish(&mut self, sample: &Sample<'_>) {
        self.advance(sample.ended);
        let call = call(&mut self.calls, sample.kind);
        for totals in [&mut self.totals, &mut self.current.totals, &mut call.totals] {
            count(totals, sample);
        }
        if sample.end != End::Failed {
            // What was cut short took at least this long; leaving it out would hide a stall.
            let corrected = sample.ended.saturating_sub(sample.due);
            let service = sample.ended.saturating_sub(sample.started);
            for histogram in [
                &mut self.corrected,
                &mut self.current.corrected,
                &mut call.corrected,
            ] {
                histogram.record(corrected);
            }
            for histogram in [
                &mut self.service,
                &mut self.current.service,
                &mut call.service,
            ] {
                histogram.record(service);
            }
            if let End::Answered(status) = sample.end {
                *call.statuses.entry(status).or_default() += 1;
                let result = sample.cache.map_or(4, |name| {
                    CACHE.iter().position(|known| *known == name).unwrap_or(5)
                });
                self.cache[result].record(service);
                self.current.hits += u64::from(result == HIT);
            }
        }
        if let Some(gateway) = sample.gateway {
            if let Some(count) = self.gateways.get_mut(gateway) {
                *count += 1;
            } else if self.gateways.len() < GATEWAYS {
                self.gateways.insert(gateway.to_owned(), 1);
            }
        }
    }

    /// Closes the seconds that are over.
    pub fn advance(&mut self, now: Duration) {
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        while self.second < second {
            self.close_second();
        }
    }

    fn close_second(&mut self) {
        let latency = self.current.corrected.summary();
        let totals = self.current.totals;
        if self.series.len() == SERIES {
            self.series.pop_front();
        }
        self.series.push_back(Second {
            second: self.second,
            rate: self.rate
                * self.profile.part(
                    Duration::from_millis(u64::from(self.second) * 1_000 + 500),
                    self.whole,
                ),
            started: totals.started,
            answered: totals.answered,
            succeeded: totals.statuses.success,
            errors: totals.errors(),
            dropped: totals.dropped,
            p50: latency.p50,
            p95: latency.p95,
            p99: latency.p99,
            max: latency.max,
        });
        let mut next = if self.window.len() < WINDOW {
            None
        } else {
            self.window.pop_front()
        }
        .unwrap_or_else(Slice::new);
        next.clear();
        self.window
            .push_back(std::mem::replace(&mut self.current, next));
        self.second += 1;
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn latency(&self) -> Latencies {
        Latencies {
            corrected: self.corrected.summary(),
            service: self.service.summary(),
        }
    }

    pub fn lag(&self) -> Latency {
        self.lag.summary()
    }

    pub fn gateways(&self) -> BTreeMap<String, u64> {
        self.gateways.clone()
    }

    pub fn cache(&self) -> Vec<CacheCount> {
        let counts = CACHE.iter().zip(&self.cache).map(|(name, histogram)| {
            let service = histogram.summary();
            CacheCount {
                result: (*name).to_owned(),
                count: service.count,
                service,
            }
        });
        counts.filter(|count| count.count > 0).collect()
    }

    pub fn window(&self) -> Window {
        let (mut corrected, mut service) = (Histogram::coarse(), Histogram::coarse());
        let (mut totals, mut hits) = (Totals::default(), 0);
        for slice in &self.window {
            corrected.add(&slice.corrected);
            service.add(&slice.service);
            add(&mut totals, &slice.totals);
            hits += slice.hits;
        }
        let seconds = self.window.len() as u32;
        let per_second = |count: u64| count as f64 / f64::from(seconds.max(1));
        Window {
            seconds,
            started_per_second: per_second(totals.started),
            answered_per_second: per_second(totals.answered),
            errors_per_second: per_second(totals.errors()),
            totals,
            latency: Latencies {
                corrected: corrected.summary(),
                service: service.summary(),
            },
            hits,
        }
    }

    pub fn calls(&self) -> Vec<CallReport> {
        let calls = Kind::ALL
            .into_iter()
            .zip(&self.calls)
            .filter_map(|(kind, call)| Some((kind, call.as_ref()?)));
        calls
            .map(|(kind, call)| CallReport {
                kind,
                route: kind.route().to_owned(),
                totals: call.totals,
                statuses: call.statuses.clone(),
                latency: Latencies {
                    corrected: call.corrected.summary(),
                    service: call.service.summary(),
                },
            })
            .collect()
    }

    /// What a look at a running engine needs of each call: one quantile instead of all.
    pub fn call_counts(&self) -> Vec<CallCount> {
        let calls = Kind::ALL.into_iter().zip(&self.calls);
        calls
            .filter_map(|(kind, call)| Some((kind, call.as_ref()?)))
            .map(|(kind, call)| CallCount {
                kind,
                totals: call.totals,
                p95: call.corrected.quantile(0.95),
            })
            .collect()
    }

    /// The full seconds.
    pub fn series(&self) -> Vec<Second> {
        self.series.iter().copied().collect()
    }
}

fn call(calls: &mut [Option<Box<CallMeter>>], kind: Kind) -> &mut CallMeter {
    calls[kind.index()].get_or_insert_with(|| {
        Box::new(CallMeter {
            totals: Totals::default(),
            statuses: BTreeMap::new(),
            corrected: Histogram::fine(),
            service: Histogram::fine(),
        })
    })
}

fn count(totals: &mut Totals, sample: &Sample<'_>) {
    totals.bytes += sample.bytes;
    match sample.end {
        End::Failed => totals.failed += 1,
        End::TimedOut => totals.timed_out += 1,
        End::Abandoned => totals.abandoned += 1,
        End::Answered(status) => {
            totals.answered += 1;
            totals.limited += u64::from(status == 429);
            let Statuses {
                success,
                redirect,
                client_error,
                server_error,
            } = &mut totals.statuses;
            *match status {
                0..=299 => success,
                300..=399 => redirect,
                400..=499 => client_error,
                _ => server_error,
            } += 1;
        }
    }
}

fn add(into: &mut Totals, more: &Totals) {
    into.started += more.started;
    into.answered += more.answered;
    into.statuses.success += more.statuses.success;
    into.statuses.redirect += more.statuses.redirect;
    into.statuses.client_error += more.statuses.client_error;
    into.statuses.server_error += more.statuses.server_error;
    into.limited += more.limited;
    into.failed += more.failed;
    into.timed_out += more.timed_out;
    into.abandoned += more.abandoned;
    into.retried += more.retried;
    into.retries_denied += more.retries_denied;
    into.late += more.late;
    into.dropped += more.dropped;
    into.bytes += more.bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, took_ms: u64, end: End) -> Sample<'static> {
        let started = Duration::from_millis(at_ms);
        let ended = started + Duration::from_millis(took_ms);
        Sample {
            kind: Kind::Data,
            due: started.saturating_sub(Duration::from_millis(100)),
            started,
            ended,
            end,
            bytes: 10,
            gateway: Some("gateway-1"),
            cache: Some("HIT"),
        }
    }

    #[test]
    fn both_latencies_are_kept() {
        let mut meter = Meter::new();
        meter.start(Duration::from_millis(500), Kind::Data, None, true);
        meter.finish(&sample(500, 20, End::Answered(200)));
        let latency = meter.latency();
        assert!(
            (119_000..=121_000).contains(&latency.corrected.p50),
            "{latency:?}"
        );
        assert!(
            (19_900..=20_100).contains(&latency.service.p50),
            "{latency:?}"
        );
        assert_eq!(
            (
                meter.totals().late,
                meter.gateways()["gateway-1"],
                meter.cache()[0].count
            ),
            (1, 1, 1)
        );
    }

    #[test]
    fn the_window_slides_over_full_seconds() {
        let mut meter = Meter::new();
        for second in 0..30 {
            for _ in 0..second {
                meter.start(Duration::from_secs(second), Kind::Data, None, false);
                meter.finish(&sample(second * 1000 + 100, 5, End::Answered(200)));
            }
        }
        let window = meter.window();
        assert_eq!(window.seconds, 10);
        assert_eq!(window.totals.answered, (19..29).sum::<u64>());
        assert_eq!(meter.series().len(), 29);
        assert_eq!(meter.series()[7].started, 7);
        let calls = meter.call_counts();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].totals, meter.totals());
        assert_eq!(calls[0].p95, meter.calls()[0].latency.corrected.p95);
    }

    #[test]
    fn ends_are_told_apart() {
        let mut meter = Meter::new();
        for end in [
            End::Answered(201),
            End::Answered(429),
            End::Answered(503),
            End::Failed,
            End::TimedOut,
            End::Abandoned,
        ] {
            meter.finish(&sample(0, 1, end));
        }
        let totals = meter.totals();
        assert_eq!(
            (
                totals.answered,
                totals.limited,
                totals.failed,
                totals.timed_out,
                totals.abandoned
            ),
            (3, 1, 1, 1, 1)
        );
        assert_eq!(totals.errors(), 3);
        assert_eq!(meter.latency().service.count, 5, "a failure has no latency");
    }
}
