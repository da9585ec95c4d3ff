//! The safeguards that are off anywhere: what every view must say loudly.

use std::collections::BTreeMap;

use super::State;

/// A safeguard that is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    pub name: String,
    /// Seconds until it is on again everywhere; none where it stays off until a process ends.
    pub left: Option<u64>,
    /// How many instances go without it.
    pub instances: usize,
}

impl State {
    /// By the word of the processes that live, also while the screen is frozen.
    pub fn safeguards_off(&self) -> Vec<Off> {
        let mut all: BTreeMap<&str, (Option<u64>, usize)> = BTreeMap::new();
        for instance in &self.instances {
            if !instance.is_fresh(self.now) {
                continue;
            }
            let since = self.now.saturating_sub(instance.info_at).as_secs();
            for (name, left) in &instance.info.safeguards_off {
                let left = left.map(|left| left.saturating_sub(since));
                let (longest, instances) = all.entry(name).or_insert((Some(0), 0));
                *longest = longest.zip(left).map(|(longest, left)| longest.max(left));
                *instances += 1;
            }
        }
        all.into_iter()
            .map(|(name, (left, instances))| Off {
                name: name.to_owned(),
                left,
                instances,
            })
            .collect()
    }

    /// The same in few words, such as `LEASES OFF 0:42`; none while all are on.
    pub fn without(&self) -> Option<String> {
        let off = self.safeguards_off();
        let what = match off.as_slice() {
            [] => return None,
            [one] => one.name.to_uppercase(),
            more => format!("{} SAFEGUARDS", more.len()),
        };
        let left = off
            .iter()
            .try_fold(0, |longest, off| off.left.map(|left| left.max(longest)));
        Some(match left {
            Some(left) => format!("{what} OFF {}:{:02}", left / 60, left % 60),
            None => format!("{what} OFF"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, busy};

    #[test]
    fn what_is_off_longest_is_told_and_counts_down() {
        let mut state = busy();
        assert_eq!(state.without(), None);
        let mut off = |name: &str, safeguard: &str, left| {
            let mut instances = state.instances.iter_mut();
            let instance = instances.find(|instance| instance.name() == name);
            let instance = instance.expect("the lab has it");
            instance.info.safeguards_off.push((safeguard.into(), left));
            instance.info_at = state.now;
        };
        off("cache-1", "leases", Some(42));
        off("gateway-2", "leases", Some(61));
        assert_eq!(state.without().as_deref(), Some("LEASES OFF 1:01"));
        assert_eq!(state.safeguards_off()[0].instances, 2);
        state.tick(state.now + at(2));
        assert_eq!(state.without().as_deref(), Some("LEASES OFF 0:59"));
        let travel = state
            .instances
            .iter_mut()
            .find(|instance| instance.name() == "travel-1")
            .expect("the lab has it");
        travel.info.safeguards_off.push(("claim".into(), None));
        assert_eq!(state.without().as_deref(), Some("2 SAFEGUARDS OFF"));
    }
}
