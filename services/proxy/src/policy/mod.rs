//! Balancing policies: which of several upstreams gets the next request. Pure, synchronous, no clock, no sockets.

mod round_robin;

pub use round_robin::RoundRobin;

use std::fmt::Debug;

/// What a policy may know about one upstream it can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Stable number of the upstream inside its pool: never given to another one, growing in order of discovery.
    pub id: u64,
    /// Requests it is serving now, as seen by this proxy.
    pub in_flight: usize,
    /// Its share relative to the others.
    pub weight: u32,
}

/// Chooses among the candidates that may take a request.
///
/// A policy never decides who is healthy: it sees only those that are. It may keep state between picks, but given the same
/// history it gives the same answers.
pub trait Policy: Debug + Send {
    /// The position in `candidates` that takes the next request; `None` only when there is no candidate.
    ///
    /// Candidates come ordered by `id`, each id once.
    fn pick(&mut self, candidates: &[Candidate]) -> Option<usize>;

    /// The name operators know it by.
    fn name(&self) -> &'static str;
}
