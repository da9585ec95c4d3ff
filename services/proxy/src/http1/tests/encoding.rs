//! What is written.

use super::read;
use crate::http1::{Body, Framing, encode};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn numbers_are_written_in_their_digits() {
    let edges = (0..20).map(|digits| 10_u64.pow(digits));
    let around = edges.flat_map(|edge| [edge - 1, edge, edge + 1]);
    for number in around.chain([12_345, u64::from(u32::MAX), u64::MAX]) {
        assert_eq!(
            written(|out| encode::decimal(number, out)),
            number.to_string()
        );
    }
    for length in [0, 1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
        assert_eq!(
            written(|out| encode::chunk_head(length, out)),
            format!("{length:x}\r\n")
        );
    }
}

#[test]
fn status_lines_have_the_known_words() {
    for (status, line) in [
        (200, "HTTP/1.1 200 OK\r\n"),
        (404, "HTTP/1.1 404 Not Found\r\n"),
        (431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
        (299, "HTTP/1.1 299 \r\n"),
    ] {
        assert_eq!(written(|out| encode::status_line(status, out)), line);
    }
}

#[test]
fn no_value_ends_its_line() {
    assert_eq!(
        written(|out| encode::field("a", b"b\tc", out)),
        "a: b\tc\r\n"
    );
    assert_eq!(
        written(|out| encode::field("a", b"b\r\nset-cookie: c\0", out)),
        "a: b  set-cookie: c \r\n"
    );
}

#[test]
fn chunks_are_read_as_they_were_written() {
    let mut out = Vec::new();
    encode::chunk(b"abc", &mut out);
    encode::chunk(b"", &mut out);
    encode::chunk_head(2, &mut out);
    out.extend_from_slice(b"de");
    out.extend_from_slice(encode::CHUNK_END);
    out.extend_from_slice(encode::LAST_CHUNK);
    assert_eq!(out, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let length = out.len();
    assert_eq!(
        read(&mut Body::new(Framing::Chunked), &out),
        (b"abcde".to_vec(), length, Ok(true))
    );
}
