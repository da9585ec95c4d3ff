//! Sticky sessions: the cookie that sends a client back to the upstream that served it first.

use http::{HeaderMap, HeaderValue, header};

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

/// The sticky value a request came with.
#[must_use]
pub fn read(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| decode(cookie(value, STICKY_COOKIE)?))
}

/// The value of a `Set-Cookie` header that makes the client stick; it ends with the browser's session.
#[must_use]
pub fn set_cookie(value: u64) -> String {
    format!(
        "{STICKY_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax",
        encode(value)
    )
}

/// Tells the client of an answer to stick.
pub fn write(headers: &mut HeaderMap, value: u64) {
    if let Ok(cookie) = HeaderValue::from_str(&set_cookie(value)) {
        headers.append(header::SET_COOKIE, cookie);
    }
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

    #[test]
    fn what_is_set_is_read() {
        let mut answer = HeaderMap::new();
        write(&mut answer, 77);
        let set = answer[header::SET_COOKIE].to_str().unwrap().to_owned();
        let mut request = HeaderMap::new();
        request.append(header::COOKIE, HeaderValue::from_static("other=1"));
        assert_eq!(read(&request), None);
        let sent = set.split(';').next().unwrap();
        request.append(header::COOKIE, HeaderValue::from_str(sent).unwrap());
        assert_eq!(read(&request), Some(77));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64) {
            prop_assert_eq!(decode(&encode(value)), Some(value));
        }
    }
}
