//! Reads an answer of HTTP/1.1 as it arrives: bytes in, a verdict out, no I/O.

/// More of a head than this is taken for none.
const HEAD_LIMIT: usize = 64 * 1024;

/// A whole answer, as far as a measurement needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Bytes of the body, without its framing.
    pub body: u64,
    /// Whether the connection may be used again.
    pub keeps: bool,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection was closed before an answer")]
    Closed,
    #[error("the connection was closed within an answer")]
    BrokenOff,
    #[error("the answer is no HTTP/1.1: {0}")]
    Malformed(&'static str),
    #[error("bytes came after the answer that nobody asked for")]
    Surplus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// This many bytes of the body are to come.
    Length(u64),
    Chunked(Chunk),
    /// The body ends with the connection.
    UntilClose,
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the size, so many digits of it read.
    Size {
        value: u64,
        digits: u8,
    },
    /// After the size, up to the end of the line.
    Extension {
        value: u64,
    },
    SizeEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    DataLineEnd,
    /// In the lines after the last chunk; whether the present one is empty so far.
    Trailer {
        empty: bool,
    },
    TrailerEnd {
        empty: bool,
    },
}

/// Reads one answer after the other.
#[derive(Debug)]
pub(super) struct Reader {
    stage: Stage,
    /// A head that has not arrived whole.
    pending: Vec<u8>,
    answer: Answer,
}

impl Reader {
    pub fn new() -> Self {
        Self {
            stage: Stage::Head,
            pending: Vec::new(),
            answer: Answer {
                status: 0,
                body: 0,
                keeps: true,
            },
        }
    }

    /// Takes what has arrived; the answer when it is whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Fault> {
        if self.stage == Stage::Head && !self.pending.is_empty() {
            // Rare: a head in several pieces.
            self.pending.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.pending);
            return self.take(&whole);
        }
        self.take(bytes)
    }

    /// What the end of the connection makes of what has arrived.
    pub fn end(&mut self) -> Result<Answer, Fault> {
        match self.stage {
            Stage::UntilClose => {
                self.answer.keeps = false;
                Ok(self.finish())
            }
            Stage::Head if self.pending.is_empty() => Err(Fault::Closed),
            _ => Err(Fault::BrokenOff),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<Option<Answer>, Fault> {
        while !bytes.is_empty() {
            match &mut self.stage {
                Stage::Head => {
                    let Some((head, length)) = Head::parse(bytes)? else {
                        if bytes.len() > HEAD_LIMIT {
                            return Err(Fault::Malformed("its head is too long"));
                        }
                        self.pending.extend_from_slice(bytes);
                        return Ok(None);
                    };
                    bytes = &bytes[length..];
                    if (100..200).contains(&head.status) {
                        continue;
                    }
                    self.begin(head)?;
                    if self.stage == Stage::Length(0) {
                        return self.done(bytes);
                    }
                }
                Stage::Length(left) => {
                    let taken = (*left).min(bytes.len() as u64);
                    *left -= taken;
                    self.answer.body += taken;
                    bytes = &bytes[taken as usize..];
                    if self.stage == Stage::Length(0) {
                        return self.done(bytes);
                    }
                }
                Stage::Chunked(chunk) => {
                    let ended;
                    (bytes, ended) = chunk.take(bytes, &mut self.answer.body)?;
                    if ended {
                        return self.done(bytes);
                    }
                }
                Stage::UntilClose => {
                    self.answer.body += bytes.len() as u64;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    fn begin(&mut self, head: Head) -> Result<(), Fault> {
        self.answer = Answer {
            status: head.status,
            body: 0,
            keeps: head.keeps,
        };
        self.stage = match (head.length, head.chunked) {
            _ if matches!(head.status, 204 | 304) => Stage::Length(0),
            (Some(_), true) => {
                return Err(Fault::Malformed("it has a length and chunks"));
            }
            (Some(length), false) => Stage::Length(length),
            (None, true) => Stage::Chunked(Chunk::Size {
                value: 0,
                digits: 0,
            }),
            (None, false) => Stage::UntilClose,
        };
        Ok(())
    }

    fn done(&mut self, rest: &[u8]) -> Result<Option<Answer>, Fault> {
        if rest.is_empty() {
            Ok(Some(self.finish()))
        } else {
            Err(Fault::Surplus)
        }
    }

    fn finish(&mut self) -> Answer {
        self.stage = Stage::Head;
        self.answer
    }
}

impl Chunk {
    /// Takes bytes of a chunked body; what is left of them, and whether the body has ended.
    fn take<'a>(&mut self, mut bytes: &'a [u8], body: &mut u64) -> Result<(&'a [u8], bool), Fault> {
        while let [byte, rest @ ..] = bytes {
            let (next, left) = match (*self, *byte) {
                (Self::Size { value, digits }, byte) => match (char::from(byte).to_digit(16), byte)
                {
                    (Some(_), _) if digits == 15 => {
                        return Err(Fault::Malformed("a chunk's size is too large"));
                    }
                    (Some(digit), _) => (
                        Self::Size {
                            value: value * 16 + u64::from(digit),
                            digits: digits + 1,
                        },
                        rest,
                    ),
                    (None, _) if digits == 0 => {
                        return Err(Fault::Malformed("a chunk has no size"));
                    }
                    (None, b'\r') => (Self::SizeEnd { value }, rest),
                    (None, b';' | b' ' | b'\t') => (Self::Extension { value }, rest),
                    (None, _) => return Err(Fault::Malformed("a chunk's size is no number")),
                },
                (Self::Extension { value }, b'\r') => (Self::SizeEnd { value }, rest),
                (Self::Extension { value }, _) => (Self::Extension { value }, rest),
                (Self::SizeEnd { value: 0 } | Self::TrailerEnd { empty: false }, b'\n') => {
                    (Self::Trailer { empty: true }, rest)
                }
                (Self::SizeEnd { value }, b'\n') => (Self::Data { left: value }, rest),
                (Self::Data { left }, _) => {
                    let taken = left.min(bytes.len() as u64);
                    *body += taken;
                    let next = match left - taken {
                        0 => Self::DataEnd,
                        left => Self::Data { left },
                    };
                    (next, &bytes[taken as usize..])
                }
                (Self::DataEnd, b'\r') => (Self::DataLineEnd, rest),
                (Self::DataLineEnd, b'\n') => (
                    Self::Size {
                        value: 0,
                        digits: 0,
                    },
                    rest,
                ),
                (Self::Trailer { empty }, b'\r') => (Self::TrailerEnd { empty }, rest),
                (Self::Trailer { .. }, _) => (Self::Trailer { empty: false }, rest),
                (Self::TrailerEnd { empty: true }, b'\n') => return Ok((rest, true)),
                _ => return Err(Fault::Malformed("a line of its chunks does not end")),
            };
            *self = next;
            bytes = left;
        }
        Ok((bytes, false))
    }
}

/// What a head says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    keeps: bool,
}

impl Head {
    /// The head at the start of the bytes and its length; none when it has not arrived whole.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let mut head: Option<Self> = None;
        let mut at = 0;
        loop {
            let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
                return Ok(None);
            };
            let Some(line) = bytes[at..at + length].strip_suffix(b"\r") else {
                return Err(Fault::Malformed("a line ends without a carriage return"));
            };
            at += length + 1;
            match &mut head {
                None => head = Some(Self::status_line(line)?),
                Some(head) if line.is_empty() => return Ok(Some((*head, at))),
                Some(head) => head.header(line)?,
            }
        }
    }

    fn status_line(line: &[u8]) -> Result<Self, Fault> {
        let no_status = Fault::Malformed("it does not begin with a status line");
        let (keeps, rest) = match line.split_at_checked(9) {
            Some((b"HTTP/1.1 ", rest)) => (true, rest),
            Some((b"HTTP/1.0 ", rest)) => (false, rest),
            _ => return Err(no_status),
        };
        match rest {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']
            | [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
                let digit = |byte: &u8| u16::from(byte - b'0');
                Ok(Self {
                    status: digit(a) * 100 + digit(b) * 10 + digit(c),
                    length: None,
                    chunked: false,
                    keeps,
                })
            }
            _ => Err(no_status),
        }
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Fault> {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Fault::Malformed("a header has no colon"));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // By length first: most headers are none of these.
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = std::str::from_utf8(value)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .ok_or(Fault::Malformed("its length is no number"))?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(Fault::Malformed("it has two lengths"));
                }
                self.length = Some(length);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Malformed(
                        "its transfer coding is another than chunked",
                    ));
                }
                self.chunked = true;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    if option.eq_ignore_ascii_case(b"close") {
                        self.keeps = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        self.keeps = true;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of this size; the answers and the fault that ended them.
    fn read(bytes: &[u8], piece: usize, closes: bool) -> (Vec<Answer>, Option<String>) {
        let mut reader = Reader::new();
        let mut answers = Vec::new();
        for piece in bytes.chunks(piece) {
            match reader.feed(piece) {
                Ok(answer) => answers.extend(answer),
                Err(fault) => return (answers, Some(fault.to_string())),
            }
        }
        if closes {
            match reader.end() {
                Ok(answer) => answers.push(answer),
                Err(fault) => return (answers, Some(fault.to_string())),
            }
        }
        (answers, None)
    }

    fn answer(status: u16, body: u64, keeps: bool) -> Answer {
        Answer {
            status,
            body,
            keeps,
        }
    }

    #[test]
    fn sound_answers_in_pieces_of_every_size() {
        for (text, closes, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                false,
                answer(200, 5, true),
            ),
            (
                "HTTP/1.1 200\r\ncontent-length:  5 \r\ncontent-length: 5\r\n\r\nhello",
                false,
                answer(200, 5, true),
            ),
            (
                "HTTP/1.1 503 Busy\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
                false,
                answer(503, 0, false),
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx",
                false,
                answer(200, 1, true),
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
                false,
                answer(200, 1, false),
            ),
            (
                "HTTP/1.1 204 No Content\r\nServer: a\r\n\r\n",
                false,
                answer(204, 0, true),
            ),
            (
                "HTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n",
                false,
                answer(304, 0, true),
            ),
            (
                "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                false,
                answer(200, 2, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
                false,
                answer(200, 13, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\n",
                false,
                answer(200, 0, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nServer: a\r\n\r\nuntil the end",
                true,
                answer(200, 13, false),
            ),
        ] {
            for piece in 1..=text.len() {
                let found = read(text.as_bytes(), piece, closes);
                assert_eq!(found, (vec![expected], None), "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn one_reader_reads_many_answers() {
        let mut reader = Reader::new();
        for _ in 0..3 {
            let first = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
            assert_eq!(reader.feed(first).unwrap(), Some(answer(200, 1, false)));
            let second =
                b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
            assert_eq!(reader.feed(second).unwrap(), Some(answer(404, 1, true)));
        }
    }

    #[test]
    fn faults_in_pieces_of_every_size() {
        for (text, part) in [
            ("", "before an answer"),
            ("HTTP/1.1 200 OK\r\nContent-Le", "within an answer"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
                "within an answer",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
                "within an answer",
            ),
            ("SMTP/1.1 200 OK\r\n\r\n", "status line"),
            ("HTTP/1.1 20 OK\r\n\r\n", "status line"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "status line"),
            ("HTTP/1.1 200 OK\nServer: a\n\n", "carriage return"),
            ("HTTP/1.1 200 OK\r\nServer\r\n\r\n", "no colon"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
                "no number",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", "no number"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                "two lengths",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
                "length and chunks",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                "another than chunked",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
                "no size",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\n",
                "no number",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
                "does not end",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
                "too large",
            ),
        ] {
            for piece in 1..=text.len().max(1) {
                let (answers, fault) = read(text.as_bytes(), piece, true);
                assert_eq!(answers, [], "{text:?} by {piece}");
                let fault = fault.unwrap_or_default();
                assert!(fault.contains(part), "{text:?} by {piece}: {fault:?}");
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_is_a_fault() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
            "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n",
        ] {
            let fault = read(text.as_bytes(), text.len(), false).1;
            assert!(
                fault.is_some_and(|fault| fault.contains("nobody asked")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_head_has_an_end() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(2 * HEAD_LIMIT));
        let fault = read(endless.as_bytes(), 10_000, false).1;
        assert!(fault.is_some_and(|fault| fault.contains("too long")));
    }
}
