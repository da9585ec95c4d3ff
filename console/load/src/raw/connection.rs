//! One connection: writes a request, reads its answer, and no more system calls than that.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};

use super::{
    Request,
    answer::{Answer, Fault, Reader},
};

/// Large enough for most bodies in one read.
const SCRATCH: usize = 128 * 1024;

/// What is read into; shared by all connections of a thread, because nothing stays in it.
#[derive(Debug)]
pub(super) struct Scratch(Mutex<Box<[u8]>>);

impl Scratch {
    pub fn new() -> Self {
        Self(Mutex::new(vec![0; SCRATCH].into()))
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    reader: Reader,
}

impl Connection {
    pub async fn open(target: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(target).await.map_err(Fault::Connect)?;
        stream.set_nodelay(true).map_err(Fault::Connect)?;
        Ok(Self {
            stream,
            reader: Reader::new(),
        })
    }

    /// Sends the request and reads its answer to the end.
    pub async fn exchange(
        &mut self,
        request: &Request,
        scratch: &Scratch,
    ) -> Result<Answer, Fault> {
        self.stream.write_all(request.bytes()).await?;
        let Self { stream, reader } = self;
        poll_fn(|context| {
            let mut scratch = scratch.0.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let mut buffer = ReadBuf::new(&mut scratch);
                ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(reader.end());
                }
                if let Some(answer) = reader.feed(buffer.filled())? {
                    return Poll::Ready(Ok(answer));
                }
            }
        })
        .await
    }

    /// Closes at once with a reset, as a client does that has lost its patience; nothing lingers in the system.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }
}
