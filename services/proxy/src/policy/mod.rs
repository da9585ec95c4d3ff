//! Balancing policies: which of several upstreams gets the next request. Pure, synchronous, no clock, no sockets.

mod consistent_hash;
mod kind;
mod least_outstanding;
mod p2c;
mod random;
mod round_robin;
#[cfg(test)]
mod testing;
mod weighted;

pub use consistent_hash::ConsistentHash;
pub use kind::PolicyKind;
pub use least_outstanding::LeastOutstanding;
pub use p2c::{P2c, P2cSettings};
pub use random::Random;
pub use round_robin::RoundRobin;
pub use weighted::Weighted;

use std::fmt::Debug;
use std::time::Instant;

use crate::latency::Latency;

/// What a policy may know about one upstream it can choose.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Stable number of the upstream inside its pool: never given to another one, growing in order of discovery.
    pub id: u64,
    /// The hash of its name: the same in every process.
    pub hash: u64,
    /// Requests it is serving now, as seen by this proxy.
    pub in_flight: usize,
    /// Its share relative to the others, above 0; less while it starts slowly.
    pub weight: f64,
    /// How fast it has been answering.
    pub latency: Latency,
    /// What the policy thought of it in the last pick, for `explain`: lower is better for costs, the policy's name says what it
    /// is. Not a number when the policy did not look at it.
    pub score: f64,
}

/// What a policy may know about the request and the moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub now: Instant,
    /// The hash of what the request is to be assigned by.
    pub key: Option<u64>,
    /// The latency of the pool as a whole, in seconds: what is expected of an upstream that nothing is known of.
    pub mean: f64,
    /// 64 fair bits, new for each pick.
    pub chance: u64,
}

/// Chooses among the candidates that may take a request.
///
/// A policy never decides who is healthy: it sees only those that are. It may keep state between picks, but given the same
/// history it gives the same answers.
pub trait Policy: Debug + Send {
    /// The position in `candidates` that takes the next request; `None` only when there is no candidate.
    ///
    /// Candidates come ordered by `id`, each id once. The policy may leave its `score`s.
    fn pick(&mut self, candidates: &mut [Candidate], situation: &Situation) -> Option<usize>;

    /// An upstream is gone for good: whatever is remembered of it may be forgotten.
    fn forget(&mut self, id: u64) {
        let _ = id;
    }

    fn kind(&self) -> PolicyKind;
}
