//! Names of cached values: which are allowed, and where they are in Redis.

use kit::{
    Problem,
    caching::first_level::{ALIVE, HOLDERS, SUMS},
    redis::Servers,
};

/// The longest key or variant, in bytes.
pub const LIMIT: usize = 512;
/// What the hashes of values are called, before the key.
const VALUES: &str = "cache:v:";
/// What the hashes of leases are called, before the key.
const LEASES: &str = "cache:l:";

/// What everything is called in Redis.
#[derive(Clone, Debug)]
pub struct Names {
    /// The beginning of the hash of a key's values.
    pub values: String,
    /// The beginning of the hash of a key's leases.
    pub leases: String,
    pub holders: String,
    pub alive: String,
    pub sums: String,
}

impl Names {
    #[must_use]
    pub fn on(servers: &Servers) -> Self {
        let name = |name| servers.key(name).into_owned();
        Self {
            values: name(VALUES),
            leases: name(LEASES),
            holders: name(HOLDERS),
            alive: name(ALIVE),
            sums: name(SUMS),
        }
    }

    /// The hash of a key's values.
    #[must_use]
    pub fn values_of(&self, key: &Key) -> String {
        [&self.values, key.as_str()].concat()
    }

    /// The hash of a key's leases.
    #[must_use]
    pub fn leases_of(&self, key: &Key) -> String {
        [&self.leases, key.as_str()].concat()
    }
}

/// The name of a value: 1 to 512 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

/// One of several values under a key, such as a page of a list; the empty one is the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant(String);

impl Key {
    pub fn parse(text: String) -> Result<Self, Problem> {
        if text.is_empty() {
            return Err(Problem::invalid("key", "must not be empty"));
        }
        check("key", &text)?;
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Variant {
    pub fn parse(text: String) -> Result<Self, Problem> {
        check("variant", &text)?;
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(field: &str, text: &str) -> Result<(), Problem> {
    if text.len() > LIMIT {
        return Err(Problem::invalid(
            field,
            format!("must be at most {LIMIT} bytes"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(
            field,
            "must not contain control characters",
        ));
    }
    Ok(())
}

/// A `MATCH` pattern for every Redis key that begins with `space` and then `prefix`, taken literally.
#[must_use]
pub fn pattern(space: &str, prefix: &str) -> String {
    let mut pattern = String::with_capacity(space.len() + prefix.len() + 1);
    pattern.push_str(space);
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_printable() {
        for (text, valid) in [
            ("my_data", true),
            ("card:1:balance", true),
            ("búsqueda/ñ 🚌", true),
            ("..", true),
            ("", false),
            ("a\nb", false),
            ("a\0b", false),
            ("\u{85}", false),
            (&"x".repeat(512), true),
            (&"x".repeat(513), false),
            (&"ñ".repeat(257), false),
        ] {
            assert_eq!(Key::parse(text.to_owned()).is_ok(), valid, "{text:?}");
        }
        assert!(Variant::parse(String::new()).is_ok());
        assert!(Variant::parse("\t".to_owned()).is_err());
    }

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(pattern(VALUES, "card:"), "cache:v:card:*");
        assert_eq!(pattern(VALUES, "a*[b]?\\"), r"cache:v:a\*\[b\]\?\\*");
    }
}
