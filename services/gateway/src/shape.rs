//! Puts answers together from raw JSON, without taking it apart.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use crate::table::Shape;

/// The value to be cached from a service's answer; none when it is not of the shape.
#[must_use]
pub fn value(shape: &Shape, body: &Bytes) -> Option<Bytes> {
    match shape {
        Shape::Plain => serde_json::from_slice::<&RawValue>(body)
            .ok()
            .map(|_| body.clone()),
        Shape::Wrapped(member) => {
            let members: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
            Some(body.slice_ref(members.get(member)?.get().as_bytes()))
        }
    }
}

/// What the client gets for a cached value.
#[must_use]
pub fn answer(shape: &Shape, cached: bool, value: Bytes, gateway_id: &str) -> Bytes {
    let Shape::Wrapped(member) = shape else {
        return value;
    };
    let head: &[u8] = if cached {
        b"{\"cached\":true,\""
    } else {
        b"{\"cached\":false,\""
    };
    let mut body = BytesMut::with_capacity(
        head.len() + member.len() + 2 + value.len() + 20 + gateway_id.len(),
    );
    body.extend_from_slice(head);
    body.extend_from_slice(member.as_bytes());
    body.extend_from_slice(b"\":");
    body.extend_from_slice(&value);
    body.extend_from_slice(b",\"gateway_id\":\"");
    body.extend_from_slice(gateway_id.as_bytes());
    body.extend_from_slice(b"\"}");
    body.freeze()
}

/// Adds `gateway_id` to a JSON object; none for what is no object.
#[must_use]
pub fn with_gateway_id(body: &[u8], gateway_id: &str) -> Option<Bytes> {
    let members: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let body = body.trim_ascii().strip_suffix(b"}")?;
    let mut longer = BytesMut::with_capacity(body.len() + gateway_id.len() + 20);
    longer.extend_from_slice(body);
    if !members.is_empty() {
        longer.extend_from_slice(b",");
    }
    longer.extend_from_slice(b"\"gateway_id\":\"");
    longer.extend_from_slice(gateway_id.as_bytes());
    longer.extend_from_slice(b"\"}");
    Some(longer.freeze())
}

/// Whether a gateway's id can stand in JSON as it is.
#[must_use]
pub fn is_plain_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: &[u8]) -> Value {
        serde_json::from_slice(body).expect("JSON")
    }

    #[test]
    fn members_are_cut_out_and_put_back() {
        let shape = Shape::Wrapped("data".to_owned());
        let body =
            Bytes::from_static(b" {\"service_id\": \"2\", \"data\" : [1, {\"a\":\"}\"}] }\n");
        let cut = value(&shape, &body).expect("the member");
        assert_eq!(&cut[..], b"[1, {\"a\":\"}\"}]");
        for cached in [true, false] {
            assert_eq!(
                parse(&answer(&shape, cached, cut.clone(), "3")),
                json!({"cached": cached, "data": [1, {"a": "}"}], "gateway_id": "3"})
            );
        }
        for other in [&b"[1]"[..], b"{}", b"{\"data\":", b"", b"\"data\""] {
            assert_eq!(value(&shape, &Bytes::copy_from_slice(other)), None);
        }
    }

    #[test]
    fn plain_answers_stay_as_they_are() {
        let body = Bytes::from_static(b"{\"a\": 1.0}");
        assert_eq!(value(&Shape::Plain, &body), Some(body.clone()));
        assert_eq!(answer(&Shape::Plain, true, body.clone(), "1"), body);
        assert_eq!(value(&Shape::Plain, &Bytes::from_static(b"<html>")), None);
    }

    #[test]
    fn an_id_is_added_to_objects() {
        for (body, expected) in [
            (&b"{}"[..], json!({"gateway_id": "1"})),
            (b" { \"a\" : {} } \n", json!({"a": {}, "gateway_id": "1"})),
        ] {
            assert_eq!(
                parse(&with_gateway_id(body, "1").expect("an object")),
                expected
            );
        }
        for other in [&b"[]"[..], b"", b"{", b"\"}\""] {
            assert_eq!(with_gateway_id(other, "1"), None);
        }
    }

    #[test]
    fn ids_need_no_escapes() {
        for (id, plain) in [
            ("1", true),
            ("4f1d2c", true),
            ("", false),
            ("a\"b", false),
            ("ñ", false),
        ] {
            assert_eq!(is_plain_id(id), plain, "{id}");
        }
    }
}
