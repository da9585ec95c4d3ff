//! A year of riding, day by day: who boards where, what it costs, and the recharges that pay for it.
//!
//! Only the state of each card is kept, so memory grows with the cards and not with the trips.

use crate::calendar::{self, DAY, START};
use crate::chance::{Chance, Subject};
use crate::city::{City, Ride};

/// How long a paid boarding lets one change for free, in seconds, and how often: as `travel.board` does it.
const WINDOW: i64 = 110 * 60;
const TRANSFERS: u8 = 2;

/// What a recharge is worth in pesos, and how often. Each is enough for any fare.
const AMOUNTS: [(u32, i64); 6] = [
    (18, 5_000),
    (34, 10_000),
    (26, 20_000),
    (6, 30_000),
    (13, 50_000),
    (3, 100_000),
];

/// A card as it goes through the year.
#[derive(Clone, Debug)]
pub struct Card {
    /// Counted from 0, as ids less one.
    pub owner: u32,
    pub created_at: i64,
    /// The first day on which it no longer works.
    pub blocked_on: Option<u32>,
    pub opening_balance: i64,
    pub balance: i64,
    pub last_used_at: i64,
    home: u16,
    work: u16,
    paid_at: i64,
    transfers: u8,
    rode_on: u32,
}

pub struct Trip {
    pub id: i64,
    pub card: u32,
    pub ride: Ride,
    pub fare: i64,
    pub transfer: bool,
    pub balance_after: i64,
    pub boarded_at: i64,
    /// None: they left without a sign.
    pub ended_at: Option<i64>,
}

pub struct Recharge {
    pub id: i64,
    pub card: u32,
    pub owner: u32,
    pub point: Option<usize>,
    pub amount: i64,
    pub balance_after: i64,
    pub created_at: i64,
}

/// A line of the ledger: money onto a card, or a fare off it.
pub struct Entry {
    pub id: i64,
    pub at: i64,
    pub card: u32,
    pub amount: i64,
    pub reference: Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Recharge(i64),
    Fare(i64),
}

/// Everything that happened on one day, in order.
#[derive(Default)]
pub struct Day {
    pub trips: Vec<Trip>,
    pub recharges: Vec<Recharge>,
    pub entries: Vec<Entry>,
}

pub struct Riding<'a> {
    city: &'a City,
    chance: Chance,
    pub cards: Vec<Card>,
    trips: i64,
    recharges: i64,
    entries: i64,
}

/// The cards as they are before the year, with owners and opening balances.
pub fn cards(seed: u64, city: &City, count: u32, users: &[i64]) -> Vec<Card> {
    let mut chance = Chance::new(seed, Subject::Cards);
    let first_cards = users.len() as u32 - 1;
    (0..count)
        .map(|index| {
            // One card each, except for the operator, who is user 3; then second cards for some.
            let owner = match index {
                0 | 1 => index,
                _ if index < first_cards => index + 1,
                _ => 3 + chance.below(first_cards * 3 / 4),
            };
            let created_at =
                (users[owner as usize] + chance.between(0, 20 * DAY)).min(calendar::END - 2 * DAY);
            let blocked = index >= 100 && chance.percent(2);
            let opening_balance = if chance.percent(70) {
                50 * chance.between(0, 400)
            } else {
                0
            };
            Card {
                owner,
                created_at,
                blocked_on: blocked.then(|| chance.below(calendar::DAYS)),
                opening_balance,
                balance: opening_balance,
                last_used_at: created_at,
                home: city.home(&mut chance) as u16,
                work: city.home(&mut chance) as u16,
                paid_at: i64::MIN / 2,
                transfers: 0,
                rode_on: u32::MAX,
            }
        })
        .collect()
}

struct Boarding {
    at: i64,
    card: u32,
    ride: Ride,
    ended_at: Option<i64>,
}

impl<'a> Riding<'a> {
    /// `opened` ledger entries, the opening balances, come before the first.
    pub fn new(seed: u64, city: &'a City, cards: Vec<Card>, opened: i64) -> Self {
        Self {
            city,
            chance: Chance::new(seed, Subject::Trips),
            cards,
            trips: 0,
            recharges: 0,
            entries: opened,
        }
    }

    /// One day with exactly that many boardings. Days must be asked for in order.
    pub fn day(&mut self, day: u32, quota: u64) -> Day {
        let quota = usize::try_from(quota).expect("a day's trips fit in memory");
        let mut boardings = Vec::with_capacity(quota + 8);
        // Ends: the quota of a day is a fraction of the cards, and most of them can ride on any day.
        while boardings.len() < quota {
            if let Some(card) = self.rider(day) {
                self.plan(day, card, &mut boardings);
            }
        }
        boardings.truncate(quota);
        boardings.sort_by_key(|boarding| (boarding.at, boarding.card));

        let mut happened = Day::default();
        for boarding in &boardings {
            self.board(boarding, &mut happened);
        }
        self.number(&mut happened);
        happened
    }

    fn rider(&mut self, day: u32) -> Option<u32> {
        let count = self.cards.len() as u32;
        // The smaller of two draws: some cards are used far more than others.
        let index = self.chance.below(count).min(self.chance.below(count));
        let card = &mut self.cards[index as usize];
        let able = card.rode_on != day
            && card.created_at < START + i64::from(day) * DAY
            && card.blocked_on.is_none_or(|blocked_on| day < blocked_on);
        card.rode_on = if able { day } else { card.rode_on };
        able.then_some(index)
    }

    fn plan(&mut self, day: u32, card: u32, boardings: &mut Vec<Boarding>) {
        let midnight = START + i64::from(day) * DAY;
        let (home, work) = (
            usize::from(self.cards[card as usize].home),
            usize::from(self.cards[card as usize].work),
        );
        let outing = calendar::outing(day, &mut self.chance);
        let (there, arrived) = self.journey(card, home, work, midnight + outing.out, boardings);
        if let Some(back) = outing.back {
            let back = (midnight + back).max(arrived + 1_800);
            self.journey(card, there, home, back, boardings);
        }
    }

    /// Rides towards a place, with up to two changes; where and when it ends.
    fn journey(
        &mut self,
        card: u32,
        from: usize,
        toward: usize,
        at: i64,
        boardings: &mut Vec<Boarding>,
    ) -> (usize, i64) {
        let (mut here, mut now, mut last) = (from, at, None);
        for change in 0..3 {
            if change > 0
                && (here == toward || !self.chance.percent(if change == 1 { 38 } else { 15 }))
            {
                break;
            }
            let Some(ride) = self.city.ride(here, toward, last, &mut self.chance) else {
                break;
            };
            let ended_at = now + i64::from(ride.minutes) * 60 + self.chance.between(60, 420);
            // A few leave through an open door.
            let told = !self.chance.percent(3);
            boardings.push(Boarding {
                at: now,
                card,
                ride,
                ended_at: told.then_some(ended_at),
            });
            (here, last) = (ride.to, Some(ride.route));
            now = ended_at + self.chance.between(120, 720);
        }
        (here, now)
    }

    fn board(&mut self, boarding: &Boarding, happened: &mut Day) {
        let mut fare = self.city.routes[boarding.ride.route].line.kind.fare();
        let card = &mut self.cards[boarding.card as usize];
        let transfer =
            fare > 0 && boarding.at - card.paid_at < WINDOW && card.transfers < TRANSFERS;
        if transfer {
            fare = 0;
            card.transfers += 1;
        } else if fare > 0 {
            card.paid_at = boarding.at;
            card.transfers = 0;
        }
        if card.balance < fare || (fare > 0 && card.balance < 3 * fare && self.chance.percent(20)) {
            let amount = self.chance.weighted(&AMOUNTS);
            // After the ride before, which ended at least two minutes ago.
            let created_at = boarding.at - self.chance.between(20, 100);
            let online = self.chance.percent(12);
            let point = self.city.point_near(boarding.ride.from, &mut self.chance);
            card.balance += amount;
            happened.recharges.push(Recharge {
                id: 0,
                card: boarding.card,
                owner: card.owner,
                point: (!online).then_some(point),
                amount,
                balance_after: card.balance,
                created_at,
            });
        }
        card.balance -= fare;
        card.last_used_at = boarding.at;
        self.trips += 1;
        happened.trips.push(Trip {
            id: self.trips,
            card: boarding.card,
            ride: boarding.ride,
            fare,
            transfer,
            balance_after: card.balance,
            boarded_at: boarding.at,
            ended_at: boarding.ended_at,
        });
    }

    /// Ids in the order of time, and the ledger that follows from the day.
    fn number(&mut self, happened: &mut Day) {
        happened
            .recharges
            .sort_by_key(|recharge| (recharge.created_at, recharge.card));
        for recharge in &mut happened.recharges {
            self.recharges += 1;
            recharge.id = self.recharges;
        }
        let recharged = happened.recharges.iter().map(|recharge| Entry {
            id: 0,
            at: recharge.created_at,
            card: recharge.card,
            amount: recharge.amount,
            reference: Reference::Recharge(recharge.id),
        });
        let paid = happened
            .trips
            .iter()
            .filter(|trip| trip.fare > 0)
            .map(|trip| Entry {
                id: 0,
                at: trip.boarded_at,
                card: trip.card,
                amount: trip.fare,
                reference: Reference::Fare(trip.id),
            });
        happened.entries = recharged.chain(paid).collect();
        happened
            .entries
            .sort_by_key(|entry| (entry.at, entry.reference));
        for entry in &mut happened.entries {
            self.entries += 1;
            entry.id = self.entries;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_balance_is_explained_and_never_negative() {
        let city = City::new();
        let users = vec![START - 400 * DAY; 400];
        let before = cards(5, &city, 500, &users);
        let mut balances: Vec<i64> = before.iter().map(|card| card.opening_balance).collect();
        let mut clocks = vec![i64::MIN; before.len()];
        let mut riding = Riding::new(5, &city, before, 0);
        let mut trips = 0;
        for day in 0..120 {
            let happened = riding.day(day, 60);
            assert_eq!(happened.trips.len(), 60);
            trips += i64::try_from(happened.trips.len()).unwrap();
            for entry in &happened.entries {
                let balance = &mut balances[entry.card as usize];
                match entry.reference {
                    Reference::Recharge(_) => *balance += entry.amount,
                    Reference::Fare(_) => *balance -= entry.amount,
                }
                assert!(*balance >= 0);
                assert!(entry.at > clocks[entry.card as usize]);
                clocks[entry.card as usize] = entry.at;
            }
            assert!(
                happened
                    .trips
                    .iter()
                    .all(|trip| trip.ended_at.is_none_or(|end| end > trip.boarded_at))
            );
        }
        assert_eq!(riding.trips, trips);
        for (card, balance) in riding.cards.iter().zip(balances) {
            assert_eq!(card.balance, balance);
        }
    }

    #[test]
    fn the_same_seed_rides_the_same_way() {
        let city = City::new();
        let users = vec![START - 400 * DAY; 400];
        let ride = |seed| {
            let mut riding = Riding::new(seed, &city, cards(seed, &city, 500, &users), 0);
            let trips = riding.day(0, 80).trips;
            trips
                .iter()
                .map(|trip| (trip.card, trip.boarded_at, trip.ride.route))
                .collect::<Vec<_>>()
        };
        assert_eq!(ride(1), ride(1));
        assert_ne!(ride(1), ride(2));
    }
}
