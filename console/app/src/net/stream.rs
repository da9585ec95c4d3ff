//! A log stream over a connection of its own, read in beats: however many lines come, they wake nobody more often than that.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

/// Shorter than anybody sees, longer than a wake-up costs.
const BEAT: Duration = Duration::from_millis(50);

const CONNECT: Duration = Duration::from_secs(1);

/// The services send a sign of life every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// No answer's head is longer.
const LONGEST_HEAD: usize = 16 * 1024;

/// Bytes read at a time, and how often in one beat before others have their turn.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

/// Reads the log of the instance with this admin address until it ends. `take` gets the body in pieces of any size.
/// An error when there is no stream at all; one that breaks off has only ended.
pub async fn read(admin: &str, started: Instant, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let connection = timeout(CONNECT, TcpStream::connect(admin)).await??;
    let (connection, rest, chunked) = ask(connection, admin).await?;
    let mut body = Body::new(chunked);
    if body.push(&rest, &mut take).unwrap_or(true) {
        return Ok(());
    }
    let mut buffer = rest;
    loop {
        if !matches!(timeout(SILENCE, connection.readable()).await, Ok(Ok(()))) {
            return Ok(());
        }
        sleep_until(next_beat(started)).await;
        for _ in 0..PIECES {
            buffer.clear();
            buffer.reserve(PIECE);
            match connection.try_read_buf(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) if body.push(&buffer, &mut take).unwrap_or(true) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Ok(()),
            }
        }
    }
}

/// All streams share their beats, so that one wake-up serves them all.
fn next_beat(started: Instant) -> Instant {
    let beats = started.elapsed().as_millis() / BEAT.as_millis() + 1;
    started + BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
}

/// Sends the request and reads the answer's head: what came after it, and whether the body is in chunks.
async fn ask(mut connection: TcpStream, admin: &str) -> io::Result<(TcpStream, Vec<u8>, bool)> {
    let request =
        format!("GET /logs HTTP/1.1\r\nhost: {admin}\r\naccept: text/event-stream\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(PIECE);
    let end = loop {
        let found = buffer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = found {
            break end;
        }
        if buffer.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if timeout(SILENCE, connection.read_buf(&mut buffer)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    if status != Some("200") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let chunked = lines.any(|line| {
        line.split_once(':')
            .is_some_and(|(name, value)| name == "transfer-encoding" && value.contains("chunked"))
    });
    buffer.drain(..end + 4);
    Ok((connection, buffer, chunked))
}

/// A body whose end is the connection's, or one in chunks.
#[derive(Debug)]
enum Body {
    Plain,
    /// The size so far, and how many digits made it.
    Size(usize, u32),
    /// What follows the size until the end of its line.
    Extension(usize),
    /// Bytes left.
    Chunk(usize),
    /// The end of the line behind a chunk.
    Behind,
}

impl Body {
    fn new(chunked: bool) -> Self {
        if chunked {
            Self::Size(0, 0)
        } else {
            Self::Plain
        }
    }

    /// Gives the content to `take`; whether the body is over. `None` for what is no body.
    fn push(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Option<bool> {
        while let Some((first, rest)) = bytes.split_first() {
            match *self {
                Self::Plain => {
                    take(bytes);
                    return Some(false);
                }
                Self::Chunk(left) => {
                    let (content, after) = bytes.split_at(left.min(bytes.len()));
                    take(content);
                    bytes = after;
                    *self = match left - content.len() {
                        0 => Self::Behind,
                        left => Self::Chunk(left),
                    };
                    continue;
                }
                Self::Size(_, 0) if *first == b'\n' => return None,
                Self::Size(0, _) | Self::Extension(0) if *first == b'\n' => return Some(true),
                Self::Size(size, _) | Self::Extension(size) if *first == b'\n' => {
                    *self = Self::Chunk(size);
                }
                Self::Size(size, digits) => {
                    *self = match char::from(*first).to_digit(16) {
                        Some(digit) if digits < 8 => {
                            Self::Size(size * 16 + digit as usize, digits + 1)
                        }
                        None if matches!(first, b'\r' | b';' | b' ') => Self::Extension(size),
                        _ => return None,
                    };
                }
                Self::Extension(_) => {}
                Self::Behind => match first {
                    b'\r' => {}
                    b'\n' => *self = Self::Size(0, 0),
                    _ => return None,
                },
            }
            bytes = rest;
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> (Vec<u8>, Option<bool>) {
        let mut body = Body::new(true);
        let mut content = Vec::new();
        let mut over = Some(false);
        for piece in pieces {
            over = body.push(piece, &mut |bytes| content.extend_from_slice(bytes));
            if over != Some(false) {
                break;
            }
        }
        (content, over)
    }

    #[test]
    fn chunks_come_whole_however_they_are_cut() {
        let text = b"5\r\nhello\r\nB;a=\"b\"\r\n world, 1\r\n\r\n0\r\n\r\n";
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        let expected = (b"hello world, 1\r\n".to_vec(), Some(true));
        assert_eq!(decode(&[text]), expected);
        assert_eq!(decode(&bytes), expected);
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for text in ["\n", "x\r\n", "5\r\nhello!", "fffffffff\r\n", "-1\r\n"] {
            assert_eq!(decode(&[text.as_bytes()]).1, None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'7'), any::<u8>()], 0..64)) {
            let (content, _) = decode(&[&bytes]);
            prop_assert!(content.len() <= bytes.len());
        }
    }
}
