//! Requests and whole answers over one plain socket, for loops that must read what they are answered.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// One connection that is kept.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as bytes.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Connection {
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target)
            .await
            .with_context(|| format!("connecting to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Sends a request and gives the body of its answer, which must be a success and tell its length.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (start, length) = loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection was closed");
            if let Some(end) = head_end(&self.buffer) {
                break (end, head(&self.buffer[..end])?);
            }
        };
        while self.buffer.len() < start + length {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection was closed in an answer");
        }
        Ok(&self.buffer[start..start + length])
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

/// The length of the body behind a head.
fn head(bytes: &[u8]) -> Result<usize> {
    let text = std::str::from_utf8(bytes).context("an answer that is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.split(' ').nth(1).unwrap_or_default();
    if !code.starts_with('2') {
        bail!("an answer {status:?}");
    }
    if code == "204" {
        return Ok(0);
    }
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .context("an answer that does not tell its length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y\r\n\r\nbody";
        let end = head_end(good).unwrap();
        assert_eq!(&good[end..], b"body");
        assert_eq!(head(&good[..end]).unwrap(), 12);
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), 0);
        for bad in [
            &b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 1\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"",
        ] {
            assert!(head(bad).is_err());
        }
        assert_eq!(head_end(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn requests_tell_their_length() {
        let bytes = request("POST", "/a", b"{}");
        assert!(bytes.ends_with(b"content-length: 2\r\n\r\n{}"));
    }
}
