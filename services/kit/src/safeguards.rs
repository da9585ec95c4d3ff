//! Safeguards that an operator takes away for a while, and tests for good, to see what happens without them.
//!
//! A process is one service, so what is off is off for the process. It comes back by itself: after its time, and with the
//! next process.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{Instance, Problem, Shutdown};

/// How long a safeguard stays off when nobody says, in seconds.
pub const USUAL_SECONDS: u64 = 300;
/// The longest it may be asked to stay off, in seconds.
pub const MOST_SECONDS: u64 = 3_600;

/// One of the things that a promise of the system stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safeguard {
    /// A consumer claims an event before it acts on it.
    Inbox,
    /// A receipt is void once its message was given to somebody else.
    Fencing,
    /// A deletion voids the leases on its key.
    LeaseVoid,
    /// A write claims its idempotency key.
    Claim,
    /// A missing value is rebuilt by one reader for all, and only that one may fill the cache.
    Leases,
    /// What cannot be answered in time is turned away at once.
    Shedding,
    /// Requests are sent again for a share of them only, and not to an instance whose breaker is open.
    RetryBudget,
    /// A recharge is one call of one stored function, in groups.
    SingleCall,
}

impl Safeguard {
    pub const ALL: [Self; 8] = [
        Self::Inbox,
        Self::Fencing,
        Self::LeaseVoid,
        Self::Claim,
        Self::Leases,
        Self::Shedding,
        Self::RetryBudget,
        Self::SingleCall,
    ];

    /// The names, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 8] = [
        "inbox",
        "fencing",
        "lease-void",
        "claim",
        "leases",
        "shedding",
        "retry-budget",
        "single-call",
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// What happens while it is off, in words that follow a colon.
    #[must_use]
    pub fn absence(self) -> &'static str {
        match self {
            Self::Inbox => "an event that is delivered twice is acted on twice",
            Self::Fencing => "a receipt still works when its message was given to somebody else",
            Self::LeaseVoid => "a value that was read before a write may be cached after it",
            Self::Claim => "a write that is repeated is carried out again",
            Self::Leases => {
                "every miss asks the service, and whoever answers last fills the cache, be it with an old value"
            }
            Self::Shedding => "every request is let in, however long it then waits",
            Self::RetryBudget => {
                "every failed request that may be sent again is, and no breaker stops it"
            }
            Self::SingleCall => {
                "each recharge is a transaction of a dozen round trips, which holds its card meanwhile"
            }
        }
    }

    /// Whether it is on, as it is unless somebody switched it off. Costs one load.
    #[must_use]
    pub fn is_on(self) -> bool {
        OFF.load(Ordering::Relaxed) & self.bit() == 0
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Safeguard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Safeguard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|safeguard| safeguard.name() == text)
            .ok_or_else(|| {
                let names = Self::NAMES.join(", ");
                format!("{text:?} is not a safeguard; they are {names}")
            })
    }
}

/// How a safeguard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub on: bool,
    /// While it is off: the seconds after which it comes back by itself; none when it was off from the start.
    pub seconds_left: Option<u64>,
}

/// What `PUT /admin/safeguards` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    safeguard: String,
    on: bool,
    seconds: Option<u64>,
}

/// What it answers.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    safeguard: Safeguard,
    #[serde(flatten)]
    now: Standing,
    previous: Standing,
}

/// Which are off, and until when. Pure; the time is passed in.
#[derive(Debug, Default)]
struct Switches {
    /// None: until the process ends.
    off: BTreeMap<Safeguard, Option<Instant>>,
}

impl Switches {
    fn switch_off(&mut self, safeguard: Safeguard, until: Option<Instant>) {
        self.off.insert(safeguard, until);
    }

    fn switch_on(&mut self, safeguard: Safeguard) {
        self.off.remove(&safeguard);
    }

    /// Switches on whose time is over; which those were.
    fn expire(&mut self, now: Instant) -> Vec<Safeguard> {
        let is_over = |until: &Option<Instant>| until.is_some_and(|until| until <= now);
        self.off
            .extract_if(.., |_, until| is_over(until))
            .map(|(safeguard, _)| safeguard)
            .collect()
    }

    /// When the next one comes back.
    fn next(&self) -> Option<Instant> {
        self.off.values().copied().flatten().min()
    }

    fn standing(&self, safeguard: Safeguard, now: Instant) -> Standing {
        match self.off.get(&safeguard) {
            None => Standing {
                on: true,
                seconds_left: None,
            },
            Some(until) => Standing {
                on: false,
                // Rounded up: nothing is off with no time left.
                seconds_left: until.map(|until| {
                    let left = until.saturating_duration_since(now);
                    left.as_secs() + u64::from(left.subsec_nanos() > 0)
                }),
            },
        }
    }

    fn bits(&self) -> u32 {
        self.off
            .keys()
            .fold(0, |bits, safeguard| bits | safeguard.bit())
    }
}

/// What every decision reads: a bit for each that is off.
static OFF: AtomicU32 = AtomicU32::new(0);
static SWITCHES: Mutex<Switches> = Mutex::new(Switches {
    off: BTreeMap::new(),
});
/// Told when there is another time to wait for.
static CHANGED: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

fn switches() -> MutexGuard<'static, Switches> {
    SWITCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Switches one off for the rest of this process, or on again.
pub(crate) fn switch(safeguard: Safeguard, on: bool) {
    change(|switches| {
        if on {
            switches.switch_on(safeguard);
        } else {
            switches.switch_off(safeguard, None);
        }
    });
}

/// Changes what is off, for everybody at once.
fn change<T>(make: impl FnOnce(&mut Switches) -> T) -> T {
    let mut switches = switches();
    let made = make(&mut switches);
    OFF.store(switches.bits(), Ordering::Relaxed);
    drop(switches);
    CHANGED.send_replace(());
    made
}

/// Switches those off for the rest of this process that it was started without, and says so where nobody can miss it.
pub(crate) fn without(off: impl IntoIterator<Item = Safeguard>) {
    for safeguard in off {
        switch(safeguard, false);
        tracing::error!(
            safeguard = safeguard.name(),
            "RUNNING WITHOUT A SAFEGUARD (--without-safeguard): {}",
            safeguard.absence()
        );
    }
}

/// Switches one on or off as an operator wants it.
pub(crate) fn set(instance: &Instance, wanted: &Wanted, now: Instant) -> Result<Changed, Problem> {
    let known = instance.safeguards();
    let safeguard = known
        .iter()
        .find(|safeguard| safeguard.name() == wanted.safeguard)
        .copied()
        .ok_or_else(|| Problem::invalid("safeguard", unknown(instance, &wanted.safeguard)))?;
    if wanted.on && wanted.seconds.is_some() {
        let reason = "goes with \"on\": false, for what is off comes back";
        return Err(Problem::invalid("seconds", reason));
    }
    let seconds = wanted.seconds.unwrap_or(USUAL_SECONDS);
    if !(1..=MOST_SECONDS).contains(&seconds) {
        let reason = format!("must be 1 to {MOST_SECONDS}");
        return Err(Problem::invalid("seconds", reason));
    }
    let previous = change(|switches| {
        let previous = switches.standing(safeguard, now);
        if wanted.on {
            switches.switch_on(safeguard);
        } else {
            switches.switch_off(safeguard, Some(now + Duration::from_secs(seconds)));
        }
        previous
    });
    if wanted.on {
        if !previous.on {
            tracing::error!(
                safeguard = safeguard.name(),
                "the safeguard {safeguard} is on again, on the operator's word"
            );
        }
    } else {
        tracing::error!(
            safeguard = safeguard.name(),
            seconds,
            "RUNNING WITHOUT THE SAFEGUARD {safeguard} for {seconds} s, on the operator's word: {}",
            safeguard.absence()
        );
    }
    Ok(Changed {
        safeguard,
        now: switches().standing(safeguard, now),
        previous,
    })
}

fn unknown(instance: &Instance, name: &str) -> String {
    let names: Vec<&str> = instance
        .safeguards()
        .iter()
        .map(|safeguard| safeguard.name())
        .collect();
    let role = instance.role();
    match (names.is_empty(), name.parse::<Safeguard>()) {
        (true, _) => format!("{role} has no safeguard that can be switched"),
        (false, Ok(known)) => {
            format!(
                "{known} does not matter to {role}, which has {}",
                names.join(", ")
            )
        }
        (false, Err(_)) => format!("{role} has {}", names.join(", ")),
    }
}

/// Those that matter to a service, and how they stand.
pub(crate) fn standings(instance: &Instance, now: Instant) -> BTreeMap<Safeguard, Standing> {
    let switches = switches();
    let standing = |safeguard: &Safeguard| (*safeguard, switches.standing(*safeguard, now));
    instance.safeguards().iter().map(standing).collect()
}

/// Switches on what has been off for its time, until the shutdown.
pub(crate) async fn keep(shutdown: Shutdown) {
    let mut changed = CHANGED.subscribe();
    loop {
        changed.borrow_and_update();
        let now = Instant::now();
        let next = switches().next();
        if next.is_some_and(|next| next <= now) {
            for safeguard in change(|switches| switches.expire(now)) {
                tracing::error!(
                    safeguard = safeguard.name(),
                    "the safeguard {safeguard} is on again: its time was over"
                );
            }
            continue;
        }
        let end = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.requested() => return,
            _ = changed.changed() => {}
            () = end => {}
        }
    }
}

/// `recarga_safeguard_off`, for those that matter to a service.
#[derive(Debug)]
pub(crate) struct Gauges(pub &'static [Safeguard]);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "recarga_safeguard_off",
            "1 while a safeguard is switched off on purpose",
            None,
            MetricType::Gauge,
        )?;
        for safeguard in self.0 {
            let labels = [("safeguard", safeguard.name())];
            let off = i64::from(!safeguard.is_on());
            family.encode_family(&labels)?.encode_gauge(&off)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_on_and_have_names() {
        for (safeguard, name) in Safeguard::ALL.into_iter().zip(Safeguard::NAMES) {
            assert!(safeguard.is_on());
            assert_eq!(safeguard.name(), name);
            assert_eq!(name.parse(), Ok(safeguard));
            assert_eq!(serde_json::to_value(safeguard).unwrap(), name);
        }
        assert!("seatbelt".parse::<Safeguard>().is_err());
    }

    #[test]
    fn what_is_off_comes_back_after_its_time() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut switches = Switches::default();
        let standing = |switches: &Switches, at| switches.standing(Safeguard::Leases, at);
        switches.switch_off(Safeguard::Leases, Some(now + 5 * second));
        switches.switch_off(Safeguard::Claim, Some(now + 9 * second));
        switches.switch_off(Safeguard::Inbox, None);
        assert_eq!(switches.next(), Some(now + 5 * second));
        assert_eq!(standing(&switches, now).seconds_left, Some(5));
        let soon = now + Duration::from_millis(4_001);
        assert_eq!(standing(&switches, soon).seconds_left, Some(1));
        assert!(switches.expire(soon).is_empty());
        assert_eq!(switches.expire(now + 5 * second), [Safeguard::Leases]);
        assert!(standing(&switches, now).on);
        // Again, and longer: the last word counts.
        switches.switch_off(Safeguard::Claim, Some(now + 20 * second));
        assert!(switches.expire(now + 9 * second).is_empty());
        assert_eq!(switches.expire(now + 20 * second), [Safeguard::Claim]);
        assert_eq!(switches.next(), None);
        assert_eq!(
            switches.standing(Safeguard::Inbox, now + 3_600 * second),
            Standing {
                on: false,
                seconds_left: None
            }
        );
        assert_eq!(switches.bits(), Safeguard::Inbox.bit());
        switches.switch_on(Safeguard::Inbox);
        assert_eq!(switches.bits(), 0);
    }
}
