//! When a writer that got no confirmation may go on: a pure decision from what the cache instances did and did not say.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// What one instance last let us know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing, since then.
    Silent(Instant),
    /// It serves nothing old.
    Fenced,
    /// It lives and did not do as it was told.
    Refused,
}

/// What is known of all instances since a write asked them to forget something.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// How long silence must last.
    silence: Duration,
    asked: Instant,
    words: BTreeMap<SocketAddr, Word>,
}

impl Verdict {
    /// Nobody has said anything yet.
    pub fn new(silence: Duration, now: Instant) -> Self {
        Self {
            silence,
            asked: now,
            words: BTreeMap::new(),
        }
    }

    /// Takes an instance into account, from now on.
    pub fn knows(&mut self, instance: SocketAddr, now: Instant) {
        self.words.entry(instance).or_insert(Word::Silent(now));
    }

    /// It serves nothing old until it has emptied itself: that holds whatever becomes of it.
    pub fn fenced(&mut self, instance: SocketAddr) {
        self.words.insert(instance, Word::Fenced);
    }

    /// It answered, and not as it should.
    pub fn refused(&mut self, instance: SocketAddr) {
        let word = self.words.entry(instance).or_insert(Word::Refused);
        if *word != Word::Fenced {
            *word = Word::Refused;
        }
    }

    /// Nobody listens there, or nobody answers. Silence counts from the last sign of life.
    pub fn silent(&mut self, instance: SocketAddr, now: Instant) {
        let word = self.words.entry(instance).or_insert(Word::Silent(now));
        if *word == Word::Refused {
            *word = Word::Silent(now);
        }
    }

    /// Whether there is a reason to ask this instance again.
    pub fn is_open(&self, instance: SocketAddr) -> bool {
        self.words.get(&instance) != Some(&Word::Fenced)
    }

    /// When nothing old can be served any more, if nobody says anything before; none while an instance refuses.
    pub fn certain_at(&self) -> Option<Instant> {
        // An empty list proves no more than silence does.
        let mut at = if self.words.is_empty() {
            self.asked + self.silence
        } else {
            self.asked
        };
        for word in self.words.values() {
            match word {
                Word::Silent(since) => at = at.max(*since + self.silence),
                Word::Fenced => {}
                Word::Refused => return None,
            }
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(1_600);

    fn instance(number: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5000 + u16::from(number)))
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn silence_is_counted_from_the_last_sign_of_life() {
        let start = Instant::now();
        let mut verdict = Verdict::new(SILENCE, start);
        assert_eq!(verdict.certain_at(), Some(start + SILENCE));
        verdict.knows(instance(1), start + ms(100));
        assert_eq!(verdict.certain_at(), Some(start + ms(100) + SILENCE));
        verdict.silent(instance(1), start + ms(900));
        assert_eq!(verdict.certain_at(), Some(start + ms(100) + SILENCE));
        verdict.refused(instance(1));
        assert_eq!(verdict.certain_at(), None);
        verdict.silent(instance(1), start + ms(900));
        assert_eq!(verdict.certain_at(), Some(start + ms(900) + SILENCE));
        assert!(verdict.is_open(instance(1)));
        verdict.fenced(instance(1));
        verdict.refused(instance(1));
        assert_eq!(verdict.certain_at(), Some(start));
        assert!(!verdict.is_open(instance(1)));
    }

    #[test]
    fn one_fenced_instance_says_nothing_of_another() {
        let start = Instant::now();
        let mut verdict = Verdict::new(SILENCE, start);
        verdict.knows(instance(1), start);
        verdict.knows(instance(2), start);
        verdict.fenced(instance(1));
        assert_eq!(verdict.certain_at(), Some(start + SILENCE));
        verdict.refused(instance(2));
        assert_eq!(verdict.certain_at(), None);
    }

    proptest! {
        /// Whatever was heard in whatever order: there is certainty only if every instance is fenced for good, or gave no
        /// sign of life within the silence before it.
        #[test]
        fn certainty_is_earned(events in prop::collection::vec((0_u8..3, 0_u8..3, 0_u64..400), 1..60)) {
            let start = Instant::now();
            let mut verdict = Verdict::new(SILENCE, start);
            let mut now = start;
            let mut fenced = [false; 3];
            let mut last_refusal = [None; 3];
            let mut known = [None; 3];
            for (who, what, pause) in events {
                now += ms(pause);
                let slot = usize::from(who);
                known[slot].get_or_insert(now);
                verdict.knows(instance(who), now);
                match what {
                    0 => verdict.silent(instance(who), now),
                    1 => { verdict.refused(instance(who)); last_refusal[slot] = Some(now); }
                    _ => { verdict.fenced(instance(who)); fenced[slot] = true; }
                }
                if let Some(at) = verdict.certain_at() {
                    for slot in 0..3 {
                        if let Some(first) = known[slot] && !fenced[slot] {
                            prop_assert!(at >= first + SILENCE);
                            if let Some(refusal) = last_refusal[slot] {
                                prop_assert!(at >= refusal + SILENCE);
                            }
                        }
                    }
                }
            }
        }
    }
}
