//! After 101: bytes pass both ways, and nobody here knows what they mean.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{Hooks, connection::Connection, io::Stream};

/// Bytes on their way in each direction.
const BUFFER: usize = 16 * 1024;

/// Runs until both sides have ended, or this process wants its connections to end.
pub(super) async fn run<S: Stream, H: Hooks>(
    connection: &mut Connection<S, H>,
    mut upstream: TcpStream,
    early: Vec<u8>,
) {
    // What came together with the heads goes first.
    let inbound = std::mem::take(&mut connection.inbound);
    let begun = async {
        upstream.write_all(&inbound).await?;
        connection.stream.write_all(&early).await
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
