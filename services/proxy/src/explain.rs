//! Why the last picks fell as they did: a ring of records, written in place so that it can always be on.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{
    policy::{Candidate, PolicyKind},
    snapshot::Rounded,
};

/// How many picks are remembered.
pub const PICKS: usize = 128;
/// How many upstreams of one pick are remembered; those that matter come first.
const UPSTREAMS: usize = 16;

/// What an upstream was for one pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It could be picked.
    Candidate,
    /// Not checked yet, and others are up.
    Unchecked,
    /// It does not answer.
    Down,
    /// It said that it wants no new requests.
    Draining,
    /// The operator wants no new requests to go there.
    DrainedByOperator,
    /// It failed more than the others.
    Ejected,
    /// Its circuit breaker is open, or half open with an attempt on its way.
    BreakerOpen,
    /// This very request was tried there already.
    Avoided,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    Policy,
    /// The client's sticky cookie.
    Sticky,
    /// There was nobody to pick.
    Nobody,
}

/// Why somebody was a candidate who would not be one in good times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Too few would have been available: ejections were ignored.
    Panic,
    /// Nobody is known to be up: one that was not checked yet.
    Unchecked,
    /// Nobody else was left: one that is ejected.
    Ejected,
    /// Nobody else was left: one that was tried already.
    Avoided,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    id: u64,
    score: f64,
    weight: f64,
    in_flight: usize,
    standing: Standing,
}

#[derive(Clone, Debug)]
struct Record {
    at: Instant,
    policy: PolicyKind,
    decided_by: DecidedBy,
    fallback: Option<Fallback>,
    picked: Option<u64>,
    key: Option<u64>,
    upstreams: usize,
    seen: [Seen; UPSTREAMS],
    filled: usize,
}

/// The ring. Writing a pick into it allocates nothing.
#[derive(Clone, Debug)]
pub struct Ring {
    records: Vec<Record>,
    next: usize,
    written: usize,
}

/// One pick, as the pool tells it.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    pub at: Instant,
    pub policy: PolicyKind,
    pub decided_by: DecidedBy,
    pub fallback: Option<Fallback>,
    /// The id of the upstream.
    pub picked: Option<u64>,
    pub key: Option<u64>,
}

impl Ring {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let seen = Seen {
            id: 0,
            score: f64::NAN,
            weight: 0.0,
            in_flight: 0,
            standing: Standing::Candidate,
        };
        let record = Record {
            at: now,
            policy: PolicyKind::RoundRobin,
            decided_by: DecidedBy::Nobody,
            fallback: None,
            picked: None,
            key: None,
            upstreams: 0,
            seen: [seen; UPSTREAMS],
            filled: 0,
        };
        Self {
            records: vec![record; PICKS],
            next: 0,
            written: 0,
        }
    }

    /// Writes a pick over the oldest one. `others` are those that were not candidates.
    pub fn write(
        &mut self,
        pick: Pick,
        candidates: &[Candidate],
        others: impl ExactSizeIterator<Item = (u64, usize, Standing)>,
    ) {
        let record = &mut self.records[self.next];
        self.next = (self.next + 1) % PICKS;
        self.written = (self.written + 1).min(PICKS);
        record.at = pick.at;
        record.policy = pick.policy;
        record.decided_by = pick.decided_by;
        record.fallback = pick.fallback;
        record.picked = pick.picked;
        record.key = pick.key;
        record.upstreams = candidates.len() + others.len();
        record.filled = 0;
        if record.upstreams <= UPSTREAMS {
            for candidate in candidates {
                record.add(candidate);
            }
        } else {
            // Of many, the one picked and those the policy looked at come first.
            let is_picked = |candidate: &Candidate| Some(candidate.id) == pick.picked;
            for candidate in candidates.iter().filter(|candidate| is_picked(candidate)) {
                record.add(candidate);
            }
            for ignored in [false, true] {
                for candidate in candidates {
                    if candidate.score.is_nan() == ignored && !is_picked(candidate) {
                        record.add(candidate);
                    }
                }
            }
        }
        for (id, in_flight, standing) in others {
            record.push(Seen {
                id,
                score: f64::NAN,
                weight: 0.0,
                in_flight,
                standing,
            });
        }
    }

    /// The last picks, the newest first. `name` knows the upstreams by their ids.
    #[must_use]
    pub fn read(
        &self,
        limit: usize,
        now: Instant,
        name: impl Fn(u64) -> String,
    ) -> Vec<ExplainedPick> {
        (0..self.written.min(limit))
            .map(|back| &self.records[(self.next + PICKS - 1 - back) % PICKS])
            .map(|record| record.explain(now, &name))
            .collect()
    }
}

impl Record {
    fn add(&mut self, candidate: &Candidate) {
        self.push(Seen {
            id: candidate.id,
            score: candidate.score,
            weight: candidate.weight,
            in_flight: candidate.in_flight,
            standing: Standing::Candidate,
        });
    }

    fn push(&mut self, seen: Seen) {
        if let Some(place) = self.seen.get_mut(self.filled) {
            *place = seen;
            self.filled += 1;
        }
    }

    fn explain(&self, now: Instant, name: impl Fn(u64) -> String) -> ExplainedPick {
        let seen = &self.seen[..self.filled];
        let candidates = seen
            .iter()
            .filter(|seen| seen.standing == Standing::Candidate)
            .map(|seen| ExplainedCandidate {
                name: name(seen.id),
                score: seen.score.is_finite().then(|| seen.score.rounded()),
                weight: seen.weight.rounded(),
                in_flight: seen.in_flight,
            });
        let others = seen
            .iter()
            .filter(|seen| seen.standing != Standing::Candidate)
            .map(|seen| ExplainedOther {
                name: name(seen.id),
                why: seen.standing,
                in_flight: seen.in_flight,
            });
        ExplainedPick {
            age_seconds: now
                .saturating_duration_since(self.at)
                .as_secs_f64()
                .rounded(),
            policy: self.policy,
            decided_by: self.decided_by,
            fallback: self.fallback,
            picked: self.picked.map(&name),
            key: self.key.map(|key| format!("{key:016x}")),
            candidates: candidates.collect(),
            others: others.collect(),
            omitted: self.upstreams - self.filled,
        }
    }
}

/// One pick, explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedPick {
    /// How long ago it was.
    pub age_seconds: f64,
    pub policy: PolicyKind,
    pub decided_by: DecidedBy,
    /// Why somebody was a candidate who would not be one in good times.
    pub fallback: Option<Fallback>,
    /// Who was picked.
    pub picked: Option<String>,
    /// The hash of what the request was to be assigned by.
    pub key: Option<String>,
    pub candidates: Vec<ExplainedCandidate>,
    /// Those that were not candidates.
    pub others: Vec<ExplainedOther>,
    /// How many more upstreams there were than are told here.
    pub omitted: usize,
}

/// One that could be picked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedCandidate {
    pub name: String,
    /// What the policy thought of it, if it looked: for `weighted` the balance (highest wins), for `least_outstanding` requests
    /// in flight per weight (lowest wins), for `p2c` the expected cost in seconds (lowest wins), for `consistent_hash` the draw
    /// (highest wins, if there is room).
    pub score: Option<f64>,
    /// Slow start included.
    pub weight: f64,
    /// Before this pick.
    pub in_flight: usize,
}

/// One that could not be picked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedOther {
    pub name: String,
    pub why: Standing,
    pub in_flight: usize,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{Candidate, PolicyKind};

    fn candidates(count: u64) -> Vec<Candidate> {
        (0..count)
            .map(|id| Candidate {
                id,
                hash: id,
                in_flight: 2,
                weight: 1.0,
                latency: crate::latency::Latency::default(),
                score: if id >= 18 { 0.5 } else { f64::NAN },
            })
            .collect()
    }

    fn pick(at: Instant, picked: u64) -> Pick {
        Pick {
            at,
            policy: PolicyKind::P2c,
            decided_by: DecidedBy::Policy,
            fallback: None,
            picked: Some(picked),
            key: None,
        }
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let start = Instant::now();
        let mut ring = Ring::new(start);
        assert!(ring.read(10, start, |id| id.to_string()).is_empty());
        for number in 0..300 {
            let at = start + Duration::from_secs(number);
            ring.write(pick(at, number), &candidates(3), std::iter::empty());
        }
        let read = ring.read(1_000, start + Duration::from_mins(5), |id| id.to_string());
        assert_eq!(read.len(), PICKS);
        assert_eq!(read[0].picked.as_deref(), Some("299"));
        assert_eq!(read[127].picked.as_deref(), Some("172"));
        assert!((read[1].age_seconds - 2.0).abs() < 1e-9);
        assert_eq!(ring.read(5, start, |id| id.to_string()).len(), 5);
    }

    #[test]
    fn of_many_upstreams_those_that_mattered_are_told() {
        let now = Instant::now();
        let mut ring = Ring::new(now);
        let others = [(90, 1, Standing::Down), (91, 0, Standing::Ejected)];
        ring.write(pick(now, 5), &candidates(20), others.into_iter());
        let read = ring.read(1, now, |id| id.to_string()).remove(0);
        let names: Vec<&str> = read.candidates.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names[..4], ["5", "18", "19", "0"]);
        assert_eq!(
            (read.candidates.len(), read.others.len(), read.omitted),
            (16, 0, 6)
        );
        ring.write(pick(now, 1), &candidates(2), others.into_iter());
        let read = ring.read(1, now, |id| id.to_string()).remove(0);
        assert_eq!(read.omitted, 0);
        assert_eq!(read.others[1].why, Standing::Ejected);
    }
}
