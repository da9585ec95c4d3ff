//! Sticky sessions: the cookie that sends a client back to the upstream that served it first.

/// The cookie's name. Its value is [`encode`]d.
pub const STICKY_COOKIE: &str = "recarga_upstream";

/// The cookie's value: 16 hexadecimal digits.
#[must_use]
pub fn encode(value: u64) -> String {
    format!("{value:016x}")
}

/// Reads what [`encode`] wrote; anything else is no sticky value.
#[must_use]
pub fn decode(text: &str) -> Option<u64> {
    (text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

/// The value of a cookie in a `Cookie` header's value.
#[must_use]
pub fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let header = "a=1; recarga_upstream=00000000000000ff;b=2=3; xrecarga_upstream=5";
        for (name, value) in [
            (STICKY_COOKIE, Some("00000000000000ff")),
            ("a", Some("1")),
            ("b", Some("2=3")),
            ("upstream", None),
            ("", None),
        ] {
            assert_eq!(cookie(header, name), value, "{name}");
        }
        assert_eq!(decode("00000000000000ff"), Some(255));
        for bad in [
            "",
            "ff",
            "+0000000000000ff",
            "00000000000000fg",
            "00000000000000ff0",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64) {
            prop_assert_eq!(decode(&encode(value)), Some(value));
        }
    }
}
