//! Absences: which refusals are remembered for a moment, and how they are told again.

use axum::{body::Body, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

const PROBLEM: &str = "application/problem+json";

/// What is kept of a refusal: its problem without the id of the request it was made for. None for what is not an absence
/// that everybody may hear of.
///
/// Every problem says `no-store`, so that browsers do not keep it; here it says nothing.
#[must_use]
pub fn remembered(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Option<Bytes> {
    let is_private = headers.contains_key(header::SET_COOKIE)
        || headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
            value
                .to_str()
                .map_or(true, |text| text.to_ascii_lowercase().contains("private"))
        });
    if status != StatusCode::NOT_FOUND || is_private {
        return None;
    }
    without_instance(headers, body)
}

/// A problem for another request than the one it was made for; none for what is no problem.
#[must_use]
pub fn readdressed(headers: &HeaderMap, body: &Bytes, id: &str) -> Option<Bytes> {
    Some(with_instance(&without_instance(headers, body)?, id))
}

fn without_instance(headers: &HeaderMap, body: &Bytes) -> Option<Bytes> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with(PROBLEM) {
        return None;
    }
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    members.remove("instance");
    serde_json::to_vec(&members).ok().map(Bytes::from)
}

/// The answer for a request with this id (letters, digits, dots, dashes and underscores only).
#[must_use]
pub fn told(kept: &Bytes, id: &str) -> Response {
    let mut response = Response::new(Body::from(with_instance(kept, id)));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_instance(kept: &[u8], id: &str) -> Bytes {
    // An object, as it was written above.
    let rest = kept.strip_prefix(b"{").unwrap_or(b"}");
    let mut body = BytesMut::with_capacity(kept.len() + id.len() + 16);
    body.put_slice(b"{\"instance\":\"");
    body.put_slice(id.as_bytes());
    body.put_slice(if rest == b"}" { b"\"" } else { b"\"," });
    body.put_slice(rest);
    body.freeze()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_absences_that_all_may_hear_of_are_remembered() {
        let body =
            Bytes::from_static(br#"{"detail":"No such trip","instance":"abc","status":404}"#);
        let problem = ("content-type", "application/problem+json");
        let no_store = ("cache-control", "no-store");
        for (status, pairs, kept) in [
            (404, vec![problem, no_store], true),
            (404, vec![problem], true),
            (404, vec![problem, ("cache-control", "private")], false),
            (404, vec![problem, ("set-cookie", "a=1")], false),
            (404, vec![("content-type", "application/json")], false),
            (404, vec![], false),
            (403, vec![problem], false),
            (429, vec![problem], false),
            (500, vec![problem], false),
            (503, vec![problem], false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = remembered(status, &headers(&pairs), &body);
            assert_eq!(found.is_some(), kept, "{status} {pairs:?}");
        }
        for broken in [&b"{"[..], b"[]", b"", b"\"text\""] {
            let broken = Bytes::copy_from_slice(broken);
            let found = remembered(StatusCode::NOT_FOUND, &headers(&[problem]), &broken);
            assert_eq!(found, None);
        }
    }

    #[test]
    fn each_request_hears_its_own_id() {
        let body =
            Bytes::from_static(br#"{"detail":"No such trip","instance":"abc","status":404}"#);
        let problem = headers(&[("content-type", "application/problem+json")]);
        let kept = remembered(StatusCode::NOT_FOUND, &problem, &body).expect("kept");
        for (kept, expected) in [
            (
                kept,
                json!({"detail": "No such trip", "status": 404, "instance": "mine-2"}),
            ),
            (Bytes::from_static(b"{}"), json!({"instance": "mine-2"})),
        ] {
            let told: Value =
                serde_json::from_slice(&with_instance(&kept, "mine-2")).expect("JSON");
            assert_eq!(told, expected);
        }
    }
}
