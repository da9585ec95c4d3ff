//! Bodies on their way through: the client's, kept for a repeat when it is small, and the upstream's, with its time limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::{admission::Ticket, lease::Lease, metrics::FailureReason};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

const STOPPED: &str = "the upstream stopped in the middle of its answer";

/// What goes out to an upstream.
pub(crate) type OutgoingBody = UnsyncBoxBody<Bytes, BoxError>;

/// The client's body, as far as it can be sent again.
pub(crate) enum Payload {
    /// At hand, as often as needed.
    Whole(Bytes),
    /// Passing through: it can be sent once.
    Passing(Option<OutgoingBody>, ReadFailure),
}

/// Where a passing body leaves its error: the client library reports it in its own words, if at all.
#[derive(Clone, Default)]
pub(crate) struct ReadFailure(Arc<Mutex<Option<BoxError>>>);

impl ReadFailure {
    fn set(&self, error: BoxError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub fn take(&self) -> Option<BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Payload {
    /// Reads a body of known length up to `keep` bytes, so that it can be sent again; lets any other pass.
    pub async fn new<B>(body: B, keep: u64) -> Result<Self, BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Ok(Self::Whole(Bytes::new()));
        }
        if let Some(length) = body.size_hint().exact().filter(|length| *length <= keep) {
            let mut body = std::pin::pin!(body);
            let mut whole = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
            while let Some(frame) = body.as_mut().frame().await {
                if let Ok(data) = frame.map_err(Into::into)?.into_data() {
                    whole.extend_from_slice(&data);
                }
            }
            return Ok(Self::Whole(whole.freeze()));
        }
        let failure = ReadFailure::default();
        let noted = failure.clone();
        let body = body.map_err(move |error| {
            noted.set(error.into());
            BoxError::from("the client's body broke off")
        });
        Ok(Self::Passing(Some(body.boxed_unsync()), failure))
    }

    pub fn is_replayable(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// The body for one attempt; `None` when it has gone out already.
    pub fn take(&mut self) -> Option<OutgoingBody> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => {
                Some(Empty::new().map_err(|never| match never {}).boxed_unsync())
            }
            Self::Whole(bytes) => Some(
                Full::new(bytes.clone())
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            ),
            Self::Passing(body, _) => body.take(),
        }
    }

    /// The client's own failure, if that is what ended the attempt.
    pub fn read_failure(&self) -> Option<BoxError> {
        match self {
            Self::Whole(_) => None,
            Self::Passing(_, failure) => failure.take(),
        }
    }
}

/// The upstream's answer on its way to the client. It counts as in flight until its end, and breaks off when the upstream
/// sends nothing for too long.
#[derive(Debug)]
pub struct ResponseBody {
    inner: Incoming,
    held: Option<Held>,
    stall_limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What is given back at the end of an answer.
#[derive(Debug)]
pub(crate) struct Held {
    pub lease: Lease,
    pub _ticket: Ticket,
}

impl ResponseBody {
    pub(crate) fn new(inner: Incoming, held: Held, stall_limit: Duration) -> Self {
        let held = (!inner.is_end_stream()).then_some(held);
        Self {
            inner,
            held,
            stall_limit,
            stalled: None,
        }
    }

    fn fail(&mut self, reason: FailureReason, cause: &dyn std::fmt::Display) {
        if let Some(mut held) = self.held.take() {
            held.lease.failed(reason, cause);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.stalled = None;
            return Poll::Ready(match frame {
                Some(Ok(frame)) => {
                    if this.inner.is_end_stream() {
                        this.held = None;
                    }
                    Some(Ok(frame))
                }
                Some(Err(error)) => {
                    this.fail(FailureReason::Reset, &error);
                    Some(Err(error.into()))
                }
                None => {
                    this.held = None;
                    None
                }
            });
        }
        // The clock runs only while we wait for the upstream, not while a slow client takes its time.
        let limit = this.stall_limit;
        let stalled = this
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(stalled.as_mut().poll(context));
        this.fail(FailureReason::Timeout, &STOPPED);
        Poll::Ready(Some(Err(STOPPED.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
