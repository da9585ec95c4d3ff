//! What a pick is asked for, and why it may find nobody.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, header};

use crate::{
    hash,
    headers::{self, Forwarded},
    sticky,
};

/// What matters of one attempt when its upstream is picked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// The upstreams that were tried already ([`Lease::id`](crate::Lease::id)).
    pub avoid: &'a [u64],
    /// Whether one of `avoid` may be picked when nobody else is left.
    pub last_resort: bool,
    /// The hash of what [`Pool::hash_on`](crate::Pool::hash_on) names; see [`hash::of`](crate::hash::of).
    pub key: Option<u64>,
    /// The value of the sticky cookie the client sent; see [`sticky`](crate::sticky).
    pub sticky: Option<u64>,
}

/// What of a request decides under the policy `consistent_hash`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The value of this header.
    Header(HeaderName),
    /// The value of this cookie.
    Cookie(String),
    /// The client's IP address.
    Address,
}

impl HashOn {
    /// The key of a request, as it came in; `None` when it lacks what is hashed.
    ///
    /// `client` is who sent it here. Where that is a hop of ours, the client is who that hop names.
    #[must_use]
    pub fn key(
        &self,
        headers: &HeaderMap,
        client: Option<SocketAddr>,
        forwarded: Forwarded,
    ) -> Option<u64> {
        match self {
            Self::Header(name) => headers.get(name).map(|value| hash::of(value.as_bytes())),
            Self::Cookie(name) => headers
                .get_all(header::COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .find_map(|value| sticky::cookie(value, name))
                .map(|value| hash::of(value.as_bytes())),
            Self::Address => {
                let named = (forwarded == Forwarded::Append)
                    .then(|| headers::forwarded_for(headers))
                    .flatten();
                let address = named.or(client.map(|client| client.ip()))?;
                Some(hash::of(address.to_canonical().to_string().as_bytes()))
            }
        }
    }
}

/// Why nobody was picked; [`Pool::retry_after`](crate::Pool::retry_after) says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nobody takes requests.
    #[error("nobody takes requests")]
    NoneHealthy,
    /// Those that would take requests have not been answering, and it is not yet time to try again.
    #[error("the circuit breakers of all that are left are open")]
    BreakersOpen,
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn keys_are_made_of_what_is_named() {
        let client = Some("192.0.2.7:4000".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("maria"));
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; session=s1"));
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_static("198.51.100.1, 203.0.113.9"),
        );
        let of = |text: &str| Some(hash::of(text.as_bytes()));
        let table = [
            ("header:x-user", Forwarded::Replace, of("maria")),
            ("header:x-other", Forwarded::Replace, None),
            ("cookie:session", Forwarded::Replace, of("s1")),
            ("cookie:other", Forwarded::Replace, None),
            ("address", Forwarded::Replace, of("192.0.2.7")),
            // Only the last one was named by our own hop.
            ("address", Forwarded::Append, of("203.0.113.9")),
        ];
        for (on, forwarded, expected) in table {
            let on: HashOn = on.parse().unwrap();
            assert_eq!(
                on.key(&headers, client, forwarded),
                expected,
                "{on} {forwarded:?}"
            );
        }
        let mapped = Some("[::ffff:192.0.2.7]:1".parse().unwrap());
        let key = |client| HashOn::Address.key(&HeaderMap::new(), client, Forwarded::Append);
        assert_eq!(key(mapped), of("192.0.2.7"));
        assert_eq!(key(None), None);
    }
}
