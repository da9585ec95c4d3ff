//! Requests: what is refused and why, and what is read from good ones.

use http::Method;

use super::refused::{END_TO_END, REFUSED};
use super::{complete, parse};
use crate::http1::{
    Framing, Kind, Limits, MAX_FIELDS, Progress, Refusal, RequestHead, copy_fields,
};

fn refused(bytes: &[u8], limits: &Limits, refusal: Refusal) {
    let text = String::from_utf8_lossy(bytes);
    let mut head = RequestHead::default();
    assert_eq!(head.parse(bytes, limits), Err(refusal), "{text:?}");
    // Byte by byte it is refused for the same reason.
    let by_bytes = (0..=bytes.len())
        .map(|end| head.parse(&bytes[..end], limits))
        .find(|result| *result != Ok(Progress::Partial));
    assert_eq!(by_bytes, Some(Err(refusal)), "{text:?} byte by byte");
}

#[test]
fn every_flaw_is_refused_for_its_own_reason() {
    let limits = Limits::default();
    for (refusal, bytes) in REFUSED {
        refused(bytes, &limits, *refusal);
    }
    for name in END_TO_END {
        for list in [
            (*name).to_owned(),
            format!("close, {}", name.to_uppercase()),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {list}\r\n\r\n");
            refused(bytes.as_bytes(), &limits, Refusal::ConnectionNamesEndToEnd);
        }
    }
}

#[test]
fn limits_are_exact() {
    let limits = Limits {
        head_bytes: 200,
        target_bytes: 20,
        fields: 3,
    };
    let head = |target: usize, fields: usize, value: usize| {
        let mut text = format!("GET /{} HTTP/1.1\r\nHost: ", "t".repeat(target - 1));
        text.push_str(&"h".repeat(value));
        text.push_str("\r\n");
        for _ in 1..fields {
            text.push_str("a:\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    };
    let fits = |bytes: &[u8]| {
        let mut head = RequestHead::default();
        assert_eq!(head.parse(bytes, &limits), Ok(Progress::Complete));
    };
    fits(&head(20, 3, 1));
    refused(&head(21, 3, 1), &limits, Refusal::TargetTooLong);
    refused(&head(20, 4, 1), &limits, Refusal::TooManyFields);
    let most = 200 - head(1, 3, 0).len();
    fits(&head(1, 3, most));
    refused(&head(1, 3, most + 1), &limits, Refusal::HeadTooLarge);
    refused(&[b'A'; 25], &limits, Refusal::Method);
    // Nobody raises the number of fields above the maximum.
    let mut many = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for _ in 0..MAX_FIELDS {
        many.extend_from_slice(b"a:\r\n");
    }
    let generous = Limits {
        fields: usize::MAX,
        ..Limits::default()
    };
    refused(&many, &generous, Refusal::TooManyFields);
}

#[test]
fn a_head_without_end_is_refused_at_the_limit() {
    for endless in [
        &b"GET / HTTP/1.1\r\nX: "[..],
        b"GET / HTTP/1.1\r\n",
        b"GET /",
        b"GET /?",
        b"GET http://a",
    ] {
        let mut bytes = endless.to_vec();
        bytes.resize(Limits::default().head_bytes, b'a');
        let (_, result) = parse(&bytes);
        assert!(
            matches!(result, Err(Refusal::HeadTooLarge | Refusal::TargetTooLong)),
            "{result:?}"
        );
        bytes.pop();
        if endless.ends_with(b" ") {
            assert_eq!(parse(&bytes).1, Ok(Progress::Partial));
        }
    }
}

#[test]
fn nonsense_is_refused_with_its_first_wrong_byte() {
    for (good, wrong) in [
        (&b""[..], 0x16),
        (b"", 0x80),
        (b"", b'{'),
        (b"GET", 0),
        (b"GET ", b'x'),
        (b"GET /", 0),
        (b"GET / ", b'X'),
        (b"GET / HTTP/", b'X'),
        (b"GET / HTTP/1.", b'7'),
        (b"GET / HTTP/1.1\r\n", b' '),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX", 0),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 0),
    ] {
        let mut head = RequestHead::default();
        let limits = Limits::default();
        assert_eq!(head.parse(good, &limits), Ok(Progress::Partial));
        let bytes = [good, &[wrong]].concat();
        assert!(head.parse(&bytes, &limits).is_err(), "{bytes:?}");
    }
}

#[test]
fn targets_are_reduced_to_origin_form() {
    // Request line and fields, then target, path, host and whether it was a whole URL.
    for (line, target, path, host, absolute) in [
        ("GET / HTTP/1.1", "/", "/", "h", false),
        ("GET /a/b?c=d HTTP/1.1", "/a/b?c=d", "/a/b", "h", false),
        ("GET /? HTTP/1.1", "/?", "/", "h", false),
        ("GET /a?b?c/d HTTP/1.1", "/a?b?c/d", "/a", "h", false),
        ("GET //x/../y HTTP/1.1", "//x/../y", "//x/../y", "h", false),
        (
            "GET /%zz?q=100% HTTP/1.1",
            "/%zz?q=100%",
            "/%zz",
            "h",
            false,
        ),
        (
            "GET /a?x=[1]|{2}^`\\ HTTP/1.1",
            "/a?x=[1]|{2}^`\\",
            "/a",
            "h",
            false,
        ),
        ("GET http://other/a?b HTTP/1.1", "/a?b", "/a", "other", true),
        ("GET HTTP://other:81/ HTTP/1.1", "/", "/", "other:81", true),
        (
            "GET https://[::1]:8443/x HTTP/1.1",
            "/x",
            "/x",
            "[::1]:8443",
            true,
        ),
        ("GET http://other HTTP/1.1", "/", "/", "other", true),
        ("OPTIONS http://other HTTP/1.1", "*", "*", "other", true),
        ("OPTIONS * HTTP/1.1", "*", "*", "h", false),
        ("OPTIONS /a HTTP/1.1", "/a", "/a", "h", false),
        ("M-SEARCH / HTTP/1.1", "/", "/", "h", false),
    ] {
        let bytes = format!("{line}\r\nHost: h\r\n\r\n").into_bytes();
        let head = complete(&bytes);
        assert_eq!(head.target(&bytes), target, "{line}");
        assert_eq!(head.path(&bytes), path, "{line}");
        assert_eq!(head.host(&bytes), Some(host.as_bytes()), "{line}");
        assert_eq!(head.is_absolute(), absolute, "{line}");
        assert_eq!(head.length, bytes.len());
    }
}

#[test]
fn hosts_may_be_names_and_addresses_with_ports() {
    for host in [
        "a",
        "localhost:8000",
        "load-balancer_1.lab.example.",
        "127.0.0.1",
        "127.0.0.1:0",
        "[::1]",
        "[2001:db8::7]:65535",
        "[::ffff:192.0.2.1]:80",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHOST:\t{host} \t\r\n\r\n").into_bytes();
        assert_eq!(complete(&bytes).host(&bytes), Some(host.as_bytes()));
    }
    let bytes = b"GET / HTTP/1.0\r\n\r\n";
    assert_eq!(complete(bytes).host(bytes), None);
}

#[test]
fn one_empty_line_may_come_first() {
    let bytes = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let head = complete(bytes);
    assert_eq!(head.target(bytes), "/a");
    assert_eq!(head.length, bytes.len() - 4);
}

#[test]
fn the_body_is_framed_one_way() {
    for (fields, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:7\r\n", Framing::Length(7)),
        ("Content-Length: \t 12 \t\r\n", Framing::Length(12)),
        (
            "Content-Length: 999999999999999999\r\n",
            Framing::Length(999_999_999_999_999_999),
        ),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("TRANSFER-ENCODING:\tCHUNKED \r\n", Framing::Chunked),
        ("Content_Length: 5\r\n", Framing::None),
        (
            "Transfer_Encoding: chunked\r\nContent-Length: 1\r\n",
            Framing::Length(1),
        ),
    ] {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(complete(bytes.as_bytes()).framing, framing, "{fields:?}");
    }
}

#[test]
fn the_connection_persists_as_version_and_options_say() {
    for (version, options, keep_alive) in [
        (1, "", true),
        (1, "Connection: keep-alive\r\n", true),
        (1, "Connection: Close\r\n", false),
        (1, "Connection: keep-alive, close\r\n", false),
        (
            1,
            "Connection: keep-alive\r\nConnection: x, close\r\n",
            false,
        ),
        (1, "Connection: , ,\r\n", true),
        (0, "", false),
        (0, "Connection: Keep-Alive\r\n", true),
        (0, "Connection: keep-alive\r\nConnection: close\r\n", false),
        (0, "Proxy-Connection: keep-alive\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/1.{version}\r\nHost: a\r\n{options}\r\n");
        let head = complete(bytes.as_bytes());
        assert_eq!(head.keep_alive, keep_alive, "{bytes:?}");
        assert_eq!(head.minor_version, version);
    }
}

#[test]
fn continue_is_expected_only_with_a_body_in_1_1() {
    for (version, fields, expects) in [
        (1, "Content-Length: 5\r\nExpect: 100-Continue\r\n", true),
        (
            1,
            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
            true,
        ),
        (1, "Content-Length: 0\r\nExpect: 100-continue\r\n", false),
        (1, "Expect: 100-continue\r\n", false),
        (1, "Content-Length: 5\r\n", false),
        (0, "Content-Length: 5\r\nExpect: 100-continue\r\n", false),
    ] {
        let bytes = format!("POST / HTTP/1.{version}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(
            complete(bytes.as_bytes()).expects_continue,
            expects,
            "{bytes:?}"
        );
    }
}

#[test]
fn only_one_protocol_that_is_not_http_is_upgraded_to() {
    for (version, fields, upgrade) in [
        (1, "Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
        (
            1,
            "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket/13\r\nContent-Length: 0\r\n",
            true,
        ),
        (1, "Upgrade: websocket\r\n", false),
        (1, "Connection: upgrade\r\n", false),
        (0, "Connection: upgrade\r\nUpgrade: websocket\r\n", false),
        (
            1,
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
            false,
        ),
        (
            1,
            "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            false,
        ),
        (
            1,
            "Connection: upgrade\r\nUpgrade: websocket, foo\r\n",
            false,
        ),
        (
            1,
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            false,
        ),
        (1, "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n", false),
        (1, "Connection: upgrade\r\nUpgrade: TLS/1.3\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/1.{version}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(complete(bytes.as_bytes()).upgrade, upgrade, "{bytes:?}");
    }
}

#[test]
fn fields_are_sorted_by_what_they_are_to_a_hop() {
    let bytes = b"GET / HTTP/1.1\r\n\
        Host: a\r\n\
        Connection: keep-alive, X-Private, te\r\n\
        x-private: 1\r\n\
        X-PRIVATE: 2\r\n\
        TE: trailers\r\n\
        Trailer: x\r\n\
        Keep-Alive: timeout=5\r\n\
        Proxy-Authorization: Basic eA==\r\n\
        X-Recarga-User: root\r\n\
        x-recarga-: 1\r\n\
        x-recarga: 1\r\n\
        X_Recarga_User: root\r\n\
        x_recarga-user: root\r\n\
        X-Forwarded-For: 192.0.2.1\r\n\
        X-Forwarded-Port: 1\r\n\
        X_Forwarded_For: 192.0.2.1\r\n\
        X.Forwarded.For: 192.0.2.1\r\n\
        X-Real-IP: 192.0.2.1\r\n\
        Some_Name: 1\r\n\
        Content_Length: 5\r\n\
        Idempotency-Key: k\r\n\
        Cookie: a=b\r\n\
        Accept: */*\r\n\r\n";
    let head = complete(bytes);
    let kinds: Vec<Kind> = head.fields.iter().map(|field| field.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Host,
            Kind::Connection,
            Kind::Named,
            Kind::Named,
            Kind::Te,
            Kind::Trailer,
            Kind::KeepAlive,
            Kind::ProxyAuthorization,
            Kind::Internal,
            Kind::Internal,
            Kind::Other,
            Kind::Disguised,
            Kind::Disguised,
            Kind::XForwardedFor,
            Kind::XForwardedOther,
            Kind::Disguised,
            Kind::Disguised,
            Kind::XForwardedOther,
            Kind::Other,
            Kind::Disguised,
            Kind::IdempotencyKey,
            Kind::Cookie,
            Kind::Other,
        ]
    );
    let mut out = Vec::new();
    copy_fields(bytes, &head.fields, &mut out, |field| {
        matches!(
            field.kind,
            Kind::Other | Kind::IdempotencyKey | Kind::Cookie
        )
    });
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "x-recarga: 1\r\nSome_Name: 1\r\nIdempotency-Key: k\r\nCookie: a=b\r\nAccept: */*\r\n"
    );
    let key = head.find(Kind::IdempotencyKey).unwrap();
    assert_eq!(key.name(bytes), b"Idempotency-Key");
    assert_eq!(key.value(bytes), b"k");
    assert_eq!(&bytes[key.line()], b"Idempotency-Key: k\r\n");
    assert!(head.find(Kind::Origin).is_none());
}

#[test]
fn a_head_is_used_again_without_allocating() {
    let first = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let second = b"GET / HTTP/1.0\r\n\r\n";
    let mut head = RequestHead::default();
    let limits = Limits::default();
    assert_eq!(head.parse(first, &limits), Ok(Progress::Complete));
    let capacity = head.fields.capacity();
    assert_eq!(head.parse(second, &limits), Ok(Progress::Complete));
    assert_eq!((&head.method, head.framing), (&Method::GET, Framing::None));
    assert!(head.fields.is_empty() && !head.expects_continue && !head.keep_alive);
    assert_eq!(head.fields.capacity(), capacity);
    // Cleared in the middle, it begins with whatever comes next.
    assert_eq!(head.parse(&first[..20], &limits), Ok(Progress::Partial));
    head.clear();
    assert_eq!(head.parse(second, &limits), Ok(Progress::Complete));
    assert_eq!(head.length, second.len());
}

#[test]
fn a_dripped_head_costs_as_much_as_a_whole_one() {
    // Byte by byte, a parser that begins again each time would read half a gigabyte here.
    for endless in [
        &b"GET / HTTP/1.1\r\nX: "[..],
        b"GET / HTTP/1.1\r\n",
        b"GET /",
    ] {
        let mut bytes = endless.to_vec();
        bytes.resize(30 * 1024, b'a');
        let generous = Limits {
            target_bytes: 32 * 1024,
            ..Limits::default()
        };
        let mut head = RequestHead::default();
        for end in 0..bytes.len() {
            // What was read already is not looked at again: it may even be gone.
            assert_eq!(head.parse(&bytes[..end], &generous), Ok(Progress::Partial));
            if end > 64 {
                bytes[end - 32] = 0;
            }
        }
    }
}
