//! A client that sends bytes as they are, and reads strictly.

use std::net::SocketAddr;

use http::Method;
use proxy::http1::{Body, Framing, Limits, Progress, ResponseHead, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Duration, Instant, sleep, timeout_at};

/// Nothing here takes as long, but a hang must end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What came back.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of all final answers.
    pub statuses: Vec<u16>,
    pub bodies: Vec<Vec<u8>>,
    /// Whether the other side ended the connection.
    pub closed: bool,
}

pub struct Client {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the port is open");
        stream.set_nodelay(true).expect("it is a TCP socket");
        let (reader, writer) = stream.into_split();
        Self { reader, writer }
    }

    /// Whether the other side still takes it.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok()
    }

    /// Sends the same over and over until there is an answer, and reads that.
    pub async fn drip(self, bytes: &'static [u8], pause: Duration) -> Outcome {
        let Self { reader, mut writer } = self;
        let dripping = tokio::spawn(async move {
            while writer.write_all(bytes).await.is_ok() {
                sleep(pause).await;
            }
        });
        let outcome = read(reader, None).await;
        dripping.abort();
        outcome
    }

    /// Reads so many answers, or everything until the connection ends.
    pub async fn rest(self, wanted: Option<usize>) -> Outcome {
        // The writing half stays open meanwhile.
        let Self { reader, writer } = self;
        let outcome = read(reader, wanted).await;
        drop(writer);
        outcome
    }
}

/// Sends these bytes while reading so many answers, or everything until the connection ends; `eof` ends the client's side.
pub async fn exchange(
    address: SocketAddr,
    bytes: &[u8],
    eof: bool,
    wanted: Option<usize>,
) -> Outcome {
    let Client { reader, mut writer } = Client::connect(address).await;
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        // It may be cut off in the middle: what counts is what was answered.
        let _ = writer.write_all(&bytes).await;
        if eof {
            let _ = writer.shutdown().await;
        }
        writer
    });
    let outcome = read(reader, wanted).await;
    writing.abort();
    outcome
}

async fn read(mut reader: OwnedReadHalf, wanted: Option<usize>) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    let mut outcome = Outcome::default();
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        if take_answers(&mut bytes, &mut outcome) && wanted == Some(outcome.statuses.len()) {
            return outcome;
        }
        let Ok(read) = timeout_at(deadline, reader.read_buf(&mut bytes)).await else {
            panic!("neither closed nor answered: {outcome:?}");
        };
        match read {
            // A connection may be reset over bytes that were not read any more, but not before the answer came.
            Ok(0) | Err(_) => {
                assert!(
                    bytes.is_empty(),
                    "half an answer: {:?}",
                    String::from_utf8_lossy(&bytes)
                );
                outcome.closed = true;
                return outcome;
            }
            Ok(_) => {}
        }
    }
}

/// Takes whole answers off the front; whether none is left in part.
fn take_answers(bytes: &mut Vec<u8>, outcome: &mut Outcome) -> bool {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let mut head = ResponseHead::default();
        let progress = head
            .parse(rest, &Method::GET, &Limits::default())
            .unwrap_or_else(|malformed| panic!("{malformed}: {:?}", String::from_utf8_lossy(rest)));
        if progress == Progress::Partial {
            break;
        }
        assert_ne!(
            head.framing,
            Framing::UntilClose,
            "an answer says where it ends"
        );
        let mut body = Body::new(head.framing);
        let (mut data, mut at) = (Vec::new(), head.length);
        let ended = loop {
            let (consumed, step) = body.next(&rest[at..]).expect("a good body");
            at += consumed;
            match step {
                Step::Data(piece) => data.extend_from_slice(piece),
                Step::More => break false,
                Step::End => break true,
            }
        };
        if !ended {
            break;
        }
        used += at;
        if head.status >= 200 {
            outcome.statuses.push(head.status);
            outcome.bodies.push(data);
        }
    }
    bytes.drain(..used);
    bytes.is_empty()
}
