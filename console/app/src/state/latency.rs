//! How long requests take: percentiles of merged histograms, routes, and what they are held against.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Moment, State,
    alerts::age,
    histogram::Histogram,
    instance::{Instance, Role},
    lens::Lens,
    marks::Kind,
    sample::Counter,
    series::{BANDS, Series},
    traffic::Notice,
    view::Panel,
};

/// Columns of the routes that rows can be ordered by.
pub const COLUMNS: usize = 8;

/// What it is held against unless told otherwise, in seconds.
const THRESHOLD: f64 = 0.25;

/// Fewer samples do not make a percentile to judge by.
const LEAST_SAMPLES: u64 = 20;

/// How long a breach must be over before it is called over: what flickers is one breach.
const CALM: Moment = Moment::from_secs(5);

/// From here on the corrected and the raw percentile are told apart in words.
const DIFFERS: f64 = 1.2;

/// What 99 of 100 requests must stay below, and whether they do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    /// Seconds; none means that nothing is judged.
    pub threshold: Option<f64>,
    breached: Option<Moment>,
    /// When it was over the threshold last.
    over: Moment,
}

impl Default for Slo {
    fn default() -> Self {
        Self::below(Some(THRESHOLD))
    }
}

impl Slo {
    fn below(threshold: Option<f64>) -> Self {
        Self {
            threshold,
            breached: None,
            over: Moment::ZERO,
        }
    }

    /// `100ms`, `1.5s`, `250us`, `off`.
    pub fn parse(text: &str) -> Result<Self, String> {
        const USAGE: &str = "slo takes a time such as 100ms or 1.5s, from 1us to 1000s, or off";
        let text = text.trim();
        if text == "off" {
            return Ok(Self::below(None));
        }
        let units = [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("s", 1.0)];
        let (number, unit) = units
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .ok_or(USAGE)?;
        let seconds = number.trim().parse::<f64>().map_err(|_| USAGE)? * unit;
        if (1e-6..=1_000.0).contains(&seconds) {
            Ok(Self::below(Some(seconds)))
        } else {
            Err(USAGE.to_owned())
        }
    }

    /// Takes a percentile in; whether the breach that this makes has begun (true) or ended (false) now.
    fn judge(&mut self, p99: Option<f64>, now: Moment) -> Option<bool> {
        let threshold = self.threshold?;
        if p99.is_some_and(|p99| p99 > threshold) {
            self.over = now;
            if self.breached.is_none() {
                self.breached = Some(now);
                return Some(true);
            }
        } else if self.breached.is_some() && now.saturating_sub(self.over) >= CALM {
            self.breached = None;
            return Some(false);
        }
        None
    }

    /// Since when it is breached, if it is.
    pub fn breached(&self, at: Moment) -> Option<Moment> {
        self.breached.filter(|since| *since <= at)
    }
}

/// Percentiles in seconds, with the number of samples they stand on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantiles {
    pub name: String,
    pub samples: u64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
}

impl Quantiles {
    fn of(name: impl Into<String>, histogram: &Histogram) -> Self {
        Self {
            name: name.into(),
            samples: histogram.samples(),
            p50: histogram.quantile(0.50),
            p95: histogram.quantile(0.95),
            p99: histogram.quantile(0.99),
            p999: histogram.quantile(0.999),
        }
    }
}

/// One route at the front door.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteRow {
    pub route: String,
    pub samples: u64,
    /// Requests per second over the last seconds.
    pub rate: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// The bounds of the slowest request's bucket, in seconds; the upper one may be infinite.
    pub slowest: Option<(f64, f64)>,
    /// 5xx answers in the window.
    pub errors: Option<f64>,
}

/// The own traffic's p95, in seconds: from when requests were due, and from when they were sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Omission {
    pub corrected: f64,
    pub raw: f64,
}

impl Omission {
    /// What the difference means, where there is one.
    pub fn sentence(self) -> Option<&'static str> {
        (self.corrected > self.raw * DIFFERS)
            .then_some("Corrected counts the wait behind slow answers; raw leaves it out.")
    }
}

impl State {
    pub(super) fn set_slo(&mut self, slo: Slo) {
        self.slo = slo;
        let text = match slo.threshold {
            Some(threshold) => format!("99 of 100 requests must take {} at most", time(threshold)),
            None => "latency is held against nothing".to_owned(),
        };
        self.notify(Notice::info(text));
        self.judge_latency();
    }

    /// Holds the last seconds against the threshold; a breach leaves a mark and a notice when it begins and when it ends.
    pub(super) fn judge_latency(&mut self) {
        let live = Lens {
            at: self.now,
            window: super::NOW,
        };
        let front = self.front_door(live);
        let p99 = front
            .quantile(0.99)
            .filter(|_| front.samples() >= LEAST_SAMPLES);
        let Some(threshold) = self.slo.threshold else {
            return;
        };
        match self.slo.judge(p99, self.now) {
            Some(true) => {
                let text = format!(
                    "p99 {} above {}",
                    time(p99.unwrap_or(threshold)),
                    time(threshold)
                );
                self.marks.add(self.now, Kind::Fault, text.clone());
                self.notify(Notice::bad(text));
            }
            Some(false) => {
                let text = format!("p99 within {} again", time(threshold));
                self.marks.add(self.now, Kind::Recovery, text.clone());
                self.notify(Notice::good(text));
            }
            None => {}
        }
    }

    /// The breach in words, while there is one.
    pub(super) fn slo_breach(&self) -> Option<String> {
        let at = self.at();
        let since = self.slo.breached(at)?;
        let threshold = self.slo.threshold?;
        let lasts = age(at.saturating_sub(since).as_secs());
        Some(format!("p99 above {} for {lasts}", time(threshold)))
    }

    /// Everything that the balancers answered in a window.
    fn front_door(&self, lens: Lens) -> Histogram {
        let mut all = Histogram::default();
        for balancer in self.fresh(&Role::Balancer, lens) {
            if let Some((cached, uncached)) = balancer.history.latencies(lens) {
                all.merge(&cached);
                all.merge(&uncached);
            }
        }
        all
    }

    fn fresh(&self, role: &Role, lens: Lens) -> impl Iterator<Item = &Instance> {
        let role = role.clone();
        self.instances
            .iter()
            .filter(move |i| i.place.role == role && i.is_fresh(lens.at))
    }

    /// The p99 of the last seconds at the front door.
    pub fn p99_now(&self) -> Option<f64> {
        self.front_door(self.lens()).quantile(0.99)
    }

    /// Percentiles over the window: the front door, cached, not cached, then gateway by gateway.
    pub fn quantiles(&self) -> Vec<Quantiles> {
        let lens = self.wide_lens();
        let mut cached = Histogram::default();
        let mut uncached = Histogram::default();
        let mut gateways = Vec::new();
        for gateway in self.fresh(&Role::Gateway, lens) {
            let Some((hits, rest)) = gateway.history.latencies(lens) else {
                continue;
            };
            cached.merge(&hits);
            uncached.merge(&rest);
            let mut all = hits;
            all.merge(&rest);
            gateways.push(Quantiles::of(gateway.name(), &all));
        }
        let mut rows = vec![
            Quantiles::of("front door", &self.front_door(lens)),
            Quantiles::of("cached", &cached),
            Quantiles::of("not cached", &uncached),
        ];
        rows.extend(gateways);
        rows
    }

    /// What the generator's percentiles were last, if it ran in the window.
    pub fn omission(&self) -> Option<Omission> {
        let lens = self.wide_lens();
        Some(Omission {
            corrected: self.charts.value(&Series::TrafficCorrected, lens)?,
            raw: self.charts.value(&Series::TrafficRaw, lens)?,
        })
    }

    /// Every route that had requests in the window, in the order and with the filter of its panel: at the front door, or else
    /// at the gateways.
    pub fn routes(&self) -> Vec<RouteRow> {
        let mut rows = self.routes_of(&Role::Balancer);
        if rows.is_empty() {
            rows = self.routes_of(&Role::Gateway);
        }
        let cursor = self.cursor(Panel::Routes);
        if let Some(filter) = &cursor.filter {
            rows.retain(|row| filter.lets_through(&row.route));
        }
        // Without a wish: what is asked for most.
        let column = cursor.sort.unwrap_or(1);
        rows.sort_by(|a, b| a.compare(b, column).then_with(|| a.route.cmp(&b.route)));
        if cursor.reversed {
            rows.reverse();
        }
        rows
    }

    fn routes_of(&self, role: &Role) -> Vec<RouteRow> {
        let (wide, live) = (self.wide_lens(), self.lens());
        let mut found: BTreeMap<&str, (Histogram, u64, f64)> = BTreeMap::new();
        for instance in self.fresh(role, wide) {
            for (route, window) in instance.history.routes(wide) {
                let entry = found.entry(route).or_default();
                entry.0.merge(&window);
                let errors = Counter::RouteErrors(route.to_owned());
                entry.2 += instance.grown(&errors, wide).unwrap_or(0.0);
            }
            for (route, window) in instance.history.routes(live) {
                found.entry(route).or_default().1 += window.samples();
            }
        }
        // A history that has only begun is shorter than the window.
        let known = live.at.min(live.window).as_secs_f64().max(1.0);
        found
            .into_iter()
            .map(|(route, (window, now, errors))| RouteRow {
                route: super::logs::printable(route),
                samples: window.samples(),
                rate: Some(now as f64 / known),
                p50: window.quantile(0.50),
                p95: window.quantile(0.95),
                p99: window.quantile(0.99),
                slowest: slowest(&window),
                errors: Some(errors),
            })
            .collect()
    }

    /// Counts per band and column over the window, the quickest band first.
    pub fn heat(&self, width: usize) -> Vec<[u32; BANDS]> {
        self.charts.heat(self.wide_lens(), width)
    }
}

impl RouteRow {
    /// Text by its letters, numbers with the greatest first.
    fn compare(&self, other: &Self, column: usize) -> std::cmp::Ordering {
        let number = |of: fn(&Self) -> Option<f64>| {
            let value = |row: &Self| of(row).unwrap_or(f64::NEG_INFINITY);
            value(other).total_cmp(&value(self))
        };
        match column {
            0 => self.route.cmp(&other.route),
            1 => other.samples.cmp(&self.samples),
            2 => number(|row| row.rate),
            3 => number(|row| row.p50),
            4 => number(|row| row.p95),
            5 => number(|row| row.p99),
            6 => number(|row| row.slowest.map(|(from, _)| from)),
            _ => number(|row| row.errors),
        }
    }
}

/// The bounds of the last bucket that holds anything.
fn slowest(histogram: &Histogram) -> Option<(f64, f64)> {
    let mut lower = 0.0;
    let mut found = None;
    for (upper, count) in histogram.buckets() {
        if count > 0 {
            found = Some((lower, upper));
        }
        lower = upper;
    }
    found
}

/// A time as it is typed: `100ms`, `1.5s`.
fn time(seconds: f64) -> String {
    let duration = Duration::from_secs_f64(seconds.clamp(0.0, 1e6));
    if duration >= Duration::from_secs(1) {
        format!("{} s", (seconds * 100.0).round() / 100.0)
    } else {
        let ms = seconds * 1e3;
        let digits = if ms >= 10.0 { 1.0 } else { 100.0 };
        format!("{} ms", (ms * digits).round() / digits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        at,
        latency::{breached, quick},
    };
    use super::*;

    #[test]
    fn thresholds_are_read_with_their_units() {
        let read = |text: &str| Slo::parse(text).map(|slo| slo.threshold);
        assert_eq!(read("100ms"), Ok(Some(0.1)));
        assert_eq!(read(" 1.5s "), Ok(Some(1.5)));
        assert_eq!(read("250 us"), Ok(Some(0.000_25)));
        assert_eq!(read("off"), Ok(None));
        for bad in [
            "", "100", "ms", "-1ms", "0s", "1e9s", "NaNs", "infs", "soon",
        ] {
            assert!(read(bad).unwrap_err().contains("such as 100ms"), "{bad}");
        }
    }

    #[test]
    fn a_breach_begins_at_once_and_ends_after_calm() {
        let mut slo = Slo::default();
        assert_eq!(
            slo.judge(Some(0.1), at(1)),
            None,
            "at the threshold is within"
        );
        assert_eq!(slo.judge(None, at(2)), None);
        assert_eq!(slo.judge(Some(0.2), at(3)), Some(true));
        assert_eq!(slo.judge(Some(0.3), at(4)), None);
        assert_eq!(slo.judge(Some(0.05), at(6)), None);
        assert_eq!(slo.judge(Some(0.2), at(7)), None, "it flickers: one breach");
        assert_eq!(slo.judge(Some(0.05), at(11)), None);
        assert_eq!(slo.breached(at(11)), Some(at(3)));
        assert_eq!(slo.breached(at(2)), None, "the past had none");
        assert_eq!(slo.judge(None, at(12)), Some(false));
        assert_eq!(slo.breached(at(12)), None);
        let mut off = Slo::parse("off").unwrap();
        assert_eq!(off.judge(Some(9.0), at(1)), None);
    }

    #[test]
    fn the_difference_is_explained_only_where_there_is_one() {
        let of = |corrected, raw| Omission { corrected, raw }.sentence();
        assert_eq!(of(0.011, 0.010), None);
        assert!(of(0.013, 0.010).is_some());
        assert!(of(1.0, 0.0).is_some());
        assert_eq!(of(0.0, 0.0), None);
    }

    #[test]
    fn percentiles_are_of_merged_histograms_with_their_samples() {
        let rows = quick().quantiles();
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "front door",
                "cached",
                "not cached",
                "gateway-1",
                "gateway-2",
                "gateway-3"
            ]
        );
        let of = |place: usize| rows[place].samples;
        assert_eq!(of(1) + of(2), of(3) + of(4) + of(5));
        assert!(
            rows.iter()
                .all(|row| row.p50 <= row.p99 && row.p99 <= row.p999)
        );
    }

    #[test]
    fn a_breach_is_a_mark_a_notice_and_an_alert() {
        let mut state = breached();
        assert!(
            state.notice().unwrap().text.starts_with("p99 19"),
            "{:?}",
            state.notice()
        );
        let mark = state.marks.between(at(0), at(60)).next_back().unwrap();
        assert_eq!(mark.kind, Kind::Fault);
        let said = |state: &State| {
            let alerts = state.alerts();
            alerts
                .iter()
                .any(|alert| alert.text.starts_with("p99 above 10 ms"))
        };
        assert!(said(&state));
        state.run("slo 1s").unwrap();
        assert!(!said(&state));
        assert!(
            state
                .run("slo never")
                .unwrap_err()
                .contains("slo takes a time")
        );
    }

    #[test]
    fn routes_are_ordered_by_what_is_asked() {
        let mut state = quick();
        let routes = |state: &State| state.rows(Panel::Routes);
        assert_eq!(
            routes(&state),
            ["/cards/{id}/balance", "/recharges", "/data", "/trips/{id}"]
        );
        state.cursor_mut(Panel::Routes).sort = Some(5);
        assert_eq!(routes(&state)[0], "/trips/{id}", "the slowest");
        state.cursor_mut(Panel::Routes).filter = super::super::cursor::Filter::new("!id");
        assert_eq!(routes(&state), ["/recharges", "/data"]);
        let row = &state.routes()[0];
        assert!((row.rate.unwrap() - 12.0).abs() < 1.0, "{row:?}");
        let (from, to) = row.slowest.unwrap();
        assert!((from - 0.012_8).abs() < 1e-9 && (to - 0.025_6).abs() < 1e-9);
    }

    #[test]
    fn times_read_as_they_are_typed() {
        let texts: Vec<String> = [0.1, 0.0123, 0.000_25, 1.5, 30.0].map(time).into();
        assert_eq!(texts, ["100 ms", "12 ms", "0.25 ms", "1.5 s", "30 s"]);
    }
}
