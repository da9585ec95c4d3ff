//! One attempt at an upstream: the request goes up while the answer comes down, both with backpressure, driven by one poll.
//!
//! An upstream may answer before it has read the request, echo it piece by piece, or stop reading and still answer: neither
//! direction waits for the other.

use std::{
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Method;
use kit::tls::Link;

use super::{
    facts::{Facts, Mode},
    io::{Outgoing, Stream, poll_append, poll_read},
    timer::Timer,
};
use crate::http1::{Body, Framing, Limits, Progress, Refusal, ResponseHead, Step, encode};
use crate::retry::Failure;

/// Bytes of the client's next requests that are read while this one is being answered: enough to notice that it has left.
const AHEAD: usize = 64 * 1024;
/// Bytes of a request's body that wait for the upstream before no more are read.
const BACKLOG: usize = 64 * 1024;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The whole answer is with the client.
    Answered {
        /// Whether the upstream's connection can take another request.
        reusable: bool,
        /// Whether the client was told that its connection ends now.
        closing: bool,
        /// Whether all of it came with its head.
        at_once: bool,
    },
    /// The upstream agreed to another protocol; its head is with the client, or on its way.
    Upgraded { early: Vec<u8> },
    /// The client has left.
    ClientGone,
    /// The client's body cannot be used.
    BadBody(Refusal),
    /// The client's body is larger than allowed.
    TooLarge,
    /// The client stopped in the middle of its body.
    BodyStalled,
    /// The connection broke before a byte of the answer came.
    Broken(io::Error),
    /// The upstream's answer cannot be understood.
    Malformed(&'static str),
    /// There was no answer in time.
    TimedOut,
    /// The answer began and broke off: all that is left is to break off as well.
    Truncated(io::Error),
    /// The answer began, and then one side paused for too long.
    Stalled { by_upstream: bool },
}

impl Ending {
    /// Why there was no answer, in one word for spans; a client that left has none.
    pub fn word(&self) -> Option<&'static str> {
        match self {
            Self::Broken(_) => Some(Failure::Broken.word()),
            Self::TimedOut => Some(Failure::TimedOut.word()),
            Self::Malformed(word) => Some(word),
            Self::BadBody(_) | Self::TooLarge | Self::BodyStalled => {
                Some(Failure::ClientGone.word())
            }
            Self::Answered { .. }
            | Self::Upgraded { .. }
            | Self::ClientGone
            | Self::Truncated(_)
            | Self::Stalled { .. } => None,
        }
    }
}

/// What happens when the answer's head has come: judged, counted, and written for the client.
pub(super) trait Answering {
    fn answer(
        &mut self,
        facts: &Facts,
        head: &ResponseHead,
        bytes: &[u8],
        mode: Mode,
        close: bool,
        out: &mut Vec<u8>,
    );
}

/// The rest of the request: what of it is still with the client.
#[derive(Debug)]
pub(super) struct RequestBody {
    decoder: Body,
    chunked: bool,
    left: u64,
}

impl RequestBody {
    /// Nothing is left to be read.
    pub fn none() -> Self {
        Self {
            decoder: Body::new(Framing::None),
            chunked: false,
            left: 0,
        }
    }

    /// Passing through, up to so many bytes.
    pub fn passing(framing: Framing, limit: u64) -> Self {
        Self {
            decoder: Body::new(framing),
            chunked: framing == Framing::Chunked,
            left: limit,
        }
    }

    pub fn is_done(&self) -> bool {
        self.decoder.is_done()
    }
}

enum Phase {
    /// Waiting for the head.
    Head,
    /// Passing the body on.
    Body,
    /// Everything was read; what is left is to write it.
    End,
}

/// The times that bound an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub deadline: Instant,
    pub body_stall: Duration,
    pub stall_limit: Duration,
}

pub(super) struct Relay<'a, S, A> {
    pub client: &'a mut S,
    pub inbound: &'a mut Vec<u8>,
    pub body: &'a mut RequestBody,
    pub upstream: &'a mut Link,
    pub up: &'a mut Outgoing,
    pub down: &'a mut Outgoing,
    pub facts: &'a Facts,
    pub answering: &'a mut A,
    pub limits: &'a Limits,
    pub timer: &'a mut Timer,
    pub bounds: Bounds,
    /// Whether this process wants the client's connection to end.
    pub stopping: bool,
    state: State,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct State {
    phase: Phase,
    head: ResponseHead,
    /// The beginning of a head that has not come whole.
    partial: Vec<u8>,
    decoder: Body,
    mode: Mode,
    /// The answer ends with the upstream's connection.
    until_close: bool,
    upstream_stays: bool,
    /// The client was told that its connection ends with this answer.
    closing: bool,
    /// The answer broke off: what came of it is still passed on.
    broken: Option<io::Error>,
    /// The upstream takes no more of the request; it may still answer.
    deaf: Option<io::Error>,
    upgraded: Option<Vec<u8>>,
    /// All of the answer came with its head.
    at_once: bool,
    body_since: Option<Instant>,
}

/// What came of reading once.
enum Read {
    Some,
    End,
    Failed(Ending),
}

impl<'a, S: Stream, A: Answering> Relay<'a, S, A> {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a connection, borrowed one by one"
    )]
    pub fn new(
        client: &'a mut S,
        inbound: &'a mut Vec<u8>,
        body: &'a mut RequestBody,
        upstream: &'a mut Link,
        up: &'a mut Outgoing,
        down: &'a mut Outgoing,
        facts: &'a Facts,
        answering: &'a mut A,
        limits: &'a Limits,
        timer: &'a mut Timer,
        bounds: Bounds,
        stopping: bool,
        head: ResponseHead,
    ) -> Self {
        timer.set(bounds.deadline);
        Self {
            client,
            inbound,
            body,
            upstream,
            up,
            down,
            facts,
            answering,
            limits,
            timer,
            bounds,
            stopping,
            state: State {
                phase: Phase::Head,
                head,
                partial: Vec::new(),
                decoder: Body::new(Framing::None),
                mode: Mode::Verbatim,
                until_close: false,
                upstream_stays: true,
                closing: false,
                broken: None,
                deaf: None,
                upgraded: None,
                at_once: false,
                body_since: None,
            },
        }
    }

    /// Runs to the end of the attempt. The head's memory comes back for the next one.
    pub async fn run(mut self) -> (Ending, ResponseHead) {
        let ending = std::future::poll_fn(|context| self.poll(context)).await;
        (ending, self.state.head)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        // Each goes on until it has to wait, and neither waits for the other.
        if let Err(ending) = self.pump_request(context) {
            return Poll::Ready(ending);
        }
        if let Err(ending) = self.pump_answer(context) {
            return Poll::Ready(ending);
        }
        if matches!(self.state.phase, Phase::End) && self.down.is_empty() {
            return Poll::Ready(self.finished());
        }
        if let Err(ending) = self.watch_client(context) {
            return Poll::Ready(ending);
        }
        if self.timer.poll(context).is_ready() {
            return Poll::Ready(self.late());
        }
        Poll::Pending
    }

    fn finished(&mut self) -> Ending {
        if let Some(early) = self.state.upgraded.take() {
            return Ending::Upgraded { early };
        }
        if let Some(error) = self.state.broken.take() {
            return Ending::Truncated(error);
        }
        Ending::Answered {
            closing: self.state.closing,
            // An upstream that answered before it had the whole request would take the rest for the next one.
            reusable: self.state.upstream_stays && self.up.is_empty() && self.body.is_done(),
            at_once: self.state.at_once,
        }
    }

    fn late(&self) -> Ending {
        match self.state.phase {
            Phase::Head => {
                let stalled = self
                    .state
                    .body_since
                    .is_some_and(|since| since.elapsed() >= self.bounds.body_stall);
                if stalled && Instant::now() < self.bounds.deadline {
                    Ending::BodyStalled
                } else {
                    Ending::TimedOut
                }
            }
            Phase::Body | Phase::End => Ending::Stalled {
                by_upstream: self.down.is_empty(),
            },
        }
    }

    /// Sends what is there of the request, reads more of it from the client when there is room.
    fn pump_request(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        if self.state.deaf.is_some() {
            return Ok(());
        }
        loop {
            if !self.up.is_empty() {
                match self.up.poll_flush(self.upstream, context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        // It may have answered before it closed.
                        self.state.deaf = Some(error);
                        return Ok(());
                    }
                    Poll::Pending => return Ok(()),
                }
            }
            if self.body.is_done() {
                return Ok(());
            }
            self.up.clear();
            self.take_body()?;
            if !self.up.is_empty() || self.body.is_done() {
                continue;
            }
            match poll_append(self.client, context, self.inbound) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ending::ClientGone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    if self.state.body_since.is_none() && matches!(self.state.phase, Phase::Head) {
                        let now = Instant::now();
                        self.state.body_since = Some(now);
                        self.timer
                            .set(self.bounds.deadline.min(now + self.bounds.body_stall));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Moves the body's bytes that are here from the client's side to the upstream's.
    fn take_body(&mut self) -> Result<(), Ending> {
        let mut used = 0;
        while !self.body.is_done() && self.up.bytes.len() < BACKLOG {
            let (consumed, step) = self
                .body
                .decoder
                .next(&self.inbound[used..])
                .map_err(Ending::BadBody)?;
            used += consumed;
            match step {
                Step::Data(data) => {
                    let length = data.len() as u64;
                    if length > self.body.left {
                        return Err(Ending::TooLarge);
                    }
                    self.body.left -= length;
                    if self.body.chunked {
                        encode::chunk(data, &mut self.up.bytes);
                    } else {
                        self.up.bytes.extend_from_slice(data);
                    }
                }
                Step::More => break,
                Step::End => {
                    if self.body.chunked {
                        self.up.bytes.extend_from_slice(encode::LAST_CHUNK);
                    }
                    break;
                }
            }
        }
        self.inbound.drain(..used);
        if used > 0 && self.state.body_since.take().is_some() {
            self.timer.set(self.bounds.deadline);
        }
        Ok(())
    }

    /// Reads from the upstream while the client takes what is there.
    fn pump_answer(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        loop {
            if !self.down.is_empty() {
                match self.down.poll_flush(self.client, context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Err(Ending::ClientGone),
                    Poll::Pending => return Ok(()),
                }
            }
            self.down.clear();
            if matches!(self.state.phase, Phase::End) {
                return Ok(());
            }
            let Self {
                client,
                upstream,
                down,
                facts,
                answering,
                limits,
                stopping,
                state,
                ..
            } = self;
            let parts = Parts {
                client: &mut **client,
                down,
                facts,
                answering: &mut **answering,
                limits,
                stopping: *stopping,
                state,
            };
            let read = poll_read(*upstream, context, |bytes, context| {
                if bytes.is_empty() {
                    Read::End
                } else {
                    match parts.take(bytes, context) {
                        Ok(()) => Read::Some,
                        Err(ending) => Read::Failed(ending),
                    }
                }
            });
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(Read::Some)) => {
                    if matches!(self.state.phase, Phase::Body) {
                        self.timer.set(Instant::now() + self.bounds.stall_limit);
                    }
                }
                Poll::Ready(Ok(Read::Failed(ending))) => return Err(ending),
                Poll::Ready(Ok(Read::End)) => {
                    self.ended(io::ErrorKind::UnexpectedEof.into())?;
                }
                Poll::Ready(Err(error)) => self.broke(error)?,
            }
        }
    }

    /// The upstream closed.
    fn ended(&mut self, error: io::Error) -> Result<(), Ending> {
        self.state.upstream_stays = false;
        if matches!(self.state.phase, Phase::Body) && self.state.until_close {
            if self.state.mode == Mode::Chunked {
                self.down.bytes.extend_from_slice(encode::LAST_CHUNK);
            }
            self.state.phase = Phase::End;
            return Ok(());
        }
        self.broke(error)
    }

    fn broke(&mut self, error: io::Error) -> Result<(), Ending> {
        match self.state.phase {
            Phase::Head if self.state.partial.is_empty() => {
                Err(Ending::Broken(self.state.deaf.take().unwrap_or(error)))
            }
            Phase::Head => Err(Ending::Malformed("truncated_head")),
            Phase::Body | Phase::End => {
                self.state.broken = Some(error);
                self.state.phase = Phase::End;
                Ok(())
            }
        }
    }

    /// A client that has sent all it had to send is watched: when it leaves, nobody waits for the answer any more.
    fn watch_client(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while self.body.is_done() && self.inbound.len() < AHEAD {
            match poll_append(self.client, context, self.inbound) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Ending::ClientGone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

/// What the bytes of an answer are worked on with, while they are in the thread's buffer.
struct Parts<'p, S, A> {
    client: &'p mut S,
    down: &'p mut Outgoing,
    facts: &'p Facts,
    answering: &'p mut A,
    limits: &'p Limits,
    stopping: bool,
    state: &'p mut State,
}

impl<S: Stream, A: Answering> Parts<'_, S, A> {
    fn take(mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<(), Ending> {
        match self.state.phase {
            Phase::Head if self.state.partial.is_empty() => self.take_head(bytes, context),
            Phase::Head => {
                let mut whole = std::mem::take(&mut self.state.partial);
                whole.extend_from_slice(bytes);
                self.take_head(&whole, context)
            }
            Phase::Body => self.take_body(bytes, context),
            Phase::End => Ok(()),
        }
    }

    fn take_head(&mut self, mut bytes: &[u8], context: &mut Context<'_>) -> Result<(), Ending> {
        loop {
            self.state.head.clear();
            let parsed = self
                .state
                .head
                .parse(bytes, &self.facts.method, self.limits)
                .map_err(|malformed| Ending::Malformed(malformed.label()))?;
            if parsed == Progress::Partial {
                self.state.partial.extend_from_slice(bytes);
                return Ok(());
            }
            let (head, rest) = bytes.split_at(self.state.head.length);
            match self.state.head.status {
                101 => {
                    if !self.facts.upgrade {
                        return Err(Ending::Malformed("unexpected_upgrade"));
                    }
                    self.write_head(head);
                    self.state.upgraded = Some(rest.to_vec());
                    self.state.phase = Phase::End;
                    return Ok(());
                }
                // Interim answers are between the upstream and us.
                100..=199 => {
                    bytes = rest;
                    if bytes.is_empty() {
                        return Ok(());
                    }
                }
                _ => {
                    let framing = self.state.head.framing;
                    self.state.until_close = framing == Framing::UntilClose;
                    self.state.mode = match framing {
                        Framing::None | Framing::Length(_) => Mode::Verbatim,
                        Framing::Chunked | Framing::UntilClose if self.facts.is_old => {
                            Mode::UntilClose
                        }
                        Framing::Chunked | Framing::UntilClose => Mode::Chunked,
                    };
                    self.state.decoder = Body::new(framing);
                    self.state.upstream_stays =
                        self.state.head.keep_alive && !self.state.until_close;
                    self.write_head(head);
                    self.state.phase = Phase::Body;
                    self.take_body(rest, context)?;
                    self.state.at_once = matches!(self.state.phase, Phase::End);
                    return Ok(());
                }
            }
        }
    }

    fn write_head(&mut self, bytes: &[u8]) {
        let close = self.stopping || !self.facts.keep_alive || self.state.mode == Mode::UntilClose;
        self.state.closing = close;
        self.answering.answer(
            self.facts,
            &self.state.head,
            bytes,
            self.state.mode,
            close,
            &mut self.down.bytes,
        );
    }

    fn take_body(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<(), Ending> {
        let mut used = 0;
        while !self.state.decoder.is_done() {
            let (consumed, step) = match self.state.decoder.next(&bytes[used..]) {
                Ok(next) => next,
                Err(refusal) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, refusal.label());
                    self.state.broken = Some(error);
                    self.state.phase = Phase::End;
                    return Ok(());
                }
            };
            used += consumed;
            match step {
                Step::Data(data) if self.state.mode == Mode::Chunked => {
                    encode::chunk(data, &mut self.down.bytes);
                }
                Step::Data(data) => {
                    // Straight from the thread's buffer to the client; only what it does not take is copied.
                    match self.down.poll_write_through(self.client, context, data) {
                        Poll::Ready(Ok(())) => self.down.clear(),
                        Poll::Ready(Err(_)) => return Err(Ending::ClientGone),
                        Poll::Pending => {}
                    }
                }
                Step::More => break,
                Step::End => {
                    if self.state.mode == Mode::Chunked {
                        self.down.bytes.extend_from_slice(encode::LAST_CHUNK);
                    }
                    break;
                }
            }
        }
        if self.state.decoder.is_done() {
            // Bytes behind the end belong to no request of ours.
            self.state.upstream_stays &= used == bytes.len();
            self.state.phase = Phase::End;
        }
        Ok(())
    }
}

/// Whether a method's answer has no body whatever its head says; used by tests and by the local side.
pub(super) fn has_no_body(method: &Method, status: u16) -> bool {
    *method == Method::HEAD || status < 200 || status == 204 || status == 304
}
