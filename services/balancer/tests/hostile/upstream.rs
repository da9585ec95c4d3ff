//! What is behind the door: takes down every byte, answers every good request with its target.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use proxy::http1::{Body, Limits, Progress, RequestHead, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A whole request.
#[derive(Clone, Debug)]
pub struct Request {
    pub target: String,
    /// As it came.
    pub bytes: Vec<u8>,
    pub body: Vec<u8>,
}

/// What arrived. Health checks are left out.
#[derive(Debug, Default)]
pub struct Seen {
    pub complete: Vec<Request>,
    /// Requests whose connection ended before they did.
    pub cut: Vec<Vec<u8>>,
    /// What is no HTTP.
    pub nonsense: Vec<Vec<u8>>,
    /// What is not complete yet, by connection.
    pub pending: BTreeMap<u64, Vec<u8>>,
}

impl Seen {
    /// Adds what arrived later; what is pending is what is pending then.
    pub fn add(&mut self, later: Self) {
        self.complete.extend(later.complete);
        self.cut.extend(later.cut);
        self.nonsense.extend(later.nonsense);
        self.pending = later.pending;
    }
}

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                connections.spawn(serve(stream, number, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// What arrived since the last time; what is pending stays.
    pub fn take(&self) -> Seen {
        let mut seen = self.seen.lock().unwrap();
        Seen {
            complete: std::mem::take(&mut seen.complete),
            cut: std::mem::take(&mut seen.cut),
            nonsense: std::mem::take(&mut seen.nonsense),
            pending: seen.pending.clone(),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, number: u64, seen: Arc<Mutex<Seen>>) {
    let mut bytes = Vec::new();
    loop {
        let Ok(answers) = take_requests(&mut bytes, &seen) else {
            seen.lock().unwrap().nonsense.push(bytes);
            return;
        };
        {
            let mut seen = seen.lock().unwrap();
            seen.pending.remove(&number);
            if !bytes.is_empty() {
                seen.pending.insert(number, bytes.clone());
            }
        }
        if !answers.is_empty() && stream.write_all(&answers).await.is_err() {
            return;
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            let mut seen = seen.lock().unwrap();
            seen.pending.remove(&number);
            if !bytes.is_empty() {
                seen.cut.push(bytes);
            }
            return;
        }
    }
}

/// Takes whole requests off the front and says what to answer.
fn take_requests(bytes: &mut Vec<u8>, seen: &Mutex<Seen>) -> Result<Vec<u8>, ()> {
    let limits = Limits {
        head_bytes: 256 * 1024,
        ..Limits::default()
    };
    let (mut used, mut answers) = (0, Vec::new());
    loop {
        let rest = &bytes[used..];
        let mut head = RequestHead::default();
        if head.parse(rest, &limits).map_err(drop)? == Progress::Partial {
            break;
        }
        let mut body = Body::new(head.framing);
        let (mut data, mut at) = (Vec::new(), head.length);
        let ended = loop {
            let (consumed, step) = body.next(&rest[at..]).map_err(drop)?;
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
        let target = head.target(rest).to_owned();
        let length = target.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}");
        answers.extend_from_slice(answer.as_bytes());
        if target != "/health" {
            seen.lock().unwrap().complete.push(Request {
                target,
                bytes: rest[..at].to_vec(),
                body: data,
            });
        }
        used += at;
    }
    bytes.drain(..used);
    Ok(answers)
}
