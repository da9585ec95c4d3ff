//! Metrics as instances export them, and how they went over the time of a run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actions::exposition;

use crate::expression::Label;

/// The roles of a lab.
pub const ROLES: [&str; 10] = [
    "balancer",
    "gateway",
    "cache",
    "queue",
    "travel",
    "search",
    "booking",
    "notification",
    "worker",
    "exercise",
];

/// Every name that an instance may export; of histograms what ends in `_count` and `_sum`.
const KNOWN: &str = include_str!("metrics.txt");

/// The names that conditions may use.
pub fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.lines().filter(|line| !line.is_empty())
}

/// Whether an instance may export this.
#[must_use]
pub fn is_known(name: &str) -> bool {
    known().any(|known| known == name)
}

/// One series of one scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// What one instance exported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    pub role: String,
    pub instance: String,
    pub ready: bool,
    pub series: Vec<Series>,
}

/// Reads `OpenMetrics` text; only the names that are wanted, and no buckets.
#[must_use]
pub fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Series> {
    text.lines()
        .filter_map(|line| series(line, &wanted))
        .collect()
}

fn series(line: &str, wanted: &impl Fn(&str) -> bool) -> Option<Series> {
    exposition::name(line).filter(|name| wanted(name))?;
    let mut labels = Vec::new();
    let (name, value) = exposition::series(line, &mut labels)?;
    let owned = |(name, value): exposition::Label<'_>| (name.to_owned(), value.into_owned());
    value.is_finite().then(|| Series {
        name: name.to_owned(),
        labels: labels.into_iter().map(owned).collect(),
        value,
    })
}

/// Points of one series that are kept: over half an hour at two a second.
const POINTS: usize = 4_096;

/// All series over time.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What is kept at all.
    wanted: BTreeSet<String>,
    series: BTreeMap<Key, Course>,
    /// Who answered in the last round, and who of them is ready.
    ready: BTreeMap<String, BTreeSet<String>>,
    answered: BTreeSet<String>,
    rounds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    role: String,
    name: String,
    instance: String,
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
struct Course {
    /// Moment, and how much it had grown by then since it was first seen.
    points: VecDeque<(f64, f64)>,
    last: f64,
    /// The round in which it was seen last.
    round: u64,
}

impl History {
    /// Keeps these metrics only.
    #[must_use]
    pub fn of(wanted: BTreeSet<String>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn wanted(&self) -> &BTreeSet<String> {
        &self.wanted
    }

    /// Takes a round of scrapes in.
    pub fn add(&mut self, at_ms: f64, scrapes: &[Scrape]) {
        self.rounds += 1;
        self.ready.clear();
        for scrape in scrapes {
            if scrape.ready {
                let ready = self.ready.entry(scrape.role.clone()).or_default();
                ready.insert(scrape.instance.clone());
            }
            // What is first seen of one that was asked before began at zero; of one that was not, nothing is known.
            let known = self.answered.contains(&scrape.instance);
            for series in &scrape.series {
                let key = Key {
                    role: scrape.role.clone(),
                    name: series.name.clone(),
                    instance: scrape.instance.clone(),
                    labels: series.labels.clone(),
                };
                let from_zero = known || self.rounds > 1;
                self.series.entry(key).or_default().add(
                    at_ms,
                    series.value,
                    self.rounds,
                    from_zero,
                );
            }
            self.answered.insert(scrape.instance.clone());
        }
    }

    /// The instances of a role that were ready in the last round.
    #[must_use]
    pub fn instances(&self, role: &str) -> usize {
        self.ready.get(role).map_or(0, BTreeSet::len)
    }

    /// The sum over what was exported in the last round; none before the first round.
    pub(crate) fn now(&self, role: &str, name: &str, labels: &[Label]) -> Option<f64> {
        let current = self
            .matching(role, name, labels)
            .filter(|course| course.round == self.rounds);
        (self.rounds > 0).then(|| current.map(|course| course.last).sum())
    }

    /// How much the counters grew since a moment; none before the first round.
    pub(crate) fn increase(
        &self,
        role: &str,
        name: &str,
        labels: &[Label],
        since_ms: f64,
    ) -> Option<f64> {
        let grown = self
            .matching(role, name, labels)
            .map(|course| course.grown(since_ms));
        (self.rounds > 0).then(|| grown.sum())
    }

    fn matching(&self, role: &str, name: &str, labels: &[Label]) -> impl Iterator<Item = &Course> {
        self.series
            .iter()
            .filter(move |(key, _)| key.role == role && key.name == name && key.meets(labels))
            .map(|(_, course)| course)
    }
}

impl Key {
    fn meets(&self, labels: &[Label]) -> bool {
        labels.iter().all(|label| {
            let value = if label.name == "instance" {
                self.instance.as_str()
            } else {
                let found = self.labels.iter().find(|(name, _)| *name == label.name);
                found.map_or("", |(_, value)| value)
            };
            label.meets(value)
        })
    }
}

impl Course {
    fn add(&mut self, at_ms: f64, value: f64, round: u64, from_zero: bool) {
        let grown = match self.points.back() {
            None if from_zero => value,
            None => 0.0,
            // A smaller value is that of a new process.
            Some((_, before)) if value < self.last => before + value,
            Some((_, before)) => before + (value - self.last),
        };
        if self.points.is_empty() && from_zero {
            self.points.push_back((f64::NEG_INFINITY, 0.0));
        }
        self.points.push_back((at_ms, grown));
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
        (self.last, self.round) = (value, round);
    }

    fn grown(&self, since_ms: f64) -> f64 {
        let Some((_, now)) = self.points.back() else {
            return 0.0;
        };
        let before = self
            .points
            .iter()
            .rev()
            .find(|(at, _)| *at <= since_ms)
            .or_else(|| self.points.front());
        now - before.map_or(0.0, |(_, grown)| *grown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(name: &str, value: &str) -> Label {
        Label {
            name: name.to_owned(),
            equal: true,
            value: value.to_owned(),
        }
    }

    fn scrape(instance: &str, text: &str) -> Scrape {
        Scrape {
            role: "gateway".to_owned(),
            instance: instance.to_owned(),
            ready: true,
            series: parse(text, |_| true),
        }
    }

    #[test]
    fn text_is_read() {
        let text = "# TYPE a counter\na_total{x=\"1\",y=\"\\\"}\"} 3\nb 2.5 17\nc{} NaN\nd\n";
        let series = parse(text, |_| true);
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].labels[1].1, "\"}");
        assert!((series[1].value - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn counters_grow_over_restarts_and_from_their_first_event() {
        let mut history = History::default();
        history.add(0.0, &[scrape("gateway-1", "a{s=\"200\"} 100")]);
        history.add(
            500.0,
            &[scrape("gateway-1", "a{s=\"200\"} 110\na{s=\"503\"} 2")],
        );
        history.add(1_000.0, &[scrape("gateway-1", "a{s=\"200\"} 4")]);
        let grown = |labels: &[Label], since| history.increase("gateway", "a", labels, since);
        assert_eq!(grown(&[], 0.0), Some(16.0));
        assert_eq!(grown(&[label("s", "5*")], 0.0), Some(2.0));
        assert_eq!(grown(&[label("s", "200")], 500.0), Some(4.0));
        assert_eq!(grown(&[label("instance", "gateway-2")], 0.0), Some(0.0));
        assert_eq!(history.now("gateway", "a", &[]), Some(4.0));
        assert_eq!(history.instances("gateway"), 1);
        assert_eq!(History::default().now("gateway", "a", &[]), None);
    }

    #[test]
    fn the_known_names_are_in_order_and_once() {
        let names: Vec<&str> = known().collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{}=\", 0-9\\\\\n#]{0,80}|.{0,40}") {
            let _ = parse(&text, |_| true);
        }
    }
}
