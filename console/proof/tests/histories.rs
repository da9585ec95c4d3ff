//! Histories that can have happened pass; each kind of wrong one is caught, whatever else happened around it.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta};
use proof::{
    history::{
        bookings,
        cards::{History, Read, Reads, Recharge},
        naive, queue,
    },
    journal::{Action, Answer, Delivery, Operation, Outcome},
};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

const OPENING: i64 = 10_000;
/// About what one of unknown outcome adds: no sum of these bridges a gap that the others leave. How many of them happened shows in
/// the balance, and which they were makes less of a difference than the smallest of the others, and one of a multiple of `STEP`.
const LARGE: i64 = 1_000_000_000;
const STEP: i64 = 4;

/// One thing that happens to a card at a moment, with the times at which its client sent it and had the answer.
#[derive(Clone, Copy, Debug)]
struct Event {
    asked: u64,
    answered: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Recharge { amount: i64 },
    Unknown { amount: i64, happens: bool },
    Read,
}

/// Events in the order in which they happen.
fn events(chance: &mut ChaCha8Rng, count: usize) -> Vec<Event> {
    let mut unknown = 0;
    (0..count as u64)
        .map(|number| {
            let moment = 10_000 + number * 10;
            let amount = 1_000 + 50 * number.cast_signed();
            let kind = match chance.random_range(0..10) {
                0..4 => Kind::Recharge { amount },
                4 => {
                    unknown += 1;
                    Kind::Unknown {
                        amount: LARGE + STEP * unknown,
                        happens: chance.random(),
                    }
                }
                _ => Kind::Read,
            };
            Event {
                asked: moment - chance.random_range(0..60),
                answered: moment + chance.random_range(0..60),
                kind,
            }
        })
        .collect()
}

/// What clients see; `effect` says what the recharge with a number really adds.
fn seen(events: &[Event], effect: impl Fn(usize, i64) -> i64) -> History {
    let mut history = History {
        card: 7,
        opening: OPENING,
        ..History::default()
    };
    let mut balance = OPENING;
    for (number, event) in events.iter().enumerate() {
        let recharge = |amount, answered| Recharge {
            key: number.to_string(),
            amount,
            asked: event.asked,
            answered,
        };
        match event.kind {
            Kind::Recharge { amount } => {
                let told = balance + amount;
                balance += effect(number, amount);
                history
                    .recharges
                    .push(recharge(amount, Some((event.answered, told))));
            }
            Kind::Unknown { amount, happens } => {
                balance += if happens { amount } else { 0 };
                history.recharges.push(recharge(amount, None));
            }
            Kind::Read => history.reads.push(Read {
                balance,
                asked: event.asked,
                answered: event.answered,
            }),
        }
    }
    history
}

/// A read at the end, when everything has been answered: without one, nobody would notice the last mistake.
fn with_last_read(mut events: Vec<Event>) -> Vec<Event> {
    let end = events.iter().map(|event| event.answered).max().unwrap_or(0);
    events.push(Event {
        asked: end + 10,
        answered: end + 20,
        kind: Kind::Read,
    });
    events
}

fn some_recharge(events: &[Event], chance: &mut ChaCha8Rng) -> Option<usize> {
    let recharges: Vec<usize> = (0..events.len())
        .filter(|&n| matches!(events[n].kind, Kind::Recharge { .. }))
        .collect();
    (!recharges.is_empty()).then(|| recharges[chance.random_range(0..recharges.len())])
}

fn is_good(history: &History, reads: Reads) -> bool {
    let findings = history.check(reads);
    assert!(findings.undecided.is_empty(), "{:?}", findings.undecided);
    findings.offenders.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        // Each run prints what is needed to repeat it.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_can_have_happened_to_a_card_passes(seed: u64, count in 0_usize..150) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let history = seen(&events(&mut chance, count), |_, amount| amount);
        for reads in [Reads::Strict, Reads::Promised] {
            let findings = history.check(reads);
            prop_assert!(findings.offenders.is_empty(), "{:?}: {:?}", reads, findings.offenders);
        }
    }

    #[test]
    fn a_lost_recharge_is_caught(seed: u64, count in 1_usize..80) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let events = with_last_read(events(&mut chance, count));
        if let Some(lost) = some_recharge(&events, &mut chance) {
            let history = seen(&events, |number, amount| if number == lost { 0 } else { amount });
            prop_assert!(!is_good(&history, Reads::Promised), "{:?}", history);
        }
    }

    #[test]
    fn a_doubled_recharge_is_caught(seed: u64, count in 1_usize..80) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let events = with_last_read(events(&mut chance, count));
        if let Some(doubled) = some_recharge(&events, &mut chance) {
            let history = seen(&events, |number, amount| if number == doubled { 2 * amount } else { amount });
            prop_assert!(!is_good(&history, Reads::Promised), "{:?}", history);
        }
    }

    #[test]
    fn a_read_of_an_old_balance_is_caught(seed: u64, count in 1_usize..80) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let events = with_last_read(events(&mut chance, count));
        let mut history = seen(&events, |_, amount| amount);
        // The last read begins after everything; any balance from before some answered recharge is old.
        if let Some(old) = some_recharge(&events, &mut chance) {
            let told = history.recharges.iter().find(|r| r.key == old.to_string()).unwrap();
            let before = told.answered.unwrap().1 - told.amount;
            history.reads.last_mut().unwrap().balance = before;
            prop_assert!(!is_good(&history, Reads::Promised), "{:?}", history);
        }
    }

    #[test]
    fn a_balance_that_nobody_made_is_caught(seed: u64, count in 1_usize..80, by in prop_oneof![Just(-7_i64), Just(1), Just(3)]) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let events = with_last_read(events(&mut chance, count));
        let mut history = seen(&events, |_, amount| amount);
        let read = chance.random_range(0..history.reads.len());
        history.reads[read].balance += by;
        prop_assert!(!is_good(&history, Reads::Promised), "{:?}", history);
    }

    #[test]
    fn recharges_that_overwrite_each_other_are_caught(seed: u64, count in 2_usize..80) {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let events = events(&mut chance, count);
        let mut history = seen(&events, |_, amount| amount);
        let mut answered: Vec<&mut Recharge> = history.recharges.iter_mut().filter(|r| r.answered.is_some()).collect();
        if answered.len() >= 2 {
            let second = chance.random_range(1..answered.len());
            // Both found the same balance.
            let found = answered[second - 1].answered.unwrap().1 - answered[second - 1].amount;
            let (at, _) = answered[second].answered.unwrap();
            answered[second].answered = Some((at, found + answered[second].amount));
            prop_assert!(!is_good(&history, Reads::Promised), "{:?}", history);
        }
    }

    #[test]
    fn a_total_queue_passes_and_each_mistake_is_caught(seed: u64, steps in 20_usize..250) {
        for mistake in [None, Some(Mistake::Loses), Some(Mistake::Repeats), Some(Mistake::TakesLate), Some(Mistake::SendsTwice)] {
            let mut lab = Queue::new(seed, mistake);
            for _ in 0..steps {
                lab.step();
            }
            let (operations, remaining) = lab.finish();
            let findings = queue::check("q", &operations, Some(&remaining));
            prop_assert_eq!(findings.offenders.is_empty(), lab.made.is_none(), "{:?} {:?}: {:?}", mistake, lab.made, findings.offenders);
        }
    }
}

#[test]
fn each_mistake_of_a_queue_is_really_made() {
    for mistake in [
        Mistake::Loses,
        Mistake::Repeats,
        Mistake::TakesLate,
        Mistake::SendsTwice,
    ] {
        let made = (0..50_u64).filter(|seed| {
            let mut lab = Queue::new(*seed, Some(mistake));
            for _ in 0..250 {
                lab.step();
            }
            lab.made.is_some()
        });
        assert!(made.count() > 25, "{mistake:?}");
    }
}

/// Reads that see a recharge on its way, then do not: no linearizable history, and yet what the caches promise.
#[test]
fn reads_may_only_disagree_about_what_is_on_its_way() {
    let read = |balance, asked, answered| Read {
        balance,
        asked,
        answered,
    };
    let history = |answered, reads| History {
        card: 1,
        opening: 0,
        recharges: vec![Recharge {
            key: "k".into(),
            amount: 100,
            asked: 10,
            answered,
        }],
        reads,
    };
    let flips = history(Some((90, 100)), vec![read(100, 20, 30), read(0, 40, 50)]);
    assert!(is_good(&flips, Reads::Promised));
    assert!(!is_good(&flips, Reads::Strict));
    let late = history(Some((90, 100)), vec![read(0, 91, 95)]);
    assert!(!is_good(&late, Reads::Promised));
    let never_answered = history(None, vec![read(100, 20, 30), read(0, 400, 500)]);
    assert!(is_good(&never_answered, Reads::Promised));
    let early = history(None, vec![read(100, 1, 5)]);
    assert!(!is_good(&early, Reads::Promised));
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    /// Drops a message that was given back.
    Loses,
    /// Delivers what was acknowledged.
    Repeats,
    /// Takes a receipt that should be void.
    TakesLate,
    /// Forgets a dedupe id.
    SendsTwice,
}

/// A queue that does what it should, apart from one mistake, and clients that write a journal.
struct Queue {
    chance: ChaCha8Rng,
    now: u64,
    operations: Vec<Operation>,
    values: usize,
    next_id: usize,
    seen: BTreeMap<String, String>,
    /// Ids that a sender was answered with.
    told: BTreeSet<String>,
    waiting: VecDeque<(String, String, u32)>,
    /// Those whose receipts are with a consumer: message, value, delivery.
    held: Vec<(String, String, u32)>,
    /// Receipts that are void.
    void: Vec<(String, String, u32)>,
    mistake: Option<Mistake>,
    made: Option<Mistake>,
}

impl Queue {
    fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        Self {
            chance: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            operations: Vec::new(),
            values: 0,
            next_id: 0,
            seen: BTreeMap::new(),
            told: BTreeSet::new(),
            waiting: VecDeque::new(),
            held: Vec::new(),
            void: Vec::new(),
            mistake,
            made: None,
        }
    }

    fn record(&mut self, action: Action, answer: Option<Answer>) {
        self.now += 10;
        let outcome = answer.map_or(Outcome::Unknown, |answer| Outcome::Ok {
            at_us: self.now + 5,
            answer,
        });
        self.operations.push(Operation {
            id: self.operations.len() as u64,
            action,
            invoked_us: self.now,
            outcome,
        });
    }

    fn errs(&mut self, mistake: Mistake) -> bool {
        let errs = self.mistake == Some(mistake) && self.made.is_none() && self.chance.random();
        if errs {
            self.made = Some(mistake);
        }
        errs
    }

    fn step(&mut self) {
        match self.chance.random_range(0..10) {
            0..3 => {
                self.values += 1;
                self.send(format!("v{}", self.values));
            }
            3 if self.values > 0 => {
                let again = self.chance.random_range(1..=self.values);
                self.send(format!("v{again}"));
            }
            4..7 => self.receive(),
            7 if !self.held.is_empty() => {
                let index = self.chance.random_range(0..self.held.len());
                self.expire(index);
            }
            8 if !self.void.is_empty() => self.acknowledge_late(),
            _ if !self.held.is_empty() => self.acknowledge(),
            _ => {}
        }
    }

    fn send(&mut self, value: String) {
        let known = self.seen.get(&value).cloned();
        let id = match known {
            // Nobody can tell from a first id that nobody was told.
            Some(id) if !self.told.contains(&id) || !self.errs(Mistake::SendsTwice) => id,
            _ => {
                self.next_id += 1;
                let id = format!("m{}", self.next_id);
                self.seen.insert(value.clone(), id.clone());
                self.waiting.push_back((id.clone(), value.clone(), 1));
                id
            }
        };
        // An answer may get lost, but not the one that would tell of the mistake.
        let lost = self.made.is_none() && self.chance.random_bool(0.1);
        if !lost {
            self.told.insert(id.clone());
        }
        let answer = (!lost).then(|| Answer::Sent { messages: vec![id] });
        let (queue, values) = ("q".to_owned(), vec![value]);
        self.record(Action::Send { queue, values }, answer);
    }

    fn receive(&mut self) {
        let count = self.chance.random_range(0..3).min(self.waiting.len());
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        let lost = self.chance.random_bool(0.1);
        let deliveries = taken
            .iter()
            .map(|(message, value, delivery)| Delivery {
                message: message.clone(),
                delivery: *delivery,
                value: value.clone(),
            })
            .collect();
        let queue = "q".to_owned();
        self.record(
            Action::Receive { queue },
            (!lost).then_some(Answer::Received { deliveries }),
        );
        for (message, value, delivery) in taken {
            if lost {
                self.waiting.push_back((message, value, delivery + 1));
            } else {
                self.held.push((message, value, delivery));
            }
        }
    }

    /// Its visibility ends, and it is given to somebody else at once.
    fn expire(&mut self, index: usize) {
        let (message, value, delivery) = self.held.remove(index);
        if self.errs(Mistake::Loses) {
            return;
        }
        self.void.push((message.clone(), value.clone(), delivery));
        let again = Delivery {
            message: message.clone(),
            delivery: delivery + 1,
            value: value.clone(),
        };
        let queue = "q".to_owned();
        let deliveries = vec![again];
        self.record(
            Action::Receive { queue },
            Some(Answer::Received { deliveries }),
        );
        self.held.push((message, value, delivery + 1));
    }

    fn acknowledge(&mut self) {
        let index = self.chance.random_range(0..self.held.len());
        let (message, value, delivery) = self.held.remove(index);
        let action = Action::Acknowledge {
            queue: "q".to_owned(),
            message: message.clone(),
            delivery,
        };
        let repeats = self.errs(Mistake::Repeats);
        let lost = !repeats && self.chance.random_bool(0.1);
        self.record(
            action,
            (!lost).then_some(Answer::Acknowledged { late: false }),
        );
        if repeats {
            let deliveries = vec![Delivery {
                message,
                delivery: delivery + 1,
                value,
            }];
            let queue = "q".to_owned();
            self.record(
                Action::Receive { queue },
                Some(Answer::Received { deliveries }),
            );
        }
    }

    fn acknowledge_late(&mut self) {
        let index = self.chance.random_range(0..self.void.len());
        let (message, _, delivery) = self.void[index].clone();
        let late = !self.errs(Mistake::TakesLate);
        let action = Action::Acknowledge {
            queue: "q".to_owned(),
            message,
            delivery,
        };
        self.record(action, Some(Answer::Acknowledged { late }));
    }

    fn finish(&mut self) -> (Vec<Operation>, BTreeSet<String>) {
        let left = self.waiting.iter().chain(&self.held);
        let remaining = left.map(|(_, value, _)| value.clone()).collect();
        (std::mem::take(&mut self.operations), remaining)
    }
}

fn operation(id: u64, action: Action, answer: Option<Answer>) -> Operation {
    let outcome = answer.map_or(Outcome::Unknown, |answer| Outcome::Ok {
        at_us: id * 10 + 5,
        answer,
    });
    Operation {
        id,
        action,
        invoked_us: id * 10,
        outcome,
    }
}

#[test]
fn the_naive_pair_is_judged_by_what_it_can_promise() {
    let enqueue = |id: u64, message: &str| {
        let value = message.to_owned();
        let answer = Answer::Enqueued {
            message: message.to_owned(),
        };
        operation(id, Action::Enqueue { value }, Some(answer))
    };
    let dequeue = |id: u64, message: Option<&str>| {
        let message = message.map(str::to_owned);
        operation(id, Action::Dequeue, Some(Answer::Dequeued { message }))
    };
    let left = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let good = vec![
        enqueue(1, "a"),
        enqueue(2, "b"),
        dequeue(3, Some("a")),
        dequeue(4, None),
    ];
    let check = |operations: &[Operation], remaining: &[&str]| {
        naive::check(operations, Some(&left(remaining)))
            .offenders
            .len()
    };
    assert_eq!(check(&good, &["b"]), 0);
    assert_eq!(check(&good, &[]), 1, "b is lost");
    let mut taken = good.clone();
    taken.push(operation(5, Action::Dequeue, None));
    assert_eq!(check(&taken, &[]), 0, "b may have been taken");
    let mut twice = good.clone();
    twice.push(dequeue(5, Some("a")));
    assert_eq!(check(&twice, &["b"]), 1);
    let mut stranger = good.clone();
    stranger.push(dequeue(5, Some("c")));
    assert_eq!(check(&stranger, &["b"]), 1);
    assert_eq!(check(&good, &["a", "b"]), 1, "a is still there");
}

#[test]
fn bookings_overlap_or_do_not() {
    let zero = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
    let book = |id: u64, key: &str, booking: i64, tutor: i64, from: i64, to: i64| {
        let action = Action::Book {
            student: 1,
            tutor,
            key: key.to_owned(),
        };
        let answer = Answer::Booked {
            booking,
            tutor,
            starts_at: zero + TimeDelta::minutes(from),
            ends_at: zero + TimeDelta::minutes(to),
            replayed: false,
        };
        operation(id, action, Some(answer))
    };
    for (operations, wrong) in [
        (
            vec![
                book(1, "a", 1, 1, 0, 60),
                book(2, "b", 2, 1, 60, 120),
                book(3, "c", 3, 2, 0, 60),
            ],
            0,
        ),
        // The same answer again.
        (
            vec![book(1, "a", 1, 1, 0, 60), book(2, "a", 1, 1, 0, 60)],
            0,
        ),
        (
            vec![book(1, "a", 1, 1, 0, 60), book(2, "b", 2, 1, 59, 90)],
            1,
        ),
        // A long one that covers two.
        (
            vec![
                book(1, "a", 1, 1, 0, 240),
                book(2, "b", 2, 1, 10, 20),
                book(3, "c", 3, 1, 60, 90),
            ],
            2,
        ),
        (
            vec![book(1, "a", 1, 1, 0, 60), book(2, "a", 2, 1, 60, 90)],
            1,
        ),
        (
            vec![book(1, "a", 1, 1, 0, 60), book(2, "b", 1, 1, 60, 90)],
            1,
        ),
    ] {
        let findings = bookings::check(&operations);
        assert_eq!(findings.offenders.len(), wrong, "{:?}", findings.offenders);
    }
}
