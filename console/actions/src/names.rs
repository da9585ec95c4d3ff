//! What can be named: the fixed words, and those of a lab.

/// The policies of balancing.
pub const POLICIES: [&str; 6] = [
    "round_robin",
    "weighted",
    "random",
    "least_outstanding",
    "p2c",
    "consistent_hash",
];

/// The plain log levels.
pub(crate) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What may be named in a lab now. Whoever completes a line fills in what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub instances: Vec<String>,
    pub roles: Vec<String>,
    /// The services that the gateways balance over.
    pub pools: Vec<String>,
    pub queues: Vec<String>,
    /// Keys of the cache; their beginnings up to a `:` are offered as prefixes.
    pub keys: Vec<String>,
    /// Paths of the contract.
    pub paths: Vec<String>,
}

/// The known word that a mistyped one is nearest to, at most two letters away.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 2 && *distance < candidate.len().min(word.len())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to add, take away or change.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let changed = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["drain", "restore", "restart", "kill"];
        for (word, expected) in [
            ("drian", Some("drain")),
            ("restor", Some("restore")),
            ("kil", Some("kill")),
            ("", None),
            ("x", None),
            ("explode", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }
}
