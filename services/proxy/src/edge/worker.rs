//! A thread with a runtime of its own, and everything that the connections on it share.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Edge, Hooks, connection::Connection, facts::Peer, upstreams::Upstreams};

/// How often unused upstream connections are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a client may take over a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What connections of one thread share.
#[derive(Debug)]
pub(super) struct Worker {
    pub upstreams: Upstreams,
    /// Connections should end when they are next idle. Cancelled after the flag is set.
    pub stopping: CancellationToken,
    /// The same as a flag, for whoever only looks: several times a request, so it must cost nothing.
    pub is_stopping: AtomicBool,
    pub tasks: TaskTracker,
}

type Accepted = (std::net::TcpStream, SocketAddr);

/// A running worker, as the acceptor sees it.
#[derive(Debug)]
pub(super) struct Handle {
    sender: mpsc::UnboundedSender<Accepted>,
    connections: Arc<AtomicUsize>,
    ended: oneshot::Receiver<()>,
}

impl Handle {
    /// Connections it has now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Gives it a connection; false when it is gone.
    pub fn send(&self, accepted: Accepted) -> bool {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.sender.send(accepted).is_ok()
    }

    /// Waits until all its connections have ended.
    pub async fn end(self) {
        drop(self.sender);
        let _ = self.ended.await;
    }
}

/// Counts a connection for as long as it lives.
struct Counted<H> {
    edge: Arc<Edge<H>>,
    connections: Arc<AtomicUsize>,
}

impl<H> Drop for Counted<H> {
    fn drop(&mut self) {
        self.edge.metrics.connections.dec();
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts a worker; it ends when its handle is dropped and its connections are done, or at `now`.
pub(super) fn start<H: Hooks>(
    number: usize,
    edge: Arc<Edge<H>>,
    stopping: CancellationToken,
    now: CancellationToken,
) -> std::io::Result<Handle> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let counter = Arc::clone(&connections);
    std::thread::Builder::new()
        .name(format!("edge-{number}"))
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work(edge, receiver, counter, stopping) => {}
                    () = now.cancelled() => {}
                }
            });
            // Whatever still runs is past the deadline.
            runtime.shutdown_background();
            let _ = end.send(());
        })?;
    Ok(Handle {
        sender,
        connections,
        ended,
    })
}

async fn work<H: Hooks>(
    edge: Arc<Edge<H>>,
    mut receiver: mpsc::UnboundedReceiver<Accepted>,
    connections: Arc<AtomicUsize>,
    stopping: CancellationToken,
) {
    let settings = &edge.settings;
    let worker = Arc::new(Worker {
        upstreams: Upstreams::new(
            settings.idle_connections,
            settings.idle_timeout,
            edge.metrics.upstream_idle.clone(),
        ),
        stopping: CancellationToken::new(),
        is_stopping: AtomicBool::new(false),
        tasks: TaskTracker::new(),
    });
    let told = Arc::clone(&worker);
    tokio::spawn(async move {
        stopping.cancelled().await;
        told.is_stopping.store(true, Ordering::Relaxed);
        told.stopping.cancel();
    });
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            accepted = receiver.recv() => {
                let Some((stream, address)) = accepted else { break };
                let counted = Counted { edge: Arc::clone(&edge), connections: Arc::clone(&connections) };
                edge.metrics.connections.inc();
                match TcpStream::from_std(stream) {
                    Ok(stream) => {
                        worker.tasks.spawn(serve(stream, address, Arc::clone(&edge), Arc::clone(&worker), counted));
                    }
                    Err(error) => tracing::warn!(error = %error, "a connection could not be taken over"),
                }
            }
            _ = sweep.tick() => worker.upstreams.sweep(Instant::now()),
        }
    }
    worker.tasks.close();
    worker.tasks.wait().await;
}

async fn serve<H: Hooks>(
    stream: TcpStream,
    address: SocketAddr,
    edge: Arc<Edge<H>>,
    worker: Arc<Worker>,
    _counted: Counted<H>,
) {
    let _ = stream.set_nodelay(true);
    let peer = Peer {
        address,
        is_trusted: edge.trusts(address),
        is_encrypted: edge.settings.tls.is_some(),
    };
    match &edge.settings.tls {
        None => Connection::new(stream, peer, edge, worker).serve().await,
        // On the heap: its room would otherwise be part of every connection's.
        Some(tls) => {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(tls));
            Box::pin(secure(acceptor, stream, peer, edge, worker)).await;
        }
    }
}

/// The same inside of TLS.
async fn secure<H: Hooks>(
    acceptor: tokio_rustls::TlsAcceptor,
    stream: TcpStream,
    peer: Peer,
    edge: Arc<Edge<H>>,
    worker: Arc<Worker>,
) {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Connection::new(stream, peer, edge, worker).serve().await,
        Ok(Err(error)) => {
            edge.metrics.refused_for("tls_handshake");
            tracing::debug!(error = %error, peer = %peer.address, "no TLS with this client");
        }
        Err(_) => edge.metrics.refused_for("tls_handshake_timeout"),
    }
}
