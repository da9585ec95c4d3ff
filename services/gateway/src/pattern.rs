//! Which keys a template can make: whether two of them may make the same, and whether one can make a given key.

use std::collections::HashSet;

/// A template of keys as a sequence of what stands where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

/// A piece of a template.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    Text(&'a str),
    /// A positive number in digits.
    Number,
    /// Any text but none.
    Anything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Digits,
    Bytes,
}

impl Token {
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => own == byte,
            Self::Digits => byte.is_ascii_digit(),
            Self::Bytes => true,
        }
    }

    /// Whether some byte would do for both.
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Byte(byte), other) | (other, Self::Byte(byte)) => other.takes(byte),
            _ => true,
        }
    }

    /// Whether it may be followed by itself.
    fn repeats(self) -> bool {
        !matches!(self, Self::Byte(_))
    }
}

impl Pattern {
    #[must_use]
    pub fn new<'a>(pieces: impl IntoIterator<Item = Piece<'a>>) -> Self {
        let mut tokens = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => tokens.extend(text.bytes().map(Token::Byte)),
                Piece::Number => tokens.push(Token::Digits),
                Piece::Anything => tokens.push(Token::Bytes),
            }
        }
        Self(tokens)
    }

    /// Whether some key can be made by both: walks both at once, from the beginning, to every pair of places that one text
    /// can lead to.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        // Nearly always the fixed text before anything else tells.
        let fixed = |pattern: &Self| {
            let is_fixed = |token: &&Token| matches!(token, Token::Byte(_));
            pattern.0.iter().take_while(is_fixed).count()
        };
        let common = fixed(self).min(fixed(other));
        if self.0[..common] != other.0[..common] {
            return false;
        }
        let end = (self.0.len(), other.0.len());
        let mut seen = HashSet::new();
        let mut ahead = vec![(common, common)];
        while let Some((a, b)) = ahead.pop() {
            if (a, b) == end {
                return true;
            }
            let (Some(token), Some(theirs)) = (self.0.get(a), other.0.get(b)) else {
                continue;
            };
            if !token.meets(*theirs) || !seen.insert((a, b)) {
                continue;
            }
            ahead.push((a + 1, b + 1));
            if token.repeats() {
                ahead.push((a, b + 1));
            }
            if theirs.repeats() {
                ahead.push((a + 1, b));
            }
        }
        false
    }

    /// Whether a key that both can make belongs here rather than there: what has less free text, then what has more fixed
    /// text, is the one who means it.
    #[must_use]
    pub fn is_narrower(&self, other: &Self) -> bool {
        let rank = |pattern: &Self| {
            let count =
                |wanted: fn(&Token) -> bool| pattern.0.iter().filter(|token| wanted(token)).count();
            (
                count(|token| *token == Token::Bytes),
                std::cmp::Reverse(count(|token| matches!(token, Token::Byte(_)))),
            )
        };
        rank(self) < rank(other)
    }

    /// Whether this template can make a key.
    #[must_use]
    pub fn makes(&self, key: &str) -> bool {
        makes(&self.0, key.as_bytes())
    }
}

fn makes(tokens: &[Token], key: &[u8]) -> bool {
    let Some((token, rest)) = tokens.split_first() else {
        return key.is_empty();
    };
    let mut taken = 0;
    while key.get(taken).is_some_and(|byte| token.takes(*byte)) {
        taken += 1;
        if makes(rest, &key[taken..]) {
            return true;
        }
        if !token.repeats() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `#` is a number, `*` anything.
    fn pattern(text: &str) -> Pattern {
        let pieces = text.split_inclusive(['#', '*']).flat_map(|part| {
            let (text, last) = match part.as_bytes().last() {
                Some(b'#') => (&part[..part.len() - 1], Some(Piece::Number)),
                Some(b'*') => (&part[..part.len() - 1], Some(Piece::Anything)),
                _ => (part, None),
            };
            std::iter::once(Piece::Text(text)).chain(last)
        });
        Pattern::new(pieces)
    }

    #[test]
    fn overlaps() {
        for (a, b, expected) in [
            ("card:#:balance", "card:#:history", false),
            ("trips:total", "trip:#", false),
            ("trips:total", "trips:total:localities", false),
            ("*", "card:#:balance", true),
            ("search:*", "card:#", false),
            ("a#b", "a*", true),
            ("#", "*x", false),
            ("a#", "#1", false),
            ("1#", "#1", true),
            ("x", "x", true),
            ("a", "ab", false),
        ] {
            assert_eq!(pattern(a).overlaps(&pattern(b)), expected, "{a} {b}");
            assert_eq!(pattern(b).overlaps(&pattern(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn the_narrower_one_owns_the_key() {
        for (narrow, wide) in [
            ("card:#:balance", "*"),
            ("search:*", "*"),
            ("a:#", "a:*"),
            ("a:b:*", "a:*"),
        ] {
            assert!(pattern(narrow).is_narrower(&pattern(wide)));
            assert!(!pattern(wide).is_narrower(&pattern(narrow)));
        }
        assert!(!pattern("a*").is_narrower(&pattern("*b")));
    }

    proptest! {
        /// What both make, they overlap in; and the search for it ends.
        #[test]
        fn making_and_overlapping_agree(a in "[a1#*]{0,5}", b in "[a1#*]{0,5}", key in "[a1]{0,6}") {
            let (a, b) = (pattern(&a), pattern(&b));
            if a.makes(&key) && b.makes(&key) {
                prop_assert!(a.overlaps(&b));
            }
        }

        #[test]
        fn overlapping_has_a_witness(a in "[a1#*]{0,3}", b in "[a1#*]{0,3}") {
            let (a, b) = (pattern(&a), pattern(&b));
            let all = (0..=6_u32).flat_map(|length| {
                (0..1_u32 << length).map(move |bits| -> String {
                    (0..length).map(|at| if bits >> at & 1 == 1 { '1' } else { 'a' }).collect()
                })
            });
            let witness = all.into_iter().any(|key| a.makes(&key) && b.makes(&key));
            prop_assert_eq!(a.overlaps(&b), witness);
        }
    }
}
