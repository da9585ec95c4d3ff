//! Laws that hold for all bytes. Each function panics when its law is broken; the fuzz targets at the root call them too.

use http::Method;

use crate::http1::{
    Body, Field, Framing, Kind, Limits, Malformed, Progress, Refusal, RequestHead, ResponseHead,
    Step, copy_fields, encode,
};

/// Small enough that inputs reach them.
pub const LIMITS: Limits = Limits {
    head_bytes: 2048,
    target_bytes: 256,
    fields: 24,
};

/// Lengths of pieces to cut the bytes into, told by the bytes themselves: whole runs are repeatable.
struct Cuts(u64);

impl Cuts {
    fn of(bytes: &[u8]) -> Self {
        let seed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed | 1)
    }

    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Mostly a few bytes, sometimes many.
        match self.0 >> 60 {
            0..=3 => 1,
            4..=12 => 1 + (self.0 >> 32) as usize % 24,
            _ => 1 + (self.0 >> 32) as usize % 512,
        }
    }
}

/// Everything a request's head says.
#[derive(Debug, PartialEq)]
struct Said<'b> {
    method: Method,
    minor_version: u8,
    length: usize,
    framing: Framing,
    flags: [bool; 4],
    fields: Vec<Field>,
    target: &'b str,
    path: &'b str,
    host: Option<&'b [u8]>,
}

fn said<'b>(head: &RequestHead, bytes: &'b [u8]) -> Said<'b> {
    Said {
        method: head.method.clone(),
        minor_version: head.minor_version,
        length: head.length,
        framing: head.framing,
        flags: [
            head.keep_alive,
            head.expects_continue,
            head.upgrade,
            head.is_absolute(),
        ],
        fields: head.fields.clone(),
        target: head.target(bytes),
        path: head.path(bytes),
        host: head.host(bytes),
    }
}

/// A request's head means the same however it is cut, and what is accepted satisfies an independent, naive reader.
pub fn request_head(bytes: &[u8]) {
    let mut whole = RequestHead::default();
    let result = whole.parse(bytes, &LIMITS);
    let mut cuts = Cuts::of(bytes);
    let mut pieces = RequestHead::default();
    let mut end = 0;
    let by_pieces = loop {
        end = (end + cuts.next()).min(bytes.len());
        match pieces.parse(&bytes[..end], &LIMITS) {
            Ok(Progress::Partial) if end < bytes.len() => {}
            other => break other,
        }
    };
    assert_eq!(result, by_pieces, "cut into pieces it reads differently");
    if result != Ok(Progress::Complete) {
        return;
    }
    assert_eq!(said(&whole, bytes), said(&pieces, bytes));
    let head = &bytes[..whole.length];
    naive::request(head, &whole);
    emitted_again(head, &whole);
    // A head that was used before reads like a new one.
    assert_eq!(pieces.parse(head, &LIMITS), Ok(Progress::Complete));
    assert_eq!(said(&whole, bytes), said(&pieces, bytes));
}

/// What is sent on reads as what was received: there is one canonical parse.
fn emitted_again(head: &[u8], parsed: &RequestHead) {
    let mut out = Vec::new();
    out.extend_from_slice(parsed.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parsed.target(head).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    encode::field("host", parsed.host(head).unwrap_or(b"nobody"), &mut out);
    let kept = |field: &Field| {
        field.kind == Kind::TransferEncoding
            || !(field.kind.is_hop_by_hop() || matches!(field.kind, Kind::Host | Kind::Disguised))
    };
    copy_fields(head, &parsed.fields, &mut out, kept);
    out.extend_from_slice(b"\r\n");
    let limits = Limits {
        head_bytes: usize::MAX,
        target_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut again = RequestHead::default();
    assert_eq!(again.parse(&out, &limits), Ok(Progress::Complete));
    assert_eq!(again.length, out.len());
    assert_eq!(again.method, parsed.method);
    assert_eq!(again.target(&out), parsed.target(head));
    assert_eq!(again.path(&out), parsed.path(head));
    assert_eq!(again.framing, parsed.framing);
    let listed = |fields: &[Field], bytes: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
        fields
            .iter()
            .filter(|field| kept(field))
            .map(|field| (field.name(bytes).to_vec(), field.value(bytes).to_vec()))
            .collect()
    };
    assert_eq!(listed(&again.fields, &out), listed(&parsed.fields, head));
}

/// An answer's head means the same however it is cut, and what is accepted satisfies the naive reader.
pub fn response_head(bytes: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let mut whole = ResponseHead::default();
        let result = whole.parse(bytes, &method, &LIMITS);
        let mut cuts = Cuts::of(bytes);
        let mut pieces = ResponseHead::default();
        let mut end = 0;
        let by_pieces: Result<Progress, Malformed> = loop {
            end = (end + cuts.next()).min(bytes.len());
            match pieces.parse(&bytes[..end], &method, &LIMITS) {
                Ok(Progress::Partial) if end < bytes.len() => {}
                other => break other,
            }
        };
        assert_eq!(result, by_pieces, "cut into pieces it reads differently");
        if result != Ok(Progress::Complete) {
            continue;
        }
        let said = |head: &ResponseHead| {
            (
                (head.status, head.minor_version, head.length, head.framing),
                (head.keep_alive, head.fields.clone()),
                head.reason(bytes).to_vec(),
            )
        };
        assert_eq!(said(&whole), said(&pieces));
        naive::response(&bytes[..whole.length], &whole, &method);
    }
}

/// Everything a body has, and how reading it ended: `true` at its end, `false` in want of more.
type Contents = (Vec<u8>, usize, Result<bool, Refusal>);

/// Feeds the bytes in pieces of these lengths, keeping what was not consumed, as a connection does.
fn contents(framing: Framing, bytes: &[u8], mut length: impl FnMut() -> usize) -> Contents {
    let mut body = Body::new(framing);
    let (mut data, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        let before = body.remaining_length();
        let (used, step) = match body.next(&bytes[start..end]) {
            Err(refusal) => return (data, start, Err(refusal)),
            Ok(step) => step,
        };
        assert!(used <= end - start);
        start += used;
        match step {
            Step::Data(piece) => {
                assert!(!piece.is_empty() && piece.len() <= used);
                assert_eq!(
                    body.remaining_length(),
                    before.map(|before| before - piece.len() as u64)
                );
                data.extend_from_slice(piece);
            }
            Step::End => {
                assert!(body.is_done());
                return (data, start, Ok(true));
            }
            Step::More if end == bytes.len() => return (data, start, Ok(false)),
            Step::More => {
                assert!(!body.is_done());
                end = (end + length()).min(bytes.len());
            }
        }
    }
}

/// A chunked body means the same however it is cut, and survives being framed again.
pub fn chunked_body(bytes: &[u8]) {
    let whole = contents(Framing::Chunked, bytes, || bytes.len());
    let mut cuts = Cuts::of(bytes);
    let pieces = contents(Framing::Chunked, bytes, || cuts.next());
    // How far a refused body was read depends on the pieces, what was read before the flaw does not.
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.2, pieces.2, "cut into pieces it reads differently");
    if whole.2.is_ok() {
        assert_eq!(whole.1, pieces.1);
    }
    if whole.2 == Ok(true) {
        assert_eq!(naive::chunks(&bytes[..whole.1]), whole.0);
        let mut again = Vec::new();
        for piece in whole.0.chunks(cuts.next()) {
            encode::chunk(piece, &mut again);
        }
        again.extend_from_slice(encode::LAST_CHUNK);
        let read = contents(Framing::Chunked, &again, || cuts.next());
        assert_eq!(read, (whole.0, again.len(), Ok(true)));
    }
}

/// A request as a connection delivers it.
#[derive(Debug, PartialEq)]
struct Request {
    method: Method,
    target: String,
    host: Option<Vec<u8>>,
    body: Vec<u8>,
}

/// Reads requests until one is incomplete or refused, or the client means to close.
fn requests(
    bytes: &[u8],
    limits: &Limits,
    mut length: impl FnMut() -> usize,
) -> (Vec<Request>, Result<(), Refusal>) {
    let mut list = Vec::new();
    let mut head = RequestHead::default();
    let (mut start, mut end) = (0, 0);
    loop {
        loop {
            match head.parse(&bytes[start..end], limits) {
                Ok(Progress::Complete) => break,
                Ok(Progress::Partial) if end == bytes.len() => return (list, Ok(())),
                Ok(Progress::Partial) => end = (end + length()).min(bytes.len()),
                Err(refusal) => return (list, Err(refusal)),
            }
        }
        let (data, used, outcome) =
            contents(head.framing, &bytes[start + head.length..], &mut length);
        let at = &bytes[start..];
        let request = Request {
            method: head.method.clone(),
            target: head.target(at).to_owned(),
            host: head.host(at).map(<[u8]>::to_vec),
            body: data,
        };
        match outcome {
            Err(refusal) => return (list, Err(refusal)),
            Ok(false) => return (list, Ok(())),
            Ok(true) => list.push(request),
        }
        start += head.length + used;
        end = end.max(start);
        if !head.keep_alive {
            return (list, Ok(()));
        }
    }
}

/// A stream of requests means the same however it is cut, and when it is written again in canonical form.
pub fn connection(bytes: &[u8]) {
    let whole = requests(bytes, &LIMITS, || bytes.len().max(1));
    let mut cuts = Cuts::of(bytes);
    let pieces = requests(bytes, &LIMITS, || cuts.next());
    assert_eq!(whole, pieces, "cut into pieces it reads differently");
    let mut out = Vec::new();
    for request in &whole.0 {
        out.extend_from_slice(request.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(request.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let host = request.host.as_deref().unwrap_or(b"nobody");
        encode::field("host", host, &mut out);
        if request.body.len().is_multiple_of(2) {
            out.extend_from_slice(b"content-length: ");
            encode::decimal(request.body.len() as u64, &mut out);
            out.extend_from_slice(b"\r\n\r\n");
            out.extend_from_slice(&request.body);
        } else {
            encode::field("transfer-encoding", b"chunked", &mut out);
            out.extend_from_slice(b"\r\n");
            encode::chunk(&request.body, &mut out);
            out.extend_from_slice(encode::LAST_CHUNK);
        }
    }
    let (again, outcome) = requests(&out, &Limits::default(), || cuts.next());
    assert_eq!(outcome, Ok(()));
    assert_eq!(again.len(), whole.0.len());
    for (again, first) in again.iter().zip(&whole.0) {
        assert_eq!(
            (&again.method, &again.target, &again.body),
            (&first.method, &first.target, &first.body)
        );
    }
}

/// A second reader, written to be obvious instead of fast: it shares no code with the one under test.
mod naive {
    use super::*;

    /// Name in lower case, name as written, value.
    type Line = (String, Vec<u8>, Vec<u8>);

    fn lines(section: &[u8]) -> Vec<Line> {
        let section = section
            .strip_suffix(b"\r\n\r\n")
            .or_else(|| (section == b"\r\n").then_some(&b""[..]))
            .expect("a head ends with an empty line");
        if section.is_empty() {
            return Vec::new();
        }
        let mut rest = section.to_vec();
        rest.extend_from_slice(b"\r\n");
        let mut list = Vec::new();
        while !rest.is_empty() {
            let end = rest
                .windows(2)
                .position(|pair| pair == b"\r\n")
                .expect("each line ends");
            let line: Vec<u8> = rest.drain(..end + 2).take(end).collect();
            assert!(
                !line
                    .iter()
                    .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f),
                "a control byte"
            );
            let colon = line
                .iter()
                .position(|byte| *byte == b':')
                .expect("each line has a colon");
            let name = &line[..colon];
            assert!(!name.is_empty());
            assert!(
                name.iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)),
                "a name that is no token"
            );
            let text = String::from_utf8(name.to_ascii_lowercase()).unwrap();
            list.push((text, name.to_vec(), line[colon + 1..].to_vec()));
        }
        list
    }

    fn trimmed(value: &[u8]) -> &[u8] {
        let keep = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let start = value.iter().position(keep).unwrap_or(value.len());
        let end = value.iter().rposition(keep).map_or(start, |at| at + 1);
        &value[start..end]
    }

    fn values<'l>(list: &'l [Line], name: &str) -> Vec<&'l [u8]> {
        list.iter()
            .filter(|(known, ..)| known == name)
            .map(|(.., value)| trimmed(value))
            .collect()
    }

    fn options(list: &[Line]) -> Vec<String> {
        values(list, "connection")
            .iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|option| String::from_utf8(trimmed(option).to_ascii_lowercase()).unwrap())
            .filter(|option| !option.is_empty())
            .collect()
    }

    fn persists(list: &[Line], minor_version: u8) -> bool {
        let options = options(list);
        let has = |name: &str| options.iter().any(|option| option == name);
        !has("close") && (minor_version == 1 || has("keep-alive"))
    }

    fn same_fields(bytes: &[u8], list: &[Line], fields: &[Field]) {
        assert_eq!(list.len(), fields.len());
        let options = options(list);
        let mut last = None;
        for (line, field) in list.iter().zip(fields) {
            assert_eq!(field.name(bytes), line.1);
            assert_eq!(field.value(bytes), trimmed(&line.2));
            let whole = [&line.1[..], b":", &line.2, b"\r\n"].concat();
            assert_eq!(&bytes[field.line()], whole);
            assert!(last.is_none_or(|end| end == field.line().start));
            last = Some(field.line().end);
            let named = options.contains(&line.0);
            assert_eq!(field.kind, kind(&line.0, named), "{}", line.0);
        }
    }

    fn kind(name: &str, named: bool) -> Kind {
        let known = |name: &str| match name {
            "host" => Kind::Host,
            "connection" => Kind::Connection,
            "keep-alive" => Kind::KeepAlive,
            "proxy-connection" => Kind::ProxyConnection,
            "proxy-authenticate" => Kind::ProxyAuthenticate,
            "proxy-authorization" => Kind::ProxyAuthorization,
            "te" => Kind::Te,
            "trailer" => Kind::Trailer,
            "transfer-encoding" => Kind::TransferEncoding,
            "upgrade" => Kind::Upgrade,
            "expect" => Kind::Expect,
            "content-length" => Kind::ContentLength,
            "forwarded" => Kind::Forwarded,
            "x-forwarded-for" => Kind::XForwardedFor,
            "x-forwarded-proto" => Kind::XForwardedProto,
            "x-forwarded-host" => Kind::XForwardedHost,
            "x-real-ip" => Kind::XForwardedOther,
            "x-request-id" => Kind::RequestId,
            "idempotency-key" => Kind::IdempotencyKey,
            "origin" => Kind::Origin,
            "cookie" => Kind::Cookie,
            "authorization" => Kind::Authorization,
            "server-timing" => Kind::ServerTiming,
            "x-cache" => Kind::XCache,
            "vary" => Kind::Vary,
            "access-control-allow-origin"
            | "access-control-allow-credentials"
            | "access-control-expose-headers" => Kind::AccessControl,
            "retry-after" => Kind::RetryAfter,
            "content-type" => Kind::ContentType,
            "set-cookie" => Kind::SetCookie,
            "timing-allow-origin" => Kind::TimingAllowOrigin,
            name if name.starts_with("x-recarga-") => Kind::Internal,
            name if name.starts_with("x-forwarded-") => Kind::XForwardedOther,
            _ => Kind::Other,
        };
        let straight: String = name
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        match known(name) {
            Kind::Other if known(&straight) != Kind::Other => Kind::Disguised,
            Kind::Other if named => Kind::Named,
            kind => kind,
        }
    }

    /// The framing the fields announce; panics when they are ambiguous.
    fn announced(list: &[Line], minor_version: u8) -> Option<Framing> {
        let lengths = values(list, "content-length");
        let codings = values(list, "transfer-encoding");
        assert!(lengths.len() + codings.len() <= 1, "ambiguous framing");
        if let [coding] = codings[..] {
            assert!(coding.eq_ignore_ascii_case(b"chunked") && minor_version == 1);
            return Some(Framing::Chunked);
        }
        let [length] = lengths[..] else {
            return None;
        };
        assert!(!length.is_empty() && length.iter().all(u8::is_ascii_digit));
        let number: u64 = std::str::from_utf8(length).unwrap().parse().unwrap();
        assert_eq!(number.to_string().as_bytes(), length, "one spelling");
        Some(Framing::Length(number))
    }

    pub fn request(head: &[u8], parsed: &RequestHead) {
        let head_start = if head.starts_with(b"\r\n") { 2 } else { 0 };
        let line_end = head[head_start..]
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .unwrap()
            + head_start;
        let line = std::str::from_utf8(&head[head_start..line_end]).unwrap();
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = parts[..] else {
            panic!("{line:?} has three parts");
        };
        assert_eq!(parsed.method.as_str(), method);
        assert_eq!(version, format!("HTTP/1.{}", parsed.minor_version));
        assert!(parsed.minor_version <= 1);
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!target.contains('#'));
        let said = parsed.target(head);
        assert!(target.ends_with(said) || said == "/" || said == "*");
        assert!(said.starts_with('/') || (said == "*" && method == "OPTIONS"));
        assert_eq!(parsed.path(head), said.split('?').next().unwrap());
        assert_eq!(parsed.is_absolute(), !target.starts_with(['/', '*']));

        let list = lines(&head[line_end + 2..]);
        same_fields(head, &list, &parsed.fields);
        let hosts = values(&list, "host");
        assert!(hosts.len() <= 1 && (hosts.len() == 1 || parsed.minor_version == 0));
        if let Some(host) = parsed.host(head) {
            assert!(!host.is_empty());
            assert!(!host.iter().any(|byte| b" \t@/\\?#,%\"<>".contains(byte)));
        }
        let framing = announced(&list, parsed.minor_version);
        assert_eq!(parsed.framing, framing.unwrap_or(Framing::None));
        assert_eq!(parsed.keep_alive, persists(&list, parsed.minor_version));
        let expectations = values(&list, "expect");
        assert!(expectations.len() <= 1);
        for expectation in &expectations {
            assert!(expectation.eq_ignore_ascii_case(b"100-continue"));
        }
        if parsed.expects_continue {
            assert_eq!(expectations.len(), 1);
        }
        if parsed.upgrade {
            assert_eq!(values(&list, "upgrade").len(), 1);
            assert!(options(&list).iter().any(|option| option == "upgrade"));
            assert_eq!(parsed.minor_version, 1);
            assert!(matches!(parsed.framing, Framing::None | Framing::Length(0)));
        }
    }

    pub fn response(head: &[u8], parsed: &ResponseHead, method: &Method) {
        let line_end = head.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let line = &head[..line_end];
        let start = format!("HTTP/1.{} {}", parsed.minor_version, parsed.status);
        assert!(line.starts_with(start.as_bytes()));
        assert!((100..=599).contains(&parsed.status));
        let reason = &line[start.len()..];
        assert_eq!(
            reason.strip_prefix(b" ").unwrap_or_default(),
            parsed.reason(head)
        );
        let list = lines(&head[line_end + 2..]);
        same_fields(head, &list, &parsed.fields);
        let framing = announced(&list, parsed.minor_version);
        let bodiless = matches!(parsed.status, 100..=199 | 204 | 304) || method == Method::HEAD;
        let expected = if bodiless {
            Framing::None
        } else {
            framing.unwrap_or(Framing::UntilClose)
        };
        assert_eq!(parsed.framing, expected);
        if matches!(parsed.status, 100..=199 | 204) {
            assert!(matches!(framing, None | Some(Framing::Length(0))));
        }
        assert_eq!(
            parsed.keep_alive,
            persists(&list, parsed.minor_version)
                && expected != Framing::UntilClose
                && parsed.status != 101
        );
    }

    /// The data of a complete chunked body.
    pub fn chunks(mut bytes: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let line = std::str::from_utf8(&bytes[..end]).unwrap();
            let digits = line.split(';').next().unwrap();
            assert!(!digits.is_empty() && digits.len() <= 16);
            assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let size = usize::from_str_radix(digits, 16).unwrap();
            bytes = &bytes[end + 2..];
            if size == 0 {
                lines_of_trailers(bytes);
                return data;
            }
            data.extend_from_slice(&bytes[..size]);
            assert_eq!(&bytes[size..size + 2], b"\r\n");
            bytes = &bytes[size + 2..];
        }
    }

    fn lines_of_trailers(bytes: &[u8]) {
        for (name, ..) in lines(bytes) {
            assert!(!matches!(
                name.as_str(),
                "content-length" | "transfer-encoding" | "host" | "connection" | "authorization"
            ));
        }
    }
}
