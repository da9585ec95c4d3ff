//! HTTP/2 by prior knowledge or by ALPN: hyper speaks it, the service's router answers.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::ConnectInfo, response::Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kit::Abort;
use tower::ServiceExt as _;

use super::{Edge, Hooks, facts::Peer, io::Stream, worker::Worker};

mod rewind;

use rewind::Rewind;

/// Streams of one connection at a time.
const STREAMS: u32 = 100;
/// Streams that a client may reset before they were answered, until the connection is given up: the rapid reset attack.
const RESETS: usize = 20;
/// The largest list of headers, in bytes.
const HEADERS: u32 = 32 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const FRAME: u32 = 16 * 1024;
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("the stream was ended on purpose")]
struct Aborted;

/// Serves one connection that has begun with the preface, `read` included.
pub(super) async fn serve<S: Stream, H: Hooks>(
    stream: S,
    read: Vec<u8>,
    peer: Peer,
    edge: Arc<Edge<H>>,
    worker: &Worker,
) {
    let router = edge.router.clone();
    let service =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let router = router.clone();
            async move {
                let mut request = request.map(Body::new);
                let extensions = request.extensions_mut();
                extensions.insert(ConnectInfo::<SocketAddr>(peer.address));
                extensions.insert(peer.arrival());
                let answered: Result<Response, Infallible> = router.oneshot(request).await;
                match answered {
                    Ok(response) if response.extensions().get::<Abort>().is_some() => Err(Aborted),
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS * 4)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(Rewind::new(read, stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = worker.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        edge.metrics.refused_for("http2_connection");
        tracing::debug!(error = %error, peer = %peer.address, "a connection by HTTP/2 ended early");
    }
}
