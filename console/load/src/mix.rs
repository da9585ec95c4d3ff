//! Which calls are drawn how often, and about whom.

use std::ops::RangeInclusive;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Call, Error, Kind};

/// Relative weights of the kinds of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    weights: [u32; Kind::ALL.len()],
}

impl Mix {
    /// A working day: nine reads for each write, a long task now and then.
    #[must_use]
    pub fn contract() -> Self {
        Self::of(&[
            (Kind::Balance, 240),
            (Kind::History, 80),
            (Kind::UserRecharges, 30),
            (Kind::Data, 180),
            (Kind::Search, 100),
            (Kind::TripsTotal, 40),
            (Kind::TripsByLocality, 15),
            (Kind::Revenue, 30),
            (Kind::RevenueByLocality, 15),
            (Kind::UsersCount, 15),
            (Kind::UsersActive, 10),
            (Kind::UsersLatest, 15),
            (Kind::Stations, 40),
            (Kind::Arrivals, 40),
            (Kind::Trip, 25),
            (Kind::Process, 15),
            (Kind::Recharge, 60),
            (Kind::Board, 30),
            (Kind::EndTrip, 5),
            (Kind::Book, 8),
            (Kind::Booking, 4),
            (Kind::LongTask, 1),
            (Kind::Task, 2),
        ])
    }

    /// Only reads.
    #[must_use]
    pub fn reads() -> Self {
        let mut mix = Self::contract();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_write()) {
            mix.weights[kind.index()] = 0;
        }
        mix
    }

    /// The mixes that have a name, and what each is for.
    pub const NAMED: [(&str, &str); 8] = [
        ("contract", "a working day: nine reads for each write"),
        ("reads", "the working day without its writes"),
        ("writes", "the working day without its reads"),
        ("cached", "reads that the cache may answer"),
        ("uncached", "reads that it never answers"),
        ("cards", "balances, histories and recharges"),
        ("tutoring", "search, book, look whether it was confirmed"),
        ("tasks", "long tasks, and asking how they are"),
    ];

    /// The mix of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let only = |wanted: fn(Kind) -> bool| {
            let mut mix = Self::contract();
            for kind in Kind::ALL.into_iter().filter(|kind| !wanted(*kind)) {
                mix.weights[kind.index()] = 0;
            }
            mix
        };
        Some(match name {
            "contract" => Self::contract(),
            "reads" => Self::reads(),
            "writes" => only(Kind::is_write),
            "cached" => only(Kind::is_cached),
            "uncached" => only(|kind| {
                matches!(
                    kind,
                    Kind::UsersCount | Kind::UsersActive | Kind::UsersLatest | Kind::Process
                )
            }),
            "cards" => Self::of(&[(Kind::Balance, 6), (Kind::History, 2), (Kind::Recharge, 2)]),
            "tutoring" => Self::of(&[(Kind::Search, 20), (Kind::Book, 2), (Kind::Booking, 5)]),
            "tasks" => Self::of(&[(Kind::LongTask, 1), (Kind::Task, 4)]),
            _ => return None,
        })
    }

    /// One kind of call.
    #[must_use]
    pub fn only(kind: Kind) -> Self {
        Self::of(&[(kind, 1)])
    }

    /// Exactly these weights; kinds not named are not drawn.
    #[must_use]
    pub fn of(weights: &[(Kind, u32)]) -> Self {
        let mut mix = Self {
            weights: [0; Kind::ALL.len()],
        };
        for (kind, weight) in weights {
            mix.weights[kind.index()] = *weight;
        }
        mix
    }

    #[must_use]
    pub fn weight(&self, kind: Kind) -> u32 {
        self.weights[kind.index()]
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.iter().all(|weight| *weight == 0)
    }

    /// So many calls of this mix about these people, for a burst. The same seed draws the same calls.
    #[must_use]
    pub fn calls(&self, population: Population, seed: u64, count: usize) -> Vec<Call> {
        let deck = Deck::new(self.clone(), population);
        let (mut rng, mut seen) = (ChaCha8Rng::seed_from_u64(seed), Seen::default());
        std::iter::repeat_with(|| deck.draw(&mut rng, &mut seen))
            .take(count)
            .collect()
    }

    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Kind {
        let total: u64 = self.weights.iter().copied().map(u64::from).sum();
        let mut point = rng.random_range(0..total.max(1));
        for kind in Kind::ALL {
            let weight = u64::from(self.weights[kind.index()]);
            if point < weight {
                return kind;
            }
            point -= weight;
        }
        Kind::Data
    }
}

/// As it is read: a name where it has one, weights otherwise.
impl std::fmt::Display for Mix {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut named = Self::NAMED.iter().map(|(name, _)| *name);
        if let Some(name) = named.find(|name| Self::named(name).as_ref() == Some(self)) {
            return out.write_str(name);
        }
        let weights = Kind::ALL.into_iter().map(|kind| (kind, self.weight(kind)));
        for (index, (kind, weight)) in weights.filter(|(_, weight)| *weight > 0).enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{}={weight}", kind.name())?;
        }
        Ok(())
    }
}

/// Written as `balance=3,recharge=1`, or as one of [`Mix::NAMED`].
impl std::str::FromStr for Mix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(mix) = Self::named(text) {
            return Ok(mix);
        }
        let refuse = |reason| Error::Option {
            option: "mix",
            reason,
        };
        let mut mix = Self::of(&[]);
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.name() == name)
                .ok_or_else(|| {
                    let names: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
                    let mixes: Vec<_> = Self::NAMED.iter().map(|(name, _)| *name).collect();
                    refuse(format!(
                        "{name:?} is no call; there are the mixes {} and the calls {}",
                        mixes.join(", "),
                        names.join(", ")
                    ))
                })?;
            mix.weights[kind.index()] = weight
                .parse()
                .map_err(|_| refuse(format!("{weight:?} is no weight, a whole number is")))?;
        }
        if mix.is_empty() {
            Err(refuse("gives no call a weight".into()))
        } else {
            Ok(mix)
        }
    }
}

/// Whom and what the calls are about. The defaults exist in every seeded city.
#[derive(Clone, Debug)]
pub struct Population {
    pub cards: RangeInclusive<u64>,
    pub users: RangeInclusive<u64>,
    pub stations: RangeInclusive<u64>,
    pub trips: RangeInclusive<u64>,
    pub students: RangeInclusive<u64>,
    pub tutors: RangeInclusive<u64>,
    /// Routes, each with a station that it serves.
    pub boardings: Vec<(u64, u64)>,
    pub subjects: Vec<String>,
    /// Keys of `GET /data`; the first is drawn half of the time.
    pub data_keys: Vec<String>,
}

impl Default for Population {
    fn default() -> Self {
        let subjects = [
            "Math",
            "Physics",
            "Chemistry",
            "Programming",
            "English",
            "Spanish",
            "History",
            "Biology",
        ];
        let mut data_keys = vec!["my_data".to_owned()];
        data_keys.extend((1..=20).map(|number| format!("load-{number}")));
        Self {
            cards: 1..=100,
            users: 1..=100,
            stations: 1..=20,
            trips: 1..=1000,
            students: 1..=2,
            tutors: 1..=12,
            boardings: vec![(1, 1)],
            subjects: subjects.map(str::to_owned).to_vec(),
            data_keys,
        }
    }
}

impl Population {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let ranges = [
            &self.cards,
            &self.users,
            &self.stations,
            &self.trips,
            &self.students,
            &self.tutors,
        ];
        let lists = [
            self.boardings.is_empty(),
            self.subjects.is_empty(),
            self.data_keys.is_empty(),
        ];
        if ranges.iter().any(|range| range.is_empty()) || lists.contains(&true) {
            return Err(Error::Option {
                option: "population",
                reason: "every range and list needs a member".into(),
            });
        }
        Ok(())
    }
}

/// Draws calls: kinds by weight, parameters evenly, follow-ups from what earlier answers named.
#[derive(Debug)]
pub(crate) struct Deck {
    mix: Mix,
    population: Population,
}

/// The last ids of each kind that answers have named.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Trips not yet ended, with their station.
    pub trips: std::collections::VecDeque<(u64, u64)>,
    pub bookings: std::collections::VecDeque<u64>,
    pub tasks: std::collections::VecDeque<u64>,
}

impl Seen {
    /// How many ids of each kind are remembered.
    pub const DEPTH: usize = 64;
}

impl Deck {
    pub fn new(mix: Mix, population: Population) -> Self {
        Self { mix, population }
    }

    /// A follow-up with nothing to follow becomes the call that makes something to follow.
    pub fn draw(&self, rng: &mut impl Rng, seen: &mut Seen) -> Call {
        let population = &self.population;
        match self.mix.draw(rng) {
            Kind::Balance => Call::Balance {
                card: among(rng, &population.cards),
            },
            Kind::History => Call::History {
                card: among(rng, &population.cards),
            },
            Kind::UserRecharges => Call::UserRecharges {
                user: among(rng, &population.users),
            },
            Kind::Data => {
                let half = rng.random_range(0..2) == 0;
                let index = if half {
                    0
                } else {
                    rng.random_range(0..population.data_keys.len())
                };
                Call::Data {
                    key: population.data_keys[index].clone(),
                }
            }
            Kind::Search => Call::Search {
                subject: population.subjects[rng.random_range(0..population.subjects.len())]
                    .clone(),
            },
            Kind::TripsTotal => Call::TripsTotal,
            Kind::TripsByLocality => Call::TripsByLocality,
            Kind::Revenue => Call::Revenue,
            Kind::RevenueByLocality => Call::RevenueByLocality,
            Kind::UsersCount => Call::UsersCount,
            Kind::UsersActive => Call::UsersActive,
            Kind::UsersLatest => Call::UsersLatest,
            Kind::Stations => Call::Stations,
            Kind::Arrivals => Call::Arrivals {
                station: among(rng, &population.stations),
            },
            Kind::Trip => Call::Trip {
                trip: among(rng, &population.trips),
            },
            Kind::Process => Call::Process,
            Kind::Recharge => {
                // 5,000 to 50,000 pesos, in the contract's steps of 50.
                Call::Recharge {
                    card: among(rng, &population.cards),
                    amount: rng.random_range(100..=1000) * 50,
                }
            }
            Kind::EndTrip => match seen.trips.pop_front() {
                Some((trip, station)) => Call::EndTrip { trip, station },
                None => self.board(rng),
            },
            Kind::Board => self.board(rng),
            Kind::Booking if !seen.bookings.is_empty() => Call::Booking {
                booking: seen.bookings[rng.random_range(0..seen.bookings.len())],
            },
            Kind::Book | Kind::Booking => Call::Book {
                student: among(rng, &population.students),
                tutor: among(rng, &population.tutors),
            },
            Kind::Task if !seen.tasks.is_empty() => Call::Task {
                task: seen.tasks[rng.random_range(0..seen.tasks.len())],
            },
            Kind::LongTask | Kind::Task => Call::LongTask {
                number: rng.random_range(1..=1_000_000),
            },
        }
    }

    fn board(&self, rng: &mut impl Rng) -> Call {
        let boardings = &self.population.boardings;
        let (route, station) = boardings[rng.random_range(0..boardings.len())];
        Call::Board {
            card: among(rng, &self.population.cards),
            route,
            station,
        }
    }
}

fn among(rng: &mut impl Rng, range: &RangeInclusive<u64>) -> u64 {
    rng.random_range(range.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draw_follows_the_weights() {
        let mix: Mix = "balance=3,recharge=1".parse().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let draws: Vec<_> = (0..4000).map(|_| mix.draw(&mut rng)).collect();
        let balances = draws.iter().filter(|kind| **kind == Kind::Balance).count();
        assert!((2850..3150).contains(&balances), "{balances}");
        assert!(
            draws
                .iter()
                .all(|kind| matches!(kind, Kind::Balance | Kind::Recharge))
        );
    }

    #[test]
    fn the_same_seed_draws_the_same_calls() {
        let draw = |seed| Mix::contract().calls(Population::default(), seed, 200);
        assert_eq!(draw(1), draw(1));
        assert_eq!(draw(1).len(), 200);
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn recharges_keep_to_the_contract() {
        let deck = Deck::new(Mix::only(Kind::Recharge), Population::default());
        let (mut rng, mut seen) = (ChaCha8Rng::seed_from_u64(1), Seen::default());
        for _ in 0..1000 {
            let Call::Recharge { card, amount } = deck.draw(&mut rng, &mut seen) else {
                panic!("not a recharge")
            };
            assert!(
                (1..=100).contains(&card) && (1000..=200_000).contains(&amount) && amount % 50 == 0
            );
        }
    }

    #[test]
    fn mixes_are_printed_as_they_are_read() {
        for (name, _) in Mix::NAMED {
            let mix: Mix = name.parse().unwrap();
            assert!(!mix.is_empty(), "{name}");
            assert_eq!(mix.to_string(), name);
        }
        let mix: Mix = "recharge=1, balance=3".parse().unwrap();
        assert_eq!(mix.to_string(), "balance=3,recharge=1");
        assert_eq!(mix.to_string().parse::<Mix>().unwrap(), mix);
    }

    #[test]
    fn wrong_mixes_are_explained() {
        for wrong in ["", "balance=0", "walk=1", "balance=x"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong:?}");
        }
        assert!("reads".parse::<Mix>().unwrap().weight(Kind::Recharge) == 0);
    }
}
