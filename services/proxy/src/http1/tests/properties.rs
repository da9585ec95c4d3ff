//! The laws, with inputs that proptest makes and shrinks.

use proptest::prelude::*;

use super::{laws, read};
use crate::http1::{Body, Framing, encode};

/// Mostly what heads are made of, so that much of it is accepted.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => "(GET|POST|OPTIONS|HEAD) /[a-z?=&]{0,20} HTTP/1\\.[01]",
        1 => "(GET|OPTIONS) (\\*|https?://[a-z.]{0,9}(:[0-9]{0,6})?(/[a-z]*)?) HTTP/1\\.1",
        1 => "[ -~]{0,30}",
    ];
    let field = prop_oneof![
        4 => "[A-Za-z_-]{1,12}:[ \t]?[ -~]{0,20}[ \t]?",
        4 => "(content-length: ?[0-9]{1,3}|transfer-encoding: (chunked|Chunked|gzip))",
        2 => "connection: (close|keep-alive|upgrade|x-a|te|host)(, ?(close|x-b))?",
        1 => "(upgrade: (websocket|h2c)|expect: 100-continue)",
        1 => "x[-_]forwarded[-_.](for|host|x): .",
        1 => "[ -~\\n\\r\\x00]{0,20}",
    ];
    (line, prop::collection::vec(field, 0..8), any::<bool>()).prop_map(|(line, fields, host)| {
        let mut text = line + "\r\n";
        if host {
            text.push_str("Host: a\r\n");
        }
        for field in fields {
            text.push_str(&field);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    })
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    ("HTTP/1\\.[01] [1-6][0-9][0-9]( [ -~]{0,9})?\r\n", head()).prop_map(|(line, head)| {
        let fields = head.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        [line.as_bytes(), &head[fields + 1..]].concat()
    })
}

fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let chunk = ("[0-9a-f]{1,2}(;[a-z=]{0,5})?", any::<bool>()).prop_map(|(line, right)| {
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        let size = if right { size } else { size / 2 };
        [line.as_bytes(), b"\r\n", &vec![b'x'; size], b"\r\n"].concat()
    });
    prop::collection::vec(chunk, 0..6)
        .prop_map(|chunks| [&chunks.concat()[..], b"0\r\nX: y\r\n\r\n"].concat())
}

proptest! {
    #[test]
    fn all_bytes_obey(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        laws::request_head(&bytes);
        laws::response_head(&bytes);
        laws::chunked_body(&bytes);
        laws::connection(&bytes);
    }

    #[test]
    fn heads_obey(bytes in head()) {
        laws::request_head(&bytes);
    }

    #[test]
    fn answers_obey(bytes in answer()) {
        laws::response_head(&bytes);
    }

    #[test]
    fn chunked_bodies_obey(bytes in chunks()) {
        laws::chunked_body(&bytes);
    }

    #[test]
    fn connections_obey(parts in prop::collection::vec(prop_oneof![head(), chunks()], 0..5)) {
        laws::connection(&parts.concat());
    }

    #[test]
    fn what_was_chunked_is_read_again(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), rest in prop::collection::vec(any::<u8>(), 0..9)) {
        let mut bytes = Vec::new();
        for piece in &pieces {
            encode::chunk(piece, &mut bytes);
        }
        bytes.extend_from_slice(encode::LAST_CHUNK);
        let length = bytes.len();
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(read(&mut Body::new(Framing::Chunked), &bytes), (pieces.concat(), length, Ok(true)));
    }
}
