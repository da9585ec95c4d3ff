//! A fuzz run as an ordinary test: messages are generated, damaged, and held against the laws.
//!
//! `RECARGA_FUZZ_INPUTS` says how many inputs (20,000 by default), `RECARGA_FUZZ_SEED` where to begin.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{bodies, laws, parse, refused};
use crate::http1::Progress;

const METHODS: &[&str] = &[
    "GET", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "TRACE", "PRI", "get", "M-SEARCH",
];
const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/data?key=1",
    "*",
    "http://a/b?c",
    "https://[::1]:8/",
    "http://a",
    "http://u@a/",
    "a:80",
    "/#",
    "/\\",
    "//",
    "/%00",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.1 ",
];
const NAMES: &[&str] = &[
    "Host",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Expect",
    "Content-Length",
    "X-Recarga-User",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Real-IP",
    "Content_Length",
    "X_Forwarded_For",
    "X-Request-Id",
    "Cookie",
    "Authorization",
    "Accept",
    "X-Private",
    "Set-Cookie",
    "Server-Timing",
    "content-length",
];
const VALUES: &[&str] = &[
    "a",
    "a:80",
    "",
    "5",
    "0",
    "+5",
    "5, 5",
    "05",
    "99999999999999999999",
    "chunked",
    "Chunked",
    "gzip, chunked",
    "chunked, chunked",
    "identity",
    "chunked;q=1",
    "close",
    "keep-alive",
    "upgrade",
    "keep-alive, X-Private",
    "host",
    "x-private, te",
    "websocket",
    "h2c",
    "100-continue",
    "200-ok",
    "a b",
    "\u{e9}",
    "timeout=5",
];
const CHUNK_SIZES: &[&str] = &[
    "0",
    "1",
    "5",
    "a",
    "00005",
    "5;x=y",
    "0x5",
    "+5",
    "ffffffffffffffff",
    "10000000000000000",
    " 5",
    "5 ",
];
const SPLICES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
];

fn pick<'t, T: ?Sized>(chance: &mut StdRng, list: &'t [&T]) -> &'t T {
    list[chance.random_range(0..list.len())]
}

/// The common first entry more often than the rest.
fn pick_usual<'t>(chance: &mut StdRng, list: &'t [&str]) -> &'t str {
    if chance.random_bool(0.7) {
        list[0]
    } else {
        pick(chance, list)
    }
}

fn fields(chance: &mut StdRng, out: &mut Vec<u8>) {
    for _ in 0..chance.random_range(0..6) {
        let name = pick(chance, NAMES);
        let value = match name {
            // A value that fits, mostly: else little is accepted.
            "Content-Length" | "content-length" if chance.random_bool(0.8) => "5",
            "Transfer-Encoding" if chance.random_bool(0.8) => "chunked",
            "Connection" if chance.random_bool(0.8) => "keep-alive, X-Private",
            "Expect" if chance.random_bool(0.8) => "100-continue",
            "Upgrade" if chance.random_bool(0.8) => "websocket",
            _ => pick(chance, VALUES),
        };
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

fn chunks(chance: &mut StdRng, out: &mut Vec<u8>) {
    for _ in 0..chance.random_range(0..4) {
        let line = if chance.random_bool(0.8) {
            "5"
        } else {
            pick(chance, CHUNK_SIZES)
        };
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\nabcde\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    if chance.random_bool(0.2) {
        fields(chance, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn request(chance: &mut StdRng, out: &mut Vec<u8>) {
    let method = pick_usual(chance, METHODS);
    let target = pick_usual(chance, TARGETS);
    let version = pick_usual(chance, VERSIONS);
    for part in [method, " ", target, " ", version, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if chance.random_bool(0.9) {
        out.extend_from_slice(b"Host: a\r\n");
    }
    fields(chance, out);
    let framing = chance.random_range(0..3);
    let head_end: &[u8] = match framing {
        0 => b"\r\n",
        1 => b"Content-Length: 5\r\n\r\nabcde",
        _ => b"Transfer-Encoding: chunked\r\n\r\n",
    };
    out.extend_from_slice(head_end);
    if framing == 2 {
        chunks(chance, out);
    }
}

fn response(chance: &mut StdRng, out: &mut Vec<u8>) {
    let version = pick_usual(chance, VERSIONS);
    let status = chance.random_range(95..605_u32);
    out.extend_from_slice(format!("{version} {status} Fine\r\n").as_bytes());
    fields(chance, out);
    out.extend_from_slice(b"\r\n");
}

fn damage(chance: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..chance.random_range(0..4) {
        let at = chance.random_range(0..=bytes.len());
        let end = (at + chance.random_range(0..12)).min(bytes.len());
        match chance.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] = chance.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << chance.random_range(0..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = chance.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            4 | 5 => {
                let splice = pick(chance, SPLICES);
                bytes.splice(at..at, splice.iter().copied());
            }
            _ if chance.random_bool(0.1) => {
                let byte = chance.random_range(b' '..=b'z');
                bytes.splice(at..at, vec![byte; chance.random_range(100..3000)]);
            }
            _ if chance.random_bool(0.2) => bytes.truncate(at),
            _ => {}
        }
    }
}

pub fn input(chance: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    match chance.random_range(0..12) {
        0 => response(chance, &mut bytes),
        1 => chunks(chance, &mut bytes),
        2 => {
            let tables = [refused::REFUSED, bodies::REFUSED];
            let table = tables[chance.random_range(0..tables.len())];
            bytes.extend_from_slice(table[chance.random_range(0..table.len())].1);
        }
        _ => {
            for _ in 0..chance.random_range(1..4) {
                request(chance, &mut bytes);
            }
        }
    }
    damage(chance, &mut bytes);
    bytes
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

#[test]
fn damaged_messages_obey_the_laws() {
    let inputs = setting("RECARGA_FUZZ_INPUTS").unwrap_or(20_000);
    let seed = setting("RECARGA_FUZZ_SEED").unwrap_or_else(rand::random);
    let mut chance = StdRng::seed_from_u64(seed);
    let mut accepted = 0_u64;
    for number in 0..inputs {
        let bytes = input(&mut chance);
        let obeyed = catch_unwind(AssertUnwindSafe(|| {
            laws::request_head(&bytes);
            laws::response_head(&bytes);
            laws::chunked_body(&bytes);
            laws::connection(&bytes);
        }));
        accepted += u64::from(parse(&bytes).1 == Ok(Progress::Complete));
        assert!(
            obeyed.is_ok(),
            "input {number} breaks a law (RECARGA_FUZZ_SEED={seed}): {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    // A run in which nothing gets through proves nothing.
    assert!(
        accepted * 10 > inputs,
        "{accepted} of {inputs} were accepted (RECARGA_FUZZ_SEED={seed})"
    );
}
