//! The model: what is known of the lab and what the operator is doing. Knows no terminal, no HTTP, no runtime.

pub mod alerts;
pub mod balancer;
pub mod cache;
pub mod contract;
pub mod cursor;
pub mod details;
pub mod editor;
pub mod histogram;
pub mod history;
pub mod instance;
pub mod intent;
pub mod journal;
pub mod lab;
pub mod latency;
pub mod lens;
pub mod logs;
pub mod marks;
mod menu;
pub mod overlay;
pub mod overview;
pub mod palette;
pub mod panels;
pub mod queue;
pub mod requests;
pub mod safeguards;
pub mod sample;
pub mod series;
mod steer;
pub mod system;
pub mod traffic;
pub mod view;

use std::{collections::BTreeMap, time::Duration};

use actions::{Action, Answer};
use chrono::{DateTime, Utc};

use crate::keys::{Chord, Keymap};
use cursor::Cursor;
use details::{Details, Topic};
use instance::{Info, Instance, Place, Reason, Role, Status};
use journal::{End, Journal};
use lens::{Lens, NOW, Sight};
use logs::{Line, Logs};
use marks::{Kind, Marks};
use overlay::Overlay;
use overview::Store;
use requests::Requests;
use sample::{Counter, Gauge, Lookup, Sample};
use series::{Charts, Series};
use traffic::{Notice, Tone, Traffic};
use view::{Panel, View};

/// Time since the console started: monotonic, and passed in.
pub type Moment = Duration;

/// Requests of one burst.
pub const BURST: u32 = 100;

/// How long the result of an action is shown.
const NOTICE_FOR: Duration = Duration::from_secs(12);

/// How long the presenter's audience sees the last keys.
const KEYS_SHOWN_FOR: Duration = Duration::from_secs(3);

/// News from outside, in the model's own words.
#[derive(Clone, Debug)]
pub enum Update {
    /// The lab as it is now; instances that are not in it are gone.
    Topology {
        public_url: String,
        places: Vec<Place>,
        /// Whether it refuses every lever.
        read_only: bool,
    },
    /// The topology cannot be read; what was known stays.
    TopologyLost(String),
    Sample {
        admin: String,
        sample: Box<Sample>,
    },
    Info {
        admin: String,
        info: Info,
    },
    Unreachable {
        admin: String,
        reason: Reason,
    },
    /// What came of an action that was asked for under this number.
    Finished {
        number: u64,
        result: Result<Finished, String>,
    },
    /// How an action that takes its time is doing.
    Progress(String),
    /// What an action would do.
    Impact {
        action: Action,
        impact: Result<String, String>,
    },
    Detail {
        topic: Topic,
        answer: Result<serde_json::Value, String>,
    },
    /// How the traffic started here is doing; `None` when there is none any more.
    Traffic(Option<traffic::Seen>),
    /// A moment of the lab that is run, or why it cannot be.
    Lab(Result<Box<lab::Scene>, String>),
    /// Something the console did on this machine: a file written, a text copied.
    Notice(Notice),
}

/// An action that was done.
#[derive(Clone, Debug)]
pub struct Finished {
    pub text: String,
    pub undo: Option<Action>,
    pub answer: Option<Box<Answer>>,
}

/// What the model asks the world to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Do {
        number: u64,
        action: Action,
    },
    /// Find out what an action would do.
    Weigh(Action),
    Quit,
    Repaint,
    Suspend,
    /// To the terminal's clipboard.
    Copy(String),
    Mouse(bool),
    NextTheme,
    Theme(String),
    Lab(lab::LabCommand),
    /// Write the last minutes to this file; its ending says how.
    Export(std::path::PathBuf),
}

/// Everything the console knows.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct State {
    pub now: Moment,
    pub public_url: Option<String>,
    pub topology_problem: Option<String>,
    /// In the order of a request's path.
    pub instances: Vec<Instance>,
    pub charts: Charts,
    pub logs: Logs,
    pub traffic: Traffic,
    pub details: Details,
    pub requests: Requests,
    pub marks: Marks,
    /// What latency is held against.
    pub slo: latency::Slo,
    pub journal: Journal,

    pub view: View,
    /// The views one came from.
    trail: Vec<View>,
    focus: BTreeMap<View, usize>,
    cursors: BTreeMap<Panel, Cursor>,
    /// Whether one panel fills the screen.
    pub expanded: bool,
    pub sight: Sight,
    pub overlay: Option<Overlay>,
    pub keymap: Keymap,
    pub read_only: bool,
    pub presenter: bool,
    pub mouse: bool,
    /// What is shown is written down as well.
    pub recording: bool,
    /// The lab that is run.
    pub stage: lab::Stage,
    /// What was typed into the palette, the newest last.
    typed: Vec<String>,
    /// Keys that begin a sequence.
    pending: Vec<Chord>,
    /// The last keys, for the presenter's audience.
    pressed: Vec<(Moment, String)>,
    /// The answer of the last call that was fired from here.
    pub answer: Option<Box<Answer>>,
    commands: Vec<Command>,
    notice: Option<(Moment, Notice)>,
    charted_until: Moment,
    stores: BTreeMap<&'static str, bool>,
    /// What this console uses.
    own: system::Own,
    /// The wall clock at the start, for the journal.
    started: DateTime<Utc>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Moment::ZERO,
            public_url: None,
            topology_problem: None,
            instances: Vec::new(),
            charts: Charts::default(),
            logs: Logs::default(),
            traffic: Traffic::default(),
            details: Details::default(),
            requests: Requests::default(),
            marks: Marks::default(),
            slo: latency::Slo::default(),
            journal: Journal::default(),
            view: View::default(),
            trail: Vec::new(),
            focus: BTreeMap::new(),
            cursors: BTreeMap::new(),
            expanded: false,
            sight: Sight::default(),
            overlay: None,
            keymap: Keymap::default(),
            read_only: false,
            presenter: false,
            mouse: false,
            recording: false,
            stage: lab::Stage::default(),
            typed: Vec::new(),
            pending: Vec::new(),
            pressed: Vec::new(),
            answer: None,
            commands: Vec::new(),
            notice: None,
            charted_until: Moment::ZERO,
            stores: BTreeMap::new(),
            own: system::Own::default(),
            started: DateTime::UNIX_EPOCH,
        }
    }
}

impl State {
    /// An empty model whose clock began at `started`.
    pub fn new(started: DateTime<Utc>, keymap: Keymap, read_only: bool) -> Self {
        Self {
            keymap,
            read_only,
            started,
            ..Self::default()
        }
    }

    /// The moment looked at: now, unless the operator holds another one still.
    pub fn at(&self) -> Moment {
        self.sight.at(self.now)
    }

    /// Over which the numbers that say "now" are taken.
    pub fn lens(&self) -> Lens {
        Lens {
            at: self.at(),
            window: NOW,
        }
    }

    /// Over which charts and the numbers beside them are taken.
    pub fn wide_lens(&self) -> Lens {
        Lens {
            at: self.at(),
            window: self.sight.window(),
        }
    }

    /// A moment on the wall clock.
    pub fn clock(&self, at: Moment) -> DateTime<Utc> {
        self.started + at
    }

    /// Lets time pass; once a second the charts advance.
    pub fn tick(&mut self, now: Moment) {
        self.now = self.now.max(now);
        if let Some((since, notice)) = &self.notice
            && notice.tone != Tone::Busy
            && self.now.saturating_sub(*since) > NOTICE_FOR
        {
            self.notice = None;
        }
        let now = self.now;
        self.pressed
            .retain(|(at, _)| now.saturating_sub(*at) <= KEYS_SHOWN_FOR);
        if self.now.as_secs() > self.charted_until.as_secs() {
            self.charted_until = self.now;
            self.remember();
            self.chart();
            self.judge_latency();
        }
    }

    /// Writes down what every instance and store is now; changes leave marks.
    fn remember(&mut self) {
        let now = self.now;
        for instance in &mut self.instances {
            let Some((before, status)) = instance.remember(now) else {
                continue;
            };
            let name = instance.name().to_owned();
            let kind = match (&before, &status) {
                (None | Some(Status::Starting), Status::Up) | (_, Status::Starting) => continue,
                (_, Status::Up) => Kind::Recovery,
                _ => Kind::Fault,
            };
            let word = match status {
                Status::Up => "up again",
                Status::Draining => "draining",
                Status::NotReady(_) => "not ready",
                Status::Stale(_) => "silent",
                Status::Down { .. } | Status::Starting => "down",
            };
            self.marks.add(now, kind, format!("{name} {word}"));
        }
        for (name, gauge) in overview::STORES {
            let away = match self.store(&gauge) {
                Store::Unknown => continue,
                Store::Up => false,
                Store::Away { .. } => true,
            };
            match (self.stores.insert(name, away), away) {
                (Some(false) | None, true) => {
                    self.marks.add(now, Kind::Fault, format!("{name} away"));
                }
                (Some(true), false) => {
                    self.marks.add(now, Kind::Recovery, format!("{name} back"));
                }
                _ => {}
            }
        }
    }

    fn chart(&mut self) {
        let second = self.now.as_secs();
        let live = Lens {
            at: self.now,
            window: NOW,
        };
        let fresh = |role: Role| {
            self.instances
                .iter()
                .filter(move |i| i.place.role == role && i.is_fresh(live.at))
        };
        let latest = |role: Role, counter: &Counter| {
            fresh(role)
                .filter_map(|i| i.history.latest_rate(counter))
                .reduce(|a, b| a + b)
        };
        let requests = latest(Role::Balancer, &Counter::Requests);
        let errors = latest(Role::Balancer, &Counter::Errors);
        let of = |lookup| latest(Role::Gateway, &Counter::Lookup(lookup));
        let hits = [Lookup::Hit, Lookup::Stale].map(of).into_iter().flatten();
        let hits = hits.reduce(|a, b| a + b).unwrap_or(0.0);
        let misses = of(Lookup::Miss).unwrap_or(0.0);
        let ratio = (hits + misses > 0.0).then(|| hits / (hits + misses));
        let mut latencies = histogram::Histogram::default();
        for balancer in fresh(Role::Balancer) {
            if let Some(window) = balancer.history.latest_latencies() {
                latencies.merge(&window);
            }
        }
        let mut put = vec![
            (Series::Requests, requests),
            (Series::Errors, errors),
            (Series::Hits, ratio),
            (Series::P50, latencies.quantile(0.50)),
            (Series::P95, latencies.quantile(0.95)),
            (Series::P99, latencies.quantile(0.99)),
        ];
        for instance in self.instances.iter().filter(|i| i.is_fresh(live.at)) {
            let name = instance.name().to_owned();
            let cpu = instance.history.latest_rate(&Counter::CpuSeconds);
            let memory = instance.history.gauge(&Gauge::ResidentBytes);
            put.push((Series::Cpu(name.clone()), cpu));
            put.push((Series::Memory(name), memory));
        }
        let sent: Vec<(String, f64)> = fresh(Role::Gateway)
            .map(|gateway| (gateway.name().to_owned(), self.latest_sent(gateway)))
            .collect();
        let all: f64 = sent.iter().map(|(_, sent)| sent).sum();
        for (name, sent) in sent {
            put.push((Series::Share(name), (all > 0.0).then(|| sent / all)));
        }
        // What is charted is what is, whatever the operator looks at.
        let sight = std::mem::take(&mut self.sight);
        let host = self.host();
        let queues = self.queues();
        let depth = self.queue_total().depth;
        self.chart_cache(&mut put);
        self.chart_machine(&mut put);
        self.sight = sight;
        put.push((Series::HostCpu, host.cpu));
        put.push((Series::Depth, depth));
        for queue in queues {
            put.push((Series::QueueDepth(queue.name.clone()), queue.depth));
            put.push((Series::QueueSent(queue.name.clone()), queue.sent));
            put.push((Series::QueueAcknowledged(queue.name), queue.acknowledged));
        }
        if self.traffic.is_on() {
            let seen = self.traffic.seen.clone().unwrap_or_default();
            put.push((Series::TrafficAsked, seen.asked));
            put.push((Series::TrafficAnswered, seen.rate));
            put.push((Series::TrafficCorrected, seen.p95));
            put.push((Series::TrafficRaw, seen.raw_p95));
            put.push((Series::TrafficErrors, seen.error_rate));
        }
        for (series, value) in put {
            self.charts.put(series, second, value);
        }
        self.charts.put_heat(second, &latencies);
        if second.is_multiple_of(60) {
            self.charts.sweep(second);
        }
    }

    /// Requests per second that the balancers sent to a gateway between their last two readings.
    fn latest_sent(&self, gateway: &Instance) -> f64 {
        let balancers = self
            .instances
            .iter()
            .filter(|i| i.place.role == Role::Balancer);
        let mut sent = 0.0;
        for balancer in balancers.filter(|balancer| balancer.is_fresh(self.now)) {
            let labels = balancer.history.labels(|counter| match counter {
                Counter::Upstream(label) => Some(label.as_str()),
                _ => None,
            });
            for label in labels.filter(|label| gateway.is_called(label)) {
                let counter = Counter::Upstream(label.to_owned());
                sent += balancer.history.latest_rate(&counter).unwrap_or(0.0);
            }
        }
        sent
    }

    pub fn apply(&mut self, update: Update) {
        let now = self.now;
        match update {
            Update::Topology {
                public_url,
                places,
                read_only,
            } => {
                // Who was told to only look goes on only looking.
                self.read_only |= read_only;
                self.topology_problem = None;
                self.public_url = Some(public_url);
                self.place(places);
            }
            Update::TopologyLost(problem) => self.topology_problem = Some(problem),
            Update::Sample { admin, sample } => {
                if let Some(instance) = self.find(&admin) {
                    instance.answered(now, *sample);
                }
            }
            Update::Info { admin, info } => {
                if let Some(instance) = self.find(&admin) {
                    instance.info = info;
                    instance.info_at = now;
                    self.sort();
                }
            }
            Update::Unreachable { admin, reason } => {
                if let Some(instance) = self.find(&admin) {
                    instance.failed(now, reason);
                }
            }
            Update::Finished { number, result } => self.finished(number, result),
            Update::Progress(text) => self.notify(Notice::busy(text)),
            Update::Impact { action, impact } => {
                if let Some(Overlay::Confirm(question)) = &mut self.overlay
                    && question.action == action
                {
                    question.impact = Some(impact);
                }
            }
            Update::Detail { topic, answer } => {
                if topic == Topic::Requests {
                    self.take_requests(answer.as_ref().ok());
                }
                self.details.put(topic, now, answer);
            }
            Update::Traffic(seen) => {
                if let Some(notice) = self.traffic.heard(seen) {
                    self.notify(notice);
                }
            }
            Update::Lab(scene) => self.staged(scene),
            Update::Notice(notice) => self.notify(notice),
        }
    }

    fn finished(&mut self, number: u64, result: Result<Finished, String>) {
        let now = self.now;
        let what = self
            .journal
            .entries()
            .find(|entry| entry.number == number)
            .map(|entry| entry.action.clone());
        match result {
            Ok(done) => {
                if let Some(answer) = done.answer {
                    let is_call = matches!(what, Some(Action::Call { .. }));
                    self.answered(answer, is_call);
                }
                let undo = match &done.undo {
                    Some(_) => {
                        format!("  ({} undoes it)", self.keymap.key_of(intent::Intent::Undo))
                    }
                    None => String::new(),
                };
                self.notify(Notice::good(format!("{}{undo}", done.text)));
                self.journal.finish(number, End::Done(done.text), done.undo);
            }
            Err(why) => {
                if what.as_ref().is_some_and(Action::is_traffic) {
                    self.traffic.stop();
                }
                self.notify(Notice::bad(why.clone()));
                self.journal.finish(number, End::Failed(why), None);
            }
        }
        if let Some(action) = what {
            let kind = match action {
                Action::Fault { .. } | Action::Kill(_) => Kind::Fault,
                _ => Kind::Action,
            };
            self.marks.add(now, kind, action.to_string());
        }
    }

    pub fn log(&mut self, line: Line) {
        self.logs.push(line);
    }

    /// What the last action led to, while it is news.
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref().map(|(_, notice)| notice)
    }

    fn notify(&mut self, notice: Notice) {
        self.notice = Some((self.now, notice));
    }

    /// What the world is asked to do since this was asked last.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    fn find(&mut self, admin: &str) -> Option<&mut Instance> {
        self.instances
            .iter_mut()
            .find(|instance| instance.place.admin == admin)
    }

    /// The instance of this name.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances
            .iter()
            .find(|instance| instance.name() == name)
    }

    fn place(&mut self, places: Vec<Place>) {
        self.instances
            .retain(|known| places.iter().any(|place| place.admin == known.place.admin));
        let now = self.now;
        for place in places {
            match self.find(&place.admin) {
                Some(known) if known.place.name == place.name => known.placed(place, now),
                Some(other) => *other = Instance::new(place, now),
                None => self.instances.push(Instance::new(place, now)),
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.instances.sort_by(|a, b| {
            let key = |instance: &Instance| {
                let name = instance.name().to_owned();
                let number = name
                    .rsplit('-')
                    .next()
                    .and_then(|digits| digits.parse::<u64>().ok());
                (
                    instance.place.role.clone(),
                    number.unwrap_or(u64::MAX),
                    name,
                )
            };
            key(a).cmp(&key(b))
        });
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
