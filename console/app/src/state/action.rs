//! What the operator can ask for, and what of it leaves the console.

/// Everything a key can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Recharge,
    Burst,
    ToggleTraffic,
    Slower,
    Faster,
    StopTraffic,
    Flush,
    CycleLogLevel,
    ScrollUp,
    ScrollDown,
    PageUp,
    PageDown,
    Follow,
    Help,
    Close,
    Back,
    Quit,
    Repaint,
    Suspend,
}

/// What the model asks the world to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Recharge,
    Burst {
        requests: u32,
    },
    /// Steady traffic at so many requests per second, started or adjusted.
    Traffic {
        rate: f64,
    },
    StopTraffic,
    Flush,
    Quit,
    Repaint,
    Suspend,
}

/// What lies over the overview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    Help {
        /// Counted from the first; pages go round, so any number will do.
        page: i32,
    },
    /// Asks before the cache is flushed; how many entries it held when asked, if known.
    ConfirmFlush { entries: Option<u64> },
}
