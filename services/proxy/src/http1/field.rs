//! Header fields as positions, and what kind each is.

use std::ops::Range;

/// What a field is to a hop. Names that no hop cares for are [`Kind::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    #[default]
    Other,
    /// Listed by `Connection`, so meant for this hop only.
    Named,
    Host,
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Expect,
    ContentLength,
    /// `x-recarga-*`: only hops of ours may say it.
    Internal,
    Forwarded,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    /// Any other `x-forwarded-*`, and `x-real-ip`.
    XForwardedOther,
    /// A name that reads as one of the names known here when `_` (or another odd character) is read as `-`, as some servers do.
    Disguised,
    RequestId,
    IdempotencyKey,
    Origin,
    Cookie,
    Authorization,
    ServerTiming,
    XCache,
    Vary,
    /// `access-control-allow-origin`, `-allow-credentials` or `-expose-headers`.
    AccessControl,
    RetryAfter,
    ContentType,
    SetCookie,
    TimingAllowOrigin,
}

impl Kind {
    /// Whether the field ends at this hop. `Expect` does too, because this hop answers it.
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        const SET: u64 = Kind::Named.bit()
            | Kind::Connection.bit()
            | Kind::KeepAlive.bit()
            | Kind::ProxyConnection.bit()
            | Kind::ProxyAuthenticate.bit()
            | Kind::ProxyAuthorization.bit()
            | Kind::Te.bit()
            | Kind::Trailer.bit()
            | Kind::TransferEncoding.bit()
            | Kind::Upgrade.bit()
            | Kind::Expect.bit();
        self.bit() & SET != 0
    }

    /// Whether it does no harm after a body. What frames, routes or says who asks does (RFC 9110, 6.5.1).
    pub(super) fn may_be_trailer(self) -> bool {
        matches!(
            self,
            Self::Other
                | Self::ServerTiming
                | Self::XCache
                | Self::Vary
                | Self::RetryAfter
                | Self::TimingAllowOrigin
        )
    }

    pub(super) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The kind of the field with this name; `odd` says that the name has a character besides letters, digits and `-`.
    pub(super) fn of(name: &[u8], odd: bool) -> Self {
        if odd { disguised(name) } else { plain(name) }
    }
}

fn plain(name: &[u8]) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let begins = |known: &str| {
        name.get(..known.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
    };
    let Some(first) = name.first() else {
        return Kind::Other;
    };
    match (first | 0x20, name.len()) {
        (b'h', 4) if is("host") => Kind::Host,
        (b'c', 6) if is("cookie") => Kind::Cookie,
        (b'c', 10) if is("connection") => Kind::Connection,
        (b'c', 12) if is("content-type") => Kind::ContentType,
        (b'c', 14) if is("content-length") => Kind::ContentLength,
        (b'a', 13) if is("authorization") => Kind::Authorization,
        (b'a', 27) if is("access-control-allow-origin") => Kind::AccessControl,
        (b'a', 29) if is("access-control-expose-headers") => Kind::AccessControl,
        (b'a', 32) if is("access-control-allow-credentials") => Kind::AccessControl,
        (b't', 2) if is("te") => Kind::Te,
        (b't', 7) if is("trailer") => Kind::Trailer,
        (b't', 17) if is("transfer-encoding") => Kind::TransferEncoding,
        (b't', 19) if is("timing-allow-origin") => Kind::TimingAllowOrigin,
        (b'o', 6) if is("origin") => Kind::Origin,
        (b'e', 6) if is("expect") => Kind::Expect,
        (b'u', 7) if is("upgrade") => Kind::Upgrade,
        (b'k', 10) if is("keep-alive") => Kind::KeepAlive,
        (b'i', 15) if is("idempotency-key") => Kind::IdempotencyKey,
        (b'f', 9) if is("forwarded") => Kind::Forwarded,
        (b'p', 16) if is("proxy-connection") => Kind::ProxyConnection,
        (b'p', 18) if is("proxy-authenticate") => Kind::ProxyAuthenticate,
        (b'p', 19) if is("proxy-authorization") => Kind::ProxyAuthorization,
        (b'v', 4) if is("vary") => Kind::Vary,
        (b's', 10) if is("set-cookie") => Kind::SetCookie,
        (b's', 13) if is("server-timing") => Kind::ServerTiming,
        (b'r', 11) if is("retry-after") => Kind::RetryAfter,
        (b'x', 7) if is("x-cache") => Kind::XCache,
        (b'x', 9) if is("x-real-ip") => Kind::XForwardedOther,
        (b'x', 12) if is("x-request-id") => Kind::RequestId,
        (b'x', 15) if is("x-forwarded-for") => Kind::XForwardedFor,
        (b'x', 16) if is("x-forwarded-host") => Kind::XForwardedHost,
        (b'x', 17) if is("x-forwarded-proto") => Kind::XForwardedProto,
        (b'x', 10..) if begins("x-recarga-") => Kind::Internal,
        (b'x', 12..) if begins("x-forwarded-") => Kind::XForwardedOther,
        _ => Kind::Other,
    }
}

/// Longer than every name that is compared as a whole, and than every prefix.
pub(super) const LONGEST_NAME: usize = 40;

#[cold]
fn disguised(name: &[u8]) -> Kind {
    // `x-recarga-` may be followed by anything.
    let kind = plain(name);
    if kind != Kind::Other {
        return kind;
    }
    let mut straight = [0; LONGEST_NAME];
    let length = name.len().min(LONGEST_NAME);
    for (to, from) in straight.iter_mut().zip(name) {
        *to = if from.is_ascii_alphanumeric() {
            *from
        } else {
            b'-'
        };
    }
    match plain(&straight[..length]) {
        Kind::Other => Kind::Other,
        _ => Kind::Disguised,
    }
}

/// One line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub kind: Kind,
    pub(super) start: u32,
    pub(super) name_end: u32,
    pub(super) value_start: u32,
    pub(super) value_end: u32,
    pub(super) end: u32,
}

impl Field {
    /// The name as it was written. Empty when `head` is not the head that was parsed; so is the value.
    #[must_use]
    pub fn name<'b>(&self, head: &'b [u8]) -> &'b [u8] {
        slice(head, self.start, self.name_end)
    }

    /// The value without the white space around it.
    #[must_use]
    pub fn value<'b>(&self, head: &'b [u8]) -> &'b [u8] {
        slice(head, self.value_start, self.value_end)
    }

    /// The whole line, CR LF included.
    #[must_use]
    pub fn line(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

pub(super) fn slice(bytes: &[u8], start: u32, end: u32) -> &[u8] {
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

/// Appends the lines of all fields for which `keep` says yes, verbatim, adjacent ones in one copy.
pub fn copy_fields(
    head: &[u8],
    fields: &[Field],
    out: &mut Vec<u8>,
    mut keep: impl FnMut(&Field) -> bool,
) {
    let (mut start, mut end) = (0, 0);
    for field in fields {
        if !keep(field) {
            continue;
        }
        if field.start != end {
            out.extend_from_slice(slice(head, start, end));
            start = field.start;
        }
        end = field.end;
    }
    out.extend_from_slice(slice(head, start, end));
}
