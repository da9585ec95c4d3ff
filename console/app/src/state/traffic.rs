//! Traffic made from here, and notices.

use std::{cmp::Reverse, time::Duration};

use actions::{Action, TrafficPlan};
use load::{Kind, Mix, Profile};

use super::{
    State,
    overlay::{Choice, Item},
    view::Panel,
};

/// Steady traffic starts at this rate, in requests per second.
const FIRST_RATE: f64 = 50.0;

/// Rates that slower and faster keep to.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=5_000.0;

/// What the operator asked for, and what the generator says of it.
#[derive(Debug)]
pub struct Traffic {
    plan: TrafficPlan,
    on: bool,
    pub seen: Option<Seen>,
}

/// A generator's account of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Requests per second that it means to send now.
    pub asked: Option<f64>,
    /// Answers per second over its last seconds.
    pub rate: Option<f64>,
    pub answered: u64,
    /// Server errors, failures and time-outs.
    pub errors: u64,
    /// Percentile from the intended start, over its last seconds, in seconds.
    pub p95: Option<f64>,
    /// The same from the actual start: what a generator that waits for slow answers would see.
    pub raw_p95: Option<f64>,
    /// Seconds until it ends by itself.
    pub left: Option<f64>,
    /// Server errors, failures and time-outs per second over its last seconds.
    pub error_rate: Option<f64>,
    /// Requests that came due and were never sent: all connections were busy for too long.
    pub skipped: u64,
    /// What was sent since the start, by call.
    pub calls: Vec<SeenCall>,
    pub finished: bool,
    pub last_error: Option<String>,
}

/// What became of one kind of call since the traffic's start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeenCall {
    pub kind: Kind,
    pub sent: u64,
    /// Server errors, failures and time-outs.
    pub failed: u64,
    /// From the intended start, in seconds.
    pub p95: Option<f64>,
}

/// One row of the table of calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallRow {
    pub kind: Kind,
    pub weight: u32,
    /// Its part of all weights, 0 to 1.
    pub asked: f64,
    pub sent: Option<u64>,
    /// Its part of all that was sent, 0 to 1.
    pub share: Option<f64>,
    pub failed: Option<u64>,
    /// In seconds.
    pub p95: Option<f64>,
}

/// No call weighs more.
const HEAVIEST: u32 = 10_000;

/// The course of a profile's rate over its time, as parts of the whole rate.
pub fn course(profile: Profile, whole: Duration, columns: usize) -> Vec<f64> {
    // A burst is shorter than a column: a column shows the most of what happens in it.
    const LOOKS: u32 = 8;
    let step = whole / (columns as u32).max(1);
    (0..columns as u32)
        .map(|column| {
            (0..LOOKS)
                .map(|look| profile.part(step * column + step * look / LOOKS, whole))
                .fold(0.0, f64::max)
        })
        .collect()
}

/// A small picture of a profile's usual run.
pub fn curve(profile: Profile, columns: usize) -> String {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let whole = telling_time(profile, profile.usual_time());
    course(profile, whole, columns)
        .into_iter()
        .map(|part| COLUMNS[((part * 7.0).round() as usize).min(7)])
        .collect()
}

/// A time over which a profile shows what it is.
pub fn telling_time(profile: Profile, whole: Duration) -> Duration {
    match profile {
        Profile::Burst => whole.min(Duration::from_secs(20)),
        Profile::Soak => whole.min(Duration::from_mins(10)),
        _ => whole,
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            plan: TrafficPlan {
                seconds: 3_600,
                ..TrafficPlan::new(Profile::Constant, FIRST_RATE)
            },
            on: false,
            seen: None,
        }
    }
}

impl Traffic {
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// What runs, or would.
    pub fn plan(&self) -> &TrafficPlan {
        &self.plan
    }

    /// The plan as the line that starts it.
    pub fn plan_line(&self) -> String {
        actions::Action::Traffic(self.plan.clone()).to_string()
    }

    /// Requests per second asked for (when off: that would be).
    pub fn rate(&self) -> f64 {
        self.plan.rate
    }

    pub fn start(&mut self, plan: TrafficPlan) {
        self.plan = plan;
        self.on = true;
        self.seen = None;
    }

    pub fn stop(&mut self) {
        self.on = false;
    }

    pub fn set_rate(&mut self, rate: f64) {
        self.plan.rate = rate;
    }

    pub fn set_mix(&mut self, mix: load::Mix) {
        self.plan.mix = mix;
    }

    /// The rate so many steps of a tenth faster or slower, as a round number.
    pub fn stepped(&self, steps: i32) -> f64 {
        let rate = self.plan.rate * 1.1_f64.powi(steps);
        let unit = match rate {
            r if r < 20.0 => 1.0,
            r if r < 200.0 => 5.0,
            r if r < 2_000.0 => 10.0,
            _ => 100.0,
        };
        let rounded = (rate / unit).round() * unit;
        // However small the step, it is one.
        let stepped = if (rounded - self.plan.rate).abs() < f64::EPSILON {
            self.plan.rate + unit * f64::from(steps.signum())
        } else {
            rounded
        };
        stepped.clamp(*RATES.start(), *RATES.end())
    }

    /// Takes the generator's word in; a notice if it ended without being asked to.
    pub fn heard(&mut self, seen: Option<Seen>) -> Option<Notice> {
        let ended = seen.as_ref().is_none_or(|seen| seen.finished);
        let why = seen.as_ref().and_then(|seen| seen.last_error.clone());
        if seen.is_some() {
            self.seen = seen;
        }
        if !(ended && self.on) {
            return None;
        }
        self.on = false;
        Some(match why {
            Some(why) => Notice::bad(format!("traffic ended: {why}")),
            None => Notice::info("traffic ended: its time limit was reached"),
        })
    }
}

impl State {
    /// Every call of the contract with its weight and what became of it, as filtered and ordered.
    pub fn call_rows(&self) -> Vec<CallRow> {
        let mix = &self.traffic.plan().mix;
        let seen = self.traffic.seen.as_ref().map(|seen| &seen.calls);
        let weights: u64 = Kind::ALL
            .iter()
            .map(|kind| u64::from(mix.weight(*kind)))
            .sum();
        let sent: u64 = seen.into_iter().flatten().map(|call| call.sent).sum();
        let cursor = self.cursor(Panel::Calls);
        let mut rows: Vec<CallRow> = Kind::ALL
            .into_iter()
            .filter(|kind| {
                cursor.filter.as_ref().is_none_or(|filter| {
                    filter.lets_through(&format!("{} {}", kind.name(), kind.route()))
                })
            })
            .map(|kind| {
                let call = seen.and_then(|seen| seen.iter().find(|call| call.kind == kind));
                let weight = mix.weight(kind);
                CallRow {
                    kind,
                    weight,
                    asked: f64::from(weight) / weights.max(1) as f64,
                    sent: seen.map(|_| call.map_or(0, |call| call.sent)),
                    share: call
                        .filter(|_| sent > 0)
                        .map(|call| call.sent as f64 / sent as f64),
                    failed: seen.map(|_| call.map_or(0, |call| call.failed)),
                    p95: call.and_then(|call| call.p95),
                }
            })
            .collect();
        let down = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        match cursor.sort {
            Some(0) => rows.sort_by_key(|row| row.kind.name()),
            Some(1) => rows.sort_by_key(|row| Reverse(row.weight)),
            Some(2) => rows.sort_by(|a, b| down(Some(a.asked), Some(b.asked))),
            Some(3) => rows.sort_by_key(|row| Reverse(row.sent)),
            Some(4) => rows.sort_by(|a, b| down(a.share, b.share)),
            Some(5) => rows.sort_by_key(|row| Reverse(row.failed)),
            Some(_) => rows.sort_by(|a, b| down(a.p95, b.p95)),
            None => {}
        }
        if cursor.reversed {
            rows.reverse();
        }
        rows
    }

    /// The call that is chosen in the table of calls.
    pub fn chosen_call(&self) -> Option<Kind> {
        let name = self.chosen(Panel::Calls)?;
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Asks for the chosen call more often (or less): a tenth of its weight at a time, at least one.
    pub(super) fn change_call_weight(&mut self, by: i64) {
        let Some(kind) = self.chosen_call() else {
            return self.notify(Notice::info("choose a call first: weights are theirs"));
        };
        let weight = self.traffic.plan().mix.weight(kind);
        let step = (weight / 10).max(1);
        let to = if by > 0 {
            weight.saturating_add(step).min(HEAVIEST)
        } else {
            weight.saturating_sub(step)
        };
        if to != weight {
            self.ask_for_mix(with_weight(&self.traffic.plan().mix, kind, to));
        }
    }

    /// Other calls from now on; where no traffic runs, for the next time.
    fn ask_for_mix(&mut self, mix: Mix) {
        if mix.is_empty() {
            return self.notify(Notice::info(
                "one call at least must keep a weight: stop the traffic instead",
            ));
        }
        if self.traffic.is_on() {
            return self.ask(Action::TrafficMix(mix));
        }
        let text = format!("traffic would be of {mix}");
        self.traffic.set_mix(mix);
        self.notify(Notice::info(text));
    }

    /// What can be done to the chosen call and to the mix.
    pub(super) fn traffic_items(&self) -> (String, Vec<Item>) {
        let mix = &self.traffic.plan().mix;
        let on = self.traffic.is_on();
        let to = |mix: Mix| {
            if on {
                Choice::Act(Action::TrafficMix(mix))
            } else {
                let plan = self.traffic.plan();
                Choice::Type(format!(
                    "traffic {} rate={} mix={mix} ",
                    plan.profile.name(),
                    plan.rate
                ))
            }
        };
        let item = |key, text: String, choice| Item { key, text, choice };
        let mut items = Vec::new();
        let mut title = "Calls".to_owned();
        if let Some(kind) = self.chosen_call() {
            kind.route().clone_into(&mut title);
            let weight = mix.weight(kind);
            let double = weight.saturating_mul(2).clamp(1, HEAVIEST);
            items.push(item(
                'd',
                format!("twice as often: weight {double}"),
                to(with_weight(mix, kind, double)),
            ));
            if weight > 1 {
                items.push(item(
                    'h',
                    format!("half as often: weight {}", weight / 2),
                    to(with_weight(mix, kind, weight / 2)),
                ));
            }
            let without = with_weight(mix, kind, 0);
            if weight > 0 && !without.is_empty() {
                items.push(item('n', "never: weight 0".to_owned(), to(without)));
            }
            items.push(item(
                'o',
                "this call and no other".to_owned(),
                to(Mix::only(kind)),
            ));
        }
        for (key, (name, meaning)) in ('1'..='9').zip(Mix::NAMED) {
            if let Some(mix) = Mix::named(name) {
                items.push(item(key, format!("mix {name}: {meaning}"), to(mix)));
            }
        }
        (title, items)
    }
}

/// A mix with another weight for one of its calls.
fn with_weight(mix: &Mix, kind: Kind, weight: u32) -> Mix {
    let weights: Vec<(Kind, u32)> = Kind::ALL
        .into_iter()
        .map(|other| {
            let own = if other == kind {
                weight
            } else {
                mix.weight(other)
            };
            (other, own)
        })
        .collect();
    Mix::of(&weights)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Under way; stays until something replaces it.
    Busy,
    Info,
    Good,
    Bad,
}

/// One line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
}

impl Notice {
    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(Tone::Busy, text)
    }

    pub fn info(text: impl Into<String>) -> Self {
        Self::new(Tone::Info, text)
    }

    pub fn good(text: impl Into<String>) -> Self {
        Self::new(Tone::Good, text)
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(Tone::Bad, text)
    }

    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            tone,
            text: super::logs::printable(&text.into()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "rates are round numbers")]
mod tests {
    use super::*;

    #[test]
    fn steps_are_tenths_and_have_ends() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.stepped(1), 55.0);
        assert_eq!(traffic.stepped(-1), 45.0);
        for _ in 0..200 {
            let next = traffic.stepped(1);
            assert!(next > traffic.rate() || next == *RATES.end());
            traffic.set_rate(next);
        }
        assert_eq!(traffic.rate(), *RATES.end());
        for _ in 0..200 {
            let next = traffic.stepped(-1);
            assert!(next < traffic.rate() || next == *RATES.start());
            traffic.set_rate(next);
        }
        assert_eq!(traffic.rate(), *RATES.start());
    }

    #[test]
    fn every_profile_shows_its_course() {
        let minute = Duration::from_mins(1);
        assert_eq!(course(Profile::Constant, minute, 3), [1.0; 3]);
        let ramp = course(Profile::Ramp, minute, 10);
        assert!(ramp.windows(2).all(|pair| pair[0] < pair[1]), "{ramp:?}");
        let spike = course(Profile::Spike, minute, 5);
        assert!(
            spike[2] > 0.9 && spike[0] < 0.3 && spike[4] < 0.3,
            "{spike:?}"
        );
        let burst = course(Profile::Burst, Duration::from_secs(20), 20);
        assert_eq!(burst.iter().filter(|part| **part > 0.0).count(), 4);
        assert!(course(Profile::Soak, minute, 0).is_empty());
        for profile in Profile::ALL {
            assert!(!telling_time(profile, profile.usual_time()).is_zero());
        }
    }

    #[test]
    fn weights_change_by_tenths_while_traffic_runs_and_never_all_to_zero() {
        let mut state = State::default();
        state.focus_on(Panel::Calls);
        state.cursor_mut(Panel::Calls).choose("balance");
        state.change_call_weight(1);
        assert_eq!(state.traffic.plan().mix.weight(Kind::Balance), 264);
        assert!(
            state.take_commands().is_empty(),
            "off: only the setting moves"
        );
        state.traffic.start(state.traffic.plan().clone());
        state.change_call_weight(-1);
        let commands = state.take_commands();
        assert!(
            matches!(&commands[..], [super::super::Command::Do { action: Action::TrafficMix(mix), .. }]
                if mix.weight(Kind::Balance) == 238),
            "{commands:?}"
        );
        assert_eq!(state.traffic.plan().mix.weight(Kind::Balance), 238);
        state.traffic.set_mix(Mix::only(Kind::Balance));
        state.change_call_weight(-1);
        assert!(state.take_commands().is_empty());
        assert!(
            state
                .notice()
                .is_some_and(|n| n.text.contains("one call at least"))
        );
    }

    #[test]
    fn calls_are_compared_with_their_weights() {
        let mut state = State::default();
        state
            .traffic
            .set_mix("balance=3,recharge=1".parse().unwrap());
        assert!(state.call_rows().iter().all(|row| row.sent.is_none()));
        state.traffic.seen = Some(Seen {
            calls: vec![SeenCall {
                kind: Kind::Recharge,
                sent: 20,
                failed: 2,
                p95: Some(0.01),
            }],
            ..Seen::default()
        });
        state.cursor_mut(Panel::Calls).sort = Some(3);
        let rows = state.call_rows();
        assert_eq!(rows.len(), Kind::ALL.len());
        assert_eq!((rows[0].kind, rows[0].asked), (Kind::Recharge, 0.25));
        assert_eq!((rows[0].share, rows[0].failed), (Some(1.0), Some(2)));
        state.set_filter(Panel::Calls, "POST /recharges");
        assert_eq!(state.call_rows().len(), 1);
        let (title, items) = state.traffic_items();
        assert_eq!(title, "POST /recharges");
        let keys: std::collections::BTreeSet<char> = items.iter().map(|item| item.key).collect();
        assert_eq!(keys.len(), items.len(), "a letter means one thing");
    }

    #[test]
    fn traffic_that_ends_by_itself_says_why() {
        let mut traffic = Traffic::default();
        traffic.start(traffic.plan().clone());
        let failed = Seen {
            finished: true,
            last_error: Some("no token".into()),
            ..Seen::default()
        };
        assert_eq!(
            traffic.heard(Some(failed)),
            Some(Notice::bad("traffic ended: no token"))
        );
        assert!(!traffic.is_on());
        assert_eq!(traffic.heard(None), None);
    }
}
