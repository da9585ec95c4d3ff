//! A request on its way to the pool: its body kept or passed, admitted, sent, repeated where that is safe.

use std::{
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use axum::response::IntoResponse as _;
use http::StatusCode;
use kit::{
    Problem, RequestContext,
    faults::Effect,
    record::{CacheLabel, Exchange, Route},
};

use super::{
    Hooks,
    connection::{After, Connection},
    facts::{self, Facts, Mode, end_request},
    io::{Stream, poll_append},
    relay::{Answering, Bounds, Ending, Relay, RequestBody},
    tunnel,
    upstreams::{self, Upstream},
};
use crate::{
    ForwardError,
    admission::{Outcome, Priority, Shed, Ticket},
    http1::{Body, Framing, Refusal, ResponseHead, Step, encode},
    metrics::FailureReason,
    pool::{Lease, STICKY_COOKIE, Selection},
    retry::{Failure, Repeatable},
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Header lines that an upstream is given at its head's end take no more than this.
const END: usize = 128;

/// Judges the answer when its head comes, and writes the client's.
struct Judge<'a, H> {
    hooks: &'a H,
    route: &'a Route,
    recorder: &'a kit::record::Recorder,
    lease: Lease,
    /// The cookie's value, when it is to be set.
    stick: Option<u64>,
    answered: bool,
    status: u16,
}

impl<H: Hooks> Answering for Judge<'_, H> {
    fn answer(
        &mut self,
        facts: &Facts,
        head: &ResponseHead,
        bytes: &[u8],
        mode: Mode,
        close: bool,
        out: &mut Vec<u8>,
    ) {
        self.answered = true;
        self.status = head.status;
        self.lease
            .answered(head.status, facts::retry_after(head, bytes));
        facts.write_answer(head, bytes, mode, close, out);
        if let Some(value) = self.stick {
            let cookie = format!("{STICKY_COOKIE}={value:016x}; Path=/; HttpOnly; SameSite=Lax");
            encode::field("set-cookie", cookie.as_bytes(), out);
        }
        self.hooks.decorate(facts.origin(), out);
        out.extend_from_slice(b"\r\n");
        let exchange = Exchange {
            id: &facts.id,
            method: facts.method.as_str(),
            path: &facts.path,
            status: head.status,
            cache: facts::cache_label(head, bytes),
            elapsed: facts.started.elapsed(),
        };
        self.recorder.finish(self.route, &exchange);
    }
}

/// Why the request's body is not at hand.
enum NoBody {
    ClientGone,
    Refused(Refusal),
    Stalled,
}

impl<S: Stream, H: Hooks> Connection<S, H> {
    /// Answers the request in `self.head` from the pool.
    pub async fn forward(&mut self, route: &Route) -> After {
        let edge = Arc::clone(&self.edge);
        let _in_flight = edge.recorder.begin();
        let settings = &edge.settings;
        let deadline = self.facts.started + settings.forward_timeout;
        let framing = self.head.framing;
        let wanted = framing_length(framing);
        if wanted.is_some_and(|length| length > settings.body_limit) {
            let problem = Problem::too_large(usize::try_from(settings.body_limit).unwrap_or(usize::MAX));
            return self.answer_problem(problem, Some(route), After::Linger).await;
        }

        let pool = &edge.pool;
        pool.count_request();
        self.facts.key = pool
            .hash_on()
            .and_then(|on| facts::key(&on, &self.head, &self.inbound, self.peer));
        if pool.sticky() {
            self.facts.sticky = facts::sticky(&self.head, &self.inbound);
        }
        self.up.clear();
        self.facts
            .write_request(&self.head, &self.inbound, self.peer, &mut self.up.bytes);
        let repeatable = Repeatable::from_head(&self.head, &self.inbound);
        let priority = self.priority();
        self.inbound.drain(..self.head.length);

        if let Some(after) = self.injected(route, deadline).await {
            return after;
        }
        if self.head.expects_continue && self.inbound.is_empty() && framing != Framing::None {
            self.down.clear();
            self.down.bytes.extend_from_slice(CONTINUE);
            if !self.flush().await {
                return After::Abort;
            }
        }
        let kept = wanted.filter(|length| *length <= settings.replay_limit);
        let (body, mut passing) = match kept {
            Some(length) => match self.keep_body(length, deadline).await {
                Ok(body) => (body, RequestBody::none()),
                Err(NoBody::ClientGone) => return After::Abort,
                Err(NoBody::Refused(refusal)) => return self.refuse(refusal).await,
                Err(NoBody::Stalled) => return self.refuse_slow_body(route).await,
            },
            None => (Vec::new(), RequestBody::passing(framing, settings.body_limit)),
        };
        let repeatable = Repeatable {
            replayable: kept.is_some(),
            ..repeatable
        };

        let ticket = match pool.admission().acquire(priority, deadline).await {
            Ok(ticket) => ticket,
            Err(shed) => return self.answer_shed(&shed, route, &passing).await,
        };
        self.attempts(route, &body, &mut passing, repeatable, deadline, ticket)
            .await
    }

    /// Tries one upstream after the other.
    async fn attempts(
        &mut self,
        route: &Route,
        body: &[u8],
        passing: &mut RequestBody,
        repeatable: Repeatable,
        deadline: Instant,
        ticket: Ticket,
    ) -> After {
        let edge = Arc::clone(&self.edge);
        let pool = &edge.pool;
        let head_length = self.up.bytes.len();
        let mut tried: Vec<u64> = Vec::new();
        let mut any_sent = false;
        let mut last: Option<ForwardError> = None;
        loop {
            let selection = Selection {
                avoid: &tried,
                last_resort: any_sent,
                key: self.facts.key,
                sticky: self.facts.sticky,
            };
            let mut lease = match pool.pick(&selection) {
                Ok(lease) => lease,
                Err(unavailable) => {
                    let gave_up = last.unwrap_or_else(|| pool.unavailable(unavailable));
                    drop(ticket);
                    return self.answer_gave_up(gave_up, route, passing).await;
                }
            };
            let attempts = u32::try_from(tried.len()).unwrap_or(u32::MAX) + 1;
            if attempts > 1 {
                pool.count_retry();
            }
            let address = lease.address();
            let upstream = match self.worker.upstreams.take(address) {
                Some(upstream) => {
                    edge.metrics.upstream_reuses.inc();
                    Ok(upstream)
                }
                None => {
                    let limit = edge
                        .settings
                        .connect_timeout
                        .min(deadline.saturating_duration_since(Instant::now()));
                    edge.metrics.upstream_connects.inc();
                    upstreams::connect(address, limit).await
                }
            };
            let mut upstream = match upstream {
                Ok(upstream) => upstream,
                Err(error) => {
                    lease.failed(FailureReason::Connect, &error);
                    tried.push(lease.id());
                    let again = repeatable.allows(Failure::NeverSent, attempts, any_sent);
                    // Once the request was sent somewhere, a later refusal must not make it look as if it never was.
                    let gave_up = match last.take() {
                        Some(earlier) if any_sent => earlier,
                        _ => ForwardError::Unreachable {
                            upstream: lease.name().to_string(),
                            retry_after: pool.retry_after(),
                            source: error.into(),
                        },
                    };
                    if again {
                        last = Some(gave_up);
                        continue;
                    }
                    drop(ticket);
                    return self.answer_gave_up(gave_up, route, passing).await;
                }
            };
            self.up.rewind(head_length);
            self.up.bytes.reserve(END + body.len());
            let remaining = deadline.saturating_duration_since(Instant::now());
            let owner = any_sent.then(|| edge.instance.name());
            end_request(remaining, owner, &mut self.up.bytes);
            self.up.bytes.extend_from_slice(body);

            let stick = (pool.sticky() && self.facts.sticky != Some(lease.sticky_value()))
                .then(|| lease.sticky_value());
            let mut judge = Judge {
                hooks: &edge.hooks,
                route,
                recorder: &edge.recorder,
                lease,
                stick,
                answered: false,
                status: 0,
            };
            let ending = self
                .relay(&mut upstream, passing, &mut judge, deadline)
                .await;
            let Judge {
                mut lease,
                answered,
                status,
                ..
            } = judge;
            let (failure, gave_up) = match ending {
                Ending::Answered { reusable } => {
                    ticket.finish(outcome(status));
                    if reusable {
                        self.worker
                            .upstreams
                            .put(address, upstream.stream, Instant::now());
                    }
                    drop(lease);
                    let body_left = !passing.is_done();
                    return if body_left {
                        After::Linger
                    } else if self.stays() {
                        After::Stay
                    } else {
                        After::Close
                    };
                }
                Ending::Upgraded { early } => {
                    drop(ticket);
                    edge.metrics.upgrades.inc();
                    tunnel::run(self, upstream.stream, early).await;
                    drop(lease);
                    return After::Abort;
                }
                Ending::ClientGone => {
                    lease.abandoned();
                    return After::Abort;
                }
                Ending::BadBody(refusal) => {
                    lease.abandoned();
                    return if answered {
                        After::Abort
                    } else {
                        self.refuse(refusal).await
                    };
                }
                Ending::TooLarge => {
                    lease.abandoned();
                    if answered {
                        return After::Abort;
                    }
                    let limit = usize::try_from(edge.settings.body_limit).unwrap_or(usize::MAX);
                    return self
                        .answer_problem(Problem::too_large(limit), Some(route), After::Linger)
                        .await;
                }
                Ending::BodyStalled => {
                    lease.abandoned();
                    return self.refuse_slow_body(route).await;
                }
                Ending::Truncated(error) => {
                    lease.failed(FailureReason::Reset, &error);
                    return After::Abort;
                }
                Ending::Stalled { by_upstream } => {
                    if by_upstream {
                        lease.failed(FailureReason::Timeout, &"it stopped in the middle of its answer");
                    } else {
                        lease.abandoned();
                    }
                    return After::Abort;
                }
                Ending::TimedOut => {
                    lease.failed(FailureReason::Timeout, &"the deadline passed");
                    let upstream = lease.name().to_string();
                    (Failure::TimedOut, ForwardError::Timeout { upstream })
                }
                Ending::Malformed(malformed) => {
                    lease.failed(FailureReason::Reset, &malformed);
                    tracing::warn!(upstream = %lease.name(), reason = malformed.label(), "an upstream's answer cannot be understood");
                    drop(ticket);
                    let gave_up = ForwardError::Broken {
                        upstream: lease.name().to_string(),
                        source: malformed.to_string().into(),
                    };
                    return self.answer_gave_up(gave_up, route, passing).await;
                }
                Ending::Broken(error) => {
                    // Nothing was taken off our hands: nobody has seen the request.
                    let failure = if self.up.is_untouched() {
                        Failure::NeverSent
                    } else {
                        Failure::Broken
                    };
                    if upstream.is_reused {
                        // It closed an idle connection in the moment in which we used it: not a failure of the instance.
                        lease.abandoned();
                    } else {
                        lease.failed(FailureReason::Reset, &error);
                    }
                    let gave_up = ForwardError::Broken {
                        upstream: lease.name().to_string(),
                        source: error.into(),
                    };
                    (failure, gave_up)
                }
            };
            any_sent |= failure != Failure::NeverSent;
            tried.push(lease.id());
            // A kept connection that was closed meanwhile says nothing against its upstream, and costs no budget.
            let was_stale = failure == Failure::Broken && upstream.is_reused;
            let again = repeatable.allows(failure, attempts, any_sent)
                && (was_stale || failure == Failure::NeverSent || pool.may_retry());
            drop(lease);
            if !again {
                drop(ticket);
                return self.answer_gave_up(gave_up, route, passing).await;
            }
            last = Some(gave_up);
        }
    }

    async fn relay<A: Answering>(
        &mut self,
        upstream: &mut Upstream,
        passing: &mut RequestBody,
        answering: &mut A,
        deadline: Instant,
    ) -> Ending {
        self.down.clear();
        let stopping = self.is_stopping();
        let settings = &self.edge.settings;
        let relay = Relay::new(
            &mut self.stream,
            &mut self.inbound,
            passing,
            &mut upstream.stream,
            &mut self.up,
            &mut self.down,
            &self.facts,
            answering,
            &settings.limits,
            &mut self.timer,
            Bounds {
                deadline,
                body_stall: settings.body_stall,
                stall_limit: settings.stall_limit,
            },
            stopping,
            std::mem::take(&mut self.answer_head),
        );
        let (ending, head) = relay.run().await;
        self.answer_head = head;
        ending
    }

    /// Reads a body of known length to its end.
    async fn keep_body(&mut self, length: u64, deadline: Instant) -> Result<Vec<u8>, NoBody> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(Vec::new());
        }
        while self.inbound.len() < length {
            self.timer
                .set(deadline.min(Instant::now() + self.edge.settings.body_stall));
            self.read_more().await?;
        }
        let rest = self.inbound.split_off(length);
        Ok(std::mem::replace(&mut self.inbound, rest))
    }

    async fn read_more(&mut self) -> Result<(), NoBody> {
        let Self {
            stream,
            inbound,
            timer,
            ..
        } = self;
        std::future::poll_fn(|context| {
            if let Poll::Ready(read) = poll_append(stream, context, inbound) {
                return Poll::Ready(match read {
                    Ok(0) | Err(_) => Err(NoBody::ClientGone),
                    Ok(_) => Ok(()),
                });
            }
            timer.poll(context).map(|()| Err(NoBody::Stalled))
        })
        .await
    }

    /// Reads a body of any framing to its end, for the service's own routes.
    pub(super) async fn collect_body(&mut self, framing: Framing) -> Result<Vec<u8>, Option<Refusal>> {
        let limit = self.edge.settings.body_limit;
        let mut decoder = Body::new(framing);
        let mut body = Vec::new();
        loop {
            let mut used = 0;
            while !decoder.is_done() {
                let (consumed, step) = decoder.next(&self.inbound[used..]).map_err(Some)?;
                used += consumed;
                match step {
                    Step::Data(data) => body.extend_from_slice(data),
                    Step::More | Step::End => break,
                }
            }
            self.inbound.drain(..used);
            if body.len() as u64 > limit {
                return Err(Some(Refusal::BodyTooLarge));
            }
            if decoder.is_done() {
                return Ok(body);
            }
            self.timer
                .set(Instant::now() + self.edge.settings.body_stall);
            match self.read_more().await {
                Ok(()) => {}
                Err(NoBody::Refused(refusal)) => return Err(Some(refusal)),
                Err(NoBody::Stalled) => return Err(Some(Refusal::BodyTimeout)),
                Err(NoBody::ClientGone) => return Err(None),
            }
        }
    }

    /// What the operator has broken on purpose.
    async fn injected(&mut self, route: &Route, deadline: Instant) -> Option<After> {
        let effect = self.edge.instance.faults().effect(
            &self.facts.path,
            self.facts.started,
            rand::random::<f64>,
        );
        if effect == Effect::default() {
            return None;
        }
        let pause = if effect.hang {
            Duration::from_hours(1)
        } else {
            effect.delay
        };
        let late = Instant::now() + pause > deadline;
        tokio::time::sleep_until(deadline.min(Instant::now() + pause).into()).await;
        if effect.refuse {
            return Some(After::Abort);
        }
        let problem = match effect.error {
            _ if late => Problem::timed_out("The deadline passed before there was an answer"),
            Some(status) => Problem::new(status, "A fault was injected here on purpose"),
            None => return None,
        };
        Some(self.answer_problem(problem, Some(route), After::Linger).await)
    }

    /// Operators come first. Who knows the operator's token is one; the word never leaves this hop.
    fn priority(&self) -> Priority {
        let name = kit::context::OPERATOR.as_str().as_bytes();
        let is_operator = self.head.fields.iter().any(|field| {
            field.kind == crate::http1::Kind::Internal
                && field.name(&self.inbound).eq_ignore_ascii_case(name)
                && self
                    .edge
                    .instance
                    .is_operator_token(field.value(&self.inbound))
        });
        if is_operator {
            Priority::High
        } else {
            Priority::Normal
        }
    }

    /// Whether the connection may take another request.
    pub(super) fn stays(&self) -> bool {
        self.facts.keep_alive && !self.is_stopping()
    }

    /// Writes what is in `down`; whether the client took it all.
    pub(super) async fn flush(&mut self) -> bool {
        self.timer
            .set(Instant::now() + self.edge.settings.stall_limit);
        let Self {
            stream,
            down,
            timer,
            ..
        } = self;
        std::future::poll_fn(|context| match down.poll_flush(stream, context) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => timer.poll(context).map(|()| false),
        })
        .await
    }

    pub(super) async fn refuse(&mut self, refusal: Refusal) -> After {
        self.edge.metrics.refused(refusal);
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let problem = Problem::new(status, refusal.detail()).with("reason", refusal.label());
        self.answer_problem(problem, None, After::Linger).await
    }

    pub(super) async fn refuse_slow_head(&mut self) -> After {
        self.refuse(Refusal::HeadTimeout).await
    }

    async fn refuse_slow_body(&mut self, route: &Route) -> After {
        let refusal = Refusal::BodyTimeout;
        self.edge.metrics.refused(refusal);
        let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, refusal.detail())
            .with("reason", refusal.label());
        self.answer_problem(problem, Some(route), After::Linger)
            .await
    }

    async fn answer_shed(&mut self, shed: &Shed, route: &Route, passing: &RequestBody) -> After {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too much is being asked at once; try again a little later",
        )
        .retry_after(shed.retry_after);
        let after = self.after(passing);
        self.answer_problem(problem, Some(route), after).await
    }

    async fn answer_gave_up(
        &mut self,
        gave_up: ForwardError,
        route: &Route,
        passing: &RequestBody,
    ) -> After {
        let cause = std::error::Error::source(&gave_up).map(ToString::to_string);
        tracing::debug!(request_id = self.facts.id, error = %gave_up, cause, "a request could not be forwarded");
        let problem = gave_up.into();
        let after = self.after(passing);
        self.answer_problem(problem, Some(route), after).await
    }

    /// After an answer of our own the connection stays if all of the request was read.
    fn after(&self, passing: &RequestBody) -> After {
        if passing.is_done() && self.stays() {
            After::Stay
        } else {
            After::Linger
        }
    }

    /// Answers with a problem; counted for the route, if there is one.
    pub(super) async fn answer_problem(
        &mut self,
        problem: Problem,
        route: Option<&Route>,
        after: After,
    ) -> After {
        let status = problem.status();
        let context = RequestContext::with_id(&self.facts.id);
        let response = context.scope(async { problem.into_response() }).await;
        let (head, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body)
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        self.down.clear();
        let out = &mut self.down.bytes;
        encode::status_line(status.as_u16(), out);
        for (name, value) in &head.headers {
            encode::field(name.as_str(), value.as_bytes(), out);
        }
        encode::field("x-request-id", self.facts.id.as_bytes(), out);
        out.extend_from_slice(b"server-timing: balancer;dur=");
        facts::write_milliseconds(self.facts.started.elapsed(), out);
        out.extend_from_slice(b"\r\ncontent-length: ");
        encode::decimal(body.len() as u64, out);
        out.extend_from_slice(b"\r\n");
        if after != After::Stay {
            encode::field("connection", b"close", out);
        } else if self.facts.is_old {
            encode::field("connection", b"keep-alive", out);
        }
        self.edge.hooks.decorate(self.facts.origin(), out);
        out.extend_from_slice(b"\r\n");
        if self.facts.method != http::Method::HEAD {
            out.extend_from_slice(&body);
        }
        let exchange = Exchange {
            id: &self.facts.id,
            method: self.facts.method.as_str(),
            path: &self.facts.path,
            status: status.as_u16(),
            cache: CacheLabel::None,
            elapsed: self.facts.started.elapsed(),
        };
        match route {
            Some(route) => self.edge.recorder.finish(route, &exchange),
            None => {
                let route = self.edge.recorder.route("refused");
                self.edge.recorder.finish(&route, &exchange);
            }
        }
        if self.flush().await { after } else { After::Abort }
    }
}

/// What an answer says of how busy the pool is.
fn outcome(status: u16) -> Outcome {
    match status {
        429 | 503 => Outcome::Overloaded,
        500..=599 => Outcome::Failed,
        _ => Outcome::Answered,
    }
}

/// The length of a body that is known beforehand.
fn framing_length(framing: Framing) -> Option<u64> {
    match framing {
        Framing::None => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    }
}
