//! Where a message ends, and what its `Connection` says.

use super::field::{Field, Kind};
use super::refusal::Refusal;
use super::scan::{Lines, is_odd, is_token, trim};
use super::{Framing, field};

/// More options than this in `Connection` serve nobody.
const MOST_OPTIONS: usize = 32;

/// Digits of the largest `Content-Length`: below an exabyte, so no arithmetic can overflow.
const MOST_DIGITS: usize = 18;

/// Fields that are meant for the other end and have no [`Kind`] of their own: `Connection` must not make them vanish.
const END_TO_END: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "age",
    "allow",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "referer",
    "server",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "warning",
    "www-authenticate",
    "x-gateway",
];

/// What the fields say about the body: `None` when they say nothing.
pub(super) fn framing(
    bytes: &[u8],
    fields: &[Field],
    lines: &Lines,
    minor_version: u8,
) -> Result<Option<Framing>, Refusal> {
    let has = |kind: Kind| lines.seen & kind.bit() != 0;
    let repeats = |kind: Kind| lines.repeated & kind.bit() != 0;
    match (has(Kind::ContentLength), has(Kind::TransferEncoding)) {
        (false, false) => Ok(None),
        (true, true) => Err(Refusal::LengthAndTransferEncoding),
        (true, false) if repeats(Kind::ContentLength) => Err(Refusal::ContentLengthRepeated),
        (true, false) => {
            let length = content_length(value_of(bytes, fields, Kind::ContentLength))?;
            Ok(Some(Framing::Length(length)))
        }
        (false, true) if repeats(Kind::TransferEncoding) => Err(Refusal::TransferEncodingRepeated),
        (false, true) if minor_version == 0 => Err(Refusal::TransferEncodingOnHttp10),
        (false, true) => {
            transfer_encoding(value_of(bytes, fields, Kind::TransferEncoding))?;
            Ok(Some(Framing::Chunked))
        }
    }
}

pub(super) fn value_of<'b>(bytes: &'b [u8], fields: &[Field], kind: Kind) -> &'b [u8] {
    fields
        .iter()
        .find(|field| field.kind == kind)
        .map(|field| field.value(bytes))
        .unwrap_or_default()
}

fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(if value.contains(&b',') {
            Refusal::ContentLengthList
        } else {
            Refusal::ContentLengthInvalid
        });
    }
    match value {
        [] | [b'0', _, ..] => Err(Refusal::ContentLengthInvalid),
        digits if digits.len() > MOST_DIGITS => Err(Refusal::ContentLengthOverflow),
        digits => Ok(digits
            .iter()
            .fold(0, |length, digit| length * 10 + u64::from(digit - b'0'))),
    }
}

fn transfer_encoding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut ended = false;
    for coding in value.split(|byte| *byte == b',').map(trim) {
        if ended || !is_token(coding) {
            return Err(Refusal::TransferEncodingInvalid);
        }
        ended = coding.eq_ignore_ascii_case(b"chunked");
    }
    Err(Refusal::TransferEncodingUnsupported)
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
}

impl Options {
    /// Whether the connection may carry another message, by version and options.
    pub fn persists(self, minor_version: u8) -> bool {
        !self.close && (minor_version == 1 || self.keep_alive)
    }
}

/// Reads every `Connection` and marks the fields it names.
pub(super) fn connection(
    bytes: &[u8],
    fields: &mut [Field],
    lines: &Lines,
) -> Result<Options, Refusal> {
    let mut options = Options::default();
    if lines.seen & Kind::Connection.bit() == 0 {
        return Ok(options);
    }
    let mut count = 0;
    for index in 0..fields.len() {
        if fields[index].kind != Kind::Connection {
            continue;
        }
        let value = fields[index].value(bytes);
        // What nearly everybody says.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
            count += 1;
            continue;
        }
        for option in value.split(|byte| *byte == b',').map(trim) {
            count += 1;
            if count > MOST_OPTIONS {
                return Err(Refusal::ConnectionInvalid);
            }
            match option {
                [] => {}
                option if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                option if option.eq_ignore_ascii_case(b"close") => options.close = true,
                option if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                option if is_token(option) => mark(bytes, fields, option)?,
                _ => return Err(Refusal::ConnectionInvalid),
            }
        }
    }
    Ok(options)
}

/// Marks the fields of this name, unless they are meant for the other end.
fn mark(bytes: &[u8], fields: &mut [Field], name: &[u8]) -> Result<(), Refusal> {
    match Kind::of(name, is_odd(name)) {
        Kind::Other => {}
        // `Transfer-Encoding` is this hop's too, but who names it wants a reader to forget it.
        kind if kind.is_hop_by_hop() && !matches!(kind, Kind::TransferEncoding | Kind::Expect) => {
            return Ok(());
        }
        _ => return Err(Refusal::ConnectionNamesEndToEnd),
    }
    if END_TO_END
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    {
        return Err(Refusal::ConnectionNamesEndToEnd);
    }
    for field in fields {
        if field::Field::name(field, bytes).eq_ignore_ascii_case(name) {
            field.kind = Kind::Named;
        }
    }
    Ok(())
}

/// Whether the only `Upgrade` offers one protocol that may be tunnelled.
pub(super) fn upgrade(bytes: &[u8], fields: &[Field], lines: &Lines) -> Result<bool, Refusal> {
    if lines.seen & Kind::Upgrade.bit() == 0 {
        return Ok(false);
    }
    if lines.repeated & Kind::Upgrade.bit() != 0 {
        return Err(Refusal::UpgradeInvalid);
    }
    let value = value_of(bytes, fields, Kind::Upgrade);
    let (mut count, mut tunnels) = (0, false);
    for protocol in value.split(|byte| *byte == b',').map(trim) {
        let mut parts = protocol.splitn(2, |byte| *byte == b'/');
        let name = parts.next().unwrap_or_default();
        if !is_token(name) || !parts.next().is_none_or(is_token) {
            return Err(Refusal::UpgradeInvalid);
        }
        count += 1;
        tunnels = ![&b"h2c"[..], b"h2", b"http", b"tls"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
    }
    Ok(count == 1 && tunnels)
}
