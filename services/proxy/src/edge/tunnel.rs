//! After 101: bytes pass both ways, and nobody here knows what they mean.

use kit::tls::Link;
use tokio::io::AsyncWriteExt as _;

use super::{Hooks, connection::Connection, io::Stream};

/// Bytes on their way in each direction.
const BUFFER: usize = 16 * 1024;

/// Runs until both sides have ended, or this process wants its connections to end.
pub(super) async fn run<S: Stream, H: Hooks>(
    connection: &mut Connection<S, H>,
    mut upstream: Link,
    early: Vec<u8>,
) {
    // What came together with the heads goes first.
    let inbound = std::mem::take(&mut connection.inbound);
    let begun = async {
        upstream.write_all(&inbound).await?;
        // TLS may hold back what the socket did not take at once.
        upstream.flush().await?;
        connection.stream.write_all(&early).await?;
        connection.stream.flush().await
    };
    if begun.await.is_err() {
        return;
    }
    let passing = tokio::io::copy_bidirectional_with_sizes(
        &mut connection.stream,
        &mut upstream,
        BUFFER,
        BUFFER,
    );
    let stopping = connection.worker.stopping.clone();
    tokio::select! {
        _ = passing => {}
        () = stopping.cancelled() => {}
    }
}
