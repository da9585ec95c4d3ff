//! What is known of the request being served, and the two heads that are written for it: the upstream's and the client's.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use http::{HeaderValue, Method};
use kit::{context::is_sane_id, record::CacheLabel};

use super::{Arrival, trace::Trace};
use crate::{
    hash,
    http1::{Field, Framing, Kind, RequestHead, ResponseHead, copy_fields, encode},
    selection::HashOn,
    sticky::{self, STICKY_COOKIE},
};

/// Of one request; kept by the connection so that its memory is used again.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Facts {
    /// The value of `X-Request-Id`.
    pub id: String,
    pub path: String,
    pub method: Method,
    /// The value of `Origin`, empty without one.
    pub origin: Vec<u8>,
    pub started: Instant,
    /// Whether the client speaks HTTP/1.0.
    pub is_old: bool,
    /// Whether the connection may stay after this answer, as far as the client is concerned.
    pub keep_alive: bool,
    /// Whether the client asked for another protocol.
    pub upgrade: bool,
    /// Whether the client named the host it wants; older ones do not.
    pub has_host: bool,
    pub sticky: Option<u64>,
    pub key: Option<u64>,
    /// How often it was tried to be sent.
    pub attempts: u32,
    /// When the last attempt began.
    pub tried_at: Instant,
    /// Where traces are recorded, and it is forwarded.
    pub trace: Option<Box<Trace>>,
}

/// Who is on the other side, which is the same for all requests of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub address: SocketAddr,
    /// Whether it is a proxy of ours, whose word for the client is taken.
    pub is_trusted: bool,
    pub is_encrypted: bool,
}

impl Peer {
    pub fn arrival(self) -> Arrival {
        Arrival {
            is_trusted: self.is_trusted,
            is_encrypted: self.is_encrypted,
        }
    }
}

impl Facts {
    pub fn new() -> Self {
        Self {
            id: String::new(),
            path: String::new(),
            method: Method::GET,
            origin: Vec::new(),
            started: Instant::now(),
            is_old: false,
            keep_alive: true,
            upgrade: false,
            has_host: true,
            sticky: None,
            key: None,
            attempts: 0,
            tried_at: Instant::now(),
            trace: None,
        }
    }

    /// Takes down what will be needed when the head's bytes are gone.
    pub fn learn(&mut self, head: &RequestHead, bytes: &[u8], started: Instant) {
        self.started = started;
        self.is_old = head.minor_version == 0;
        self.keep_alive = head.keep_alive;
        self.upgrade = head.upgrade;
        self.has_host = head.host(bytes).is_some();
        self.method.clone_from(&head.method);
        self.path.clear();
        self.path.push_str(head.path(bytes));
        self.id.clear();
        let mut given = None;
        self.origin.clear();
        for field in &head.fields {
            match field.kind {
                Kind::RequestId => given = Some(field),
                Kind::Origin if self.origin.is_empty() => {
                    self.origin.extend_from_slice(field.value(bytes));
                }
                _ => {}
            }
        }
        let given = given
            .and_then(|field| std::str::from_utf8(field.value(bytes)).ok())
            .filter(|id| is_sane_id(id));
        match given {
            Some(id) => self.id.push_str(id),
            None => self.invent_id(),
        }
        self.sticky = None;
        self.key = None;
        self.attempts = 0;
        self.tried_at = started;
        self.trace = None;
    }

    /// For what is refused before its head could be read.
    pub fn nothing(&mut self, started: Instant) {
        self.started = started;
        self.tried_at = started;
        self.trace = None;
        self.attempts = 0;
        self.method = Method::GET;
        self.path.clear();
        self.origin.clear();
        self.is_old = false;
        self.keep_alive = false;
        self.upgrade = false;
        self.id.clear();
        self.invent_id();
    }

    fn invent_id(&mut self) {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.id.push_str(id.hyphenated().encode_lower(&mut text));
    }

    /// The head for an upstream, without its end: see [`end_request`].
    pub fn write_request(&self, head: &RequestHead, bytes: &[u8], peer: Peer, out: &mut Vec<u8>) {
        out.extend_from_slice(head.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.target(bytes).as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let is_absolute = head.is_absolute();
        copy_fields(bytes, &head.fields, out, |field| match field.kind {
            Kind::Internal
            | Kind::Disguised
            | Kind::RequestId
            | Kind::XForwardedFor
            | Kind::Trailer
            | Kind::Expect => false,
            Kind::Forwarded
            | Kind::XForwardedProto
            | Kind::XForwardedHost
            | Kind::XForwardedOther => peer.is_trusted,
            Kind::Host => !is_absolute,
            Kind::Other => {
                let trace = self.trace.as_ref();
                trace.is_none_or(|trace| !trace.replaces(field.name(bytes)))
            }
            kind => !kind.is_hop_by_hop(),
        });
        let host = head.host(bytes);
        if is_absolute && let Some(host) = host {
            encode::parsed_field(b"host: ", host, out);
        }
        encode::parsed_field(b"x-request-id: ", self.id.as_bytes(), out);
        out.extend_from_slice(b"x-forwarded-for: ");
        if peer.is_trusted {
            for field in head
                .fields
                .iter()
                .filter(|field| field.kind == Kind::XForwardedFor)
            {
                out.extend_from_slice(field.value(bytes));
                out.extend_from_slice(b", ");
            }
        }
        write_address(peer.address.ip().to_canonical(), out);
        out.extend_from_slice(b"\r\n");
        if !(peer.is_trusted && head.find(Kind::XForwardedProto).is_some()) {
            let line: &[u8] = if peer.is_encrypted {
                b"x-forwarded-proto: https\r\n"
            } else {
                b"x-forwarded-proto: http\r\n"
            };
            out.extend_from_slice(line);
        }
        if let Some(host) = host
            && !(peer.is_trusted && head.find(Kind::XForwardedHost).is_some())
        {
            encode::parsed_field(b"x-forwarded-host: ", host, out);
        }
        if head.framing == Framing::Chunked {
            encode::field("transfer-encoding", b"chunked", out);
        }
        if head.upgrade
            && let Some(protocol) = head.find(Kind::Upgrade)
        {
            encode::field("connection", b"upgrade", out);
            encode::field("upgrade", protocol.value(bytes), out);
        }
    }

    /// The head for the client. `close` says whether the connection ends after this answer, `mode` how the body will be framed.
    pub fn write_answer(
        &self,
        head: &ResponseHead,
        bytes: &[u8],
        mode: Mode,
        close: bool,
        elapsed: Duration,
        out: &mut Vec<u8>,
    ) {
        let reason = head.reason(bytes);
        if (head.status, reason) == (200, b"OK") {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            out.extend_from_slice(b"HTTP/1.1 ");
            encode::decimal(u64::from(head.status), out);
            out.push(b' ');
            out.extend_from_slice(reason);
            out.extend_from_slice(b"\r\n");
        }
        copy_fields(bytes, &head.fields, out, |field| match field.kind {
            Kind::Internal | Kind::ServerTiming | Kind::RequestId | Kind::AccessControl => false,
            Kind::TimingAllowOrigin => self.origin.is_empty(),
            kind => !kind.is_hop_by_hop(),
        });
        encode::parsed_field(b"x-request-id: ", self.id.as_bytes(), out);
        out.extend_from_slice(b"server-timing: balancer;dur=");
        write_milliseconds(elapsed, out);
        for field in head
            .fields
            .iter()
            .filter(|field| field.kind == Kind::ServerTiming)
        {
            out.extend_from_slice(b", ");
            out.extend_from_slice(field.value(bytes));
        }
        out.extend_from_slice(b"\r\n");
        if mode == Mode::Chunked {
            encode::field("transfer-encoding", b"chunked", out);
        }
        if head.status == 101 {
            encode::field("connection", b"upgrade", out);
            if let Some(protocol) = head.find(Kind::Upgrade) {
                encode::field("upgrade", protocol.value(bytes), out);
            }
        } else if close {
            encode::field("connection", b"close", out);
        } else if self.is_old {
            encode::field("connection", b"keep-alive", out);
        }
    }

    pub fn origin(&self) -> Option<&[u8]> {
        (!self.origin.is_empty()).then_some(&self.origin)
    }
}

/// How the client gets a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As the upstream framed it: by its length, or not at all.
    Verbatim,
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// Ends an upstream's head for one attempt: its own name if the client gave none, what is left of the time, whether this hop is
/// repeating the request, and where in a trace the attempt stands.
pub(super) fn end_request(
    host: Option<SocketAddr>,
    remaining: Duration,
    owner: Option<&str>,
    traceparent: Option<&HeaderValue>,
    out: &mut Vec<u8>,
) {
    if let Some(host) = host {
        encode::field("host", host.to_string().as_bytes(), out);
    }
    out.extend_from_slice(b"x-recarga-deadline-ms: ");
    encode::decimal(
        u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
        out,
    );
    out.extend_from_slice(b"\r\n");
    if let Some(owner) = owner {
        encode::field(crate::retry::RETRY_OWNER, owner.as_bytes(), out);
    }
    if let Some(traceparent) = traceparent {
        encode::field("traceparent", traceparent.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The cookie that keeps a client with its upstream, from the request's head.
pub(super) fn sticky_value(head: &RequestHead, bytes: &[u8]) -> Option<u64> {
    sticky::decode(cookie(head, bytes, STICKY_COOKIE)?)
}

/// What the policy hashes of a request.
pub(super) fn key(on: &HashOn, head: &RequestHead, bytes: &[u8], peer: Peer) -> Option<u64> {
    Some(match on {
        HashOn::Header(name) => hash::of(named(head, bytes, name.as_str()).next()?.value(bytes)),
        HashOn::Cookie(name) => hash::of(cookie(head, bytes, name)?.as_bytes()),
        HashOn::Address => match client_address(head, bytes, peer) {
            IpAddr::V4(address) => hash::of(&address.octets()),
            IpAddr::V6(address) => hash::of(&address.octets()),
        },
    })
}

/// The client's address: what a proxy of ours says, otherwise the peer's own.
fn client_address(head: &RequestHead, bytes: &[u8], peer: Peer) -> IpAddr {
    let direct = peer.address.ip().to_canonical();
    if !peer.is_trusted {
        return direct;
    }
    head.fields
        .iter()
        .rfind(|field| field.kind == Kind::XForwardedFor)
        .and_then(|field| std::str::from_utf8(field.value(bytes)).ok())
        .and_then(|chain| chain.rsplit(',').next()?.trim().parse().ok())
        .unwrap_or(direct)
}

fn named<'a>(
    head: &'a RequestHead,
    bytes: &'a [u8],
    name: &'a str,
) -> impl Iterator<Item = &'a Field> {
    head.fields
        .iter()
        .filter(move |field| field.name(bytes).eq_ignore_ascii_case(name.as_bytes()))
}

fn cookie<'b>(head: &RequestHead, bytes: &'b [u8], name: &str) -> Option<&'b str> {
    head.fields
        .iter()
        .filter(|field| field.kind == Kind::Cookie)
        .filter_map(|field| std::str::from_utf8(field.value(bytes)).ok())
        .find_map(|header| sticky::cookie(header, name))
}

/// What an answer's upstream says of where the time went.
pub(super) fn timings<'a>(
    head: &'a ResponseHead,
    bytes: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    head.fields
        .iter()
        .filter(|field| field.kind == Kind::ServerTiming)
        .map(|field| field.value(bytes))
}

/// What an answer says of the cache.
pub(super) fn cache_label(head: &ResponseHead, bytes: &[u8]) -> CacheLabel {
    CacheLabel::of(head.find(Kind::XCache).map(|field| field.value(bytes)))
}

/// `Retry-After` in seconds, when the answer has one.
pub(super) fn retry_after(head: &ResponseHead, bytes: &[u8]) -> Option<Duration> {
    let value = head.find(Kind::RetryAfter)?.value(bytes);
    let seconds: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                encode::decimal(u64::from(octet), out);
            }
        }
        IpAddr::V6(address) => {
            use std::io::Write as _;
            let _ = write!(out, "{address}");
        }
    }
}

/// Milliseconds with three decimals.
pub(super) fn write_milliseconds(duration: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    encode::decimal(micros / 1000, out);
    let rest = micros % 1000;
    out.push(b'.');
    for digit in [rest / 100, rest / 10 % 10, rest % 10] {
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_milliseconds() {
        for (micros, text) in [
            (0, "0.000"),
            (7, "0.007"),
            (1_234, "1.234"),
            (12_000_050, "12000.050"),
        ] {
            let mut out = Vec::new();
            write_milliseconds(Duration::from_micros(micros), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
