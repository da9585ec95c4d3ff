//! Single flight, by example and on a model.

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::first_level::Guard;

type Test = Flights<&'static str, u32, u32>;

fn flights(limit: usize) -> Arc<Test> {
    Arc::new(Flights::new(limit))
}

fn pilot(
    boarding: Boarding<&'static str, u32, u32>,
) -> (Pilot<&'static str, u32, u32>, Seat<u32, u32>) {
    match boarding {
        Boarding::Pilot(pilot, seat) => (pilot, seat),
        Boarding::Passenger(_) => panic!("a passenger"),
        Boarding::Full(_) => panic!("full"),
    }
}

fn passenger(boarding: Boarding<&'static str, u32, u32>) -> Seat<u32, u32> {
    match boarding {
        Boarding::Passenger(seat) => seat,
        Boarding::Pilot(..) => panic!("a pilot"),
        Boarding::Full(_) => panic!("full"),
    }
}

fn landed(seat: &Seat<u32, u32>) -> Option<u32> {
    match &*seat.flight.progress.borrow() {
        Progress::Landed(outcome) => Some(**outcome),
        Progress::Flying | Progress::Provisional(_) => None,
    }
}

#[test]
fn who_may_join_which_flight() {
    let guard = Guard::default();
    let old = guard.stamp("a");
    guard.delete("a", || {});
    let new = guard.stamp("a");
    for (state, has_next, aboard, proof, expected) in [
        (State::Waiting, false, 1, None, Decision::Join),
        (State::Waiting, false, 1, Some(new), Decision::Join),
        (State::Sent(Some(new)), false, 1, Some(new), Decision::Join),
        (
            State::Released(Some(new)),
            false,
            1,
            Some(new),
            Decision::Join,
        ),
        (
            State::Sent(Some(old)),
            false,
            1,
            Some(new),
            Decision::Replace,
        ),
        (State::Sent(Some(new)), false, 1, None, Decision::OpenNext),
        (State::Sent(None), false, 1, None, Decision::OpenNext),
        (State::Sent(None), false, 1, Some(new), Decision::OpenNext),
        (State::Sent(None), true, 1, None, Decision::JoinNext),
        (State::Released(None), false, 1, None, Decision::Replace),
        (State::Sent(Some(new)), false, 10, Some(new), Decision::Full),
    ] {
        let decision = decide(state, has_next, aboard, 10, proof);
        assert_eq!(decision, expected, "{state:?} {has_next} {proof:?}");
    }
}

#[test]
fn many_share_one_flight_and_leave_nothing_behind() {
    let flights = flights(10);
    let (flying, first) = pilot(flights.board(&"a", None));
    let second = passenger(flights.board(&"a", None));
    let (_other, _) = pilot(flights.board(&"b", None));
    flying.depart(None);
    assert_eq!(landed(&second), None);
    flying.land(7);
    assert_eq!((landed(&first), landed(&second)), (Some(7), Some(7)));
    assert_eq!(flights.rooms().len(), 1);
}

#[tokio::test]
async fn without_a_proof_readers_wait_for_the_next_flight() {
    let flights = flights(10);
    let (first, _seat) = pilot(flights.board(&"a", None));
    first.depart(None);
    let (second, for_second) = pilot(flights.board(&"a", None));
    let with_second = passenger(flights.board(&"a", None));
    assert!(second.turn().now_or_never().is_none());
    first.land(1);
    second.turn().await;
    second.depart(None);
    second.land(2);
    assert_eq!(
        (landed(&for_second), landed(&with_second)),
        (Some(2), Some(2))
    );
    assert!(flights.rooms().is_empty());
}

#[tokio::test]
async fn a_flight_that_makes_way_is_not_waited_for() {
    let flights = flights(10);
    let (first, _seat) = pilot(flights.board(&"a", None));
    first.depart(None);
    let (second, _seat) = pilot(flights.board(&"a", None));
    first.release();
    second.turn().await;
    second.depart(None);
    second.release();
    // The way is free.
    let (third, _seat) = pilot(flights.board(&"a", None));
    third.turn().await;
    first.land(1);
    second.land(2);
    assert_eq!(flights.rooms().len(), 1);
    drop(third);
    assert!(flights.rooms().is_empty());
}

#[test]
fn a_deletion_parts_readers() {
    let flights = flights(10);
    let guard = Guard::default();
    let (before, _seat) = pilot(flights.board(&"a", Some(guard.stamp("a"))));
    before.depart(Some(guard.stamp("a")));
    let with_before = passenger(flights.board(&"a", Some(guard.stamp("a"))));
    guard.delete("a", || {});
    let (after, _seat) = pilot(flights.board(&"a", Some(guard.stamp("a"))));
    after.depart(Some(guard.stamp("a")));
    let with_after = passenger(flights.board(&"a", Some(guard.stamp("a"))));
    before.land(1);
    after.land(2);
    assert_eq!(
        (landed(&with_before), landed(&with_after)),
        (Some(1), Some(2))
    );
}

#[tokio::test]
async fn a_pilot_that_dies_poisons_nobody() {
    let flights = flights(10);
    let (dying, seat) = pilot(flights.board(&"a", None));
    dying.depart(None);
    let (next, for_next) = pilot(flights.board(&"a", None));
    drop(dying);
    let far = Instant::now() + Duration::from_mins(1);
    assert!(matches!(seat.arrive(far).await, Arrival::Lost));
    next.turn().await;
    next.land(5);
    assert_eq!(landed(&for_next), Some(5));
    // Also one that waits for its turn.
    let (current, _seat) = pilot(flights.board(&"a", None));
    current.depart(None);
    let (waiting, _) = pilot(flights.board(&"a", None));
    drop(waiting);
    let (_next, _) = pilot(flights.board(&"a", None));
    current.land(6);
}

#[tokio::test]
async fn waits_are_bounded_in_number_and_time() {
    let flights = flights(2);
    let guard = Guard::default();
    let proof = Some(guard.stamp("a"));
    let (flying, first) = pilot(flights.board(&"a", proof));
    flying.depart(proof);
    let second = passenger(flights.board(&"a", proof));
    assert!(matches!(flights.board(&"a", proof), Boarding::Full(None)));
    assert!(matches!(
        first.arrive(Instant::now()).await,
        Arrival::Late(None)
    ));
    flying.provisional(Arc::new(3));
    assert!(
        matches!(second.arrive(Instant::now()).await, Arrival::Late(Some(stale)) if *stale == 3)
    );
    // Something to make do with, for those who can prove that it is good.
    assert!(matches!(flights.board(&"a", proof), Boarding::Full(Some(stale)) if *stale == 3));
    assert!(matches!(flights.board(&"a", None), Boarding::Full(None)));
    drop(second);
    assert!(matches!(flights.board(&"a", proof), Boarding::Passenger(_)));
}

/// What happens in the model below.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A reader comes.
    Come,
    /// The oldest flight that waits is sent, if it is its turn.
    Send,
    /// The oldest flight that was sent learns what is current.
    Learn,
    /// The oldest flight that has learnt it lands.
    Land,
    /// The oldest flight that was sent makes way.
    Release,
    /// A write is answered: we have heard of its deletion, or hold no lease.
    Write(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Come),
        4 => Just(Step::Send),
        4 => Just(Step::Learn),
        4 => Just(Step::Land),
        2 => Just(Step::Release),
        3 => any::<bool>().prop_map(Step::Write),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nobody gets a value that is older than the last write that was answered before he came.
    #[test]
    fn nobody_gets_an_older_value_than_alone(steps in prop::collection::vec(step(), 1..120)) {
        let flights = flights(1000);
        let guard = Guard::default();
        let mut version = 0_u32;
        let mut has_lease = true;
        let mut pilots = Vec::new();
        let mut readers: Vec<(Seat<u32, u32>, u32)> = Vec::new();
        for step in steps {
            let proof = has_lease.then(|| guard.stamp("a"));
            match step {
                Step::Come => {
                    match flights.board(&"a", proof) {
                        Boarding::Pilot(pilot, seat) => {
                            pilots.push((pilot, false, None));
                            readers.push((seat, version));
                        }
                        Boarding::Passenger(seat) => readers.push((seat, version)),
                        Boarding::Full(_) => prop_assert!(false, "there is room"),
                    }
                }
                Step::Send => {
                    let waiting = pilots.iter_mut().find(|(_, sent, _)| !*sent);
                    if let Some((pilot, sent, _)) = waiting && pilot.turn().now_or_never().is_some() {
                        pilot.waits = false;
                        pilot.depart(proof);
                        *sent = true;
                    }
                }
                Step::Learn => {
                    let ready = pilots.iter_mut().find(|(_, sent, learnt)| *sent && learnt.is_none());
                    if let Some((_, _, learnt)) = ready {
                        *learnt = Some(version);
                    }
                }
                Step::Land => {
                    let ready = pilots.iter().position(|(_, _, learnt)| learnt.is_some());
                    if let Some(position) = ready {
                        let (pilot, _, learnt) = pilots.remove(position);
                        pilot.land(learnt.unwrap_or(0));
                    }
                }
                Step::Release => {
                    if let Some((pilot, _, _)) = pilots.iter().find(|(_, sent, _)| *sent) {
                        pilot.release();
                    }
                }
                Step::Write(heard) => {
                    version += 1;
                    if heard || !has_lease {
                        guard.delete("a", || {});
                    } else {
                        // Not heard of it, so the lease was waited out; what comes after begins anew.
                        has_lease = false;
                    }
                    if heard && !has_lease {
                        guard.delete_all(|| {});
                        has_lease = true;
                    }
                }
            }
            for (seat, least) in &readers {
                if let Some(got) = landed(seat) {
                    prop_assert!(got >= *least, "{got} after {least}");
                }
            }
        }
    }
}
