//! Accepts connections and gives each to the worker that has the fewest.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kit::Shutdown;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{Edge, Hooks, worker};

/// Out of file handles, mostly: the pause keeps the loop from spinning until some are free.
const PAUSE: Duration = Duration::from_millis(50);
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Serves until `stop`, then lets requests in flight finish until `deadline` has passed.
pub async fn serve<H: Hooks>(
    edge: Edge<H>,
    listener: TcpListener,
    stop: Shutdown,
    deadline: Duration,
) {
    let edge = Arc::new(edge);
    let stopping = CancellationToken::new();
    let now = CancellationToken::new();
    let mut workers = Vec::new();
    for number in 1..=edge.settings.workers.max(1) {
        match worker::start(number, Arc::clone(&edge), stopping.clone(), now.clone()) {
            Ok(handle) => workers.push(handle),
            Err(error) => {
                tracing::error!(error = %error, "a worker thread could not be started");
                return;
            }
        }
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.requested() => break,
        };
        match accepted {
            Ok((stream, address)) => hand_over(&edge, &workers, stream, address),
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.cancel();
    let ended = async {
        for worker in workers {
            worker.end().await;
        }
    };
    if tokio::time::timeout(deadline, ended).await.is_err() {
        tracing::warn!("the deadline passed with requests still in flight");
        now.cancel();
    }
}

fn hand_over<H: Hooks>(
    edge: &Edge<H>,
    workers: &[worker::Handle],
    stream: TcpStream,
    address: SocketAddr,
) {
    edge.metrics.accepted.inc();
    let connected: usize = workers.iter().map(worker::Handle::connections).sum();
    if connected >= edge.settings.connections {
        edge.metrics.refused_for("too_many_connections");
        tokio::spawn(turn_away(stream));
        return;
    }
    // A connection belongs to one runtime: the worker registers it anew.
    let taken = stream.into_std().is_ok_and(|stream| {
        workers
            .iter()
            .min_by_key(|worker| worker.connections())
            .is_some_and(|worker| worker.send((stream, address)))
    });
    if !taken {
        tracing::warn!(peer = %address, "no worker took a connection");
    }
}

async fn turn_away(mut stream: TcpStream) {
    let _ = tokio::time::timeout(PAUSE, stream.write_all(TOO_MANY)).await;
}
