//! What two runs can be told apart by: equally named measurements side by side, with intervals.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::{Measurement, Run};

use super::{
    charts, content,
    document::{Block, Document, Grid, code, plain, strong},
    figures,
    statistics::{self, Interval},
    words,
};

/// How intervals are made, in a line.
const METHOD: &str = "All intervals are made to hold the true value 19 times of 20 (95 %). Percentiles are samples (nearest rank) of all calls; their \
    intervals and those of their differences and ratios come from the bootstrap (calls drawn with replacement, up to 2000 times, always \
    with the same seed). Shares and error rates have Wilson's intervals, their differences Newcombe's. They take calls for independent \
    of each other and say nothing of what differs between one run and the next: for that, run both sides several times. Many figures \
    are compared at once, so one in twenty may differ by chance.";

/// One figure of both runs. Times are milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub measurement: String,
    /// `p50`, `p95`, `p99`, `errors`, `refused` or such as `gateway gateway-1`.
    pub figure: String,
    pub unit: &'static str,
    pub a: Option<Ends>,
    pub b: Option<Ends>,
    /// B less A.
    pub difference: Option<Ends>,
    /// B to A.
    pub ratio: Option<Ends>,
    pub words: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ends {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl From<Interval> for Ends {
    fn from(interval: Interval) -> Self {
        Self {
            value: interval.value,
            low: interval.low,
            high: interval.high,
        }
    }
}

/// The measurements of the same name.
#[must_use]
pub fn shared<'a>(a: &'a Run, b: &'a Run) -> Vec<(&'a Measurement, &'a Measurement)> {
    let with_partner = a.measurements.iter().filter_map(|one| {
        let partner = b.measurements.iter().find(|other| other.name == one.name)?;
        (!one.is_empty() && !partner.is_empty()).then_some((one, partner))
    });
    with_partner.collect()
}

/// The figures of one measurement in both runs.
#[must_use]
pub fn figures(a: &Measurement, b: &Measurement) -> Vec<Compared> {
    let times = [a, b].map(|measured| statistics::sorted(measured.latency_ms.iter().copied()));
    let mut all: Vec<Compared> = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)]
        .into_iter()
        .map(|(name, share)| percentile(&a.name, name, share, [&times[0], &times[1]]))
        .collect();
    let errors = [a, b].map(|measured| {
        let calls = 0..measured.len();
        (
            calls
                .filter(|call| figures::is_error(measured, *call))
                .count(),
            measured.len(),
        )
    });
    all.push(proportion(&a.name, "error rate", errors));
    let refused = [a, b].map(|measured| {
        let refused = measured
            .status
            .iter()
            .filter(|status| (400..500).contains(*status));
        (refused.count(), measured.len())
    });
    if refused.iter().any(|(count, _)| *count > 0) {
        all.push(proportion(&a.name, "refused", refused));
    }
    let mut columns = vec!["cache"];
    columns.extend(figures::answerers(a));
    for column in columns {
        all.extend(shares(a, b, column));
    }
    all
}

fn percentile(measurement: &str, name: &str, share: f64, times: [&[f64]; 2]) -> Compared {
    let needed = statistics::enough(share);
    let few = times.iter().any(|times| times.len() < needed);
    let one = |times: &[f64]| {
        let value = statistics::percentile(times, share)?;
        if few {
            return Some(Interval {
                value,
                low: value,
                high: value,
            });
        }
        statistics::bootstrap(times, share)
    };
    let pair = if few {
        None
    } else {
        statistics::bootstrap_pair(times[0], times[1], share)
    };
    let words = match pair {
        None => format!("too few calls to compare {name}: each run needs {needed}"),
        Some((difference, ratio)) => by_ratio(name, difference, ratio),
    };
    Compared {
        measurement: measurement.to_owned(),
        figure: name.to_owned(),
        unit: "ms",
        a: one(times[0]).map(Ends::from),
        b: one(times[1]).map(Ends::from),
        difference: pair.map(|pair| pair.0.into()),
        ratio: pair.map(|pair| pair.1.into()),
        words,
    }
}

/// How one percentile relates to the other, in words; B to A.
fn by_ratio(name: &str, difference: Interval, ratio: Interval) -> String {
    if difference.low <= 0.0 && difference.high >= 0.0 {
        return format!("{name}: no difference that this many samples can show");
    }
    let (word, low, high) = if difference.low > 0.0 {
        ("higher", ratio.low, ratio.high)
    } else {
        ("lower", 1.0 / ratio.high, 1.0 / ratio.low)
    };
    if high < 1.95 {
        let percent = |ratio: f64| {
            if word == "higher" {
                ratio - 1.0
            } else {
                1.0 - 1.0 / ratio
            }
        };
        let (low, high) = (
            words::percent(percent(low).max(0.0)),
            words::percent(percent(high)),
        );
        if low == high {
            return format!("{name} is {low} {word} in B");
        }
        return format!("{name} is {low} to {high} {word} in B");
    }
    let times = |ratio: f64| {
        if ratio < 10.0 {
            format!("{ratio:.1}")
        } else {
            format!("{ratio:.0}")
        }
    };
    if word == "higher" {
        format!(
            "{name} is {} to {} times as high in B",
            times(low),
            times(high)
        )
    } else {
        format!(
            "{name} is {} to {} times as high in A",
            times(low),
            times(high)
        )
    }
}

fn proportion(measurement: &str, name: &str, of: [(usize, usize); 2]) -> Compared {
    let [a, b] = of.map(|(hits, calls)| statistics::wilson(hits, calls));
    let difference = a.zip(b).map(|(a, b)| statistics::difference(a, b));
    let words = match difference {
        None => format!("{name}: one of the runs has no calls"),
        Some(apart) if apart.low <= 0.0 && apart.high >= 0.0 => {
            format!("{name}: no difference that this many samples can show")
        }
        Some(apart) => {
            let (word, low, high) = if apart.low > 0.0 {
                ("higher", apart.low, apart.high)
            } else {
                ("lower", -apart.high, -apart.low)
            };
            let points = |share: f64| words::percent(share).replace(" %", "");
            format!(
                "{name} is {} to {} percentage points {word} in B",
                points(low),
                points(high)
            )
        }
    };
    Compared {
        measurement: measurement.to_owned(),
        figure: name.to_owned(),
        unit: "share",
        a: a.map(Ends::from),
        b: b.map(Ends::from),
        difference: difference.map(Ends::from),
        ratio: None,
        words,
    }
}

/// Of the calls of which the column says something.
fn shares(a: &Measurement, b: &Measurement, column: &str) -> Vec<Compared> {
    let sides = [a, b].map(|measured| -> BTreeMap<String, usize> {
        let groups = figures::by(measured, column);
        groups
            .into_iter()
            .map(|(value, calls)| (value, calls.len()))
            .collect()
    });
    let totals = [0, 1].map(|side: usize| sides[side].values().sum::<usize>());
    if totals.contains(&0) {
        return Vec::new();
    }
    let mut values: Vec<&String> = sides.iter().flat_map(BTreeMap::keys).collect();
    values.sort();
    values.dedup();
    if values.len() < 2 || values.len() > 24 {
        return Vec::new();
    }
    values
        .into_iter()
        .map(|value| {
            let of =
                [0, 1].map(|side| (sides[side].get(value).copied().unwrap_or(0), totals[side]));
            proportion(&a.name, &format!("share of {column} {value}"), of)
        })
        .collect()
}

/// The report of a comparison, and its figures. `records` are the folders to name in the command that makes it again.
#[must_use]
pub fn of(a: &Run, b: &Run, records: [&str; 2]) -> (Document, Vec<Compared>) {
    let title = if a.lab.name == b.lab.name {
        format!(
            "{}: two runs",
            if a.lab.title.is_empty() {
                &a.lab.name
            } else {
                &a.lab.title
            }
        )
    } else {
        format!("{} beside {}", a.lab.name, b.lab.name)
    };
    let mut document = Document {
        title,
        ..Document::default()
    };
    runs(a, b, &mut document);
    let labels = labels(a, b);
    let shared = shared(a, b);
    let mut all = Vec::new();
    if shared.is_empty() {
        document.say(
            "The two runs have no measurement of the same name with calls in both, so there is nothing to compare. Compare two runs of \
             the same lab.",
        );
    }
    for (place, (one, other)) in shared.into_iter().enumerate() {
        document.heading(2, &one.name);
        if one.calls != other.calls || one.at_once != other.at_once || one.rate != other.rate {
            document.paragraph(vec![
                strong("Not the same question:"),
                plain(" the two did not make the same calls at the same pace."),
            ]);
        }
        let found = figures(one, other);
        document.list(
            found
                .iter()
                .map(|figure| vec![plain(&figure.words)])
                .collect(),
        );
        document.table(table(&found));
        let name = format!("c{}-{}", place + 1, charts::slug(&one.name));
        let times =
            [one, other].map(|measured| statistics::sorted(measured.latency_ms.iter().copied()));
        let times = [&times[0][..], &times[1][..]];
        let labels = [&labels[0][..], &labels[1][..]];
        document.charts(
            charts::overlay(&name, &one.name, labels, times)
                .into_iter()
                .collect(),
        );
        document.charts(
            charts::ecdf(&name, &one.name, labels, times)
                .into_iter()
                .collect(),
        );
        all.extend(found);
    }
    document.heading(2, "Method");
    document.say(METHOD);
    document.heading(2, "How to repeat it");
    let [first, second] = records.map(content::quoted);
    document.blocks.push(Block::Commands(vec![format!(
        "recarga lab report --compare {first} {second}"
    )]));
    (document, all)
}

/// What tells the runs apart, for legends.
fn labels(a: &Run, b: &Run) -> [String; 2] {
    let differing: Vec<&String> = a
        .settings
        .keys()
        .filter(|name| *name != "public_url" && a.settings.get(*name) != b.settings.get(*name))
        .take(1)
        .collect();
    [a, b].map(|run| match differing.first() {
        Some(name) => format!(
            "{name} {}",
            run.settings.get(*name).map_or("unknown", String::as_str)
        ),
        None => run
            .started_at
            .chars()
            .take(19)
            .collect::<String>()
            .replace('T', " "),
    })
}

fn runs(a: &Run, b: &Run, document: &mut Document) {
    document.heading(2, "The runs");
    let mut grid = Grid::new(&["", "A", "B"], false);
    let mut add = |name: &str, one: String, other: String| {
        let name = if one == other {
            name.to_owned()
        } else {
            format!("{name} (differs)")
        };
        grid.row(vec![name, one, other]);
    };
    add("lab", a.lab.name.clone(), b.lab.name.clone());
    add("started", a.started_at.clone(), b.started_at.clone());
    add(
        "outcome",
        a.outcome.name().to_owned(),
        b.outcome.name().to_owned(),
    );
    add("version", a.version.clone(), b.version.clone());
    add("seed", a.seed.to_string(), b.seed.to_string());
    let machine = |run: &Run| {
        format!(
            "{}, {}, {}",
            run.machine.cpu, run.machine.cores, run.machine.system
        )
    };
    add("machine", machine(a), machine(b));
    let mut names: Vec<&String> = a.settings.keys().chain(b.settings.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let of = |run: &Run| {
            run.settings
                .get(name)
                .cloned()
                .unwrap_or_else(|| "–".to_owned())
        };
        add(name, of(a), of(b));
    }
    document.table(grid);
    if a.outcome != b.outcome {
        document.list(vec![
            vec![plain("A: "), plain(content::outcome(a))],
            vec![plain("B: "), plain(content::outcome(b))],
        ]);
    }
}

fn table(found: &[Compared]) -> Grid {
    let mut grid = Grid::new(&["Figure", "A", "B", "B less A", "B to A"], true);
    for figure in found {
        let say = |value: f64| {
            if figure.unit == "ms" {
                words::time(value)
            } else {
                words::percent(value)
            }
        };
        let shown = |ends: Option<Ends>, say: &dyn Fn(f64) -> String| match ends {
            None => "–".to_owned(),
            Some(ends) if ends.high <= ends.low => say(ends.value),
            Some(ends) => format!(
                "{} ({} to {})",
                say(ends.value),
                say(ends.low),
                say(ends.high)
            ),
        };
        let cells = vec![
            vec![code(&figure.figure)],
            vec![plain(shown(figure.a, &say))],
            vec![plain(shown(figure.b, &say))],
            vec![plain(shown(figure.difference, &say))],
            vec![plain(shown(figure.ratio, &|ratio| format!("{ratio:.2}")))],
        ];
        grid.rows.push(cells);
    }
    grid
}

/// As CSV.
#[must_use]
pub fn csv(found: &[Compared]) -> String {
    let mut head = vec![
        "measurement".to_owned(),
        "figure".to_owned(),
        "unit".to_owned(),
    ];
    for what in ["a", "b", "difference", "ratio"] {
        head.extend(["", "_low", "_high"].map(|end| format!("{what}{end}")));
    }
    head.push("words".to_owned());
    let mut text = super::csv::row(&head);
    for figure in found {
        let mut cells = vec![
            super::csv::guarded(&figure.measurement),
            super::csv::guarded(&figure.figure),
            figure.unit.to_owned(),
        ];
        for ends in [figure.a, figure.b, figure.difference, figure.ratio] {
            let numbers = ends.map_or([f64::NAN; 3], |ends| [ends.value, ends.low, ends.high]);
            cells.extend(numbers.map(super::csv::figure));
        }
        cells.push(super::csv::guarded(&figure.words));
        text.push_str(&super::csv::row(&cells));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn what_differs_is_said_and_what_does_not_is_not() {
        let a = samples::measurement("reads", &[(&["gateway-1", "gateway-2"], 300)]);
        let mut b = a.clone();
        for time in &mut b.latency_ms {
            *time *= 2.5;
        }
        b.status[..60].fill(503);
        let found = figures(&a, &b);
        let words: Vec<&str> = found.iter().map(|figure| figure.words.as_str()).collect();
        assert!(
            words[0].starts_with("p50 is 2.") && words[0].ends_with("times as high in B"),
            "{words:?}"
        );
        assert!(
            words[3].contains("percentage points higher in B"),
            "{words:?}"
        );
        assert!(
            words[4].contains("no difference that this many samples can show"),
            "{words:?}"
        );
        let back = figures(&b, &a);
        assert!(
            back[0].words.ends_with("times as high in A"),
            "{}",
            back[0].words
        );
        let same = figures(&a, &a);
        assert!(
            same.iter()
                .all(|figure| figure.words.contains("no difference"))
        );
    }

    #[test]
    fn few_calls_are_no_ground_for_a_claim() {
        let a = samples::measurement("reads", &[(&["gateway-1"], 3)]);
        let found = figures(&a, &a);
        assert_eq!(
            found[2].words,
            "too few calls to compare p99: each run needs 500"
        );
    }
}
