//! A stored value with its times: three numbers of 13 digits (milliseconds since 1970), then the JSON as it came.
//!
//! The numbers are text of fixed width, so that the Lua scripts read them without taking anything apart.

use bytes::Bytes;

/// Digits of one time.
const WIDTH: usize = 13;
/// Bytes before the JSON.
pub const HEAD: usize = 3 * WIDTH;

/// A value and until when it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub stored_at: i64,
    /// Until then it is a hit.
    pub fresh_until: i64,
    /// Until then it may stand in while its source is away.
    pub stale_until: i64,
    pub json: Bytes,
}

impl Envelope {
    /// A value stored `now`.
    #[must_use]
    pub fn new(json: Bytes, now: i64, ttl_seconds: u32, stale_seconds: u32) -> Self {
        let fresh_until = now + i64::from(ttl_seconds) * 1000;
        Self {
            stored_at: now,
            fresh_until,
            stale_until: fresh_until + i64::from(stale_seconds) * 1000,
            json,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = format!(
            "{:013}{:013}{:013}",
            self.stored_at, self.fresh_until, self.stale_until
        )
        .into_bytes();
        encoded.extend_from_slice(&self.json);
        encoded
    }

    /// `None` for what is no envelope; the JSON shares the memory of `encoded`.
    #[must_use]
    pub fn decode(mut encoded: Bytes) -> Option<Self> {
        if encoded.len() < HEAD {
            return None;
        }
        let json = encoded.split_off(HEAD);
        let head = std::str::from_utf8(&encoded).ok()?;
        let time = |index: usize| head.get(index * WIDTH..(index + 1) * WIDTH)?.parse().ok();
        Some(Self {
            stored_at: time(0)?,
            fresh_until: time(1)?,
            stale_until: time(2)?,
            json,
        })
    }

    #[must_use]
    pub fn is_fresh(&self, now: i64) -> bool {
        now < self.fresh_until
    }

    /// Whole seconds since it was stored.
    #[must_use]
    pub fn age_seconds(&self, now: i64) -> u64 {
        u64::try_from((now - self.stored_at) / 1000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let envelope = Envelope::new(
            Bytes::from_static(b"{\"a\":1}"),
            1_790_000_000_123,
            300,
            600,
        );
        assert_eq!(envelope.fresh_until, 1_790_000_300_123);
        assert_eq!(envelope.stale_until, 1_790_000_900_123);
        let encoded = envelope.encode();
        assert_eq!(encoded.len(), HEAD + 7);
        assert_eq!(
            Envelope::decode(Bytes::from(encoded)),
            Some(envelope.clone())
        );
        assert!(envelope.is_fresh(1_790_000_300_122));
        assert!(!envelope.is_fresh(1_790_000_300_123));
        assert_eq!(envelope.age_seconds(1_790_000_002_000), 1);
        assert_eq!(envelope.age_seconds(0), 0);
    }

    #[test]
    fn foreign_bytes_are_no_envelope() {
        for foreign in [
            &b""[..],
            b"short",
            b"not numbers at all, but long enough to be some {}",
        ] {
            assert_eq!(Envelope::decode(Bytes::copy_from_slice(foreign)), None);
        }
    }
}
