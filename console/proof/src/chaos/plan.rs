//! What will be broken, when and for how long: drawn from a seed, every fault with an end.

use std::{fmt, num::NonZeroU32, time::Duration};

use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::wire::{Pair, Toxics};

/// What there is to break, each list in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    pub instances: Vec<String>,
    /// Other than PostgreSQL.
    pub stores: Vec<String>,
    pub pairs: Vec<Pair>,
    /// Whether PostgreSQL has a standby, which takes its place when it dies.
    pub replicated: bool,
    /// Whether Redis has replicas, one of which takes its place when it dies.
    pub watched: bool,
}

/// How much is broken at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One fault a round, over within a good second: for every change of the code.
    Short,
    /// One to three faults a round, up to four seconds each.
    Full,
}

/// Something that is done to the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a service instance; its supervisor starts it again.
    Kill(String),
    /// SIGSTOP, and SIGCONT at the end.
    Freeze(String),
    KillStore(String),
    /// `kill -9` of the Redis that is written to; a replica takes its place, and it comes back as a replica.
    Promote,
    FreezeStore(String),
    /// `kill -9` of the postmaster, which takes everything of it along.
    KillPostgres,
    /// `kill -9` of the postmaster that writes; the standby takes its place, and another one is made.
    FailOver,
    /// All of its processes.
    FreezePostgres,
    /// `kill -9` of one connection's process, after which PostgreSQL recovers as from a crash.
    KillBackend,
    FreezeBackend,
    Wire(Pair, Toxics),
    /// Events that were delivered are sent to their queue again, as a relay that died at the wrong moment does.
    Redeliver(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(name) | Self::KillStore(name) => write!(formatter, "kill {name}"),
            Self::Freeze(name) | Self::FreezeStore(name) => write!(formatter, "freeze {name}"),
            Self::KillPostgres => formatter.write_str("kill postgres"),
            Self::FailOver => formatter.write_str("kill postgres, promote its standby"),
            Self::Promote => formatter.write_str("kill redis, promote a replica"),
            Self::FreezePostgres => formatter.write_str("freeze postgres"),
            Self::KillBackend => formatter.write_str("kill a postgres backend"),
            Self::FreezeBackend => formatter.write_str("freeze a postgres backend"),
            Self::Wire(pair, toxics) => write!(formatter, "{pair}: {toxics}"),
            Self::Redeliver(queue) => write!(formatter, "{queue}: events again"),
        }
    }
}

/// A fault with its time in the round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    pub after: Duration,
    pub lasts: Duration,
    pub fault: Fault,
}

impl fmt::Display for Timed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.fault)?;
        if self.has_end() {
            write!(formatter, " for {:.1} s", self.lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Timed {
    /// A kill is over at once.
    #[must_use]
    pub fn has_end(&self) -> bool {
        matches!(
            self.fault,
            Fault::Freeze(_)
                | Fault::FreezeStore(_)
                | Fault::FreezePostgres
                | Fault::FreezeBackend
                | Fault::Wire(..)
        )
    }
}

/// Faults that go on at the same time; the next round begins when everything has recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// From 1.
    pub number: u32,
    pub faults: Vec<Timed>,
}

impl fmt::Display for Round {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        formatter.write_str(&faults.join("; "))
    }
}

/// The kinds, so that each has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Freeze,
    KillStore,
    FreezeStore,
    KillPostgres,
    FreezePostgres,
    KillBackend,
    FreezeBackend,
    Latency,
    Bandwidth,
    Reset,
    HalfOpen,
    Cut,
    Redeliver,
}

const KINDS: [Kind; 14] = [
    Kind::Kill,
    Kind::Freeze,
    Kind::KillStore,
    Kind::FreezeStore,
    Kind::KillPostgres,
    Kind::FreezePostgres,
    Kind::KillBackend,
    Kind::FreezeBackend,
    Kind::Latency,
    Kind::Bandwidth,
    Kind::Reset,
    Kind::HalfOpen,
    Kind::Cut,
    Kind::Redeliver,
];

/// The queues that outboxes are relayed to.
pub const QUEUES: [&str; 3] = ["bookings", "recharges", "tasks"];

/// How many rounds it takes until every kind was the first fault of one.
pub const CYCLE: usize = KINDS.len();

/// Draws rounds without end.
#[derive(Debug)]
pub struct Plan {
    scene: Scene,
    profile: Profile,
    chance: ChaCha8Rng,
    bag: Vec<Kind>,
    number: u32,
}

impl Plan {
    #[must_use]
    pub fn new(scene: Scene, profile: Profile, seed: u64) -> Self {
        Self {
            scene,
            profile,
            chance: ChaCha8Rng::seed_from_u64(seed),
            bag: Vec::new(),
            number: 0,
        }
    }

    fn kind(&mut self) -> Kind {
        if self.bag.is_empty() {
            self.bag = KINDS.to_vec();
            self.bag.shuffle(&mut self.chance);
        }
        self.bag.pop().unwrap_or(Kind::Kill)
    }

    fn timed(&mut self, kind: Kind) -> Option<Timed> {
        let (after, lasts) = match self.profile {
            Profile::Short => (0..=200, 300..=1_200),
            Profile::Full => (0..=1_500, 300..=4_000),
        };
        let after = Duration::from_millis(self.chance.random_range(after));
        let lasts = Duration::from_millis(self.chance.random_range(lasts));
        let fault = self.fault(kind)?;
        Some(Timed {
            after,
            lasts,
            fault,
        })
    }

    /// Nothing when there is nothing of the kind to break.
    fn fault(&mut self, kind: Kind) -> Option<Fault> {
        let chance = &mut self.chance;
        let mut toxics = Toxics::default();
        match kind {
            Kind::Kill => return one(chance, &self.scene.instances).map(Fault::Kill),
            Kind::Freeze => return one(chance, &self.scene.instances).map(Fault::Freeze),
            Kind::KillStore if self.scene.watched => return Some(Fault::Promote),
            Kind::KillStore => return one(chance, &self.scene.stores).map(Fault::KillStore),
            Kind::FreezeStore => return one(chance, &self.scene.stores).map(Fault::FreezeStore),
            Kind::KillPostgres if self.scene.replicated => return Some(Fault::FailOver),
            Kind::KillPostgres => return Some(Fault::KillPostgres),
            Kind::FreezePostgres => return Some(Fault::FreezePostgres),
            Kind::KillBackend => return Some(Fault::KillBackend),
            Kind::FreezeBackend => return Some(Fault::FreezeBackend),
            Kind::Redeliver => {
                return one(chance, &QUEUES).map(Fault::Redeliver);
            }
            Kind::Latency => {
                toxics.latency = Duration::from_millis(chance.random_range(20..=400));
                toxics.jitter = Duration::from_millis(chance.random_range(0..=200));
            }
            Kind::Bandwidth => {
                toxics.bandwidth = NonZeroU32::new(chance.random_range(500..=20_000));
            }
            Kind::Reset => toxics.reset = true,
            Kind::HalfOpen => {
                (toxics.swallow_up, toxics.swallow_down) =
                    [(true, false), (false, true), (true, true)][chance.random_range(0..3)];
            }
            Kind::Cut => toxics.cut = true,
        }
        let pair = one(chance, &self.scene.pairs)?;
        Some(Fault::Wire(pair, toxics))
    }
}

fn one<T: Clone>(chance: &mut ChaCha8Rng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[chance.random_range(0..from.len())].clone())
}

impl Iterator for Plan {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        self.number += 1;
        let count = match self.profile {
            Profile::Short => 1,
            Profile::Full => self.chance.random_range(1..=3),
        };
        let mut faults: Vec<Timed> = Vec::new();
        for number in 0..count {
            let kind = if number == 0 && self.scene.replicated && self.number % 2 == 1 {
                Kind::KillPostgres
            } else if number == 0 && self.scene.watched && self.number % 3 == 1 {
                Kind::KillStore
            } else if number == 0 && self.scene.watched && self.number % 3 == 2 {
                Kind::FreezeStore
            } else if number == 0 {
                self.kind()
            } else {
                KINDS[self.chance.random_range(0..KINDS.len())]
            };
            let Some(timed) = self.timed(kind) else {
                continue;
            };
            // The end of one fault would end the other.
            let meets = |other: &Timed| match (&other.fault, &timed.fault) {
                (Fault::Wire(one, _), Fault::Wire(other, _)) => one == other,
                (one, other) => one == other,
            };
            if !faults.iter().any(meets) {
                faults.push(timed);
            }
        }
        Some(Round {
            number: self.number,
            faults,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scene() -> Scene {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let pair = |from: &str, to: &str| Pair {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        Scene {
            instances: names(&["balancer-1", "travel-1", "travel-2"]),
            stores: names(&["redis"]),
            pairs: vec![pair("travel-1", "postgres"), pair("travel-2", "queue-1")],
            replicated: false,
            watched: false,
        }
    }

    #[test]
    fn a_seed_is_a_plan() {
        for profile in [Profile::Short, Profile::Full] {
            let rounds =
                |seed| -> Vec<Round> { Plan::new(scene(), profile, seed).take(100).collect() };
            assert_eq!(rounds(1), rounds(1));
            assert_ne!(rounds(1), rounds(2));
        }
    }

    #[test]
    fn every_fault_is_bounded_and_every_kind_has_its_turn() {
        for (profile, most, longest) in [(Profile::Short, 1, 1_400), (Profile::Full, 3, 5_500)] {
            for seed in 0..50 {
                let rounds: Vec<Round> = Plan::new(scene(), profile, seed).take(CYCLE).collect();
                let mut firsts = BTreeSet::new();
                for round in rounds {
                    assert!((1..=most).contains(&round.faults.len()));
                    for timed in &round.faults {
                        assert!((timed.after + timed.lasts).as_millis() <= longest);
                    }
                    let words = round.faults[0].fault.to_string();
                    firsts.insert(words.split(" for ").next().map(str::to_owned));
                }
                // Two kinds may read alike, such as the kill of one instance and the freeze of it never do.
                assert!(firsts.len() >= CYCLE - 1, "{firsts:?}");
            }
        }
    }

    #[test]
    fn a_standby_takes_over_every_second_round_at_least() {
        for profile in [Profile::Short, Profile::Full] {
            let scene = Scene {
                replicated: true,
                ..scene()
            };
            for round in Plan::new(scene, profile, 7).take(60) {
                let faults: Vec<&Fault> = round.faults.iter().map(|timed| &timed.fault).collect();
                assert!(!faults.contains(&&Fault::KillPostgres), "{round}");
                if round.number % 2 == 1 {
                    assert_eq!(faults[0], &Fault::FailOver, "{round}");
                }
            }
        }
    }

    #[test]
    fn the_redis_that_is_written_to_dies_and_stands_still_in_turn() {
        for profile in [Profile::Short, Profile::Full] {
            let scene = Scene {
                watched: true,
                ..scene()
            };
            for round in Plan::new(scene, profile, 7).take(60) {
                let first = &round.faults[0].fault;
                let stores = round.faults.iter().map(|timed| &timed.fault);
                let killed = stores.filter(|fault| matches!(fault, Fault::KillStore(_)));
                assert_eq!(killed.count(), 0, "{round}");
                match round.number % 3 {
                    1 => assert_eq!(first, &Fault::Promote, "{round}"),
                    2 => assert!(matches!(first, Fault::FreezeStore(_)), "{round}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn an_empty_scene_still_has_a_database() {
        let rounds = Plan::new(Scene::default(), Profile::Full, 1).take(50);
        assert!(rounds.flat_map(|round| round.faults).count() > 10);
    }
}
