//! The roles of the system: how many of each, in which order they stop, and what each is told.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// The most instances of one role on one machine.
pub const MOST_INSTANCES: usize = 20;

/// A kind of service process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Balancer,
    Gateway,
    Travel,
    Search,
    Booking,
    Exercise,
    Worker,
    Notification,
    Cache,
    Queue,
}

impl Role {
    /// In the order of a request's path.
    pub const ALL: [Self; 10] = [
        Self::Balancer,
        Self::Gateway,
        Self::Travel,
        Self::Search,
        Self::Booking,
        Self::Exercise,
        Self::Worker,
        Self::Notification,
        Self::Cache,
        Self::Queue,
    ];

    /// Whether it hands requests on to instances of other roles.
    #[must_use]
    pub fn forwards(self) -> bool {
        matches!(self, Self::Balancer | Self::Gateway)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Balancer => "balancer",
            Self::Gateway => "gateway",
            Self::Travel => "travel",
            Self::Search => "search",
            Self::Booking => "booking",
            Self::Exercise => "exercise",
            Self::Worker => "worker",
            Self::Notification => "notification",
            Self::Cache => "cache",
            Self::Queue => "queue",
        }
    }

    #[must_use]
    pub fn default_count(self) -> usize {
        match self {
            Self::Gateway | Self::Exercise => 3,
            Self::Travel => 2,
            _ => 1,
        }
    }

    /// How many instances are allowed: the front door is one.
    #[must_use]
    pub fn allowed(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Balancer => 1..=1,
            _ => 0..=MOST_INSTANCES,
        }
    }

    /// The edge stops first, what everyone needs stops last.
    #[must_use]
    pub(crate) fn stop_stage(self) -> u8 {
        match self {
            Self::Balancer => 0,
            Self::Gateway => 1,
            Self::Travel
            | Self::Search
            | Self::Booking
            | Self::Exercise
            | Self::Worker
            | Self::Notification => 2,
            Self::Cache | Self::Queue => 3,
        }
    }

    pub(crate) fn needs_database(self) -> bool {
        matches!(
            self,
            Self::Travel
                | Self::Search
                | Self::Booking
                | Self::Exercise
                | Self::Worker
                | Self::Notification
        )
    }

    pub(crate) fn needs_redis(self) -> bool {
        matches!(self, Self::Gateway | Self::Cache | Self::Queue)
    }

    /// The variable that tells callers where this role's instances are.
    pub(crate) fn discovery_variable(self) -> String {
        match self {
            Self::Gateway => "RECARGA_GATEWAYS".to_owned(),
            other => format!("RECARGA_{}", other.name().to_uppercase()),
        }
    }

    /// The port of the contract that the first instance of the role is published on.
    #[must_use]
    pub fn published(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Balancer => Some((8000, "--port")),
            Self::Cache => Some((5004, "--cache-port")),
            Self::Worker => Some((5005, "--worker-port")),
            Self::Queue => Some((5006, "--queue-port")),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("{text:?} is not a role; the roles are {names}")
            })
    }
}

/// `ROLE=N`, as `--instances` and `recarga scale` take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub role: Role,
    pub count: usize,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, count) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not ROLE=N, such as gateway=5"))?;
        let role: Role = role.parse()?;
        let count = count
            .parse()
            .map_err(|_| format!("{count:?} is not a number of instances"))?;
        check(role, count)?;
        Ok(Self { role, count })
    }
}

/// A role, or one instance of it: what `recarga restart` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub role: Role,
    /// Of the instance, when it is one.
    pub number: Option<usize>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbered = text
            .rsplit_once('-')
            .and_then(|(role, number)| Some((role, number.parse().ok()?)));
        let (role, number) = match numbered {
            Some((role, number)) => (role, Some(number)),
            None => (text, None),
        };
        Ok(Self {
            role: role.parse()?,
            number,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(formatter, "{}-{number}", self.role),
            None => self.role.fmt(formatter),
        }
    }
}

pub(crate) fn check(role: Role, count: usize) -> Result<(), String> {
    let allowed = role.allowed();
    if allowed.contains(&count) {
        Ok(())
    } else {
        Err(format!(
            "{role} takes {} to {} instances, not {count}",
            allowed.start(),
            allowed.end()
        ))
    }
}

/// How many of each, with the given ones changed.
#[must_use]
pub fn counts(changed: &[Count]) -> BTreeMap<Role, usize> {
    let mut counts: BTreeMap<Role, usize> = Role::ALL
        .into_iter()
        .map(|role| (role, role.default_count()))
        .collect();
    counts.extend(changed.iter().map(|change| (change.role, change.count)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_parsed_and_bounded() {
        for (text, good) in [
            ("gateway=5", true),
            ("gateway=0", true),
            ("gateway=21", false),
            ("balancer=2", false),
            ("balancer=1", true),
            ("gateway", false),
            ("nothing=1", false),
            ("gateway=-1", false),
        ] {
            assert_eq!(text.parse::<Count>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_target_is_a_role_or_an_instance() {
        for (text, wanted) in [
            ("gateway", Ok((Role::Gateway, None))),
            ("gateway-2", Ok((Role::Gateway, Some(2)))),
            ("gateway-two", Err(())),
            ("nothing-1", Err(())),
            ("-1", Err(())),
            ("", Err(())),
        ] {
            let target = text.parse::<Target>().map_err(drop);
            if let Ok(target) = target {
                assert_eq!(target.to_string(), text);
            }
            assert_eq!(
                target.map(|target| (target.role, target.number)),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn the_default_lab() {
        let counts = counts(&["gateway=5".parse().unwrap()]);
        assert_eq!(counts[&Role::Gateway], 5);
        assert_eq!(counts[&Role::Travel], 2);
        assert_eq!(counts[&Role::Exercise], 3);
        assert_eq!(counts.values().sum::<usize>(), 17);
    }
}
