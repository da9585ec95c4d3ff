//! The accept loop: HTTP/1.1 and, by prior knowledge, HTTP/2, with limits on heads and idle time, and a stop that lets answers
//! finish. Where tiers know each other by certificates, nobody else gets further than the handshake.

mod guard;

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tower::{Service as _, ServiceExt};

pub(crate) use self::guard::Guard;
use crate::Shutdown;

/// The longest a client may take to send a request's head; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest head.
const HEAD_LIMIT: usize = 32 * 1024;
/// Streams of one HTTP/2 connection at a time: such a connection comes from a hop of ours and carries what many clients ask.
const STREAMS: u32 = 1024;

/// In a response's extensions: close the connection instead of answering.
#[derive(Clone, Copy, Debug)]
pub struct Abort;

impl Abort {
    pub(crate) fn response() -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Self);
        response
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the connection was closed on purpose")]
struct Aborted;

/// Serves until `stop`, then lets requests in flight finish until `deadline` has passed.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    guard: Option<Guard>,
    stop: Shutdown,
    deadline: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut make = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.requested() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, mostly: the pause keeps this from spinning until some are free.
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = match make.call(peer).await {
            Ok(service) => service,
            Err(never) => match never {},
        };
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            let service = service.clone();
            async move {
                let answered: Result<Response, Infallible> =
                    service.oneshot(request.map(Body::new)).await;
                match answered {
                    Ok(response) if response.extensions().get::<Abort>().is_some() => Err(Aborted),
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        });
        let watcher = graceful.watcher();
        let (guard, stop) = (guard.clone(), stop.clone());
        tokio::spawn(async move {
            let ended = if let Some(guard) = guard {
                let admitted = tokio::select! {
                    admitted = guard.admit(stream, peer) => admitted,
                    // Nothing was asked yet: whoever it is can ask another.
                    () = stop.requested() => None,
                };
                let Some(stream) = admitted else { return };
                watcher.watch(serving(stream, service)).await
            } else {
                watcher.watch(serving(stream, service)).await
            };
            if let Err(error) = ended {
                tracing::debug!(error = %error, peer = %peer, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(deadline, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("the deadline passed with requests still in flight");
    }
}

/// One connection, from its first request to its last.
fn serving<I, S>(stream: I, service: S) -> auto::Connection<'static, TokioIo<I>, S, TokioExecutor>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: hyper::service::Service<http::Request<Incoming>, Response = Response, Error = Aborted>
        + 'static,
    S::Future: Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_LIMIT as u32);
    builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned()
}
