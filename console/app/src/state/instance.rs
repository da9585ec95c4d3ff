//! One service process as seen from outside: where it is, when it last answered, and what that makes it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    time::Duration,
};

use super::{
    Moment,
    history::History,
    lens::Lens,
    sample::{Counter, Gauge, Sample},
};

/// Data older than this is called stale.
pub const STALE_AFTER: Duration = Duration::from_millis(3_500);

/// A process that never answered is starting for so long, and down after it.
const STARTING_FOR: Duration = Duration::from_secs(20);

/// A return is news for so long: a quick restart is over before anybody has looked.
const RETURN_IS_NEWS_FOR: Duration = Duration::from_secs(10);

/// A process that came back knows its stores after so long.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);

/// The tiers, in the order of a request's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Balancer,
    Gateway,
    Cache,
    Travel,
    Exercise,
    Search,
    Booking,
    Notification,
    Worker,
    Queue,
    Other(String),
}

impl Role {
    pub fn parse(name: &str) -> Self {
        match name {
            "balancer" => Self::Balancer,
            "gateway" => Self::Gateway,
            "cache" => Self::Cache,
            "travel" => Self::Travel,
            "exercise" => Self::Exercise,
            "search" => Self::Search,
            "booking" => Self::Booking,
            "notification" => Self::Notification,
            "worker" => Self::Worker,
            "queue" => Self::Queue,
            other => Self::Other(other.to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Balancer => "balancer",
            Self::Gateway => "gateway",
            Self::Cache => "cache",
            Self::Travel => "travel",
            Self::Exercise => "exercise",
            Self::Search => "search",
            Self::Booking => "booking",
            Self::Notification => "notification",
            Self::Worker => "worker",
            Self::Queue => "queue",
            Self::Other(name) => name,
        }
    }

    /// Whether requests are handled by it behind the gateways, as opposed to the infrastructure around.
    pub fn is_service(&self) -> bool {
        !matches!(
            self,
            Self::Balancer | Self::Gateway | Self::Cache | Self::Queue
        )
    }
}

/// What the supervisor says of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supervised {
    /// Nobody supervises it here, or nothing is known.
    #[default]
    Unknown,
    Starting,
    Running,
    Restarting,
    Stopped,
}

/// Where an instance is: its line of the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub role: Role,
    pub name: String,
    /// `host:port` of its public side, where known.
    pub listen: Option<String>,
    /// `host:port` of its admin side: also its identity here.
    pub admin: String,
    pub restarts: u32,
    pub supervised: Supervised,
}

/// Why an instance gave no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Refused,
    Timeout,
    Reset,
    /// It answered with this HTTP status.
    Status(u16),
    /// The body is not what an admin surface says.
    Nonsense,
}

impl Reason {
    /// In as few words as will do.
    pub fn short(self) -> String {
        match self {
            Self::Refused => "refused".to_owned(),
            Self::Reset => "broken".to_owned(),
            Self::Nonsense => "unreadable".to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Timeout => f.write_str("no answer"),
            Self::Reset => f.write_str("connection broken"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::Nonsense => f.write_str("unreadable answer"),
        }
    }
}

/// What `/admin/info` says that metrics do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The instance's own name, where it has one.
    pub instance: Option<String>,
    pub ready: Option<bool>,
    pub checks: BTreeMap<String, bool>,
    pub faults: usize,
    /// The faults in words, with the seconds they have left.
    pub faults_told: Vec<(String, Option<u64>)>,
    pub version: Option<String>,
    pub pid: Option<u64>,
    pub log_level: Option<String>,
    /// When it was asked.
    pub uptime_seconds: Option<u64>,
    /// How the levers of its own stand.
    pub levers: Vec<(String, String)>,
    /// Protections that were switched off, with the seconds after which they come back.
    pub safeguards_off: Vec<(String, Option<u64>)>,
}

/// An unbroken run of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failing {
    since: Moment,
    reason: Reason,
    times: u32,
}

/// Changes of status that are remembered.
const MOST_LIVES: usize = 256;

/// What an instance is to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not answered yet, and is not late.
    Starting,
    Up,
    /// It answers, and says itself that it cannot serve: a check of this name failed.
    NotReady(String),
    Draining,
    /// No answer lately; the numbers are of this age.
    Stale(Duration),
    Down {
        since: Duration,
        reason: Option<Reason>,
    },
}

impl Status {
    /// Its word, for those who cannot see a glyph.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::NotReady(_) => "not ready",
            Self::Draining => "draining",
            Self::Stale(_) => "stale",
            Self::Down { .. } => "down",
        }
    }
}

/// One process: place, contact, history.
#[derive(Clone, Debug)]
pub struct Instance {
    pub place: Place,
    first_known: Moment,
    last_seen: Option<Moment>,
    failing: Option<Failing>,
    /// When the supervisor said last that it is starting the process anew.
    restarting: Option<Moment>,
    /// When it was back last, and how long it had been down.
    returned: Option<(Moment, Duration)>,
    /// What it has been, from when on; the newest last.
    lives: VecDeque<(Moment, Status)>,
    /// Until when that is known.
    remembered: Moment,
    pub info: Info,
    /// When it was told.
    pub info_at: Moment,
    pub history: History,
}

impl Instance {
    pub fn new(place: Place, now: Moment) -> Self {
        Self {
            place,
            first_known: now,
            last_seen: None,
            failing: None,
            restarting: None,
            returned: None,
            lives: VecDeque::new(),
            remembered: now,
            info: Info::default(),
            info_at: now,
            history: History::default(),
        }
    }

    /// The name to show: its own word where nobody gave it one.
    pub fn name(&self) -> &str {
        self.info.instance.as_deref().unwrap_or(&self.place.name)
    }

    /// Takes the supervisor's newest word in.
    pub fn placed(&mut self, place: Place, now: Moment) {
        match place.supervised {
            Supervised::Restarting => {
                self.restarting.get_or_insert(now);
            }
            _ => self.restarting = None,
        }
        self.place = place;
    }

    pub fn answered(&mut self, at: Moment, sample: Sample) {
        if let (Some(_), Status::Down { since, .. }) = (self.last_seen, self.status(at)) {
            self.returned = Some((at, since));
        }
        self.last_seen = Some(at);
        self.failing = None;
        self.history.push(at, sample);
    }

    pub fn failed(&mut self, at: Moment, reason: Reason) {
        // Who does not answer fell silent before the question, not when patience ended.
        let since = match reason {
            Reason::Timeout => self.last_seen.unwrap_or(at),
            _ => at,
        };
        let failing = self.failing.get_or_insert(Failing {
            since,
            reason,
            times: 0,
        });
        failing.reason = reason;
        failing.times += 1;
    }

    /// Writes down what it is now; what it was and became, if that changed.
    pub fn remember(&mut self, now: Moment) -> Option<(Option<Status>, Status)> {
        self.remembered = now;
        let status = self.present(now);
        let last = self.lives.back().map(|(_, last)| last);
        if last.is_some_and(|last| mem::discriminant(last) == mem::discriminant(&status)) {
            return None;
        }
        let before = last.cloned();
        if self.lives.len() == MOST_LIVES {
            self.lives.pop_front();
        }
        self.lives.push_back((now, status.clone()));
        Some((before, status))
    }

    /// What it is, or was: `at` may be in the past.
    pub fn status(&self, at: Moment) -> Status {
        if at + Duration::from_millis(1_500) >= self.remembered {
            return self.present(at);
        }
        let life = self.lives.iter().rev().find(|(since, _)| *since <= at);
        match life {
            Some((since, Status::Down { reason, .. })) => Status::Down {
                since: at.saturating_sub(*since),
                reason: *reason,
            },
            Some((_, status)) => status.clone(),
            None => Status::Starting,
        }
    }

    /// What it has been, from when on; the newest last.
    pub fn lives(&self) -> impl DoubleEndedIterator<Item = &(Moment, Status)> {
        self.lives.iter()
    }

    /// Since when it is what it is.
    pub fn since(&self) -> Option<Moment> {
        self.lives.back().map(|(since, _)| *since)
    }

    fn present(&self, now: Moment) -> Status {
        if self.place.supervised == Supervised::Stopped {
            return Status::Down {
                since: now.saturating_sub(self.last_seen.unwrap_or(self.first_known)),
                reason: None,
            };
        }
        let Some(seen) = self.last_seen else {
            let waited = now.saturating_sub(self.first_known);
            return match self.failing {
                Some(failing) if waited > STARTING_FOR => Status::Down {
                    since: waited,
                    reason: Some(failing.reason),
                },
                _ => Status::Starting,
            };
        };
        let age = now.saturating_sub(seen);
        // The supervisor knows of a death before the next reading fails.
        if let Some(since) = self.restarting.filter(|since| *since >= seen) {
            let since = self
                .failing
                .map_or(since, |failing| failing.since.min(since));
            return Status::Down {
                since: now.saturating_sub(since),
                reason: self.failing.map(|failing| failing.reason),
            };
        }
        if let Some(failing) = self.failing {
            let hopeless = match failing.reason {
                Reason::Refused | Reason::Reset => true,
                Reason::Timeout | Reason::Status(_) | Reason::Nonsense => failing.times >= 3,
            };
            if hopeless {
                return Status::Down {
                    since: now.saturating_sub(failing.since),
                    reason: Some(failing.reason),
                };
            }
        }
        if age > STALE_AFTER {
            return Status::Stale(age);
        }
        if self.gauge_now(&Gauge::Draining).is_some_and(|on| on > 0.0) {
            return Status::Draining;
        }
        match self.info.ready {
            Some(false) => {
                let failed = self.info.checks.iter().find(|(_, ok)| !**ok);
                Status::NotReady(failed.map_or_else(String::new, |(name, _)| name.clone()))
            }
            _ => Status::Up,
        }
    }

    /// How long it had been down, while its return is news.
    pub fn returned(&self, now: Moment) -> Option<Duration> {
        self.returned
            .filter(|(at, _)| now.saturating_sub(*at) <= RETURN_IS_NEWS_FOR)
            .map(|(_, down)| down)
    }

    /// Whether it has come back only now: it says that its stores are away until it has asked them.
    pub fn is_settling(&self, now: Moment) -> bool {
        self.returned
            .is_some_and(|(at, _)| now.saturating_sub(at) <= SETTLES_WITHIN)
    }

    /// Whether its numbers describe the present.
    pub fn is_fresh(&self, now: Moment) -> bool {
        matches!(
            self.status(now),
            Status::Up | Status::NotReady(_) | Status::Draining
        )
    }

    /// Faults injected on purpose, by the word of a process that still lives.
    pub fn faults(&self, now: Moment) -> usize {
        if self.is_fresh(now) {
            self.info.faults
        } else {
            0
        }
    }

    /// Growth per second over the lens' window, if the data is fresh.
    pub fn rate(&self, counter: &Counter, lens: Lens) -> Option<f64> {
        self.is_fresh(lens.at)
            .then(|| self.history.rate(counter, lens))
            .flatten()
    }

    /// How much a counter grew over the lens' window, if the data is fresh.
    pub fn grown(&self, counter: &Counter, lens: Lens) -> Option<f64> {
        self.is_fresh(lens.at)
            .then(|| self.history.grown(counter, lens))
            .flatten()
    }

    /// A gauge at a moment, if the data is fresh.
    pub fn gauge(&self, gauge: &Gauge, at: Moment) -> Option<f64> {
        self.is_fresh(at)
            .then(|| self.history.gauge_at(gauge, at))
            .flatten()
    }

    fn gauge_now(&self, gauge: &Gauge) -> Option<f64> {
        self.history.gauge(gauge)
    }

    /// Whether `label`, an upstream's name or address in another's metrics, means this instance.
    pub fn is_called(&self, label: &str) -> bool {
        let label = label.trim_start_matches("http://").trim_end_matches('/');
        if label == self.place.name || label == self.name() {
            return true;
        }
        if self.place.listen.as_deref() == Some(label) {
            return true;
        }
        // Without a known public address (containers), the host decides: one instance, one host.
        let host = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
        self.place.listen.is_none() && host(label) == host(&self.place.admin)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::testing::of;
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn instance(listen: Option<&str>) -> Instance {
        let place = Place {
            role: Role::Gateway,
            name: "gateway-1".into(),
            listen: listen.map(str::to_owned),
            admin: "10.0.0.7:9000".into(),
            restarts: 0,
            supervised: Supervised::Running,
        };
        Instance::new(place, at(0))
    }

    #[test]
    fn silence_is_starting_then_down() {
        let mut gateway = instance(None);
        assert_eq!(gateway.status(at(1)), Status::Starting);
        gateway.failed(at(2), Reason::Refused);
        assert_eq!(gateway.status(at(3)), Status::Starting);
        assert_eq!(
            gateway.status(at(30)),
            Status::Down {
                since: at(30),
                reason: Some(Reason::Refused)
            }
        );
    }

    #[test]
    fn a_refused_connection_is_down_at_once_and_a_slow_answer_stale_first() {
        let mut gateway = instance(None);
        gateway.answered(at(10), Sample::default());
        assert_eq!(gateway.status(at(11)), Status::Up);
        gateway.failed(at(12), Reason::Timeout);
        assert_eq!(gateway.status(at(12)), Status::Up);
        assert_eq!(gateway.status(at(14)), Status::Stale(at(4)));
        gateway.failed(at(15), Reason::Refused);
        let Status::Down { since, .. } = gateway.status(at(15)) else {
            panic!("{:?}", gateway.status(at(15)));
        };
        assert_eq!(since, at(5), "since it was last heard of");
        gateway.answered(at(16), Sample::default());
        assert_eq!(gateway.status(at(16)), Status::Up);
    }

    #[test]
    fn its_own_word_counts_while_it_answers() {
        let mut gateway = instance(None);
        gateway.answered(at(1), of(&[], &[(Gauge::Draining, 1.0)]));
        assert_eq!(gateway.status(at(1)), Status::Draining);
        gateway.answered(at(2), Sample::default());
        gateway.info.ready = Some(false);
        gateway.info.checks = [("postgres".to_owned(), false), ("redis".to_owned(), true)].into();
        assert_eq!(gateway.status(at(2)), Status::NotReady("postgres".into()));
    }

    #[test]
    fn the_supervisors_word_of_a_restart_counts_until_it_answers_again() {
        let mut gateway = instance(None);
        gateway.answered(at(1), Sample::default());
        let restarting = Place {
            supervised: Supervised::Restarting,
            restarts: 1,
            ..gateway.place.clone()
        };
        gateway.placed(restarting, at(2));
        assert_eq!(
            gateway.status(at(4)),
            Status::Down {
                since: at(2),
                reason: None
            }
        );
        gateway.answered(at(5), Sample::default());
        assert_eq!(gateway.status(at(5)), Status::Up);
        assert_eq!(gateway.returned(at(6)), Some(at(3)));
        assert!(gateway.is_settling(at(6)) && !gateway.is_settling(at(9)));
        assert_eq!(gateway.returned(at(16)), None);
    }

    #[test]
    fn old_numbers_are_unknown_not_zero() {
        let mut gateway = instance(None);
        for second in 1..=2_u32 {
            gateway.answered(
                at(second.into()),
                of(&[(Counter::Requests, f64::from(second))], &[]),
            );
        }
        let lens = |second| Lens {
            at: at(second),
            window: super::super::lens::NOW,
        };
        assert_eq!(gateway.rate(&Counter::Requests, lens(2)), Some(1.0));
        assert_eq!(gateway.rate(&Counter::Requests, lens(20)), None);
    }

    #[test]
    fn what_it_was_is_remembered() {
        let mut gateway = instance(None);
        for second in 1..=9 {
            gateway.answered(at(second), Sample::default());
            gateway.remember(at(second));
        }
        gateway.failed(at(10), Reason::Refused);
        let change = gateway.remember(at(10));
        assert!(matches!(
            change,
            Some((Some(Status::Up), Status::Down { .. }))
        ));
        for second in 11..=15 {
            assert_eq!(gateway.remember(at(second)), None);
        }
        assert_eq!(gateway.status(at(5)), Status::Up);
        let down = |since| Status::Down {
            since: at(since),
            reason: Some(Reason::Refused),
        };
        assert_eq!(gateway.status(at(12)), down(2));
        assert_eq!(gateway.status(at(15)), down(5));
    }

    #[test]
    fn an_upstream_label_finds_its_instance() {
        let local = instance(Some("127.0.0.1:8101"));
        assert!(local.is_called("gateway-1"));
        assert!(local.is_called("http://127.0.0.1:8101"));
        assert!(!local.is_called("127.0.0.1:8102"));
        assert!(instance(None).is_called("10.0.0.7:8080"));
        assert!(!instance(None).is_called("10.0.0.8:8080"));
    }
}
