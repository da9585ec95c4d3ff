//! Reading into the thread's scratch buffer, and writing what can be written now.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read in one go.
const SCRATCH: usize = 64 * 1024;

/// What a connection runs over: a socket, or TLS on one.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

thread_local! {
    /// Shared by all connections of a worker: what a connection keeps for itself are leftovers only.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Reads once and hands the bytes over; an empty slice is the end of the stream.
pub(super) fn poll_read<S: Stream, R>(
    stream: &mut S,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8], &mut Context<'_>) -> R,
) -> Poll<io::Result<R>> {
    BUFFER.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled(), context)))
    })
}

/// Reads once to the end of `into`; 0 at the end of the stream.
pub(super) fn poll_append<S: Stream>(
    stream: &mut S,
    context: &mut Context<'_>,
    into: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    poll_read(stream, context, |bytes, _| {
        into.extend_from_slice(bytes);
        bytes.len()
    })
}

/// Bytes on their way out, and how many of them are out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub bytes: Vec<u8>,
    sent: usize,
    /// The stream has taken bytes that it may not have passed on: TLS does that.
    is_held: bool,
}

impl Outgoing {
    /// Whether everything is out.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && !self.is_held
    }

    /// Whether not a byte of it went out.
    pub fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.is_held = false;
    }

    /// Starts over with the same bytes.
    pub fn rewind(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.sent = 0;
        self.is_held = false;
    }

    /// Writes until all is out (`Ready`) or the stream takes no more.
    pub fn poll_flush<S: Stream>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let written =
                ready!(Pin::new(&mut *stream).poll_write(context, &self.bytes[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.is_held = true;
        }
        ready!(Pin::new(stream).poll_flush(context))?;
        self.is_held = false;
        Poll::Ready(Ok(()))
    }

    /// Writes what is here and then `more`, in one system call where possible; keeps what the stream does not take.
    pub fn poll_write_through<S: Stream>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        more: &[u8],
    ) -> Poll<io::Result<()>> {
        let mut taken = 0;
        loop {
            let here = &self.bytes[self.sent..];
            let there = &more[taken..];
            if here.is_empty() && there.is_empty() {
                ready!(Pin::new(stream).poll_flush(context))?;
                self.is_held = false;
                return Poll::Ready(Ok(()));
            }
            let result = if here.is_empty() {
                Pin::new(&mut *stream).poll_write(context, there)
            } else if there.is_empty() {
                Pin::new(&mut *stream).poll_write(context, here)
            } else {
                let slices = [io::IoSlice::new(here), io::IoSlice::new(there)];
                Pin::new(&mut *stream).poll_write_vectored(context, &slices)
            };
            match result {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    let from_here = written.min(here.len());
                    self.sent += from_here;
                    taken += written - from_here;
                    self.is_held = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.sent == self.bytes.len() {
                        self.bytes.clear();
                        self.sent = 0;
                    }
                    self.bytes.extend_from_slice(there);
                    return Poll::Pending;
                }
            }
        }
    }
}
