//! The model: what is known of the lab and what the operator is doing. Knows no terminal, no HTTP, no runtime.

pub mod action;
pub mod alerts;
pub mod histogram;
pub mod history;
pub mod instance;
pub mod logs;
pub mod overview;
pub mod ring;
pub mod sample;
pub mod traffic;

use std::time::Duration;

use action::{Action, Command, Overlay};
use instance::{Info, Instance, Place, Reason};
use logs::{Line, Logs};
use ring::Ring;
use sample::{Counter, Lookup, Sample};
use traffic::{Notice, Outcome, Tone, Traffic};

/// Time since the console started: monotonic, and passed in.
pub type Moment = Duration;

/// Over which rates, ratios and percentiles are taken.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Requests of one burst.
pub const BURST: u32 = 100;

/// Seconds of history behind the charts.
const CHART_SECONDS: usize = 300;

/// How long the result of an action is shown.
const NOTICE_FOR: Duration = Duration::from_secs(12);

/// News from outside, in the model's own words.
#[derive(Clone, Debug)]
pub enum Update {
    /// The lab as it is now; instances that are not in it are gone.
    Topology {
        public_url: String,
        places: Vec<Place>,
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
    Outcome(Outcome),
    /// How the traffic started here is doing; `None` when there is none any more.
    Traffic(Option<traffic::Seen>),
}

/// One value per second for the charts; `None` where nothing was known.
#[derive(Debug)]
pub struct Charts {
    pub requests: Ring<Option<f64>>,
    pub errors: Ring<Option<f64>>,
    /// Of each second's look-ups.
    pub hits: Ring<Option<f64>>,
    pub host_cpu: Ring<Option<f64>>,
    pub queue_depth: Ring<Option<f64>>,
}

/// Everything the console knows.
#[derive(Debug)]
pub struct State {
    pub now: Moment,
    pub public_url: Option<String>,
    pub topology_problem: Option<String>,
    /// In the order of a request's path.
    pub instances: Vec<Instance>,
    pub charts: Charts,
    pub logs: Logs,
    pub traffic: Traffic,
    pub overlay: Option<Overlay>,
    notice: Option<(Moment, Notice)>,
    charted_until: Moment,
}

impl Default for State {
    fn default() -> Self {
        let ring = || Ring::new(CHART_SECONDS);
        Self {
            now: Moment::ZERO,
            public_url: None,
            topology_problem: None,
            instances: Vec::new(),
            charts: Charts {
                requests: ring(),
                errors: ring(),
                hits: ring(),
                host_cpu: ring(),
                queue_depth: ring(),
            },
            logs: Logs::default(),
            traffic: Traffic::default(),
            overlay: None,
            notice: None,
            charted_until: Moment::ZERO,
        }
    }
}

impl State {
    /// Lets time pass; once a second the charts advance.
    pub fn tick(&mut self, now: Moment) {
        self.now = self.now.max(now);
        if let Some((since, notice)) = &self.notice
            && notice.tone != Tone::Busy
            && self.now.saturating_sub(*since) > NOTICE_FOR
        {
            self.notice = None;
        }
        if self.now.as_secs() > self.charted_until.as_secs() {
            self.charted_until = self.now;
            self.chart();
        }
    }

    fn chart(&mut self) {
        let latest = |role: &instance::Role, counter: &Counter| {
            self.instances
                .iter()
                .filter(|i| i.place.role == *role && i.is_fresh(self.now))
                .filter_map(|i| i.history.latest_rate(counter))
                .reduce(|a, b| a + b)
        };
        let requests = latest(&instance::Role::Balancer, &Counter::Requests);
        let errors = latest(&instance::Role::Balancer, &Counter::Errors);
        let looked_up = |result| latest(&instance::Role::Gateway, &Counter::Lookup(result));
        let hits = looked_up(Lookup::Hit);
        let misses = looked_up(Lookup::Miss);
        let ratio = match (hits, misses) {
            (None, None) => None,
            (hits, misses) => {
                let hits = hits.unwrap_or(0.0);
                let all = hits + misses.unwrap_or(0.0);
                (all > 0.0).then(|| hits / all)
            }
        };
        let host_cpu = self.host().cpu;
        let depth = self.queue_total().depth;
        self.charts.requests.push(requests);
        self.charts.errors.push(errors);
        self.charts.hits.push(ratio);
        self.charts.host_cpu.push(host_cpu);
        self.charts.queue_depth.push(depth);
    }

    /// Takes one piece of news in.
    pub fn apply(&mut self, update: Update) {
        let now = self.now;
        match update {
            Update::Topology { public_url, places } => {
                self.public_url = Some(public_url);
                self.topology_problem = None;
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
                    self.sort();
                }
            }
            Update::Unreachable { admin, reason } => {
                if let Some(instance) = self.find(&admin) {
                    instance.failed(now, reason);
                }
            }
            Update::Outcome(outcome) => self.notify(outcome.notice()),
            Update::Traffic(seen) => {
                if let Some(notice) = self.traffic.heard(seen) {
                    self.notify(notice);
                }
            }
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

    fn find(&mut self, admin: &str) -> Option<&mut Instance> {
        self.instances
            .iter_mut()
            .find(|instance| instance.place.admin == admin)
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

    /// What an action changes here, and what it asks of the world.
    pub fn act(&mut self, action: Action) -> Option<Command> {
        match action {
            Action::Recharge => {
                self.notify(Notice::busy("recharging a card …"));
                Some(Command::Recharge)
            }
            Action::Burst => {
                self.notify(Notice::busy(format!("sending {BURST} requests at once …")));
                Some(Command::Burst { requests: BURST })
            }
            Action::ToggleTraffic if self.traffic.is_on() => Some(self.stop_traffic()),
            Action::ToggleTraffic => Some(Command::Traffic {
                rate: self.traffic.start(),
            }),
            Action::Slower => self.traffic.slower().map(|rate| Command::Traffic { rate }),
            Action::Faster => self.traffic.faster().map(|rate| Command::Traffic { rate }),
            Action::StopTraffic => Some(self.stop_traffic()),
            Action::Flush => {
                self.overlay = Some(Overlay::ConfirmFlush {
                    entries: self.cache().entries,
                });
                None
            }
            Action::Help => {
                self.overlay = Some(Overlay::Help { page: 0 });
                None
            }
            Action::CycleLogLevel => {
                self.logs.cycle_threshold();
                None
            }
            Action::ScrollUp => self.scroll(1),
            Action::ScrollDown => self.scroll(-1),
            Action::PageUp => self.scroll(10),
            Action::PageDown => self.scroll(-10),
            Action::Follow => {
                self.logs.follow();
                None
            }
            Action::Close => {
                if self.overlay.take().is_none() {
                    self.notice = None;
                }
                None
            }
            Action::Back => match self.overlay.take() {
                Some(_) => None,
                None => Some(Command::Quit),
            },
            Action::Quit => Some(Command::Quit),
            Action::Repaint => Some(Command::Repaint),
            Action::Suspend => Some(Command::Suspend),
        }
    }

    /// The operator's word in a dialog: yes does it, everything else is Cancel.
    pub fn answer(&mut self, yes: bool) -> Option<Command> {
        match self.overlay.take()? {
            Overlay::ConfirmFlush { .. } if yes => {
                self.notify(Notice::busy("flushing the cache …"));
                Some(Command::Flush)
            }
            Overlay::ConfirmFlush { .. } => {
                self.notify(Notice::info("flush cancelled, nothing was deleted"));
                None
            }
            Overlay::Help { .. } => None,
        }
    }

    /// A key while the help is open: turns its pages, or closes it.
    pub fn read_on(&mut self, action: Option<Action>) {
        let Some(Overlay::Help { page }) = &mut self.overlay else {
            return;
        };
        match action {
            Some(Action::ScrollDown | Action::PageDown) => *page += 1,
            Some(Action::ScrollUp | Action::PageUp) => *page -= 1,
            _ => self.overlay = None,
        }
    }

    fn stop_traffic(&mut self) -> Command {
        self.traffic.stop();
        Command::StopTraffic
    }

    fn scroll(&mut self, lines: isize) -> Option<Command> {
        self.logs.scroll(lines);
        None
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
