//! One HTTP/1.1 connection that is opened when needed and opened again when it was closed.

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kit::tls::Link;
use tokio_util::task::AbortOnDropHandle;

use crate::{Call, Target};

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// More of a body than this is counted but not kept.
const KEPT: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[source] hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[source] http::Error),
}

/// An answer; the body only when it was asked for.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Length of the body, kept or not.
    pub bytes: u64,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes the socket; ends with this struct.
    _driver: AbortOnDropHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    target: Target,
    authority: HeaderValue,
    open: Option<Open>,
    /// How often it was opened.
    pub connects: u64,
}

impl Wire {
    pub fn new(target: Target) -> Self {
        let authority = HeaderValue::from_str(&target.authority())
            .expect("a checked host and port are visible text");
        Self {
            target,
            authority,
            open: None,
            connects: 0,
        }
    }

    /// A call of the contract.
    pub async fn call(
        &mut self,
        call: &Call,
        token: Option<&HeaderValue>,
        key: Option<&str>,
        keep_body: bool,
    ) -> Result<Reply, Failure> {
        let mut request = Request::builder().method(call.method()).uri(call.path());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        if call.kind().is_write() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = key {
            request = request.header(&IDEMPOTENCY_KEY, key);
        }
        let request = request
            .body(Full::new(call.body()))
            .map_err(Failure::Request)?;
        self.exchange(request, keep_body).await
    }

    /// Sends a request and reads its whole answer. Dropping the future closes the connection.
    pub async fn exchange(
        &mut self,
        mut request: Request<Full<Bytes>>,
        keep_body: bool,
    ) -> Result<Reply, Failure> {
        request.headers_mut().insert(HOST, self.authority.clone());
        let mut open = self.connection().await?;
        let response = match open.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                // It was closed while idle and the request never left: that is no failure of the server.
                Some(unsent) => {
                    open = self.connect().await?;
                    open.sender
                        .send_request(unsent)
                        .await
                        .map_err(Failure::Broken)?
                }
                None => return Err(Failure::Broken(error.into_error())),
            },
        };
        let (head, mut body) = response.into_parts();
        let (mut kept, mut bytes) = (BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(Failure::Broken)?.into_data() {
                bytes += data.len() as u64;
                if keep_body && kept.len() + data.len() <= KEPT {
                    kept.extend_from_slice(&data);
                }
            }
        }
        self.open = Some(open);
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: kept.freeze(),
            bytes,
        })
    }

    async fn connection(&mut self) -> Result<Open, Failure> {
        if let Some(mut open) = self.open.take()
            && open.sender.ready().await.is_ok()
        {
            return Ok(open);
        }
        self.connect().await
    }

    async fn connect(&mut self) -> Result<Open, Failure> {
        let addresses = self.target.resolve().await.map_err(Failure::Connect)?;
        let stream = Link::connect(addresses.as_slice(), self.target.tls())
            .await
            .map_err(Failure::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        self.connects += 1;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection of the load ended");
            }
        }));
        Ok(Open {
            sender,
            _driver: driver,
        })
    }
}
