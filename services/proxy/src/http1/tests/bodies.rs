//! Bodies: what is refused inside of them, and where good ones end.

use super::read;
use crate::http1::{Body, Framing, Refusal, Step};

/// Chunked bodies that are refused.
pub const REFUSED: &[(Refusal, &[u8])] = &[
    (Refusal::ChunkSize, b"\r\nabc"),
    (Refusal::ChunkSize, b"g\r\n"),
    (Refusal::ChunkSize, b"0x3\r\nabc\r\n"),
    (Refusal::ChunkSize, b"+3\r\nabc\r\n"),
    (Refusal::ChunkSize, b"-3\r\nabc\r\n"),
    (Refusal::ChunkSize, b" 3\r\nabc\r\n"),
    (Refusal::ChunkSize, b"3 \r\nabc\r\n"),
    (Refusal::ChunkSize, b"3\t;x\r\nabc\r\n"),
    (Refusal::ChunkSize, b"3,3\r\nabc\r\n"),
    (Refusal::ChunkSize, b"3_0\r\n"),
    (Refusal::ChunkSize, b"\0\r\n"),
    (Refusal::ChunkSize, b";x\r\n"),
    (Refusal::ChunkSize, b"3\r\nabc\r\n\r\n"),
    (Refusal::ChunkSize, b"\xef\xbc\x93\r\n"),
    (Refusal::ChunkSizeOverflow, b"10000000000000000\r\n"),
    (Refusal::ChunkSizeOverflow, b"00000000000000003\r\nabc\r\n"),
    (Refusal::ChunkSizeOverflow, b"fffffffffffffffff\r\n"),
    (Refusal::ChunkExtension, b"3;a\0\r\nabc\r\n"),
    (Refusal::ChunkExtension, b"3;a=\"\x7f\"\r\nabc\r\n"),
    (Refusal::ChunkExtension, b"3;\xc3\xa9\r\nabc\r\n"),
    (Refusal::ChunkEnd, b"3\r\nabcd\r\n0\r\n\r\n"),
    (Refusal::ChunkEnd, b"3\r\nabc0\r\n\r\n"),
    (Refusal::BareLf, b"3\nabc\r\n0\r\n\r\n"),
    (Refusal::BareLf, b"3\r\nabc\n0\r\n\r\n"),
    (Refusal::BareLf, b"3;x\nabc\r\n0\r\n\r\n"),
    (Refusal::BareLf, b"0\n\n"),
    (Refusal::BareLf, b"0\r\n\n"),
    (Refusal::BareLf, b"0\r\nA: b\n\r\n"),
    (Refusal::BareCr, b"3\rabc\r\n0\r\n\r\n"),
    (Refusal::BareCr, b"3\r\r\nabc\r\n"),
    (Refusal::BareCr, b"3\r\nabc\r0\r\n\r\n"),
    (Refusal::BareCr, b"3;x\rabc"),
    (Refusal::BareCr, b"0\r\n\rX"),
    (Refusal::BareCr, b"0\r\nA: b\rC: d\r\n\r\n"),
    (Refusal::ObsFold, b"0\r\n A: b\r\n\r\n"),
    (Refusal::ObsFold, b"0\r\nA: b\r\n c\r\n\r\n"),
    (Refusal::SpaceBeforeColon, b"0\r\nA : b\r\n\r\n"),
    (Refusal::Trailer, b"0\r\n: b\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nA\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nA\0: b\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nA: \0\r\n\r\n"),
    (Refusal::Trailer, b"0\r\n(A): b\r\n\r\n"),
    (
        Refusal::SpaceBeforeColon,
        b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (Refusal::Trailer, b"0\r\nContent-Length: 5\r\n\r\n"),
    (
        Refusal::Trailer,
        b"0\r\nX-Fine: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    (Refusal::Trailer, b"0\r\nHost: a\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nAuthorization: Bearer x\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nX-Recarga-User: root\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"),
    (Refusal::Trailer, b"0\r\nContent_Length: 5\r\n\r\n"),
];

fn refused(bytes: &[u8], refusal: Refusal) {
    let text = String::from_utf8_lossy(bytes);
    let whole = read(&mut Body::new(Framing::Chunked), bytes);
    assert_eq!(whole.2, Err(refusal), "{text:?}");
    let mut body = Body::new(Framing::Chunked);
    let by_bytes = bytes
        .chunks(1)
        .map(|byte| read(&mut body, byte).2)
        .find(|result| *result != Ok(false));
    assert_eq!(by_bytes, Some(Err(refusal)), "{text:?} byte by byte");
}

#[test]
fn every_flaw_is_refused_for_its_own_reason() {
    for (refusal, bytes) in REFUSED {
        refused(bytes, *refusal);
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let mut line = b"3;".to_vec();
    line.resize(1024, b'x');
    let good = [&line[..], b"\r\nabc\r\n0\r\n\r\n"].concat();
    assert_eq!(read(&mut Body::new(Framing::Chunked), &good).2, Ok(true));
    line.push(b'x');
    line.push(b'x');
    refused(&line, Refusal::ChunkLineTooLong);

    let endless = b"1;0123456789abcdef\r\nx\r\n".repeat(1024);
    refused(&endless, Refusal::ChunkExtensionsTooLarge);

    let endless = [&b"0\r\n"[..], &b"A: b\r\n".repeat(2000)].concat();
    refused(&endless, Refusal::TrailersTooLarge);
    let endless = [&b"0\r\nA: "[..], &[b'b'; 9000]].concat();
    refused(&endless, Refusal::TrailersTooLarge);
}

#[test]
fn every_reason_is_in_a_table() {
    let limits_and_lists = [
        Refusal::TargetTooLong,
        Refusal::HeadTooLarge,
        Refusal::TooManyFields,
        Refusal::ConnectionNamesEndToEnd,
        Refusal::ChunkLineTooLong,
        Refusal::ChunkExtensionsTooLarge,
        Refusal::TrailersTooLarge,
    ];
    for refusal in Refusal::ALL {
        let tables = super::refused::REFUSED.iter().chain(REFUSED);
        assert!(
            limits_and_lists.contains(refusal)
                || tables.into_iter().any(|(known, _)| known == refusal),
            "{refusal:?}"
        );
    }
}

#[test]
fn chunks_are_taken_out_of_their_framing() {
    for (bytes, data, consumed) in [
        (&b"0\r\n\r\n"[..], &b""[..], 5),
        (b"3\r\nabc\r\n0\r\n\r\nGET", b"abc", 13),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", 20),
        (b"00A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", 24),
        (b"0000000000000003\r\nabc\r\n0\r\n\r\n", b"abc", 28),
        (b"3;a=b;c=\"d e\"\r\nabc\r\n0;last\r\n\r\n", b"abc", 30),
        (
            b"1\r\nx\r\n0\r\nServer-Timing: db;dur=1\r\nX: y\r\n\r\nrest",
            b"x",
            42,
        ),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", 14),
    ] {
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.remaining_length(), None);
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(
            read(&mut body, bytes),
            (data.to_vec(), consumed, Ok(true)),
            "{text:?}"
        );
        assert!(body.is_done());
        assert_eq!(body.next(b"GET"), Ok((0, Step::End)));
    }
}

#[test]
fn lengths_are_counted_down() {
    let mut body = Body::new(Framing::Length(5));
    assert_eq!(body.remaining_length(), Some(5));
    assert_eq!(body.next(b""), Ok((0, Step::More)));
    assert_eq!(body.next(b"abc"), Ok((3, Step::Data(b"abc"))));
    assert_eq!(body.remaining_length(), Some(2));
    assert!(!body.is_done());
    assert_eq!(body.next(b"defg"), Ok((2, Step::Data(b"de"))));
    assert!(body.is_done());
    assert_eq!(body.next(b"fg"), Ok((0, Step::End)));
    assert_eq!(body.next(b""), Ok((0, Step::End)));
}

#[test]
fn no_body_is_done_at_once_and_one_until_close_never() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut body = Body::new(framing);
        assert!(body.is_done() && !framing.has_body());
        assert_eq!(body.remaining_length(), Some(0));
        assert_eq!(body.next(b"GET"), Ok((0, Step::End)));
    }
    let mut body = Body::new(Framing::UntilClose);
    assert_eq!(body.next(b""), Ok((0, Step::More)));
    assert_eq!(body.next(b"abc"), Ok((3, Step::Data(b"abc"))));
    assert!(!body.is_done());
    assert_eq!(body.remaining_length(), None);
}

#[test]
fn the_largest_chunk_does_not_overflow() {
    let mut body = Body::new(Framing::Chunked);
    let bytes = b"ffffffffffffffff\r\nabc";
    assert_eq!(
        read(&mut body, bytes),
        (b"abc".to_vec(), bytes.len(), Ok(false))
    );
}
