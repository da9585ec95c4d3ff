//! A client's connection: one head after the other, each answered before the next.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    Decision, Edge, Hooks,
    facts::{Facts, Peer},
    http2,
    io::{Outgoing, Stream, poll_append},
    refuse::Reason,
    timer::Timer,
    worker::Worker,
};
use crate::http1::{Progress, RequestHead, ResponseHead};

/// How a connection by HTTP/2 begins, when the client knows without asking that it may.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After a refusal the rest of what the client sends is read and dropped, so that the refusal reaches it: so much of it...
const LINGER_BYTES: usize = 8 * 1024 * 1024;
/// ...and for so long.
const LINGER: Duration = Duration::from_secs(2);
/// Larger buffers are given back between two requests.
const KEPT: usize = 16 * 1024;

pub(super) struct Connection<S, H> {
    pub stream: S,
    pub peer: Peer,
    pub edge: Arc<Edge<H>>,
    pub worker: Arc<Worker>,
    /// Bytes read and not used yet.
    pub inbound: Vec<u8>,
    pub head: RequestHead,
    pub answer_head: ResponseHead,
    pub facts: Facts,
    pub up: Outgoing,
    pub down: Outgoing,
    pub timer: Timer,
    /// The upstream that the answer of our own is about.
    pub failed_upstream: Option<String>,
    /// When the last answer was done; the wait for the next request began then.
    pub idle_since: Instant,
    /// Wakes the connection when it should end. Polled once: whether it has to end is told by the worker's flag.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    is_listening: bool,
}

/// What came instead of a head.
enum Next {
    Head,
    Http2,
    Refused(Reason),
    End,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Stay,
    /// Everything the client sent was read: the end is clean.
    Close,
    /// The client may still be sending.
    Linger,
    /// Break off: the client must not take what it got for a whole answer.
    Abort,
}

impl<S: Stream, H: Hooks> Connection<S, H> {
    pub fn new(stream: S, peer: Peer, edge: Arc<Edge<H>>, worker: Arc<Worker>) -> Self {
        let stopping = Box::pin(worker.stopping.clone().cancelled_owned());
        let now = Instant::now();
        let timer = Timer::new(now, edge.settings.head_timeout);
        Self {
            stream,
            peer,
            edge,
            worker,
            inbound: Vec::new(),
            head: RequestHead::default(),
            answer_head: ResponseHead::default(),
            facts: Facts::new(),
            up: Outgoing::default(),
            down: Outgoing::default(),
            timer,
            failed_upstream: None,
            idle_since: now,
            stopping,
            is_listening: false,
        }
    }

    /// Serves until one side has had enough.
    pub async fn serve(mut self) {
        let mut is_first = true;
        loop {
            let after = match self.next_head(is_first).await {
                Next::Head => {
                    let now = Instant::now();
                    self.facts.learn(&self.head, &self.inbound, now);
                    match self.edge.hooks.decide(&self.head, &self.inbound) {
                        Decision::Forward(route) => self.forward(&route).await,
                        Decision::Local => self.local().await,
                    }
                }
                Next::Http2 => {
                    let Self {
                        stream,
                        inbound,
                        peer,
                        edge,
                        worker,
                        ..
                    } = self;
                    // On the heap: its room would otherwise be part of every connection's.
                    Box::pin(http2::serve(stream, inbound, peer, edge, &worker)).await;
                    return;
                }
                Next::Refused(reason) => {
                    self.facts.nothing(Instant::now());
                    self.refuse(reason).await
                }
                Next::End => After::Close,
            };
            is_first = false;
            match after {
                After::Stay => self.tidy(),
                After::Close => {
                    let _ = self.stream.shutdown().await;
                    return;
                }
                After::Linger => return self.linger().await,
                After::Abort => return,
            }
        }
    }

    /// Reads until there is a whole head.
    async fn next_head(&mut self, is_first: bool) -> Next {
        self.head.clear();
        let mut began = false;
        if !is_first {
            let patience = if self.inbound.is_empty() {
                self.edge.settings.keep_alive
            } else {
                began = true;
                self.edge.settings.head_timeout
            };
            self.timer.set(self.idle_since + patience);
        }
        loop {
            if !self.inbound.is_empty() {
                if is_first && is_preface(&self.inbound) {
                    if self.inbound.len() >= PREFACE.len() {
                        return Next::Http2;
                    }
                } else {
                    match self.head.parse(&self.inbound, &self.edge.settings.limits) {
                        Ok(Progress::Complete) => return Next::Head,
                        Ok(Progress::Partial) => {}
                        Err(refusal) => return Next::Refused(refusal.into()),
                    }
                }
                if !began {
                    began = true;
                    self.timer
                        .set(Instant::now() + self.edge.settings.head_timeout);
                }
            }
            let Self {
                stream,
                inbound,
                timer,
                worker,
                stopping,
                is_listening,
                ..
            } = self;
            let next = std::future::poll_fn(|context| {
                match poll_append(stream, context, inbound) {
                    Poll::Ready(Ok(0)) if inbound.is_empty() => {
                        return Poll::Ready(Some(Next::End));
                    }
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Some(Next::Refused(Reason::TRUNCATED)));
                    }
                    Poll::Ready(Ok(_)) => return Poll::Ready(None),
                    Poll::Ready(Err(_)) => return Poll::Ready(Some(Next::End)),
                    Poll::Pending => {}
                }
                if !*is_listening {
                    *is_listening = stopping.as_mut().poll(context).is_pending();
                }
                if inbound.is_empty() && worker.is_stopping.load(Ordering::Relaxed) {
                    return Poll::Ready(Some(Next::End));
                }
                timer.poll(context).map(|()| {
                    Some(if inbound.is_empty() {
                        Next::End
                    } else {
                        Next::Refused(Reason::HEAD_TIMEOUT)
                    })
                })
            })
            .await;
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// Whether this process wants its connections to end.
    pub fn is_stopping(&self) -> bool {
        self.worker.is_stopping.load(Ordering::Relaxed)
    }

    /// Gives back what an unusual request has made large.
    fn tidy(&mut self) {
        for buffer in [&mut self.inbound, &mut self.up.bytes, &mut self.down.bytes] {
            if buffer.capacity() > KEPT && buffer.len() <= KEPT {
                buffer.shrink_to(KEPT);
            }
        }
    }

    /// Lets the client read the answer before the connection goes: a connection closed over unread bytes takes the answer with it.
    async fn linger(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let Self {
            stream, inbound, ..
        } = &mut self;
        let drain = async {
            let mut dropped = 0;
            while dropped < LINGER_BYTES {
                inbound.clear();
                match std::future::poll_fn(|context| poll_append(stream, context, inbound)).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => dropped += count,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

fn is_preface(bytes: &[u8]) -> bool {
    let length = bytes.len().min(PREFACE.len());
    length >= 3 && bytes[..length] == PREFACE[..length]
}
