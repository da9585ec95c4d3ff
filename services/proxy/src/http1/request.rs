//! The head of a request.

use http::Method;

use super::field::{Field, Kind, slice};
use super::refusal::Refusal;
use super::scan::{LineEnd, Lines, line_end, method_end, path_end, query_end};
use super::{Framing, Limits, MAX_FIELDS, Progress, framing, host};

/// Bytes of the longest method; the longest registered one has 17.
const LONGEST_METHOD: usize = 24;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Start,
    Method,
    TargetStart,
    Path,
    Query,
    /// Absolute or asterisk form, looked at when it is all there.
    WholeTarget,
    Version,
    Fields,
    /// The next call begins another head.
    Done,
}

/// A request's head, as positions in the bytes it was parsed from.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    pub method: Method,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor_version: u8,
    /// Bytes of the head, the empty line included.
    pub length: usize,
    pub framing: Framing,
    /// Whether the client means to send more on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client offers one protocol to upgrade to, in HTTP/1.1, without a body.
    pub upgrade: bool,
    pub fields: Vec<Field>,
    part: Part,
    lines: Lines,
    /// Start of the part that is being read, then of the target as it was written.
    start: u32,
    target_start: u32,
    target_end: u32,
    path_end: u32,
    authority: Option<(u32, u32)>,
}

impl RequestHead {
    /// Reads on. `bytes` is everything that arrived since the end of the previous message; after [`Progress::Partial`] the next call
    /// takes the same bytes and more. After [`Progress::Complete`] or a refusal the next call begins another head.
    ///
    /// # Errors
    /// The first flaw, as soon as its first byte is there.
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        let visible = &bytes[..bytes.len().min(limits.most_bytes())];
        if self.part == Part::Done || self.lines.at > visible.len() {
            self.clear();
        }
        let progress = self.read(visible, limits);
        match progress {
            Ok(Progress::Partial) if visible.len() == limits.most_bytes() => {
                self.part = Part::Done;
                Err(Refusal::HeadTooLarge)
            }
            Ok(Progress::Partial) => progress,
            Ok(Progress::Complete) | Err(_) => {
                self.part = Part::Done;
                progress
            }
        }
    }

    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.method = Method::GET;
        self.minor_version = 0;
        self.length = 0;
        self.framing = Framing::None;
        self.keep_alive = false;
        self.expects_continue = false;
        self.upgrade = false;
        self.fields.clear();
        self.part = Part::Start;
        self.lines = Lines::default();
        (
            self.start,
            self.target_start,
            self.target_end,
            self.path_end,
        ) = (0, 0, 0, 0);
        self.authority = None;
    }

    /// Path and query, as origin form has them; absolute form is reduced to it; `*` for `OPTIONS *`.
    #[must_use]
    pub fn target<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.text(bytes, self.target_end)
    }

    /// The path alone.
    #[must_use]
    pub fn path<'b>(&self, bytes: &'b [u8]) -> &'b str {
        self.text(bytes, self.path_end)
    }

    fn text<'b>(&self, bytes: &'b [u8], end: u32) -> &'b str {
        let text = slice(bytes, self.target_start, end);
        match text {
            // `http://host`: RFC 9112, 3.2.1 and 3.2.4.
            [] if self.method == Method::OPTIONS => "*",
            [] => "/",
            text => std::str::from_utf8(text).unwrap_or("/"),
        }
    }

    /// Whom the request is for: the authority of absolute form, else `Host`.
    #[must_use]
    pub fn host<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        match self.authority {
            Some((start, end)) => Some(slice(bytes, start, end)),
            None => self.find(Kind::Host).map(|field| field.value(bytes)),
        }
    }

    /// Whether the target was a whole URL.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.authority.is_some()
    }

    /// The first field of this kind.
    #[must_use]
    pub fn find(&self, kind: Kind) -> Option<&Field> {
        self.fields.iter().find(|field| field.kind == kind)
    }

    fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        while self.part != Part::Fields {
            let on = match self.part {
                Part::Start => self.leading_line(bytes)?,
                Part::Method => self.method(bytes)?,
                Part::TargetStart => self.target_start(bytes)?,
                Part::Path | Part::Query | Part::WholeTarget => self.target_rest(bytes, limits)?,
                Part::Version | Part::Fields | Part::Done => self.version(bytes)?,
            };
            if !on {
                return Ok(Progress::Partial);
            }
        }
        let most = limits.fields.min(MAX_FIELDS);
        match self.lines.read(bytes, most, &mut self.fields)? {
            None => Ok(Progress::Partial),
            Some(end) => {
                self.length = end;
                self.conclude(bytes)?;
                Ok(Progress::Complete)
            }
        }
    }

    /// At most one empty line.
    fn leading_line(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        let at = self.lines.at;
        match bytes.get(at) {
            None => return Ok(false),
            Some(b'\r') if at > 0 => return Err(Refusal::LeadingEmptyLines),
            Some(b'\r') => match line_end(bytes, at)? {
                LineEnd::Partial => return Ok(false),
                LineEnd::At(end) => {
                    self.lines.at = end;
                    return Ok(true);
                }
            },
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(0x16) => return Err(Refusal::TlsHandshake),
            Some(b' ' | b'\t') => return Err(Refusal::RequestLine),
            Some(_) => {}
        }
        self.start = at as u32;
        self.part = Part::Method;
        Ok(true)
    }

    fn method(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        let start = self.start as usize;
        let end = method_end(bytes, self.lines.at);
        self.lines.at = end;
        if end - start > LONGEST_METHOD {
            return Err(Refusal::Method);
        }
        match bytes.get(end) {
            None => return Ok(false),
            Some(b' ') => {}
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(b'\r') => {
                return match line_end(bytes, end)? {
                    LineEnd::Partial => Ok(false),
                    LineEnd::At(_) => Err(Refusal::RequestLine),
                };
            }
            Some(b'\t') => return Err(Refusal::RequestLine),
            Some(_) => return Err(Refusal::Method),
        }
        let method = &bytes[start..end];
        self.method = match method {
            b"CONNECT" => return Err(Refusal::ConnectMethod),
            b"TRACE" => return Err(Refusal::TraceMethod),
            // The preface of HTTP/2.
            b"PRI" => return Err(Refusal::Version),
            method => Method::from_bytes(method).map_err(|_| Refusal::Method)?,
        };
        self.lines.at = end + 1;
        self.part = Part::TargetStart;
        Ok(true)
    }

    fn target_start(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        let at = self.lines.at;
        self.part = match bytes.get(at) {
            None => return Ok(false),
            Some(b'/') => Part::Path,
            Some(b'*') if self.method != Method::OPTIONS => return Err(Refusal::TargetForm),
            Some(b'*' | b'h' | b'H') => Part::WholeTarget,
            Some(b' ' | b'\t' | b'\r') => return Err(Refusal::RequestLine),
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(b'#') => return Err(Refusal::TargetFragment),
            Some(byte) if byte.is_ascii_graphic() => return Err(Refusal::TargetForm),
            Some(_) => return Err(Refusal::TargetByte),
        };
        self.start = at as u32;
        self.target_start = self.start;
        Ok(true)
    }

    fn target_rest(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        let mut end = self.lines.at;
        if self.part == Part::Path {
            end = path_end(bytes, end);
            self.path_end = end as u32;
            if bytes.get(end) == Some(&b'?') {
                self.part = Part::Query;
            }
        }
        if self.part != Part::Path {
            end = query_end(bytes, end);
        }
        self.lines.at = end;
        if end - self.start as usize > limits.target_bytes {
            return Err(Refusal::TargetTooLong);
        }
        match bytes.get(end) {
            None => return Ok(false),
            Some(b' ') => {}
            Some(b'\n') => return Err(Refusal::BareLf),
            Some(b'\r') => {
                return match line_end(bytes, end)? {
                    LineEnd::Partial => Ok(false),
                    LineEnd::At(_) if self.part == Part::WholeTarget => Err(Refusal::RequestLine),
                    // HTTP/0.9 has no version.
                    LineEnd::At(_) => Err(Refusal::Version),
                };
            }
            Some(b'#') => return Err(Refusal::TargetFragment),
            Some(_) => return Err(Refusal::TargetByte),
        }
        self.target_end = end as u32;
        if self.part == Part::WholeTarget {
            self.whole_target(bytes)?;
        }
        self.lines.at = end + 1;
        self.start = self.lines.at as u32;
        self.part = Part::Version;
        Ok(true)
    }

    /// `*`, or an absolute URL that is split into authority and the rest.
    fn whole_target(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let target = slice(bytes, self.start, self.target_end);
        if target == b"*" {
            self.path_end = self.target_end;
            return Ok(());
        }
        let scheme = [&b"http://"[..], b"https://"]
            .iter()
            .find(|scheme| {
                target
                    .get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
            .ok_or(Refusal::TargetForm)?
            .len();
        let rest = &target[scheme..];
        let authority = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .unwrap_or(rest.len());
        if !host::is_authority(&rest[..authority]) {
            return Err(Refusal::HostInvalid);
        }
        let from = self.start as usize + scheme + authority;
        match rest.get(authority) {
            None | Some(b'/') => {}
            // A query without a path has no origin form that is part of it.
            Some(_) => return Err(Refusal::TargetForm),
        }
        let path = path_end(&bytes[..self.target_end as usize], from);
        if !matches!(bytes.get(path), Some(b'?' | b' ')) {
            return Err(Refusal::TargetByte);
        }
        self.authority = Some((self.start + scheme as u32, from as u32));
        self.target_start = from as u32;
        self.path_end = path as u32;
        Ok(())
    }

    fn version(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        const PREFIX: &[u8] = b"HTTP/";
        let start = self.start as usize;
        let Some(rest) = bytes.get(start..) else {
            return Ok(false);
        };
        if rest.starts_with(b"HTTP/1.1\r\n") {
            self.minor_version = 1;
            self.lines.at = start + 10;
            self.part = Part::Fields;
            return Ok(true);
        }
        for (at, byte) in rest.iter().enumerate().take(9) {
            let fits = match at {
                0..=4 => *byte == PREFIX[at],
                6 => *byte == b'.',
                8 => *byte == b'\r',
                _ => byte.is_ascii_digit(),
            };
            match byte {
                _ if fits => {}
                b'\n' => return Err(Refusal::BareLf),
                _ => return Err(Refusal::RequestLine),
            }
            if at == 7 && (rest[5] != b'1' || *byte > b'1') {
                return Err(Refusal::Version);
            }
        }
        if rest.len() < 9 {
            return Ok(false);
        }
        match line_end(bytes, start + 8)? {
            LineEnd::Partial => Ok(false),
            LineEnd::At(end) => {
                self.minor_version = rest[7] - b'0';
                self.lines.at = end;
                self.part = Part::Fields;
                Ok(true)
            }
        }
    }

    /// What only the whole head can tell.
    fn conclude(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.lines.repeated & Kind::Host.bit() != 0 {
            return Err(Refusal::HostRepeated);
        }
        match self.find(Kind::Host) {
            Some(field) if !host::is_authority(field.value(bytes)) => {
                return Err(Refusal::HostInvalid);
            }
            None if self.minor_version == 1 => return Err(Refusal::HostMissing),
            _ => {}
        }
        let framing = framing::framing(bytes, &self.fields, &self.lines, self.minor_version)?;
        self.framing = framing.unwrap_or_default();
        let options = framing::connection(bytes, &mut self.fields, &self.lines)?;
        self.keep_alive = options.persists(self.minor_version);
        if self.lines.seen & Kind::Expect.bit() != 0 {
            let value = framing::value_of(bytes, &self.fields, Kind::Expect);
            if self.lines.repeated & Kind::Expect.bit() != 0
                || !value.eq_ignore_ascii_case(b"100-continue")
            {
                return Err(Refusal::Expect);
            }
            self.expects_continue = self.minor_version == 1 && self.framing.has_body();
        }
        let tunnels = framing::upgrade(bytes, &self.fields, &self.lines)?;
        self.upgrade =
            tunnels && options.upgrade && self.minor_version == 1 && !self.framing.has_body();
        Ok(())
    }
}
