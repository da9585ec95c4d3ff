//! Both ends byte by byte: an upstream that does what a test says, and a client that reads what comes.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// No test waits longer than this for a byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, and what was read of it too early.
pub struct Wire {
    pub stream: TcpStream,
    pub read: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("it listens"))
    }

    pub fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .await
            .expect("it takes bytes");
    }

    /// More bytes; false at the end.
    pub async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.read);
        let count = tokio::time::timeout(PATIENCE, read)
            .await
            .unwrap_or_else(|_| panic!("no more bytes came; so far: {}", self.text()));
        matches!(count, Ok(1..))
    }

    /// Takes everything up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self
                .read
                .windows(end.len())
                .position(|window| window == end.as_bytes())
            {
                let taken: Vec<u8> = self.read.drain(..at + end.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            assert!(
                self.more().await,
                "it ended before {end:?}; so far: {}",
                self.text()
            );
        }
    }

    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await.to_ascii_lowercase()
    }

    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await, "it ended early; so far: {}", self.text());
        }
        self.read.drain(..count).collect()
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        let text = self.text();
        self.read.clear();
        text
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// An upstream that answers health checks, and hands every other connection to the test once a head is there.
pub struct Upstream {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Upstream {
    /// `serve` gets the connection and the head that came; what came behind it is in `read`.
    pub async fn start<F>(serve: impl Fn(Wire, String) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve.clone();
                connections.spawn(async move {
                    let mut wire = Wire::over(stream);
                    while !wire.read.windows(4).any(|window| window == b"\r\n\r\n") {
                        match wire.stream.read_buf(&mut wire.read).await {
                            Ok(1..) => {}
                            _ => return,
                        }
                    }
                    let head = wire.until("\r\n\r\n").await;
                    if head.starts_with("GET /health ") {
                        let _ = wire
                            .stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                            .await;
                    } else {
                        serve(wire, head).await;
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
