//! The nine views and the panels each is made of.

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    #[default]
    Overview,
    Balancer,
    Cache,
    Queue,
    Latency,
    Traffic,
    Logs,
    Requests,
    System,
}

/// A part of a view that can be looked at alone, and moved about in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Panel {
    // Overview
    Path,
    RequestRate,
    HitRatio,
    Percentiles,
    Host,
    Log,
    // Balancer
    Gateways,
    Split,
    Picks,
    // Cache
    CacheRatio,
    Misses,
    Keys,
    // Queue
    Queues,
    Depth,
    DeadLetters,
    // Latency
    Quantiles,
    HeatMap,
    Routes,
    // Traffic
    Plan,
    TrafficRate,
    Calls,
    // Logs
    Lines,
    // Requests
    Samples,
    Waterfall,
    // System
    Processes,
    Machine,
    Stores,
}

impl View {
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Balancer,
        Self::Cache,
        Self::Queue,
        Self::Latency,
        Self::Traffic,
        Self::Logs,
        Self::Requests,
        Self::System,
    ];

    /// The digit that opens it.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Balancer => "balancer",
            Self::Cache => "cache",
            Self::Queue => "queue",
            Self::Latency => "latency",
            Self::Traffic => "traffic",
            Self::Logs => "logs",
            Self::Requests => "requests",
            Self::System => "system",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.name() == name)
    }

    /// Its panels in the order of Tab; the first one is entered first.
    pub fn panels(self) -> &'static [Panel] {
        match self {
            Self::Overview => &[
                Panel::Path,
                Panel::RequestRate,
                Panel::HitRatio,
                Panel::Percentiles,
                Panel::Host,
                Panel::Log,
            ],
            Self::Balancer => &[Panel::Gateways, Panel::Split, Panel::Picks],
            Self::Cache => &[Panel::Keys, Panel::CacheRatio, Panel::Misses],
            Self::Queue => &[Panel::Queues, Panel::Depth, Panel::DeadLetters],
            Self::Latency => &[Panel::Quantiles, Panel::HeatMap, Panel::Routes],
            Self::Traffic => &[Panel::Plan, Panel::TrafficRate, Panel::Calls],
            Self::Logs => &[Panel::Lines],
            Self::Requests => &[Panel::Samples, Panel::Waterfall],
            Self::System => &[Panel::Processes, Panel::Machine, Panel::Stores],
        }
    }
}

impl Panel {
    /// Whether it has rows to choose from.
    pub fn has_rows(self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::Gateways
                | Self::Picks
                | Self::Keys
                | Self::Queues
                | Self::DeadLetters
                | Self::Routes
                | Self::Calls
                | Self::Lines
                | Self::Log
                | Self::Samples
                | Self::Processes
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_panel_belongs_to_one_view() {
        let mut seen = BTreeSet::new();
        for view in View::ALL {
            assert_eq!(View::named(view.name()), Some(view));
            for panel in view.panels() {
                assert!(seen.insert(*panel), "{panel:?} is in two views");
            }
        }
        assert_eq!(View::System.number(), 9);
    }
}
