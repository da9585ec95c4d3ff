//! `traceparent` of the W3C, read and written: `00-<trace>-<span>-<flags>`, in lower-case hexadecimal digits.

use std::fmt;

/// The length of a header of version 00, and the least of any.
const LENGTH: usize = 55;
/// Set: the trace is recorded.
const SAMPLED: u8 = 0b01;
/// Set: the last seven bytes of the trace's id are random.
const RANDOM: u8 = 0b10;

/// One trace's id; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// One span's id; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// `None` of zero, which stands for no trace.
    #[must_use]
    pub fn new(id: u128) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The first of `draw` that is none of those that mean nothing.
    #[must_use]
    pub fn draw(mut draw: impl FnMut() -> u128) -> Self {
        loop {
            if let Some(id) = Self::new(draw()) {
                return id;
            }
        }
    }

    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Its last eight bytes.
    #[must_use]
    pub fn low(self) -> u64 {
        self.0 as u64
    }
}

impl SpanId {
    /// `None` of zero, which stands for no span.
    #[must_use]
    pub fn new(id: u64) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The first of `draw` that is none of those that mean nothing.
    #[must_use]
    pub fn draw(mut draw: impl FnMut() -> u64) -> Self {
        loop {
            if let Some(id) = Self::new(draw()) {
                return id;
            }
        }
    }

    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Where somebody stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub trace: TraceId,
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
    /// Whether the trace's id is known to be random; told on, and of no other use here.
    pub random: bool,
}

impl Place {
    /// Reads a header; `None` when it is not valid, and then there is no parent. Of later versions what version 00 has is
    /// read, as they promise.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let version = hexadecimal(&head[..2])?;
        let separated = [head[2], head[35], head[52]] == [b'-'; 3];
        let ends = rest.is_empty() || (version != 0 && rest[0] == b'-');
        if version == 0xff || !separated || !ends {
            return None;
        }
        let flags = u8::try_from(hexadecimal(&head[53..])?).ok()?;
        Some(Self {
            trace: TraceId::new(hexadecimal(&head[3..35])?)?,
            span: SpanId::new(u64::try_from(hexadecimal(&head[36..52])?).ok()?)?,
            sampled: flags & SAMPLED != 0,
            random: flags & RANDOM != 0,
        })
    }

    /// As the header says it.
    #[must_use]
    pub fn write(self) -> [u8; LENGTH] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let flags = (u8::from(self.sampled) * SAMPLED) | (u8::from(self.random) * RANDOM);
        let mut text = [b'-'; LENGTH];
        let mut put = |at: usize, bytes: &[u8]| {
            for (index, byte) in bytes.iter().enumerate() {
                text[at + 2 * index] = DIGITS[usize::from(byte >> 4)];
                text[at + 2 * index + 1] = DIGITS[usize::from(byte & 15)];
            }
        };
        put(0, &[0]);
        put(3, &self.trace.bytes());
        put(36, &self.span.bytes());
        put(53, &[flags]);
        text
    }
}

/// The number that lower-case digits are; upper-case ones are not valid.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read_and_written() {
        let place = Place::parse(VALID.as_bytes()).unwrap();
        assert_eq!(place.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(place.span.to_string(), "00f067aa0ba902b7");
        assert!(place.sampled && !place.random);
        assert_eq!(place.write(), VALID.as_bytes());
        for (flags, sampled, random) in [
            ("00", false, false),
            ("02", false, true),
            ("ff", true, true),
        ] {
            let place = Place::parse(format!("{}{flags}", &VALID[..53]).as_bytes()).unwrap();
            assert_eq!((place.sampled, place.random), (sampled, random), "{flags}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = VALID.replacen("00", "cc", 1);
        let expected = Place::parse(VALID.as_bytes());
        assert_eq!(Place::parse(later.as_bytes()), expected);
        assert_eq!(Place::parse(format!("{later}-more").as_bytes()), expected);
        assert_eq!(Place::parse(format!("{later}.more").as_bytes()), None);
    }

    #[test]
    fn what_is_not_valid_is_no_parent() {
        for wrong in [
            String::new(),
            VALID[..54].to_owned(),
            format!("{VALID}-"),
            format!("{VALID} "),
            VALID.to_uppercase(),
            VALID.replacen("00-", "ff-", 1),
            VALID.replacen("00-", "0x-", 1),
            VALID.replace('-', "_"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(Place::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(trace in 1_u128.., span in 1_u64.., sampled: bool, random: bool) {
            let place = Place {
                trace: TraceId::new(trace).unwrap(),
                span: SpanId::new(span).unwrap(),
                sampled,
                random,
            };
            proptest::prop_assert_eq!(Place::parse(&place.write()), Some(place));
        }

        #[test]
        fn whatever_comes_is_survived(value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            if let Some(place) = Place::parse(&value) {
                // Only version 00 is written, and only the two flags that are known.
                proptest::prop_assert_eq!(&place.write()[3..52], &value[3..52]);
            }
        }

        #[test]
        fn one_wrong_byte_is_never_read_as_another_trace(at in 0_usize..55, byte: u8) {
            let mut value = VALID.as_bytes().to_vec();
            value[at] = byte;
            if let Some(place) = Place::parse(&value) {
                let text = String::from_utf8(value).unwrap();
                proptest::prop_assert_eq!(place.trace.to_string(), &text[3..35]);
                proptest::prop_assert_eq!(place.span.to_string(), &text[36..52]);
            }
        }
    }
}
