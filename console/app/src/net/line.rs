//! A connection of its own to one admin address, kept from one question to the next, with small buffers: there are many.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::state::instance::Reason;

const CONNECT: Duration = Duration::from_secs(1);

/// From the question to the last byte of the answer.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Bytes read at a time, at most; the smallest that is possible is half of it.
const BUFFER: usize = 16 * 1024;

/// No answer is longer than this.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A line to one instance.
pub struct Line {
    admin: String,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Line {
    pub fn new(admin: String) -> Self {
        Self { admin, open: None }
    }

    /// Gets a path and gives the body to `take` in pieces of any size.
    pub async fn get(&mut self, path: &str, take: impl FnMut(&[u8])) -> Result<(), Reason> {
        // Put back when the answer is whole: after anything else the connection is not to be trusted.
        let kept = self.open.take();
        let (open, outcome) = timeout(PATIENCE, self.ask(kept, path, take))
            .await
            .map_err(|_| Reason::Timeout)??;
        self.open = Some(open);
        outcome
    }

    /// The connection to keep and what came of it, or that there is none to keep.
    async fn ask(
        &self,
        kept: Option<Open>,
        path: &str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(Open, Result<(), Reason>), Reason> {
        let (open, answer) = match kept {
            Some(mut open) => match self.send(&mut open, path).await {
                Ok(answer) => (open, answer),
                // Its other end may have closed it, or be another process by now.
                Err(_) => self.afresh(path).await?,
            },
            None => self.afresh(path).await?,
        };
        let status = answer.status();
        let mut body = answer.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Reason::Reset)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            bytes += data.len();
            if bytes > MOST_BYTES {
                return Err(Reason::Nonsense);
            }
            if status == StatusCode::OK {
                take(&data);
            }
        }
        let outcome = match status {
            StatusCode::OK => Ok(()),
            status => Err(Reason::Status(status.as_u16())),
        };
        Ok((open, outcome))
    }

    async fn afresh(&self, path: &str) -> Result<(Open, hyper::Response<Incoming>), Reason> {
        let stream = timeout(CONNECT, TcpStream::connect(&self.admin))
            .await
            .map_err(|_| Reason::Timeout)?
            .map_err(|_| Reason::Refused)?;
        // What is small is sent at once; a socket that cannot be told is only slower.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Reason::Reset)?;
        let driver = tokio::spawn(async move {
            // Whoever asks hears of it.
            let _ = connection.await;
        });
        let mut open = Open {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        };
        let answer = self
            .send(&mut open, path)
            .await
            .map_err(|_| Reason::Reset)?;
        Ok((open, answer))
    }

    async fn send(
        &self,
        open: &mut Open,
        path: &str,
    ) -> Result<hyper::Response<Incoming>, hyper::Error> {
        open.sender.ready().await?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = path.parse().unwrap_or_default();
        if let Ok(host) = self.admin.parse() {
            request.headers_mut().insert(HOST, host);
        }
        open.sender.send_request(request).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers each connection with these texts, one for each question, then closes it. How many connections came.
    async fn serve(listener: TcpListener, connections: Vec<Vec<String>>) -> usize {
        let mut came = 0;
        for answers in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            came += 1;
            for answer in answers {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                // A client that has heard enough is gone.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
        came
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    async fn get(line: &mut Line) -> Result<String, Reason> {
        let mut body = Vec::new();
        line.get("/metrics", |piece| body.extend_from_slice(piece))
            .await?;
        Ok(String::from_utf8(body).unwrap())
    }

    #[tokio::test]
    async fn it_is_kept_while_it_lasts_and_made_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(serve(
            listener,
            vec![
                vec![
                    answer("200 OK", "one"),
                    answer("503 Service Unavailable", "no"),
                ],
                vec![answer("200 OK", &"x".repeat(100_000))],
                vec!["HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\nhalf".to_owned()],
            ],
        ));
        let mut line = Line::new(admin);
        assert_eq!(get(&mut line).await.as_deref(), Ok("one"));
        assert_eq!(get(&mut line).await, Err(Reason::Status(503)));
        assert_eq!(get(&mut line).await.map(|body| body.len()), Ok(100_000));
        assert_eq!(get(&mut line).await, Err(Reason::Reset));
        assert_eq!(server.await.unwrap(), 3);
        assert_eq!(get(&mut line).await, Err(Reason::Refused));
    }
}
