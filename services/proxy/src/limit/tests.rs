use super::*;
use crate::{
    chance::{Chance, unit},
    gate::{Entry, Gate, GateSettings, Next, Priority},
};

use std::collections::BinaryHeap;
use std::{cmp::Reverse, collections::VecDeque};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

const BOUNDS: Bounds = Bounds {
    min: 4,
    max: 10_000,
    initial: 64,
    tolerance: 2.0,
};

/// The service time of a request in nanoseconds and its class, drawn for the moment it arrives.
type Work = Box<dyn Fn(u64, &mut Chance) -> (u64, u64)>;

/// A server with so many workers and an endless queue, and clients that give up after a second. All in nanoseconds of virtual
/// time.
struct Simulation {
    workers: usize,
    work: Work,
    /// Requests a second that arrive, by the moment.
    offered: Box<dyn Fn(u64) -> f64>,
    bounds: Option<Bounds>,
    seconds: u64,
    patience: u64,
}

#[derive(Debug, Default)]
struct Result {
    /// Answered within patience, by second.
    good: Vec<u64>,
    /// What the requests let in took from their arrival, in nanoseconds.
    latencies: Vec<u64>,
    /// The limit at the end of each second.
    limits: Vec<usize>,
    shed: u64,
}

impl Result {
    fn goodput(&self, seconds: std::ops::Range<usize>) -> f64 {
        let count = seconds.len() as f64;
        self.good[seconds].iter().sum::<u64>() as f64 / count
    }

    fn percentile(&self, percent: usize) -> u64 {
        let mut all = self.latencies.clone();
        all.sort_unstable();
        all[all.len() * percent / 100]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Done(usize),
}

#[derive(Clone, Copy, Debug)]
struct Request {
    arrived: u64,
    admitted: u64,
    class: u64,
    work: u64,
}

impl Simulation {
    fn run(&self) -> Result {
        let epoch = Instant::now();
        let at = |nanos: u64| epoch + Duration::from_nanos(nanos);
        let mut chance = Chance::seeded(7);
        let mut gate = self.bounds.map(|bounds| {
            let settings = GateSettings {
                bounds,
                queue: 128,
                max_wait: Duration::from_millis(500),
            };
            Gate::<usize>::new(settings, epoch)
        });
        let end = self.seconds * SECOND;
        let mut result = Result {
            good: vec![0; self.seconds as usize],
            ..Result::default()
        };
        let mut requests: Vec<Request> = Vec::new();
        let mut waiting: VecDeque<usize> = VecDeque::new();
        let mut busy = 0;
        let mut events = BinaryHeap::from([Reverse((0_u64, Event::Arrival))]);
        while let Some(Reverse((now, event))) = events.pop() {
            if now >= end {
                break;
            }
            while result.limits.len() < (now / SECOND) as usize {
                result.limits.push(gate.as_ref().map_or(0, Gate::limit));
            }
            let mut begun: Vec<usize> = Vec::new();
            match event {
                Event::Arrival => {
                    let pause = -(1.0 - unit(chance.bits())).ln() / (self.offered)(now);
                    events.push(Reverse((now + (pause * 1e9) as u64, Event::Arrival)));
                    let (work, class) = (self.work)(now, &mut chance);
                    let index = requests.len();
                    requests.push(Request {
                        arrived: now,
                        admitted: now,
                        class,
                        work,
                    });
                    let deadline = at(now + self.patience);
                    match &mut gate {
                        None => begun.push(index),
                        Some(gate) => match gate.enter(deadline, at(now)) {
                            Entry::Admitted => begun.push(index),
                            Entry::Late => result.shed += 1,
                            Entry::Full => {
                                match gate.wait(index, Priority::Normal, deadline, at(now)) {
                                    Ok((_, pushed_out)) => {
                                        result.shed += u64::from(pushed_out.is_some());
                                    }
                                    Err(_) => result.shed += 1,
                                }
                            }
                        },
                    }
                }
                Event::Done(index) => {
                    busy -= 1;
                    let request = requests[index];
                    let took = now - request.arrived;
                    result.latencies.push(took);
                    if took <= self.patience {
                        result.good[(now / SECOND) as usize] += 1;
                    }
                    if let Some(gate) = &mut gate {
                        let sample = Sample {
                            class: request.class,
                            started: at(request.admitted),
                            outcome: if took <= self.patience {
                                Outcome::Answered
                            } else {
                                Outcome::Overloaded
                            },
                        };
                        gate.observe(sample, at(now));
                        gate.leave();
                    }
                    if let Some(next) = waiting.pop_front() {
                        busy += 1;
                        events.push(Reverse((now + requests[next].work, Event::Done(next))));
                    }
                }
            }
            while let Some(next) = gate.as_mut().and_then(|gate| gate.next(at(now))) {
                match next {
                    Next::Admitted(index) => {
                        requests[index].admitted = now;
                        begun.push(index);
                    }
                    Next::Shed(..) => result.shed += 1,
                }
            }
            for index in begun {
                if busy < self.workers {
                    busy += 1;
                    events.push(Reverse((now + requests[index].work, Event::Done(index))));
                } else {
                    waiting.push_back(index);
                }
            }
        }
        result
    }
}

/// An exponential time with this mean.
fn exponential(mean: u64, chance: &mut Chance) -> u64 {
    (-(1.0 - chance.unit()).ln() * mean as f64) as u64
}

fn uniform(workers: usize, mean: u64, load: f64, bounds: Option<Bounds>) -> Simulation {
    let capacity = workers as f64 * 1_000.0 / mean as f64;
    Simulation {
        workers,
        work: Box::new(move |_, chance| (exponential(mean * MS, chance), 0)),
        offered: Box::new(move |_| capacity * load),
        bounds,
        seconds: 20,
        patience: SECOND,
    }
}

#[test]
fn ten_times_the_capacity_is_survived_and_without_the_limit_it_is_not() {
    // 16 workers at 10 ms do 1,600 requests a second; 16,000 come.
    let limited = uniform(16, 10, 10.0, Some(BOUNDS)).run();
    let goodput = limited.goodput(5..20);
    assert!(goodput >= 0.9 * 1_600.0, "{goodput} {:?}", limited.good);
    // Nobody who is let in waits longer than a few times what an idle server takes (its own p99 is 46 ms).
    let p99 = limited.percentile(99) / MS;
    assert!(p99 <= 200, "{p99} ms");
    // It settles near what the server can do at once, from far above.
    let limit = limited.limits[10..].iter().sum::<usize>() / limited.limits[10..].len();
    assert!((16..=64).contains(&limit), "{:?}", limited.limits);

    let unlimited = uniform(16, 10, 10.0, None).run();
    let goodput = unlimited.goodput(5..20);
    assert!(goodput < 0.01 * 1_600.0, "{goodput}");
}

#[test]
fn below_the_capacity_it_is_not_felt() {
    for (workers, mean, load) in [(16, 10, 0.5), (100, 20, 0.9), (50, 500, 0.8)] {
        let simulation = Simulation {
            patience: 10 * SECOND,
            ..uniform(workers, mean, load, Some(BOUNDS))
        };
        let result = simulation.run();
        let all = result.latencies.len() as f64;
        assert!(
            (result.shed as f64) < 0.005 * all,
            "{workers} at {load}: {} of {all}",
            result.shed
        );
    }
}

#[test]
fn it_finds_servers_of_all_sizes() {
    for (workers, mean) in [(2, 2), (4, 10), (100, 20)] {
        let result = uniform(workers, mean, 2.0, Some(BOUNDS)).run();
        let capacity = workers as f64 * 1_000.0 / mean as f64;
        let goodput = result.goodput(8..20);
        assert!(
            goodput >= 0.9 * capacity,
            "{workers}: {goodput} {:?}",
            result.limits
        );
        let limit = result.limits[12..].iter().sum::<usize>() / result.limits[12..].len();
        assert!(
            limit <= 4 * workers.max(BOUNDS.min as usize),
            "{workers}: {:?}",
            result.limits
        );
    }
}

#[test]
fn it_recovers_from_a_fault() {
    // From second 5 to 8 everything takes a hundred times as long.
    let fault = |now: u64, chance: &mut Chance| {
        let factor = if (5..8).contains(&(now / SECOND)) {
            100
        } else {
            1
        };
        (exponential(10 * factor * MS, chance), 0)
    };
    let result = Simulation {
        work: Box::new(fault),
        ..uniform(16, 10, 2.0, Some(BOUNDS))
    }
    .run();
    // What the server has taken in by then takes it some seconds more, limit or not.
    let goodput = result.goodput(15..20);
    assert!(
        goodput >= 0.9 * 1_600.0,
        "{:?} {:?}",
        result.good,
        result.limits
    );
}

/// Fast requests (2 ms) and slow ones (200 ms), so many of them slow.
fn mixed(slow: impl Fn(u64) -> f64 + 'static, has_classes: bool) -> Work {
    Box::new(move |now, chance| {
        let is_slow = chance.unit() < slow(now);
        let mean = if is_slow { 200 } else { 2 };
        let class = if has_classes {
            1 + u64::from(is_slow)
        } else {
            0
        };
        (exponential(mean * MS, chance), class)
    })
}

#[test]
fn fast_and_slow_routes_together_are_no_trouble() {
    // 32 workers at 0.2 * 200 + 0.8 * 2 ms do 769 a second.
    for has_classes in [true, false] {
        let result = Simulation {
            work: mixed(|_| 0.2, has_classes),
            seconds: 30,
            patience: 2 * SECOND,
            ..uniform(32, 1_000 * 32 / 769, 10.0, Some(BOUNDS))
        }
        .run();
        let goodput = result.goodput(5..30);
        assert!(
            goodput >= 0.75 * 769.0,
            "{has_classes}: {goodput} {:?}",
            result.limits
        );
    }
}

#[test]
fn a_change_of_the_mix_is_no_overload() {
    // From second 10 on most requests are slow ones: 121 ms on the mean, three quarters of what 64 workers can do.
    let run = |has_classes| {
        Simulation {
            workers: 64,
            work: mixed(
                |now| if now < 10 * SECOND { 0.05 } else { 0.6 },
                has_classes,
            ),
            offered: Box::new(|_| 400.0),
            bounds: Some(BOUNDS),
            seconds: 25,
            patience: 2 * SECOND,
        }
        .run()
    };
    let result = run(true);
    assert_eq!(
        result.shed, 0,
        "with classes it is not even noticed: {:?}",
        result.limits
    );
    let result = run(false);
    let goodput = result.goodput(18..25);
    assert!(
        goodput >= 0.95 * 400.0,
        "without, it is learnt in seconds: {:?} {:?}",
        result.good,
        result.limits
    );
}

#[test]
fn overload_that_shows_in_answers_alone_shrinks_it_too() {
    let start = Instant::now();
    let mut limit = GradientLimit::new(BOUNDS, start);
    let mut now = start;
    for _ in 0..40 {
        now += Duration::from_millis(10);
        for _ in 0..64 {
            let sample = Sample {
                class: 0,
                started: now,
                outcome: Outcome::Overloaded,
            };
            limit.observe(sample, limit.limit(), now);
        }
    }
    assert!(limit.limit() < 32, "{}", limit.limit());
}

#[test]
fn ids_do_not_make_classes() {
    let get = |path| class_of("GET", path);
    assert_eq!(get("/cards/7/balance"), get("/cards/1234/balance"));
    assert_ne!(get("/cards/7/balance"), get("/cards/7/history"));
    assert_ne!(get("/cards/7"), class_of("PUT", "/cards/7"));
}

proptest::proptest! {
    #[test]
    fn the_limit_stays_within_its_bounds(
        min in 1_u32..50, more in 0_u32..100,
        samples in proptest::collection::vec((0_u64..3_000, 0_usize..200, 0_u8..3, 0_u64..200), 1..500),
    ) {
        let bounds = Bounds { min, max: min + more, initial: min, tolerance: 2.0 };
        let mut now = Instant::now() + Duration::from_mins(1);
        let mut limit = GradientLimit::new(bounds, now);
        for (took, in_flight, outcome, pause) in samples {
            now += Duration::from_millis(pause);
            limit.begin(now);
            let outcome = [Outcome::Answered, Outcome::Overloaded, Outcome::Ignored][usize::from(outcome)];
            let started = now.checked_sub(Duration::from_millis(took)).unwrap_or(now);
            limit.observe(Sample { class: 0, started, outcome }, in_flight, now);
            proptest::prop_assert!((min as usize..=(min + more) as usize).contains(&limit.limit()));
        }
    }
}
