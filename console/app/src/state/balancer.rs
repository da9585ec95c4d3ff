//! How requests are spread over the gateways and why: shares, state, settings, and the last picks.

mod pick;

use serde_json::Value;

pub use self::pick::Pick;
use self::pick::pick_of;
use super::{
    Moment, State,
    alerts::age,
    cursor::Filter,
    details::{Known, Topic},
    instance::{Instance, Role, Status},
    lens::Lens,
    logs::printable,
    marks::{Kind, Mark},
    overlay::Page,
    sample::Counter,
    series::{Fold, Series},
    view::Panel,
};

/// Columns of the gateways that rows can be ordered by.
pub const COLUMNS: usize = 11;

/// The second of a change and the one after belong to neither side of it.
const SETTLES: Moment = Moment::from_secs(2);

/// Characters of a name that an answer may bring.
const LONGEST: usize = 60;

/// What a balancer makes of a gateway; the worst where several disagree.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// No balancer has told anything of it.
    #[default]
    Unknown,
    Up,
    /// The part of its weight that it has, 0 to 1.
    SlowStart(f64),
    Unchecked,
    Draining,
    /// For so many more seconds, where known.
    Ejected(Option<f64>),
    HalfOpen,
    BreakerOpen,
    Down,
}

impl Standing {
    fn weight(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Up => 1,
            Self::SlowStart(_) => 2,
            Self::Unchecked => 3,
            Self::Draining => 4,
            Self::Ejected(_) => 5,
            Self::HalfOpen => 6,
            Self::BreakerOpen => 7,
            Self::Down => 8,
        }
    }

    /// Whether new requests go there.
    pub fn takes_requests(&self) -> bool {
        matches!(self, Self::Up | Self::SlowStart(_))
    }
}

/// One gateway as the balancers see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    pub name: String,
    pub status: Option<Status>,
    pub standing: Standing,
    /// In words, the balancer's own.
    pub reason: String,
    /// Seconds.
    pub since: Option<f64>,
    /// Of all requests, 0 to 1.
    pub observed: Option<f64>,
    /// What the policy promises; unknown under those that decide by what happens.
    pub expected: Option<f64>,
    /// Requests per second that were sent to it.
    pub rate: Option<f64>,
    pub in_flight: Option<f64>,
    /// Seconds.
    pub ewma: Option<f64>,
    /// Failed attempts per second.
    pub errors: Option<f64>,
    pub weight: Option<f64>,
    pub effective_weight: Option<f64>,
}

/// How the balancers balance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Balance {
    pub policy: Option<String>,
    /// How far the busiest gateway is above its part: 1 is exactly its part.
    pub imbalance: Option<f64>,
    /// Whether the parts are those that the policy promises, not just even ones.
    pub promised: bool,
    /// Gateways that take requests, of all.
    pub taking: (usize, usize),
    /// Too few would be left: ejections are ignored.
    pub panic: bool,
    /// The main settings, each in words.
    pub settings: Vec<String>,
}

/// Shares on both sides of the last change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub mark: Mark,
    /// Name, share before, share after.
    pub rows: Vec<(String, Option<f64>, Option<f64>)>,
}

/// What a policy does, in a few words.
pub fn meaning_of(policy: &str) -> &'static str {
    match policy {
        "round_robin" => "each in its turn",
        "weighted" => "in turn, by weight",
        "random" => "by chance, by weight",
        "least_outstanding" => "fewest in flight for its weight",
        "p2c" => "the better of two, by latency",
        "consistent_hash" => "the same one for the same key",
        _ => "not known here",
    }
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    Some(printable(text).chars().take(LONGEST).collect())
}

/// Every pool of an answer: some have one, some a list.
fn pools(answer: &Value) -> impl Iterator<Item = &Value> {
    match answer {
        Value::Array(pools) => pools.iter(),
        other => std::slice::from_ref(other).iter(),
    }
}

impl State {
    /// Answers of all balancers to a question, by their names.
    fn told(&self, topic: &Topic) -> impl Iterator<Item = (&String, &Value)> {
        let answers = self.details.value(topic).and_then(Value::as_object);
        answers.into_iter().flatten()
    }

    /// Why an answer is missing, or how old it is, where that matters.
    pub fn staleness(&self, topic: &Topic) -> Option<String> {
        let known: &Known = self.details.get(topic)?;
        let old = self.now.saturating_sub(known.at).as_secs();
        match (&known.problem, &known.value) {
            (Some(problem), None) => Some(printable(problem)),
            (Some(problem), Some(_)) => Some(format!("{} old: {}", age(old), printable(problem))),
            (None, _) if old > 3 && !self.sight.is_frozen() => Some(format!("{} old", age(old))),
            (None, _) => None,
        }
    }

    /// The policy in force at the first balancer that told.
    pub fn policy(&self) -> Option<&str> {
        let upstreams = self.told(&Topic::Upstreams).map(|(_, answer)| answer);
        let settings = self.told(&Topic::Balancing).map(|(_, answer)| answer);
        upstreams
            .flat_map(pools)
            .chain(settings)
            .find_map(|answer| answer.get("policy")?.as_str())
    }

    /// Every gateway, in the order and with the filter of its panel.
    pub fn backends(&self) -> Vec<Backend> {
        let gateways = self
            .instances
            .iter()
            .filter(|instance| instance.place.role == Role::Gateway);
        let mut rows: Vec<Backend> = gateways.map(|gateway| self.backend(gateway)).collect();
        let cursor = self.cursor(Panel::Gateways);
        if let Some(filter) = &cursor.filter {
            rows.retain(|row| filter.lets_through(&row.line()));
        }
        if let Some(column) = cursor.sort {
            rows.sort_by(|a, b| a.compare(b, column));
        }
        if cursor.reversed {
            rows.reverse();
        }
        rows
    }

    fn backend(&self, gateway: &Instance) -> Backend {
        let lens = self.lens();
        let share = self.share(gateway);
        let mut row = Backend {
            name: gateway.name().to_owned(),
            status: Some(gateway.status(lens.at)),
            observed: share.observed,
            ..Backend::default()
        };
        let sum = |total: &mut Option<f64>, more: Option<f64>| {
            if let Some(more) = more {
                *total = Some(total.unwrap_or(0.0) + more);
            }
        };
        for balancer in &self.instances {
            if balancer.place.role != Role::Balancer {
                continue;
            }
            let labels = balancer.history.labels(|counter| match counter {
                Counter::Upstream(label) => Some(label.as_str()),
                _ => None,
            });
            for label in labels.filter(|label| gateway.is_called(label)) {
                let label = label.to_owned();
                sum(
                    &mut row.rate,
                    balancer.rate(&Counter::Upstream(label.clone()), lens),
                );
                let failures = balancer.rate(&Counter::UpstreamFailures(label), lens);
                let known = row.rate.is_some();
                sum(&mut row.errors, failures.or_else(|| known.then_some(0.0)));
            }
        }
        let mut told = false;
        let mut promised = Vec::new();
        for upstream in self.upstreams_of(gateway) {
            told = true;
            let number = |name: &str| upstream.get(name).and_then(Value::as_f64);
            sum(&mut row.in_flight, number("in_flight"));
            // Where balancers disagree, the slower one counts.
            let ewma = number("ewma_ms").map(|ms| ms / 1e3);
            row.ewma = row.ewma.into_iter().chain(ewma).reduce(f64::max);
            row.weight = row.weight.or(number("weight"));
            row.effective_weight = row.effective_weight.or(number("effective_weight"));
            promised.extend(number("expected_share"));
            let standing = standing_of(upstream);
            if standing.weight() > row.standing.weight() {
                row.standing = standing;
                row.reason = upstream.get("reason").and_then(text).unwrap_or_default();
                row.since = number("since_seconds");
            }
        }
        if promised.is_empty() {
            // Before a balancer has told, the weights promise what they promise.
            row.expected = share.expected.filter(|_| !told);
        } else {
            row.expected = Some(promised.iter().sum::<f64>() / promised.len() as f64);
        }
        row
    }

    /// What each balancer says of a gateway.
    fn upstreams_of<'a>(&'a self, gateway: &'a Instance) -> impl Iterator<Item = &'a Value> {
        self.told(&Topic::Upstreams)
            .flat_map(|(_, answer)| pools(answer))
            .filter_map(|pool| pool.get("upstreams")?.as_array())
            .flatten()
            .filter(|upstream| {
                let is = |field: &str| {
                    let name = upstream.get(field).and_then(Value::as_str);
                    name.is_some_and(|name| gateway.is_called(name))
                };
                is("name") || is("address")
            })
    }

    /// The whole in a few numbers and words.
    pub fn balance(&self, backends: &[Backend]) -> Balance {
        let mut balance = Balance {
            policy: self.policy().map(printable),
            ..Balance::default()
        };
        balance.taking = (
            backends
                .iter()
                .filter(|backend| match backend.standing {
                    Standing::Unknown => backend.status == Some(Status::Up),
                    ref standing => standing.takes_requests(),
                })
                .count(),
            backends.len(),
        );
        balance.promised = backends.iter().any(|b| b.expected.is_some_and(|e| e > 0.0));
        let even = 1.0 / balance.taking.0 as f64;
        balance.imbalance = backends
            .iter()
            .filter_map(|backend| {
                let part = if balance.promised {
                    backend.expected?
                } else {
                    even
                };
                (part > 0.0 && part.is_finite()).then_some(backend.observed? / part)
            })
            .reduce(f64::max);
        balance.panic = self
            .told(&Topic::Upstreams)
            .flat_map(|(_, answer)| pools(answer))
            .any(|pool| pool.get("panic").and_then(Value::as_bool) == Some(true));
        balance.settings = self.settings();
        balance
    }

    fn settings(&self) -> Vec<String> {
        let mut words = Vec::new();
        let settings = self
            .told(&Topic::Balancing)
            .map(|(_, answer)| answer)
            .next();
        let pool = self
            .told(&Topic::Upstreams)
            .flat_map(|(_, answer)| pools(answer))
            .next();
        if let Some(settings) = settings {
            let number = |path: &str| settings.pointer(path).and_then(Value::as_f64);
            let on = |path: &str| settings.pointer(path).and_then(Value::as_bool);
            match settings.get("policy").and_then(Value::as_str) {
                Some("consistent_hash") => {
                    if let Some(of) = settings.get("hash_on").and_then(text) {
                        words.push(format!("hash of {of}"));
                    }
                    words.extend(number("/bound").map(|bound| format!("bound {bound}")));
                }
                Some("p2c") => words.extend(number("/p2c/decay_ms").map(|ms| {
                    let decay = ms / 1e3;
                    format!("decay {decay} s")
                })),
                _ => {}
            }
            if on("/sticky") == Some(true) {
                words.push("sticky".to_owned());
            }
            words.extend(number("/outlier/max_ejection_percent").map(|percent| {
                if percent > 0.0 {
                    format!("eject at most {percent}%")
                } else {
                    "no ejection".to_owned()
                }
            }));
            words.extend(
                number("/breaker/failures").map(|failures| format!("breaker after {failures}")),
            );
            words.extend(number("/slow_start/window_ms").map(|ms| {
                let seconds = ms / 1e3;
                if ms > 0.0 {
                    format!("slow start {seconds} s")
                } else {
                    "no slow start".to_owned()
                }
            }));
            words.extend(number("/retries/percent").map(|percent| format!("retries {percent}%")));
            if on("/admission/enabled") == Some(false) {
                words.push("no admission limit".to_owned());
            }
        }
        if let Some(pool) = pool {
            let number = |path: &str| pool.pointer(path).and_then(Value::as_f64);
            if pool.pointer("/admission/enabled").and_then(Value::as_bool) == Some(true) {
                words.extend(
                    number("/admission/in_flight")
                        .zip(number("/admission/limit"))
                        .map(|(used, limit)| format!("admission {used} of {limit}")),
                );
                let shed = number("/admission/shed").filter(|shed| *shed > 0.0);
                words.extend(shed.map(|shed| format!("{shed} shed")));
            }
            let retried = number("/retries").filter(|retries| *retries > 0.0);
            words.extend(retried.map(|retries| format!("{retries} retried")));
            let denied = number("/retries_denied").filter(|denied| *denied > 0.0);
            words.extend(denied.map(|denied| format!("{denied} retries denied")));
        }
        words
    }

    /// The shares before and after the last change of policy, weight, state or faults that the window shows.
    pub fn last_change(&self) -> Option<Change> {
        let lens = self.wide_lens();
        let from = lens.at.saturating_sub(lens.window);
        let gateways: Vec<&str> = self
            .instances
            .iter()
            .filter(|instance| instance.place.role == Role::Gateway)
            .map(Instance::name)
            .collect();
        let mut changes = self
            .marks
            .between(from, lens.at)
            .filter(|mark| is_change(mark, &gateways))
            .rev();
        let mark = changes.next()?.clone();
        // Several at once are one change; the calm before begins with the change before.
        let begin = changes
            .map(|before| before.at + SETTLES)
            .find(|at| *at < mark.at)
            .unwrap_or(from)
            .max(from);
        let before = Lens {
            at: mark.at.saturating_sub(Moment::from_secs(1)),
            window: mark.at.saturating_sub(begin),
        };
        let after = Lens {
            at: lens.at,
            window: lens.at.saturating_sub(mark.at + SETTLES),
        };
        let mean = |name: &str, lens: Lens| {
            (lens.window >= Moment::from_secs(1)).then(|| {
                let series = Series::Share(name.to_owned());
                self.charts
                    .columns(&series, lens, 1, Fold::Mean)
                    .pop()
                    .flatten()
            })?
        };
        let rows = gateways
            .into_iter()
            .map(|name| (name.to_owned(), mean(name, before), mean(name, after)))
            .collect();
        Some(Change { mark, rows })
    }

    /// The last picks, the newest first, with the filter of their panel.
    pub fn picks(&self) -> Vec<Pick> {
        let mut picks: Vec<Pick> = Vec::new();
        for (balancer, answer) in self.told(&Topic::Picks) {
            let told = answer.get("picks").and_then(Value::as_array);
            for (place, pick) in told.into_iter().flatten().enumerate() {
                picks.push(pick_of(balancer, place, pick));
            }
        }
        picks.sort_by(|a, b| {
            let age = |pick: &Pick| pick.age.unwrap_or(f64::MAX);
            age(a).total_cmp(&age(b))
        });
        let cursor = self.cursor(Panel::Picks);
        let filter: Option<&Filter> = cursor.filter.as_ref();
        if let Some(filter) = filter {
            picks.retain(|pick| filter.lets_through(&pick.line()));
        }
        if cursor.reversed {
            picks.reverse();
        }
        picks
    }

    /// All that is known of a gateway as an upstream.
    pub(super) fn backend_page(&self, name: &str) -> Option<Page> {
        let gateway = self.instance(name)?;
        let row = self.backend(gateway);
        let mut lines = vec![
            format!(
                "share     {} of {} expected, {} requests/s",
                percent(row.observed),
                percent(row.expected),
                row.rate.map_or("–".to_owned(), |rate| format!("{rate:.1}")),
            ),
            String::new(),
        ];
        for (balancer, answer) in self.told(&Topic::Upstreams) {
            for pool in pools(answer) {
                let upstreams = pool.get("upstreams").and_then(Value::as_array);
                let Some(upstream) = upstreams.into_iter().flatten().find(|upstream| {
                    ["name", "address"].iter().any(|field| {
                        let named = upstream.get(field).and_then(Value::as_str);
                        named.is_some_and(|named| gateway.is_called(named))
                    })
                }) else {
                    continue;
                };
                lines.push(format!("as {} sees it", printable(balancer)));
                for (field, value) in upstream.as_object().into_iter().flatten() {
                    lines.extend(told_lines(field, value));
                }
                lines.push(String::new());
            }
        }
        if lines.len() == 2 {
            lines.push("no balancer has told anything of it yet".to_owned());
        }
        Some(Page {
            title: format!("{name} as an upstream"),
            lines,
            scroll: 0,
        })
    }

    /// A whole pick in words.
    pub(super) fn pick_page(&self, key: &str) -> Option<Page> {
        let pick = self.picks().into_iter().find(|pick| pick.key == key)?;
        Some(Page {
            title: format!("A pick of {}", pick.balancer),
            lines: pick.lines(),
            scroll: 0,
        })
    }
}

/// A field of an answer as one line, or one for each part of it.
fn told_lines(field: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(parts) => parts
            .iter()
            .flat_map(|(part, value)| told_lines(&format!("{field} {part}"), value))
            .collect(),
        Value::Null => vec![format!("  {:<22} –", printable(field))],
        Value::String(text) => vec![format!("  {:<22} {}", printable(field), printable(text))],
        other => vec![format!(
            "  {:<22} {}",
            printable(field),
            printable(&other.to_string())
        )],
    }
}

fn percent(part: Option<f64>) -> String {
    part.map_or_else(|| "–".to_owned(), |part| format!("{:.1}%", part * 100.0))
}

fn standing_of(upstream: &Value) -> Standing {
    let word = |field: &str| upstream.get(field).and_then(Value::as_str);
    let number = |field: &str| upstream.get(field).and_then(Value::as_f64);
    match word("state") {
        Some("down") => return Standing::Down,
        Some("draining") => return Standing::Draining,
        Some("unknown") => return Standing::Unchecked,
        Some("up") => {}
        _ => return Standing::Unknown,
    }
    match word("breaker") {
        Some("open") => return Standing::BreakerOpen,
        Some("half_open") => return Standing::HalfOpen,
        _ => {}
    }
    if upstream.get("ejected").and_then(Value::as_bool) == Some(true) {
        return Standing::Ejected(number("ejected_for_seconds"));
    }
    match number("slow_start") {
        Some(part) if part < 1.0 => Standing::SlowStart(part),
        _ => Standing::Up,
    }
}

/// Whether a mark is of something that moves shares.
fn is_change(mark: &Mark, gateways: &[&str]) -> bool {
    const VERBS: [&str; 9] = [
        "policy",
        "weight",
        "balancing",
        "drain",
        "restore",
        "fault",
        "clear",
        "kill",
        "restart",
    ];
    let first = mark.text.split(' ').next().unwrap_or_default();
    match mark.kind {
        Kind::Action => VERBS.contains(&first),
        Kind::Fault | Kind::Recovery => VERBS.contains(&first) || gateways.contains(&first),
    }
}

impl Backend {
    /// The state in words; what is in flight counts a drain down.
    pub fn word(&self) -> String {
        match (&self.standing, self.in_flight) {
            (Standing::Draining, Some(left)) if left > 0.0 => format!("draining, {left:.0} left"),
            (Standing::Draining, Some(_)) => "drained".to_owned(),
            (Standing::Draining, None) => "draining".to_owned(),
            (Standing::Up, _) => "up".to_owned(),
            (Standing::SlowStart(part), _) => format!("slow start {:.0}%", part * 100.0),
            (Standing::Unchecked, _) => "unchecked".to_owned(),
            (Standing::Ejected(Some(left)), _) => format!("ejected {left:.0}s more"),
            (Standing::Ejected(None), _) => "ejected".to_owned(),
            (Standing::HalfOpen, _) => "half open".to_owned(),
            (Standing::BreakerOpen, _) => "breaker open".to_owned(),
            (Standing::Down, _) => "down".to_owned(),
            (Standing::Unknown, _) => String::new(),
        }
    }

    fn line(&self) -> String {
        format!("{} {} {}", self.name, self.word(), self.reason)
    }

    /// Text by its letters, numbers with the greatest first.
    fn compare(&self, other: &Self, column: usize) -> std::cmp::Ordering {
        let number = |of: fn(&Self) -> Option<f64>| {
            let value = |row: &Self| of(row).unwrap_or(f64::NEG_INFINITY);
            value(other).total_cmp(&value(self))
        };
        match column {
            0 => self.name.cmp(&other.name),
            1 => other.standing.weight().cmp(&self.standing.weight()),
            2 | 3 => number(|row| row.observed),
            4 => number(|row| row.expected),
            5 => number(|row| row.rate),
            6 => number(|row| row.in_flight),
            7 => number(|row| row.ewma),
            8 => number(|row| row.errors),
            9 => number(|row| row.weight),
            _ => number(|row| row.since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        intent::Intent,
        testing::{
            at,
            balancer::{spread, uneven},
            busy,
        },
        view::View,
    };
    use super::*;

    fn row(state: &State, name: &str) -> Backend {
        let mut rows = state.backends().into_iter();
        rows.find(|row| row.name == name).unwrap()
    }

    fn names(state: &State) -> Vec<String> {
        state.rows(Panel::Gateways)
    }

    #[test]
    fn what_the_balancers_say_goes_with_what_was_measured() {
        let state = spread();
        let two = row(&state, "gateway-2");
        assert_eq!(two.standing, Standing::Up);
        assert_eq!((two.in_flight, two.weight), (Some(4.0), Some(1.0)));
        assert_eq!(two.expected, None, "p2c promises nothing");
        assert!((two.rate.unwrap() - 17.0).abs() < 0.1);
        assert!((two.observed.unwrap() - 17.0 / 48.0).abs() < 1e-6);
        assert_eq!(two.errors, Some(0.0));
        let balance = state.balance(&state.backends());
        assert_eq!(balance.policy.as_deref(), Some("p2c"));
        assert!(!balance.promised);
        assert!((balance.imbalance.unwrap() - 17.0 / 16.0).abs() < 1e-6);
        assert_eq!(balance.taking, (3, 3));
        assert!(balance.settings.contains(&"decay 10 s".to_owned()));
    }

    #[test]
    fn before_a_balancer_has_told_the_weights_promise() {
        let state = busy();
        let one = row(&state, "gateway-1");
        assert_eq!(one.standing, Standing::Unknown);
        assert!((one.expected.unwrap() - 1.0 / 3.0).abs() < 1e-9);
        assert!(state.balance(&state.backends()).promised);
    }

    #[test]
    fn states_come_with_their_reason_and_a_drain_counts_down() {
        let state = uneven();
        let words: Vec<(String, Option<f64>, String)> = ["gateway-1", "gateway-2", "gateway-3"]
            .map(|name| row(&state, name))
            .map(|row| (row.word(), row.since, row.reason))
            .into();
        let of =
            |word: &str, since, reason: &str| (word.to_owned(), Some(since), reason.to_owned());
        assert_eq!(
            words,
            [
                of("ejected 8s more", 2.5, "5 failures in a row"),
                of("down", 11.0, "unreachable: connection refused"),
                of("draining, 3 left", 4.0, "drained by the operator"),
            ]
        );
        let balance = state.balance(&state.backends());
        assert!(balance.panic && balance.taking == (0, 3));
    }

    #[test]
    fn rows_are_ordered_turned_round_and_filtered_as_a_whole() {
        let mut state = uneven();
        let cursor = state.cursor_mut(Panel::Gateways);
        cursor.sort = Some(1);
        assert_eq!(names(&state), ["gateway-2", "gateway-1", "gateway-3"]);
        state.cursor_mut(Panel::Gateways).reversed = true;
        assert_eq!(names(&state), ["gateway-3", "gateway-1", "gateway-2"]);
        // A word of the reason, not of the name.
        state.cursor_mut(Panel::Gateways).filter = Filter::new("operator");
        assert_eq!(names(&state), ["gateway-3"]);
    }

    #[test]
    fn shares_are_told_before_and_after_the_last_change() {
        let mut state = busy();
        assert_eq!(state.last_change(), None);
        state.marks.add(at(9), Kind::Action, "policy weighted");
        state.marks.add(at(20), Kind::Action, "weight gateway-2 3");
        state.marks.add(at(25), Kind::Action, "flush all");
        // By the weight the share has doubled.
        for second in 43..60 {
            state.now = at(second);
            let share = Some(if second < 50 { 0.3 } else { 0.6 });
            state
                .charts
                .put(Series::Share("gateway-2".into()), second, share);
        }
        state.marks.add(at(50), Kind::Action, "weight gateway-2 6");
        let change = state.last_change().unwrap();
        assert_eq!(change.mark.text, "weight gateway-2 6");
        let (_, before, after) = &change.rows[1];
        let before = before.unwrap();
        assert!(before > 0.29 && before < 0.37, "{before}");
        assert!((after.unwrap() - 0.6).abs() < 1e-6);
        // Just now there is no after yet.
        state.marks.add(at(59), Kind::Fault, "fault gateway-1 hang");
        let change = state.last_change().unwrap();
        assert!(change.rows.iter().all(|(_, _, after)| after.is_none()));
    }

    #[test]
    fn picks_come_newest_first_with_what_spoke_against_the_others() {
        let state = spread();
        let picks = state.picks();
        assert_eq!(picks.len(), 9);
        assert!(picks.windows(2).all(|pair| pair[0].age <= pair[1].age));
        let first = &picks[0];
        assert_eq!(first.picked.as_deref(), Some("gateway-2"));
        assert!(first.story().starts_with("gateway-2 0.80 ms 2 in flight"));
        let page = state.pick_page(&first.key).unwrap().lines.join("\n");
        assert!(page.contains("not among the two that were drawn"), "{page}");
        let state = uneven();
        let page = state.pick_page(&state.picks()[1].key).unwrap();
        let page = page.lines.join("\n");
        assert!(page.contains("gateway-3") && page.contains("drained by operator"));
        assert!(page.contains("ejections were ignored"), "{page}");
    }

    #[test]
    fn weight_and_policy_are_changed_from_the_chosen_gateway() {
        let mut state = spread();
        state.focus_on(Panel::Gateways);
        state.intend(Intent::Down);
        state.intend(Intent::WeightUp);
        let asked = state.journal.entries().last().unwrap().action.to_string();
        assert_eq!(asked, "weight gateway-2 2");
        assert_eq!(state.view, View::Balancer);
    }

    #[test]
    fn what_is_old_or_missing_says_so() {
        let mut state = spread();
        assert_eq!(state.staleness(&Topic::Upstreams), None);
        state.tick(at(60));
        assert_eq!(
            state.staleness(&Topic::Upstreams).as_deref(),
            Some("18s old")
        );
        state.apply(super::super::Update::Detail {
            topic: Topic::Upstreams,
            answer: Err("balancer-1: no answer".into()),
        });
        let said = state.staleness(&Topic::Upstreams).unwrap();
        assert_eq!(said, "18s old: balancer-1: no answer");
    }
}
