//! What can be typed next.

use crate::{
    Names, POLICIES, TABLE, entry,
    names::LEVELS,
    table::{Entry, Slot, Value},
};

/// The words that the last word of a line may become, in the order of the table; every one begins with it. A line that ends in a
/// blank asks for the next word. A word that ends in `=` wants more.
#[must_use]
pub fn complete(line: &str, names: &Names) -> Vec<String> {
    // Only the last action of a line is being typed.
    let line = line.rsplit("; ").next().unwrap_or(line).trim_start();
    let (before, typed) = match line.rfind(char::is_whitespace) {
        Some(at) => line.split_at(at + line[at..].chars().next().map_or(1, char::len_utf8)),
        None => ("", line),
    };
    let mut words = before.split_whitespace();
    let mut found = match words.next() {
        None => TABLE.iter().map(|entry| entry.verb.to_owned()).collect(),
        Some(verb) => match entry(verb) {
            Some(entry) => of(entry, &words.collect::<Vec<_>>(), typed, names),
            None => Vec::new(),
        },
    };
    found.retain(|word| word.starts_with(typed));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|word| seen.insert(word.clone()));
    found
}

fn of(entry: &Entry, before: &[&str], typed: &str, names: &Names) -> Vec<String> {
    let is_option = |slot: &Slot| matches!(slot, Slot::Option(..) | Slot::Flag(_));
    let said = |name: &str| {
        before
            .iter()
            .any(|word| word.split('=').next() == Some(name))
    };
    if let Some((name, _)) = typed.split_once('=') {
        let values = entry.slots.iter().find_map(|slot| match slot {
            Slot::Option(option, value) if *option == name && !said(name) => {
                Some(of_value(*value, names))
            }
            _ => None,
        });
        if let Some(values) = values {
            return values
                .into_iter()
                .map(|value| format!("{name}={value}"))
                .collect();
        }
    }
    let options: Vec<&Slot> = entry.slots.iter().filter(|slot| is_option(slot)).collect();
    let taken = before
        .iter()
        .filter(|word| {
            let name = word.split('=').next();
            !options.iter().any(|slot| match slot {
                Slot::Option(option, _) => word.contains('=') && Some(*option) == name,
                Slot::Flag(flag) => flag == *word,
                _ => false,
            })
        })
        .count();
    let mut found = Vec::new();
    if let Some(slot) = entry
        .slots
        .iter()
        .filter(|slot| !is_option(slot))
        .nth(taken)
    {
        found.extend(of_slot(*slot, names));
    }
    for slot in options {
        match slot {
            Slot::Option(name, _) if !said(name) => found.push(format!("{name}=")),
            Slot::Flag(flag) if !said(flag) => found.push((*flag).to_owned()),
            _ => {}
        }
    }
    found
}

fn of_slot(slot: Slot, names: &Names) -> Vec<String> {
    match slot {
        Slot::Instance => names.instances.clone(),
        Slot::Role => [names.roles.as_slice(), names.instances.as_slice()].concat(),
        Slot::Queue => names.queues.clone(),
        Slot::Policy => owned(&POLICIES),
        Slot::Level => [owned(&LEVELS), names.instances.clone()].concat(),
        Slot::Path => names.paths.clone(),
        Slot::Word(words) => owned(words),
        Slot::Mix => of_value(Value::Mix, names),
        Slot::Option(..) | Slot::Flag(_) => Vec::new(),
    }
}

fn of_value(value: Value, names: &Names) -> Vec<String> {
    match value {
        Value::Free => Vec::new(),
        Value::Pool => names.pools.clone(),
        Value::Key => names.keys.clone(),
        Value::Prefix => names
            .keys
            .iter()
            .filter_map(|key| key.find(':').map(|at| key[..=at].to_owned()))
            .collect(),
        Value::Mix => load::Mix::NAMED
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .chain(
                load::Kind::ALL
                    .into_iter()
                    .map(|kind| format!("{}=", kind.name())),
            )
            .collect(),
        Value::Path => names.paths.clone(),
        Value::Such(words) => owned(words),
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> Names {
        let list = |words: &[&str]| owned(words);
        Names {
            instances: list(&["gateway-1", "gateway-2", "worker-1"]),
            roles: list(&["gateway", "worker"]),
            pools: list(&["travel"]),
            queues: list(&["bookings"]),
            keys: list(&["card:1:balance", "card:2:balance", "my_data"]),
            paths: list(&["/data", "/cards/7/balance"]),
        }
    }

    #[test]
    fn the_next_word_is_offered() {
        for (line, expected) in [
            ("dr", vec!["drain"]),
            ("drain ", vec!["gateway-1", "gateway-2", "worker-1"]),
            ("drain gateway-1 ", vec![]),
            ("drain gateway-1; restore w", vec!["worker-1"]),
            ("restart gat", vec!["gateway", "gateway-1", "gateway-2"]),
            ("fault gateway-2 la", vec!["latency="]),
            (
                "fault gateway-2 latency=2",
                vec!["latency=200ms", "latency=2s"],
            ),
            (
                "fault gateway-2 hang latency=2s r",
                vec!["refuse", "route="],
            ),
            ("fault gateway-2 route=/d", vec!["route=/data"]),
            ("flush prefix=", vec!["prefix=card:"]),
            ("flush key=m", vec!["key=my_data"]),
            ("policy p", vec!["p2c", "pool="]),
            ("policy p2c pool=", vec!["pool=travel"]),
            ("traffic s", vec!["spike", "soak", "seed="]),
            ("redrive b", vec!["bookings"]),
            ("call GET /d", vec!["/data"]),
            ("cache o", vec!["on", "off"]),
            ("safeguard leas", vec!["lease-void", "leases"]),
            ("safeguard leases o", vec!["off", "on"]),
            ("safeguard leases off fo", vec!["for="]),
            ("explode ", vec![]),
        ] {
            assert_eq!(complete(line, &names()), expected, "{line:?}");
        }
        assert_eq!(complete("", &names()).len(), TABLE.len());
    }

    proptest! {
        #[test]
        fn whatever_is_offered_begins_with_what_was_typed(line in "(fault|flush|call|traffic|x)?[ a-z;=é\u{3000}-]{0,20}") {
            let typed = line.rsplit(char::is_whitespace).next().unwrap_or_default().to_owned();
            for word in complete(&line, &names()) {
                prop_assert!(word.starts_with(&typed), "{:?} for {:?}", word, line);
            }
        }
    }
}
