use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::limit::Outcome;

fn settings(limit: u32, queue: usize, max_wait: u64) -> GateSettings {
    GateSettings {
        bounds: Bounds {
            min: limit,
            max: limit,
            initial: limit,
            tolerance: 1.5,
        },
        queue,
        max_wait: ms(max_wait),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A gate whose one place is taken.
fn full(queue: usize, now: Instant) -> Gate<u32> {
    let mut gate = Gate::new(settings(1, queue, 1_000), now);
    assert_eq!(gate.enter(now + ms(10_000), now), Entry::Admitted);
    gate
}

/// Lets these wait, and then serves them one after the other.
fn order(
    gate: &mut Gate<u32>,
    arrivals: &[(u32, Priority)],
    began: Instant,
    served: Instant,
) -> Vec<u32> {
    for &(name, priority) in arrivals {
        assert_eq!(gate.enter(began + ms(10_000), began), Entry::Full);
        assert!(gate.wait(name, priority, began + ms(10_000), began).is_ok());
    }
    let mut order = Vec::new();
    while gate.queued() > 0 {
        assert_eq!(gate.next(served), None, "there is no room");
        gate.leave();
        match gate.next(served) {
            Some(Next::Admitted(name)) => order.push(name),
            other => panic!("{other:?}"),
        }
    }
    order
}

#[test]
fn a_burst_is_served_in_order_and_overload_the_newest_first() {
    use Priority::{Normal, Operator};
    let now = Instant::now();
    let arrivals = [
        (1, Normal),
        (2, Normal),
        (3, Operator),
        (4, Normal),
        (5, Operator),
    ];
    assert_eq!(
        order(&mut full(9, now), &arrivals, now, now + ms(99)),
        [3, 5, 1, 2, 4]
    );
    assert_eq!(
        order(&mut full(9, now), &arrivals, now, now + ms(100)),
        [3, 5, 4, 2, 1]
    );
}

#[test]
fn a_full_queue_turns_the_right_one_away() {
    use Priority::{Normal, Operator};
    let now = Instant::now();
    let late = now + ms(10_000);
    let mut gate = full(2, now);
    let wait = |gate: &mut Gate<u32>, name, priority, now| {
        gate.wait(name, priority, late, now)
            .map(|(_, pushed_out)| pushed_out)
    };
    assert_eq!(wait(&mut gate, 1, Normal, now), Ok(None));
    assert_eq!(wait(&mut gate, 2, Normal, now), Ok(None));
    assert_eq!(
        wait(&mut gate, 3, Normal, now),
        Err(3),
        "a burst: who comes last"
    );
    assert_eq!(
        wait(&mut gate, 4, Operator, now),
        Ok(Some(2)),
        "an operator pushes one out"
    );
    let later = now + ms(200);
    assert_eq!(
        wait(&mut gate, 5, Normal, later),
        Ok(Some(1)),
        "overload: the oldest"
    );
    assert_eq!(wait(&mut gate, 6, Operator, later), Ok(Some(5)));
    assert_eq!(
        wait(&mut gate, 7, Operator, later),
        Err(7),
        "operators do not push each other out"
    );
    assert_eq!(gate.queued(), 2);
}

#[test]
fn who_cannot_be_answered_in_time_is_not_let_in() {
    let start = Instant::now();
    let mut gate = Gate::<u32>::new(settings(1, 9, 300), start);
    // Requests take 100 ms here: half of that is the least to hope for.
    for round in 0..9 {
        let started = start + ms(100 * round);
        assert_eq!(gate.enter(start + ms(100_000), started), Entry::Admitted);
        let sample = Sample {
            class: 0,
            started,
            outcome: Outcome::Answered,
        };
        gate.observe(sample, started + ms(100));
        gate.leave();
    }
    let now = start + ms(1_000);
    assert_eq!(gate.enter(now + ms(50), now), Entry::Late);
    assert_eq!(gate.enter(now + ms(51), now), Entry::Admitted);
    let (place, _) = gate.wait(1, Priority::Normal, now + ms(200), now).unwrap();
    assert_eq!(
        (place.until, place.reason),
        (now + ms(150), ShedReason::Deadline)
    );
    let (place, _) = gate
        .wait(2, Priority::Normal, now + ms(2_000), now)
        .unwrap();
    assert_eq!(
        (place.until, place.reason),
        (now + ms(300), ShedReason::WaitedTooLong)
    );
    let (place, _) = gate
        .wait(3, Priority::Normal, now + ms(2_000), now)
        .unwrap();
    assert_eq!(gate.cancel(place), Some(3));
    assert_eq!(gate.cancel(place), None);
    gate.leave();
    let later = now + ms(301);
    assert_eq!(
        gate.next(later),
        Some(Next::Shed(2, ShedReason::WaitedTooLong)),
        "overload: the newest"
    );
    assert_eq!(gate.next(later), Some(Next::Shed(1, ShedReason::Deadline)));
    assert_eq!(gate.next(later), None);
}

#[derive(Clone, Debug)]
enum Event {
    Arrive { operator: bool, patience: u64 },
    Finish { answered: bool },
    Cancel(usize),
    Pass(u64),
    Limit(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (any::<bool>(), 0_u64..400).prop_map(|(operator, patience)| Event::Arrive { operator, patience }),
        4 => any::<bool>().prop_map(|answered| Event::Finish { answered }),
        1 => (0_usize..20).prop_map(Event::Cancel),
        2 => (0_u64..150).prop_map(Event::Pass),
        1 => (1_u32..8).prop_map(Event::Limit),
    ]
}

proptest! {
    #[test]
    fn the_gate_keeps_its_word(queue in 0_usize..8, events in prop::collection::vec(event(), 1..300)) {
        let mut now = Instant::now();
        let mut gate = Gate::new(settings(4, queue, 200), now);
        let (mut number, mut in_flight) = (0_u32, Vec::new());
        // Who waits: since when, until when it makes sense, and its place.
        let mut waiting: BTreeMap<u32, (Instant, Instant, Place)> = BTreeMap::new();
        for event in events {
            match event {
                Event::Arrive { operator, patience } => {
                    number += 1;
                    let deadline = now + ms(patience);
                    let priority = if operator { Priority::Operator } else { Priority::Normal };
                    match gate.enter(deadline, now) {
                        Entry::Admitted => {
                            prop_assert!(deadline > now, "expired and let in");
                            in_flight.push(now);
                            prop_assert!(in_flight.len() <= gate.limit(), "over the limit");
                            prop_assert!(waiting.is_empty(), "nobody is overtaken");
                        }
                        Entry::Late => {}
                        Entry::Full => match gate.wait(number, priority, deadline, now) {
                            Ok((place, pushed_out)) => {
                                if let Some(other) = pushed_out {
                                    prop_assert!(waiting.remove(&other).is_some());
                                }
                                waiting.insert(number, (now, deadline, place));
                            }
                            Err(same) => {
                                prop_assert_eq!(same, number);
                                prop_assert!(gate.queued() >= queue, "turned away from a queue that is not full");
                            }
                        },
                    }
                }
                Event::Finish { answered } => if let Some(started) = in_flight.pop() {
                    let outcome = if answered { Outcome::Answered } else { Outcome::Overloaded };
                    gate.observe(Sample { class: 0, started, outcome }, now);
                    gate.leave();
                },
                Event::Cancel(at) => if let Some((&name, &(_, _, place))) = waiting.iter().nth(at) {
                    prop_assert_eq!(gate.cancel(place), Some(name), "who waits can leave");
                    waiting.remove(&name);
                },
                Event::Pass(time) => now += ms(time),
                Event::Limit(limit) => gate.set(settings(limit, queue, 200)),
            }
            let before = gate.in_flight();
            while let Some(next) = gate.next(now) {
                match next {
                    Next::Admitted(name) => {
                        let (since, deadline, _) = waiting.remove(&name).expect("only those who wait are let in");
                        prop_assert!(deadline > now, "expired and let in");
                        prop_assert!(now - since <= ms(200), "waited too long and let in");
                        in_flight.push(now);
                    }
                    Next::Shed(name, _) => prop_assert!(waiting.remove(&name).is_some()),
                }
            }
            prop_assert_eq!(gate.in_flight(), in_flight.len());
            prop_assert_eq!(gate.queued(), waiting.len(), "nobody is lost");
            prop_assert!(gate.in_flight() <= gate.limit().max(before), "over the limit");
            prop_assert!(gate.queued() <= queue, "the queue is bounded");
            prop_assert!(waiting.is_empty() || gate.in_flight() >= gate.limit(), "somebody waits and there is room");
        }
    }
}
