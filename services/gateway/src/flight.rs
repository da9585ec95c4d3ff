//! Single flight: readers of one value share one look-up, and who shares it gets nothing older than what a look-up of his own
//! would have found.
//!
//! A look-up that has not been sent may be shared by anybody. One that was sent may be shared only by whoever can prove that
//! nothing was deleted since ([`FirstLevel::proof`](crate::first_level::FirstLevel::proof)); without a proof, readers wait
//! for it to be over and share the next one. A flight runs in a task of its own: it goes on when the reader who began it
//! leaves, and when it dies its passengers take the next one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{Notify, watch};

use crate::first_level::Stamp;

/// The flights under way, at most two for each value that can be joined.
pub struct Flights<K, P, O> {
    limit: usize,
    numbers: AtomicU64,
    rooms: Mutex<HashMap<K, Room<P, O>>>,
}

/// What waits for one value.
struct Room<P, O> {
    current: Leg<P, O>,
    /// Begins when the current one is over.
    next: Option<Leg<P, O>>,
}

struct Leg<P, O> {
    flight: Arc<Flight<P, O>>,
    state: State,
}

/// How far a flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its look-up was not sent.
    Waiting,
    /// It was sent, under this proof.
    Sent(Option<Stamp>),
    /// It was sent, and the next one need not wait for it.
    Released(Option<Stamp>),
}

/// One flight, as its passengers see it.
struct Flight<P, O> {
    number: u64,
    start: Notify,
    aboard: AtomicUsize,
    progress: watch::Receiver<Progress<P, O>>,
}

enum Progress<P, O> {
    Flying,
    /// There is something to make do with.
    Provisional(Arc<P>),
    Landed(Arc<O>),
}

/// What a reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Shares the current flight.
    Join,
    /// Begins another one at once, which others join from now on.
    Replace,
    /// Shares the next flight.
    JoinNext,
    /// Will begin the next flight.
    OpenNext,
    /// Too many wait.
    Full,
}

/// Which flight a reader takes: a pure decision.
fn decide(
    state: State,
    has_next: bool,
    aboard: usize,
    limit: usize,
    proof: Option<Stamp>,
) -> Decision {
    if aboard >= limit {
        return Decision::Full;
    }
    let (sent, released) = match state {
        State::Waiting => return Decision::Join,
        State::Sent(stamp) => (stamp, false),
        State::Released(stamp) => (stamp, true),
    };
    match (sent, proof) {
        (Some(sent), Some(proof)) if sent == proof => Decision::Join,
        // Something was deleted since: what it brings may be old, and there is no reason to wait for it.
        (Some(_), Some(_)) => Decision::Replace,
        _ if released => Decision::Replace,
        _ if has_next => Decision::JoinNext,
        _ => Decision::OpenNext,
    }
}

/// How a reader gets his answer.
pub enum Boarding<K: Clone + Eq + Hash, P, O> {
    /// With somebody else's flight.
    Passenger(Seat<P, O>),
    /// With a flight of his own, which must be flown.
    Pilot(Pilot<K, P, O>, Seat<P, O>),
    /// Not at all: too many wait already. Something to make do with, if that is proven to be good.
    Full(Option<Arc<P>>),
}

impl<K: Clone + Eq + Hash, P, O> Flights<K, P, O> {
    /// At most `limit` readers wait for one value.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            numbers: AtomicU64::new(0),
            rooms: Mutex::default(),
        }
    }

    /// Takes a reader aboard, who came when the proof was taken.
    pub fn board(self: &Arc<Self>, key: &K, proof: Option<Stamp>) -> Boarding<K, P, O> {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get_mut(key) else {
            let (pilot, seat) = self.new_flight(key, false);
            let current = Leg::new(&seat);
            let room = Room {
                current,
                next: None,
            };
            rooms.insert(key.clone(), room);
            return Boarding::Pilot(pilot, seat);
        };
        match decide(
            room.current.state,
            room.next.is_some(),
            room.aboard(),
            self.limit,
            proof,
        ) {
            Decision::Join => Boarding::Passenger(Seat::new(room.current.flight.clone())),
            Decision::Replace => {
                let (pilot, seat) = self.new_flight(key, false);
                room.current = Leg::new(&seat);
                Boarding::Pilot(pilot, seat)
            }
            Decision::JoinNext | Decision::OpenNext => {
                if let Some(next) = &room.next {
                    return Boarding::Passenger(Seat::new(next.flight.clone()));
                }
                let (pilot, seat) = self.new_flight(key, true);
                room.next = Some(Leg::new(&seat));
                Boarding::Pilot(pilot, seat)
            }
            Decision::Full => {
                let proven = match room.current.state {
                    State::Sent(sent) | State::Released(sent) => proof.is_some() && sent == proof,
                    State::Waiting => false,
                };
                let provisional = match &*room.current.flight.progress.borrow() {
                    Progress::Provisional(provisional) if proven => Some(provisional.clone()),
                    _ => None,
                };
                Boarding::Full(provisional)
            }
        }
    }

    /// Takes a reader aboard a flight of his own, which nobody else can share.
    pub fn alone(self: &Arc<Self>, key: &K) -> Boarding<K, P, O> {
        let (pilot, seat) = self.new_flight(key, false);
        Boarding::Pilot(pilot, seat)
    }

    fn new_flight(self: &Arc<Self>, key: &K, waits: bool) -> (Pilot<K, P, O>, Seat<P, O>) {
        let (progress, receiver) = watch::channel(Progress::Flying);
        let flight = Arc::new(Flight {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            start: Notify::new(),
            aboard: AtomicUsize::new(0),
            progress: receiver,
        });
        let pilot = Pilot {
            flights: self.clone(),
            key: key.clone(),
            flight: flight.clone(),
            waits,
            progress,
        };
        (pilot, Seat::new(flight))
    }

    /// Changes the leg of a flight that can still be joined.
    fn change(&self, key: &K, number: u64, state: State) {
        if let Some(room) = self.rooms().get_mut(key)
            && room.current.flight.number == number
        {
            room.current.state = state;
        }
    }

    /// The flight is over, or the next one need not wait for it.
    fn make_way(&self, key: &K, number: u64, over: bool) {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get_mut(key) else {
            return;
        };
        if room
            .next
            .as_ref()
            .is_some_and(|next| next.flight.number == number)
        {
            // It died before its turn.
            room.next = None;
        }
        if room.current.flight.number != number {
            return;
        }
        if let Some(next) = room.next.take() {
            next.flight.start.notify_one();
            room.current = next;
        } else if over {
            rooms.remove(key);
        } else if let State::Sent(stamp) = room.current.state {
            room.current.state = State::Released(stamp);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<K, Room<P, O>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P, O> Room<P, O> {
    fn aboard(&self) -> usize {
        let aboard = |leg: &Leg<P, O>| leg.flight.aboard.load(Ordering::Relaxed);
        aboard(&self.current) + self.next.as_ref().map_or(0, aboard)
    }
}

impl<P, O> Leg<P, O> {
    fn new(seat: &Seat<P, O>) -> Self {
        Self {
            flight: seat.flight.clone(),
            state: State::Waiting,
        }
    }
}

/// Flies: whoever holds it must send the look-up and land. Dropped without landing, it leaves its passengers to the next.
pub struct Pilot<K: Clone + Eq + Hash, P, O> {
    flights: Arc<Flights<K, P, O>>,
    key: K,
    flight: Arc<Flight<P, O>>,
    waits: bool,
    progress: watch::Sender<Progress<P, O>>,
}

impl<K: Clone + Eq + Hash, P, O> Pilot<K, P, O> {
    /// Waits for the flight before this one.
    pub async fn turn(&self) {
        if self.waits {
            self.flight.start.notified().await;
        }
    }

    /// The look-up is sent after this, and the proof was taken before.
    pub fn depart(&self, proof: Option<Stamp>) {
        let number = self.flight.number;
        self.flights.change(&self.key, number, State::Sent(proof));
    }

    /// Whoever waits for this one to be over need not any longer.
    pub fn release(&self) {
        self.flights.make_way(&self.key, self.flight.number, false);
    }

    /// There is something to make do with until the landing.
    pub fn provisional(&self, provisional: Arc<P>) {
        self.progress
            .send_replace(Progress::Provisional(provisional));
    }

    /// Gives all passengers their answer.
    pub fn land(self, outcome: O) {
        self.progress
            .send_replace(Progress::Landed(Arc::new(outcome)));
    }
}

impl<K: Clone + Eq + Hash, P, O> Drop for Pilot<K, P, O> {
    fn drop(&mut self) {
        self.flights.make_way(&self.key, self.flight.number, true);
    }
}

/// A reader's place in a flight.
pub struct Seat<P, O> {
    flight: Arc<Flight<P, O>>,
}

/// What a reader got.
pub enum Arrival<P, O> {
    Landed(Arc<O>),
    /// His time is over; what there is to make do with.
    Late(Option<Arc<P>>),
    /// The flight ended without an answer.
    Lost,
}

impl<P, O> Seat<P, O> {
    fn new(flight: Arc<Flight<P, O>>) -> Self {
        flight.aboard.fetch_add(1, Ordering::Relaxed);
        Self { flight }
    }

    /// Waits for the landing, but not longer than until `end`.
    pub async fn arrive(&self, end: Instant) -> Arrival<P, O> {
        let mut progress = self.flight.progress.clone();
        let landed = progress.wait_for(|progress| matches!(progress, Progress::Landed(_)));
        match tokio::time::timeout_at(end.into(), landed).await {
            Ok(Ok(progress)) => match &*progress {
                Progress::Landed(outcome) => Arrival::Landed(outcome.clone()),
                _ => Arrival::Lost,
            },
            Ok(Err(_)) => Arrival::Lost,
            Err(_) => Arrival::Late(match &*self.flight.progress.borrow() {
                Progress::Provisional(provisional) => Some(provisional.clone()),
                _ => None,
            }),
        }
    }
}

impl<P, O> Drop for Seat<P, O> {
    fn drop(&mut self) {
        self.flight.aboard.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
