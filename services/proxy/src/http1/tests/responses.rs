//! Answers: what an upstream may do wrong, and where good ones end.

use http::Method;

use crate::http1::{Framing, Kind, Limits, Malformed, Progress, Refusal, ResponseHead};

fn parse(bytes: &[u8], method: &Method) -> (ResponseHead, Result<Progress, Malformed>) {
    let mut head = ResponseHead::default();
    let result = head.parse(bytes, method, &Limits::default());
    (head, result)
}

fn complete(text: &str, method: &Method) -> ResponseHead {
    let (head, result) = parse(text.as_bytes(), method);
    assert_eq!(result, Ok(Progress::Complete), "{text:?}");
    head
}

#[test]
fn every_flaw_has_its_name() {
    let head = |refusal| Malformed::Head(refusal);
    for (expected, text) in [
        (Malformed::StatusLine, "GET / HTTP/1.1\r\n"),
        (Malformed::StatusLine, "\r\nHTTP/1.1 200 OK\r\n"),
        (Malformed::StatusLine, "http/1.1 200 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1  200 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1\t200 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1 20 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1 2000 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1 2x0 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1 +20 OK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1 200\tOK\r\n"),
        (Malformed::StatusLine, "HTTP/1.1 200 O\0K\r\n"),
        (Malformed::StatusLine, "HTTP/1.1\r\n"),
        (Malformed::StatusLine, "ICY 200 OK\r\n"),
        (Malformed::Version, "HTTP/2.0 200 OK\r\n"),
        (Malformed::Version, "HTTP/1.2 200 OK\r\n"),
        (Malformed::Version, "HTTP/0.9 200 OK\r\n"),
        (Malformed::Status, "HTTP/1.1 099 OK\r\n"),
        (Malformed::Status, "HTTP/1.1 600 OK\r\n"),
        (
            Malformed::UnexpectedBody,
            "HTTP/1.1 204 OK\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            Malformed::UnexpectedBody,
            "HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            Malformed::UnexpectedBody,
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            Malformed::UnexpectedBody,
            "HTTP/1.1 101 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (head(Refusal::BareLf), "HTTP/1.1 200 OK\n"),
        (head(Refusal::BareLf), "HTTP/1.1 200\n"),
        (head(Refusal::BareCr), "HTTP/1.1 200 O\rK\r\n"),
        (head(Refusal::BareCr), "HTTP/1.1 200\rOK\r\n"),
        (
            head(Refusal::BareLf),
            "HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n",
        ),
        (
            head(Refusal::ObsFold),
            "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n",
        ),
        (
            head(Refusal::SpaceBeforeColon),
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n",
        ),
        (
            head(Refusal::FieldValue),
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        ),
        (
            head(Refusal::ContentLengthRepeated),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            head(Refusal::ContentLengthList),
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        ),
        (
            head(Refusal::ContentLengthInvalid),
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ),
        (
            head(Refusal::LengthAndTransferEncoding),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            head(Refusal::TransferEncodingUnsupported),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ),
        (
            head(Refusal::TransferEncodingOnHttp10),
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            head(Refusal::ConnectionNamesEndToEnd),
            "HTTP/1.1 200 OK\r\nConnection: set-cookie\r\n\r\n",
        ),
        // Also where the answer has no body: what it announces is still ambiguous.
        (
            head(Refusal::LengthAndTransferEncoding),
            "HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        ),
    ] {
        let bytes = text.as_bytes();
        assert_eq!(parse(bytes, &Method::GET).1, Err(expected), "{text:?}");
        let mut head = ResponseHead::default();
        let by_bytes = (0..=bytes.len())
            .map(|end| head.parse(&bytes[..end], &Method::GET, &Limits::default()))
            .find(|result| *result != Ok(Progress::Partial));
        assert_eq!(by_bytes, Some(Err(expected)), "{text:?} byte by byte");
        assert!(!expected.label().is_empty() && !expected.to_string().is_empty());
    }
}

#[test]
fn the_end_is_known_by_status_method_and_fields() {
    let (get, head) = (Method::GET, Method::HEAD);
    for (method, text, framing, keep_alive) in [
        (
            &get,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Framing::Length(5),
            true,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Framing::Chunked,
            true,
        ),
        (&get, "HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
        (
            &get,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
            Framing::Length(5),
            false,
        ),
        (
            &get,
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            Framing::Length(5),
            false,
        ),
        (
            &get,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
            Framing::Length(5),
            true,
        ),
        (
            &get,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
            Framing::UntilClose,
            false,
        ),
        (
            &head,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            Framing::None,
            true,
        ),
        (
            &head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Framing::None,
            true,
        ),
        (&head, "HTTP/1.1 200 OK\r\n\r\n", Framing::None, true),
        (
            &get,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            Framing::None,
            true,
        ),
        (&get, "HTTP/1.1 204 No Content\r\n\r\n", Framing::None, true),
        (
            &get,
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            Framing::None,
            true,
        ),
        (&get, "HTTP/1.1 100 Continue\r\n\r\n", Framing::None, true),
        (
            &get,
            "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
            Framing::None,
            true,
        ),
        (
            &get,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            Framing::None,
            false,
        ),
        (
            &get,
            "HTTP/1.1 599\r\nContent-Length: 0\r\n\r\n",
            Framing::Length(0),
            true,
        ),
    ] {
        let answer = complete(text, method);
        assert_eq!(
            (answer.framing, answer.keep_alive),
            (framing, keep_alive),
            "{text:?}"
        );
        assert_eq!(answer.length, text.len());
    }
}

#[test]
fn status_reason_and_fields_are_read() {
    let text = "HTTP/1.1 418 I'm a teapot \u{e9}\r\nServer-Timing: db;dur=1\r\nX-Cache:\r\nset-cookie: a=b\r\nContent-Length: 0\r\n\r\nnext";
    let answer = complete(text, &Method::GET);
    assert_eq!(answer.status, 418);
    assert_eq!(answer.minor_version, 1);
    assert_eq!(
        answer.reason(text.as_bytes()),
        "I'm a teapot \u{e9}".as_bytes()
    );
    assert_eq!(answer.length, text.len() - 4);
    let timing = answer.find(Kind::ServerTiming).unwrap();
    assert_eq!(timing.value(text.as_bytes()), b"db;dur=1");
    assert_eq!(
        answer.find(Kind::XCache).unwrap().value(text.as_bytes()),
        b""
    );
    for (line, reason) in [
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200  x", " x"),
    ] {
        let text = format!("{line}\r\n\r\n");
        let answer = complete(&text, &Method::GET);
        assert_eq!(answer.reason(text.as_bytes()), reason.as_bytes());
    }
}

#[test]
fn an_interim_answer_is_followed_by_the_final_one() {
    let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut head = ResponseHead::default();
    let limits = Limits::default();
    assert_eq!(
        head.parse(text, &Method::POST, &limits),
        Ok(Progress::Complete)
    );
    assert_eq!(head.status, 100);
    let rest = &text[head.length..];
    assert_eq!(
        head.parse(rest, &Method::POST, &limits),
        Ok(Progress::Complete)
    );
    assert_eq!((head.status, head.framing), (200, Framing::Length(2)));
    assert_eq!(&rest[head.length..], b"ok");
}

#[test]
fn limits_hold_for_answers_too() {
    let limits = Limits {
        head_bytes: 64,
        target_bytes: 0,
        fields: 2,
    };
    let parse = |text: &str| ResponseHead::default().parse(text.as_bytes(), &Method::GET, &limits);
    assert_eq!(
        parse("HTTP/1.1 200 OK\r\na:\r\nb:\r\nc:\r\n\r\n"),
        Err(Malformed::Head(Refusal::TooManyFields))
    );
    let long = format!("HTTP/1.1 200 {}", "x".repeat(60));
    assert_eq!(parse(&long), Err(Malformed::Head(Refusal::HeadTooLarge)));
}
