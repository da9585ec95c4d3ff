//! The names of the policies.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{ConsistentHash, LeastOutstanding, P2c, Policy, Random, RoundRobin, Weighted};
use crate::settings::Balancing;

/// Which policy picks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum PolicyKind {
    /// Each in its turn, whatever the weights.
    #[default]
    RoundRobin,
    /// Each in its turn, in proportion to the weights and evenly spread (smooth weighted round robin).
    Weighted,
    /// By chance, in proportion to the weights.
    Random,
    /// The one with the fewest requests in flight for its weight.
    LeastOutstanding,
    /// The better of two picked by chance, by latency, failures and requests in flight (power of two choices, peak EWMA).
    P2c,
    /// Always the same one for the same key, within a bound on its load (weighted rendezvous).
    ConsistentHash,
}

impl PolicyKind {
    /// The name operators know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::Random => "random",
            Self::LeastOutstanding => "least_outstanding",
            Self::P2c => "p2c",
            Self::ConsistentHash => "consistent_hash",
        }
    }

    /// A fresh policy of this kind.
    #[must_use]
    pub fn build(self, settings: &Balancing) -> Box<dyn Policy> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::Weighted => Box::new(Weighted::default()),
            Self::Random => Box::new(Random),
            Self::LeastOutstanding => Box::new(LeastOutstanding),
            Self::P2c => Box::new(P2c::new(settings.p2c)),
            Self::ConsistentHash => Box::new(ConsistentHash::new(settings.bound)),
        }
    }

    /// Whether the weights decide each upstream's share in the long run.
    #[must_use]
    pub fn shares_by_weight(self) -> Option<bool> {
        match self {
            Self::RoundRobin => Some(false),
            // Keys are spread by weight; what clients make of their keys is theirs.
            Self::Weighted | Self::Random | Self::ConsistentHash => Some(true),
            Self::LeastOutstanding | Self::P2c => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_everywhere() {
        for kind in PolicyKind::value_variants() {
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.name());
            let flag = kind.to_possible_value().unwrap();
            assert_eq!(flag.get_name(), kind.name());
            assert_eq!(kind.build(&Balancing::default()).kind(), *kind);
        }
    }
}
