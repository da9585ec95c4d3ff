//! Why a value is not there: remembered for the keys this instance had to do with last.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus_client::encoding::EncodeLabelValue;

/// Keys whose fate is remembered; beyond them the oldest are forgotten, and their next misses pass for cold.
const REMEMBERED: usize = 20_000;
/// Variants remembered of one key.
const VARIANTS: usize = 128;

/// Why a value was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
pub enum Cause {
    /// Never stored, as far as this instance knows.
    cold,
    /// Its time was over.
    expired,
    /// A write made it void.
    invalidated,
    /// It went with a flush, a prefix or a purge.
    flushed,
    /// Redis removed it before its time, for want of memory.
    evicted,
}

impl Cause {
    pub const ALL: [Self; 5] = [
        Self::cold,
        Self::expired,
        Self::invalidated,
        Self::flushed,
        Self::evicted,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::cold => "cold",
            Self::expired => "expired",
            Self::invalidated => "invalidated",
            Self::flushed => "flushed",
            Self::evicted => "evicted",
        }
    }
}

/// What is known of one value.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It was stored, to be kept until then (milliseconds since 1970).
    Promised(i64),
    /// We removed it, or know who did.
    Gone(Cause),
}

/// The fates of the values, by key and variant.
#[derive(Debug, Default)]
struct Memory {
    fates: HashMap<String, Fates>,
    order: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Fates {
    variants: Vec<(String, Fate)>,
    /// Of a key that went and of which no variant is known.
    unnamed: Option<Cause>,
}

impl Memory {
    fn of(&mut self, key: &str) -> &mut Fates {
        if !self.fates.contains_key(key) {
            if self.order.len() >= REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.fates.remove(&oldest);
            }
            self.order.push_back(key.to_owned());
        }
        self.fates.entry(key.to_owned()).or_default()
    }

    fn promise(&mut self, key: &str, variant: &str, until: i64) {
        let fates = self.of(key);
        fates.unnamed = None;
        let fate = Fate::Promised(until);
        let known = fates.variants.iter_mut().find(|(name, _)| name == variant);
        if let Some((_, known)) = known {
            *known = fate;
            return;
        }
        if fates.variants.len() >= VARIANTS {
            fates.variants.clear();
        }
        fates.variants.push((variant.to_owned(), fate));
    }

    fn depart(&mut self, key: &str, cause: Cause) {
        let fates = self.of(key);
        if fates.variants.is_empty() {
            fates.unnamed = Some(cause);
        }
        for (_, fate) in &mut fates.variants {
            *fate = Fate::Gone(cause);
        }
    }

    fn everything(&mut self, cause: Cause) {
        for fates in self.fates.values_mut() {
            for (_, fate) in &mut fates.variants {
                *fate = Fate::Gone(cause);
            }
        }
    }

    /// The cause of a miss; it is told once.
    fn explain(&mut self, key: &str, variant: &str, is_there: bool, now: i64) -> Cause {
        let Some(fates) = self.fates.get_mut(key) else {
            return if is_there {
                Cause::expired
            } else {
                Cause::cold
            };
        };
        let known = fates
            .variants
            .iter()
            .position(|(name, _)| name == variant)
            .map(|position| fates.variants.swap_remove(position).1);
        match known {
            _ if is_there => Cause::expired,
            Some(Fate::Gone(cause)) => cause,
            Some(Fate::Promised(until)) if until > now => Cause::evicted,
            Some(Fate::Promised(_)) => Cause::expired,
            None => fates.unnamed.take().unwrap_or(Cause::cold),
        }
    }
}

/// [`Memory`] for many tasks.
#[derive(Debug, Default)]
pub struct Causes(Mutex<Memory>);

impl Causes {
    /// A value was stored, and is to be there until then (milliseconds since 1970).
    pub fn promise(&self, key: &str, variant: &str, until: i64) {
        self.memory().promise(key, variant, until);
    }

    /// Keys went with all their variants.
    pub fn departure<'a>(&self, keys: impl IntoIterator<Item = &'a str>, cause: Cause) {
        let mut memory = self.memory();
        for key in keys {
            memory.depart(key, cause);
        }
    }

    /// Everything went.
    pub fn everything(&self, cause: Cause) {
        self.memory().everything(cause);
    }

    /// Why a value is not there, or (when it `is_there`) not fresh.
    pub fn explain(&self, key: &str, variant: &str, is_there: bool, now: i64) -> Cause {
        self.memory().explain(key, variant, is_there, now)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_told_apart() {
        let causes = Causes::default();
        for (key, variant) in [("a", ""), ("b", ""), ("b", "limit=1"), ("c", ""), ("d", "")] {
            causes.promise(key, variant, 1000);
        }
        causes.departure(["b", "unknown"], Cause::invalidated);
        causes.departure(["d"], Cause::flushed);
        for (key, variant, is_there, now, expected) in [
            ("a", "", false, 999, Cause::evicted),
            ("a", "", false, 999, Cause::cold),
            ("b", "", false, 10, Cause::invalidated),
            ("b", "limit=1", false, 10, Cause::invalidated),
            ("b", "limit=2", false, 10, Cause::cold),
            ("c", "", false, 1000, Cause::expired),
            ("d", "", false, 10, Cause::flushed),
            ("d", "", false, 10, Cause::cold),
            ("unknown", "", false, 10, Cause::invalidated),
            ("unknown", "", false, 10, Cause::cold),
            ("never", "", false, 10, Cause::cold),
            ("never", "", true, 10, Cause::expired),
        ] {
            let cause = causes.explain(key, variant, is_there, now);
            assert_eq!(cause, expected, "{key} {variant} {now}");
        }
        causes.promise("e", "", 1000);
        causes.everything(Cause::flushed);
        assert_eq!(causes.explain("e", "", false, 10), Cause::flushed);
    }

    #[test]
    fn the_memory_is_bounded() {
        let causes = Causes::default();
        for number in 0..REMEMBERED + 5 {
            causes.promise(&number.to_string(), "", 1000);
        }
        let memory = causes.memory();
        assert_eq!(
            (memory.fates.len(), memory.order.len()),
            (REMEMBERED, REMEMBERED)
        );
        drop(memory);
        assert_eq!(causes.explain("0", "", false, 10), Cause::cold);
        assert_eq!(causes.explain("9", "", false, 10), Cause::evicted);
    }
}
