//! A server to put behind what is measured: fixed bodies, a service time, and so many requests at a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

/// More of a request's head than this is refused.
const HEAD_LIMIT: usize = 16 * 1024;
const HEALTH: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"status\":\"up\"}";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// How the server behaves. It takes `GET /N` with a body of N bytes, and `GET /health`, which is always answered at once.
///
/// Like most servers it works a request off also when its client has left meanwhile: it finds out only when it answers.
#[derive(Clone, Debug)]
pub struct Stub {
    /// The lengths of body it has.
    pub bodies: Vec<usize>,
    /// How long a request takes once its turn has come.
    pub service_time: Duration,
    /// Requests worked on at the same time, the others wait in the order they came; all at once when none is given.
    pub at_a_time: Option<usize>,
}

struct Shop {
    service_time: Duration,
    turns: Option<Semaphore>,
    pages: Vec<(String, Bytes)>,
}

impl Stub {
    /// Serves for ever; dropping the future closes everything.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let shop = Arc::new(Shop {
            service_time: self.service_time,
            turns: self.at_a_time.map(Semaphore::new),
            pages: self.bodies.iter().map(|&length| page(length)).collect(),
        });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let shop = Arc::clone(&shop);
                    let (stream, _) = accepted?;
                    connections.spawn(async move { shop.serve(stream).await });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

fn page(length: usize) -> (String, Bytes) {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    answer.push_str(&"x".repeat(length));
    (format!("/{length}"), answer.into())
}

impl Shop {
    /// Answers one request after the other until the client leaves or makes no sense.
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            let Some(end) = end_of_head(&bytes) else {
                if bytes.len() > HEAD_LIMIT {
                    return stream.write_all(BAD_REQUEST).await;
                }
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
                continue;
            };
            let Some(path) = path(&bytes[..end]) else {
                return stream.write_all(BAD_REQUEST).await;
            };
            let answer = match self.pages.iter().find(|(name, _)| name.as_bytes() == path) {
                Some((_, page)) => {
                    self.work().await;
                    &page[..]
                }
                None if path == b"/health" => HEALTH,
                None => NOT_FOUND,
            };
            bytes.drain(..end);
            stream.write_all(answer).await?;
        }
    }

    async fn work(&self) {
        let _turn = match &self.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        if !self.service_time.is_zero() {
            sleep(self.service_time).await;
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// The path of a request without a body; only such are served here.
fn path(head: &[u8]) -> Option<&[u8]> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let target = lines.next()?.strip_prefix(b"GET ")?;
    let path = &target[..target.iter().position(|byte| *byte == b' ')?];
    let has_body = lines.any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    });
    (!has_body).then_some(path)
}
