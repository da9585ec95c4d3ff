//! Little real servers to forward to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kit::discovery::Endpoint;
use proxy::{Forwarder, ForwarderSettings, Metrics, Pool, PoolSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole body.
pub fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// A body of three bytes that never come.
pub struct Stuck;

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(3)
    }
}

/// A request as an upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
}

/// A server on a free port, gone when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Answers every request with what `handler` makes of it.
    pub async fn http<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let noted = Arc::clone(&seen);
        Self::accepting(seen, move |stream| {
            let (handler, noted) = (handler.clone(), Arc::clone(&noted));
            async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    noted.lock().unwrap().push(Seen {
                        method: request.method().clone(),
                        target: request.uri().to_string(),
                        headers: request.headers().clone(),
                    });
                    let handler = handler.clone();
                    async move { Ok::<_, Infallible>(handler(request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    }

    /// Reads the head of each request and answers with the next of `answers`; an empty one closes without a word.
    pub async fn raw(answers: Vec<&'static str>) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        Self::accepting(seen, move |mut stream| {
            let (noted, answers) = (Arc::clone(&noted), Arc::clone(&answers));
            async move {
                while let Some(seen) = read_head(&mut stream).await {
                    noted.lock().unwrap().push(seen);
                    let answer = answers.lock().unwrap().next().unwrap_or_default();
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    async fn accepting<H, F>(seen: Arc<Mutex<Vec<Seen>>>, connection: H) -> Self
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream));
            }
        });
        Self {
            address,
            seen,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.parse().unwrap(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                value.parse::<http::HeaderValue>().unwrap(),
            )
        })
        .collect();
    Some(Seen {
        method,
        target,
        headers,
    })
}

/// A loopback port where nobody listens.
pub fn nobody() -> SocketAddr {
    kit::testing::free_address()
}

/// A forwarder over these addresses, nothing known of any; it tries them in this order.
pub fn forwarder(addresses: &[SocketAddr]) -> Forwarder {
    forwarder_with(addresses, ForwarderSettings::new("balancer-1"))
}

pub fn forwarder_with(addresses: &[SocketAddr], settings: ForwarderSettings) -> Forwarder {
    let pool = Pool::new(PoolSettings::new("gateway"), &Metrics::default());
    let endpoints: Vec<Endpoint> = addresses
        .iter()
        .map(|&address| Endpoint {
            name: None,
            address,
        })
        .collect();
    pool.set_endpoints(&endpoints);
    Forwarder::new(pool, settings)
}
