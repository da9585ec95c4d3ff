//! A stored value with its times: numbers of fixed width (milliseconds since 1970), then the JSON as it came.
//!
//! The numbers are text of fixed width, so that the Lua scripts read them without taking anything apart.

use bytes::Bytes;

/// Digits of one time.
const WIDTH: usize = 13;
/// How many times there are.
const TIMES: usize = 4;
/// Digits of how long the rebuild took.
const REBUILD: usize = 7;
/// Digits of the status.
const STATUS: usize = 3;
/// Bytes before the JSON.
pub const HEAD: usize = TIMES * WIDTH + REBUILD + STATUS;

/// How long a value lives, each window counted from the end of its freshness but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Milliseconds it is fresh.
    pub fresh_ms: i64,
    /// Seconds it is served while somebody rebuilds it.
    pub swr_seconds: u32,
    /// Seconds it stands in when its source fails.
    pub sie_seconds: u32,
}

impl Lifetime {
    /// Takes up to `percent` of the freshness away; `chance` is in 0..1.
    #[must_use]
    pub fn jittered(self, percent: u8, chance: f64) -> Self {
        let least = 1.0 - f64::from(percent.min(100)) / 100.0;
        let share = least + (1.0 - least) * (1.0 - chance.clamp(0.0, 1.0));
        let fresh_ms = (self.fresh_ms as f64 * share) as i64;
        Self {
            fresh_ms: fresh_ms.max(1),
            ..self
        }
    }
}

/// What a value may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Fresh,
    /// An answer at once, while somebody rebuilds it.
    Revalidate,
    /// An answer when its source fails.
    IfError,
    /// Nothing.
    Over,
}

/// What is known of a value besides its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Milliseconds that making it took; 0 when nobody said.
    pub rebuild_ms: u32,
    /// The status that it is answered with: 200, or 404 for a remembered absence.
    pub status: u16,
}

impl Facts {
    /// A value that somebody wrote by hand.
    pub const WRITTEN: Self = Self {
        rebuild_ms: 0,
        status: 200,
    };
}

/// A value and until when it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub stored_at: i64,
    /// Until then it is a hit.
    pub fresh_until: i64,
    /// Until then it is served while somebody rebuilds it.
    pub revalidate_until: i64,
    /// Until then it may stand in while its source fails.
    pub error_until: i64,
    pub facts: Facts,
    pub json: Bytes,
}

impl Envelope {
    /// A value stored `now`.
    #[must_use]
    pub fn new(json: Bytes, now: i64, lifetime: Lifetime, facts: Facts) -> Self {
        let fresh_until = now + lifetime.fresh_ms;
        Self {
            stored_at: now,
            fresh_until,
            revalidate_until: fresh_until + i64::from(lifetime.swr_seconds) * 1000,
            error_until: fresh_until + i64::from(lifetime.sie_seconds) * 1000,
            facts,
            json,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = format!(
            "{:013}{:013}{:013}{:013}{:07}{:03}",
            self.stored_at,
            self.fresh_until,
            self.revalidate_until,
            self.error_until,
            self.facts.rebuild_ms.min(9_999_999),
            self.facts.status
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
        let (rebuild, status) = head.get(TIMES * WIDTH..)?.split_at_checked(REBUILD)?;
        Some(Self {
            stored_at: time(0)?,
            fresh_until: time(1)?,
            revalidate_until: time(2)?,
            error_until: time(3)?,
            facts: Facts {
                rebuild_ms: rebuild.parse().ok()?,
                status: status.parse().ok()?,
            },
            json,
        })
    }

    #[must_use]
    pub fn is_fresh(&self, now: i64) -> bool {
        now < self.fresh_until
    }

    #[must_use]
    pub fn standing(&self, now: i64) -> Standing {
        if now < self.fresh_until {
            Standing::Fresh
        } else if now < self.revalidate_until {
            Standing::Revalidate
        } else if now < self.error_until {
            Standing::IfError
        } else {
            Standing::Over
        }
    }

    /// Until when it is kept.
    #[must_use]
    pub fn kept_until(&self) -> i64 {
        self.fresh_until
            .max(self.revalidate_until)
            .max(self.error_until)
    }

    /// Milliseconds since it was stored.
    #[must_use]
    pub fn age_ms(&self, now: i64) -> u64 {
        u64::try_from(now - self.stored_at).unwrap_or(0)
    }

    /// Whole seconds since it was stored.
    #[must_use]
    pub fn age_seconds(&self, now: i64) -> u64 {
        self.age_ms(now) / 1000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFETIME: Lifetime = Lifetime {
        fresh_ms: 300_000,
        swr_seconds: 30,
        sie_seconds: 600,
    };

    #[test]
    fn what_goes_in_comes_out() {
        let facts = Facts {
            rebuild_ms: 1234,
            status: 404,
        };
        let json = Bytes::from_static(b"{\"a\":1}");
        let envelope = Envelope::new(json, 1_790_000_000_123, LIFETIME, facts);
        assert_eq!(envelope.fresh_until, 1_790_000_300_123);
        assert_eq!(envelope.revalidate_until, 1_790_000_330_123);
        assert_eq!(envelope.error_until, 1_790_000_900_123);
        assert_eq!(envelope.kept_until(), 1_790_000_900_123);
        let encoded = envelope.encode();
        assert_eq!(encoded.len(), HEAD + 7);
        assert_eq!(
            Envelope::decode(Bytes::from(encoded)),
            Some(envelope.clone())
        );
        assert_eq!(envelope.age_seconds(1_790_000_002_000), 1);
        assert_eq!(envelope.age_seconds(0), 0);
    }

    #[test]
    fn what_a_value_is_good_for() {
        let after = |milliseconds: i64, swr_seconds, sie_seconds| {
            let lifetime = Lifetime {
                fresh_ms: 1000,
                swr_seconds,
                sie_seconds,
            };
            Envelope::new(Bytes::new(), 0, lifetime, Facts::WRITTEN).standing(milliseconds)
        };
        for (milliseconds, swr, sie, expected) in [
            (999, 2, 5, Standing::Fresh),
            (1000, 2, 5, Standing::Revalidate),
            (2999, 2, 5, Standing::Revalidate),
            (3000, 2, 5, Standing::IfError),
            (5999, 2, 5, Standing::IfError),
            (6000, 2, 5, Standing::Over),
            (1000, 0, 5, Standing::IfError),
            (1000, 0, 0, Standing::Over),
            (3999, 3, 0, Standing::Revalidate),
            (4000, 3, 0, Standing::Over),
        ] {
            assert_eq!(after(milliseconds, swr, sie), expected, "{milliseconds}");
        }
    }

    #[test]
    fn foreign_bytes_are_no_envelope() {
        for foreign in [
            &b""[..],
            b"short",
            b"not numbers at all, but long enough to be some; really long enough, {}",
        ] {
            assert_eq!(Envelope::decode(Bytes::copy_from_slice(foreign)), None);
        }
    }

    #[test]
    fn jitter_shortens_by_a_tenth_at_most() {
        let fresh = |percent, chance| LIFETIME.jittered(percent, chance).fresh_ms;
        for (percent, chance, expected) in [
            (10, 0.0, 300_000),
            (10, 0.5, 285_000),
            (10, 1.0, 270_000),
            (0, 0.7, 300_000),
            (50, 1.0, 150_000),
        ] {
            assert!(
                (fresh(percent, chance) - expected).abs() <= 1,
                "{percent} {chance}"
            );
        }
        let short = Lifetime {
            fresh_ms: 1,
            ..LIFETIME
        };
        assert_eq!(short.jittered(50, 1.0).fresh_ms, 1);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds(fresh_ms in 1_i64..86_400_000, percent in 0_u8..=50, chance in 0.0_f64..1.0) {
            let jittered = Lifetime { fresh_ms, ..LIFETIME }.jittered(percent, chance).fresh_ms;
            prop_assert!(jittered >= 1 && jittered <= fresh_ms);
            prop_assert!(jittered as f64 >= fresh_ms as f64 * (1.0 - f64::from(percent) / 100.0) - 1.0);
        }
    }
}
