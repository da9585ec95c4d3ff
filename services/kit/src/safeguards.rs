//! Safeguards that a test may switch off, to see that their absence is noticed. Nothing else has a reason to.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::OnceLock};

use serde::Serialize;

/// One of the things that nothing-lost stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safeguard {
    /// A consumer claims an event before it acts on it.
    Inbox,
    /// A receipt is void once its message was given to somebody else.
    Fencing,
    /// A deletion voids the leases on its key.
    LeaseVoid,
    /// A write claims its idempotency key.
    Claim,
}

impl Safeguard {
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Fencing, Self::LeaseVoid, Self::Claim];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Fencing => "fencing",
            Self::LeaseVoid => "lease-void",
            Self::Claim => "claim",
        }
    }

    /// Whether it is on, which it is unless this process was started without it.
    #[must_use]
    pub fn is_on(self) -> bool {
        OFF.get().is_none_or(|off| !off.contains(&self))
    }
}

impl fmt::Display for Safeguard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Safeguard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|safeguard| safeguard.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("{text:?} is not a safeguard; they are {names}")
            })
    }
}

/// Those that this process does without: a process is one service.
static OFF: OnceLock<BTreeSet<Safeguard>> = OnceLock::new();

/// Switches safeguards off for the rest of this process, and says so where nobody can miss it.
pub(crate) fn without(off: &[Safeguard]) {
    if off.is_empty() || OFF.set(off.iter().copied().collect()).is_err() {
        return;
    }
    for safeguard in off {
        tracing::error!(
            safeguard = safeguard.name(),
            "RUNNING WITHOUT A SAFEGUARD (--without-safeguard): things will be lost or doubled"
        );
    }
}

/// Those that are off.
#[must_use]
pub fn off() -> Vec<Safeguard> {
    Safeguard::ALL
        .into_iter()
        .filter(|safeguard| !safeguard.is_on())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_on_and_have_names() {
        for safeguard in Safeguard::ALL {
            assert!(safeguard.is_on());
            assert_eq!(safeguard.name().parse(), Ok(safeguard));
        }
        assert!("seatbelt".parse::<Safeguard>().is_err());
        assert!(off().is_empty());
    }
}
