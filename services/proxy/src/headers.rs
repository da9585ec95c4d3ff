//! What of a message's head goes on to the next hop, and what this hop adds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::retry::RETRY_OWNER;

/// Names that begin like this travel inside the system only; the edge removes them from what comes in.
pub const INTERNAL_PREFIX: &str = "x-recarga-";

/// Milliseconds the hop in front will still wait.
pub const DEADLINE: HeaderName = HeaderName::from_static("x-recarga-deadline-ms");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Meant for one connection only (RFC 9110, 7.6.1), besides whatever `Connection` names. `Expect` is here because this hop has
/// answered it, and `Content-Length` is not because the length of the body stays what it is.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// What to believe of the `X-Forwarded-*` headers that came with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// The sender is anybody: its claims are dropped, the chain begins here.
    #[default]
    Replace,
    /// The sender is a hop of ours: the chain goes on.
    Append,
}

/// Removes every hop-by-hop header, also those that `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes everything that only hops of ours may say. The edge calls it on what comes from outside.
pub fn strip_internal(headers: &mut HeaderMap) {
    let internal: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(INTERNAL_PREFIX))
        .cloned()
        .collect();
    for name in internal {
        headers.remove(name);
    }
}

/// What a hop behind the edge removes of what the hop in front sent: every claim, such as who the user is, but not the deadline
/// and not the word that the request is being repeated already.
pub fn strip_claims(headers: &mut HeaderMap) {
    let kept = [DEADLINE, HeaderName::from_static(RETRY_OWNER)]
        .map(|name| headers.get(&name).cloned().map(|value| (name, value)));
    strip_internal(headers);
    headers.extend(kept.into_iter().flatten());
}

/// Whether the head frames its body in two ways, which no two readers understand alike.
#[must_use]
pub fn is_ambiguously_framed(headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    lengths > 1 || (lengths == 1 && headers.contains_key(header::TRANSFER_ENCODING))
}

/// What an answer's `Retry-After` asks for, when it is given in seconds; a date is not read, its clock is not ours.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// The address that the hop in front says it was asked from: the last of `X-Forwarded-For`.
#[must_use]
pub fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let chain = headers.get_all(&X_FORWARDED_FOR).iter().next_back()?;
    let last = chain.to_str().ok()?.rsplit(',').next()?;
    last.trim().parse().ok()
}

/// Says who asked, how, and for which host; `Host` itself is left to the caller, who knows the next hop.
pub fn forward_origin(
    headers: &mut HeaderMap,
    client: Option<SocketAddr>,
    encrypted: bool,
    trust: Forwarded,
) {
    let host = headers.get(header::HOST).cloned();
    if trust == Forwarded::Replace {
        headers.remove(X_FORWARDED_FOR);
        headers.remove(X_FORWARDED_PROTO);
        headers.remove(X_FORWARDED_HOST);
        headers.remove(header::FORWARDED);
    }
    if let Some(client) = client {
        let mut chain: Vec<String> = headers
            .get_all(&X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect();
        chain.push(client.ip().to_canonical().to_string());
        if let Ok(value) = HeaderValue::from_str(&chain.join(", ")) {
            headers.insert(X_FORWARDED_FOR, value);
        }
    }
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        let scheme = if encrypted { "https" } else { "http" };
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if let Some(host) = host
        && !headers.contains_key(&X_FORWARDED_HOST)
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("-1", None),
            ("1.5", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ] {
            assert_eq!(
                retry_after(&headers(&[("retry-after", value)])),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn hop_by_hop_goes_the_rest_stays() {
        let mut given = headers(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "another"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("another", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-connection", "close"),
            ("authorization", "Bearer t"),
            ("content-length", "3"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut given);
        assert_eq!(names(&given), ["accept", "authorization", "content-length"]);
    }

    #[test]
    fn internal_names_are_stripped() {
        let mut given = headers(&[
            ("x-recarga-user", "root"),
            ("X-Recarga-Role", "operator"),
            ("x-request-id", "1"),
        ]);
        strip_internal(&mut given);
        assert_eq!(names(&given), ["x-request-id"]);
    }

    #[test]
    fn a_hop_behind_the_edge_keeps_the_deadline_and_the_retry_owner() {
        let mut given = headers(&[
            ("x-recarga-user", "root"),
            ("x-recarga-deadline-ms", "10"),
            ("x-recarga-retry-owner", "balancer-1"),
        ]);
        strip_claims(&mut given);
        assert_eq!(
            names(&given),
            ["x-recarga-deadline-ms", "x-recarga-retry-owner"]
        );
    }

    #[test]
    fn the_edge_begins_the_chain_and_hops_go_on_with_it() {
        let client = SocketAddr::from(([192, 0, 2, 7], 5000));
        let given = headers(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "evil"),
            ("host", "recarga.test"),
            ("forwarded", "for=1"),
        ]);
        let mut edge = given.clone();
        forward_origin(&mut edge, Some(client), false, Forwarded::Replace);
        assert_eq!(edge["x-forwarded-for"], "192.0.2.7");
        assert_eq!(edge["x-forwarded-host"], "recarga.test");
        assert_eq!(edge["x-forwarded-proto"], "http");
        assert!(!edge.contains_key("forwarded"));
        let mut hop = given;
        forward_origin(&mut hop, Some(client), false, Forwarded::Append);
        assert_eq!(hop["x-forwarded-for"], "203.0.113.9, 192.0.2.7");
        assert_eq!(hop["x-forwarded-host"], "evil");
    }

    #[test]
    fn two_framings_are_ambiguous() {
        let table: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[("content-length", "1")], false),
            (&[("transfer-encoding", "chunked")], false),
            (
                &[("content-length", "1"), ("transfer-encoding", "chunked")],
                true,
            ),
            (&[("content-length", "1"), ("content-length", "2")], true),
        ];
        for (pairs, ambiguous) in table {
            let mut given = HeaderMap::new();
            for (name, value) in *pairs {
                given.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            assert_eq!(is_ambiguously_framed(&given), *ambiguous, "{pairs:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_connection_names_survives(listed in prop::collection::vec("[a-z]{1,12}", 0..6), kept in "z-[a-z]{1,8}") {
            let mut given = HeaderMap::new();
            given.insert(header::CONNECTION, HeaderValue::from_str(&listed.join(" , ")).unwrap());
            for name in listed.iter().chain(std::iter::once(&kept)) {
                given.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
            }
            strip_hop_by_hop(&mut given);
            for name in &listed {
                prop_assert!(!given.contains_key(name.as_str()));
            }
            prop_assert!(given.contains_key(kept.as_str()));
        }
    }
}
