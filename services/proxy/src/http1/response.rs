//! The head of an upstream's answer.

use http::Method;

use super::field::{Field, Kind, slice};
use super::refusal::{Malformed, Refusal};
use super::scan::{LineEnd, Lines, line_end, value_end};
use super::{Framing, Limits, MAX_FIELDS, Progress, framing};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Status,
    Reason,
    Fields,
    /// The next call begins another head.
    Done,
}

/// An answer's head, as positions in the bytes it was parsed from.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor_version: u8,
    /// Bytes of the head, the empty line included.
    pub length: usize,
    pub framing: Framing,
    /// Whether the connection can carry another request after this answer.
    pub keep_alive: bool,
    pub fields: Vec<Field>,
    part: Part,
    lines: Lines,
    reason_start: u32,
    reason_end: u32,
}

impl ResponseHead {
    /// Reads on, as [`super::RequestHead::parse`] does; `request_method` is the method of the request that is answered.
    ///
    /// # Errors
    /// The first flaw, as soon as its first byte is there.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        request_method: &Method,
        limits: &Limits,
    ) -> Result<Progress, Malformed> {
        let visible = &bytes[..bytes.len().min(limits.most_bytes())];
        if self.part == Part::Done || self.lines.at > visible.len() {
            self.clear();
        }
        let progress = self.read(visible, request_method, limits);
        match progress {
            Ok(Progress::Partial) if visible.len() == limits.most_bytes() => {
                self.part = Part::Done;
                Err(Refusal::HeadTooLarge.into())
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
        self.status = 0;
        self.minor_version = 0;
        self.length = 0;
        self.framing = Framing::None;
        self.keep_alive = false;
        self.fields.clear();
        self.part = Part::Status;
        self.lines = Lines::default();
        (self.reason_start, self.reason_end) = (0, 0);
    }

    /// The words after the status; often empty.
    #[must_use]
    pub fn reason<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        slice(bytes, self.reason_start, self.reason_end)
    }

    /// The first field of this kind.
    #[must_use]
    pub fn find(&self, kind: Kind) -> Option<&Field> {
        self.fields.iter().find(|field| field.kind == kind)
    }

    fn read(
        &mut self,
        bytes: &[u8],
        request_method: &Method,
        limits: &Limits,
    ) -> Result<Progress, Malformed> {
        if self.part == Part::Status && !self.status(bytes)? {
            return Ok(Progress::Partial);
        }
        if self.part == Part::Reason && !self.reason_end(bytes)? {
            return Ok(Progress::Partial);
        }
        let most = limits.fields.min(MAX_FIELDS);
        match self.lines.read(bytes, most, &mut self.fields)? {
            None => Ok(Progress::Partial),
            Some(end) => {
                self.length = end;
                self.conclude(bytes, request_method)?;
                Ok(Progress::Complete)
            }
        }
    }

    /// `HTTP/1.1 200`, without what follows.
    fn status(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        const PREFIX: &[u8] = b"HTTP/";
        for (at, byte) in bytes.iter().enumerate().take(12) {
            let fits = match at {
                0..=4 => *byte == PREFIX[at],
                6 => *byte == b'.',
                8 => *byte == b' ',
                _ => byte.is_ascii_digit(),
            };
            if !fits {
                return Err(Malformed::StatusLine);
            }
            if at == 7 && (bytes[5] != b'1' || *byte > b'1') {
                return Err(Malformed::Version);
            }
            if at == 9 && !(b'1'..=b'5').contains(byte) {
                return Err(Malformed::Status);
            }
        }
        if bytes.len() < 12 {
            return Ok(false);
        }
        self.minor_version = bytes[7] - b'0';
        self.status = bytes[9..12]
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        match bytes.get(12) {
            None => return Ok(false),
            Some(b' ') => self.lines.at = 13,
            Some(b'\r') => self.lines.at = 12,
            Some(b'\n') => return Err(Refusal::BareLf.into()),
            Some(_) => return Err(Malformed::StatusLine),
        }
        self.reason_start = self.lines.at as u32;
        self.part = Part::Reason;
        Ok(true)
    }

    fn reason_end(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let at = value_end(bytes, self.lines.at);
        self.lines.at = at;
        match bytes.get(at) {
            None => return Ok(false),
            Some(b'\r') => {}
            Some(b'\n') => return Err(Refusal::BareLf.into()),
            Some(_) => return Err(Malformed::StatusLine),
        }
        match line_end(bytes, at)? {
            LineEnd::Partial => Ok(false),
            LineEnd::At(end) => {
                self.reason_end = at as u32;
                self.lines.at = end;
                self.part = Part::Fields;
                Ok(true)
            }
        }
    }

    /// What only the whole head can tell.
    fn conclude(&mut self, bytes: &[u8], request_method: &Method) -> Result<(), Malformed> {
        let stated = framing::framing(bytes, &self.fields, &self.lines, self.minor_version)?;
        let options = framing::connection(bytes, &mut self.fields, &self.lines)?;
        self.framing = match (self.status, stated) {
            // A length of nothing is a habit of some servers and does no harm.
            (100..=199 | 204, None | Some(Framing::Length(0))) | (304, _) => Framing::None,
            (100..=199 | 204, Some(_)) => return Err(Malformed::UnexpectedBody),
            _ if *request_method == Method::HEAD => Framing::None,
            (_, stated) => stated.unwrap_or(Framing::UntilClose),
        };
        self.keep_alive = options.persists(self.minor_version)
            && self.framing != Framing::UntilClose
            && self.status != 101;
        Ok(())
    }
}
