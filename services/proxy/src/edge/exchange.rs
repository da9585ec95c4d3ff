//! A request on its way to the pool: its body kept or passed, admitted, sent, repeated where that is safe.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use http::StatusCode;
use kit::{
    Problem,
    faults::Effect,
    record::{Exchange, Route},
    traces::Call,
};

use super::{
    Hooks,
    body::NoBody,
    connection::{After, Connection},
    facts::{self, Facts, Mode, end_request},
    io::Stream,
    refuse::Reason,
    relay::{Answering, Bounds, Ending, Relay, RequestBody},
    trace::Trace,
    tunnel,
    upstreams::{self, Upstream},
};
use crate::{
    ForwardError, Lease, Pool, Selection, Unavailable,
    admission::{Outcome, Priority, Shed, Ticket},
    http1::{Framing, ResponseHead, encode},
    limit::class_of,
    metrics::FailureReason,
    retry::{Failure, Repeatable},
    samples::{Details, Samples},
    sticky::{self, STICKY_COOKIE},
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Header lines that an upstream is given at its head's end take no more than this.
const END: usize = 128;

/// Judges the answer when its head comes, and writes the client's.
struct Judge<'a, H> {
    hooks: &'a H,
    route: &'a Route,
    recorder: &'a kit::record::Recorder,
    samples: &'a Samples,
    lease: Lease,
    ticket: &'a mut Ticket,
    /// The cookie's value, when it is to be set.
    stick: Option<u64>,
    /// When the answer's head came.
    answered: Option<Instant>,
    /// Where it is recorded, until that moment.
    attempt: Option<Box<Call>>,
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
        let now = Instant::now();
        self.answered = Some(now);
        self.ticket.finish(outcome(head.status));
        self.lease
            .answered(head.status, facts::retry_after(head, bytes), now);
        let elapsed = now.saturating_duration_since(facts.started);
        facts.write_answer(head, bytes, mode, close, elapsed, out);
        if let Some(value) = self.stick {
            let value = sticky::encode(value);
            let cookie = format!("{STICKY_COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax");
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
            elapsed,
            trace: facts.trace.as_ref().and_then(|trace| trace.id()),
        };
        if let Some(attempt) = self.attempt.take() {
            attempt.answered(head.status, now);
        }
        let serving = facts.trace.as_ref();
        if let Some(serving) = serving.and_then(|trace| trace.serving.as_ref()) {
            let route = Some(self.route.label());
            serving.answered(&facts.method, route, head.status, exchange.cache, now);
        }
        self.recorder.finish(self.route, &exchange, now);
        if let Some(why) = self.samples.admit(head.status, elapsed, now) {
            let details = Details {
                route: self.route.label(),
                upstream: Some(&self.lease.name()),
                attempts: facts.attempts,
                sent_after: facts.tried_at.saturating_duration_since(facts.started),
            };
            let timings = facts::timings(head, bytes);
            self.samples
                .keep(why, &exchange, &details, timings, Utc::now());
        }
    }
}

/// What holds for all attempts at one request.
struct Attempts {
    repeatable: Repeatable,
    deadline: Instant,
    sticky: bool,
    /// When the first begins.
    now: Instant,
}

impl<S: Stream, H: Hooks> Connection<S, H> {
    /// Answers the request in `self.head` from the pool.
    pub async fn forward(&mut self, route: &Route) -> After {
        let edge = Arc::clone(&self.edge);
        let _in_flight = edge.recorder.begin();
        if let Some(tracer) = edge.instance.tracer() {
            let encrypted = self.peer.is_encrypted;
            self.facts.trace =
                Trace::begin(tracer, &self.facts, &self.head, &self.inbound, encrypted);
        }
        let settings = &edge.settings;
        let deadline = self.facts.started + settings.forward_timeout;
        let framing = self.head.framing;
        let wanted = framing_length(framing);
        if wanted.is_some_and(|length| length > settings.body_limit) {
            edge.metrics.refused_for(Reason::BODY_TOO_LARGE.label);
            let problem =
                Problem::too_large(usize::try_from(settings.body_limit).unwrap_or(usize::MAX));
            return self
                .answer_problem(problem, Some(route), After::Linger)
                .await;
        }

        let pool = &edge.pool;
        pool.count_request();
        let (hash_on, sticky) = pool.depends_on();
        self.facts.key =
            hash_on.and_then(|on| facts::key(&on, &self.head, &self.inbound, self.peer));
        if sticky {
            self.facts.sticky = facts::sticky_value(&self.head, &self.inbound);
        }
        self.up.clear();
        self.facts
            .write_request(&self.head, &self.inbound, self.peer, &mut self.up.bytes);
        let repeatable = Repeatable::from_head(&self.head);
        let priority = self.priority();
        self.inbound.drain(..self.head.length);

        let mut waited = match self.injected(route, deadline).await {
            Ok(waited) => waited,
            Err(after) => return after,
        };
        if self.head.expects_continue && self.inbound.is_empty() && framing != Framing::None {
            waited = true;
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
                Err(NoBody::Stalled) => return self.refuse(Reason::BODY_TIMEOUT).await,
            },
            None => (
                Vec::new(),
                RequestBody::passing(framing, settings.body_limit),
            ),
        };
        let repeatable = Repeatable {
            replayable: kept.is_some(),
            ..repeatable
        };

        let mut ticket = match pool.admission().acquire(priority, deadline).await {
            Ok(ticket) => {
                waited |= kept != Some(0) || ticket.is_counted();
                ticket
            }
            Err(shed) => return self.answer_shed(&shed, route, &passing).await,
        };
        ticket.set_class(|| class_of(self.facts.method.as_str(), &self.facts.path));
        let attempts = Attempts {
            repeatable,
            deadline,
            sticky,
            now: if waited {
                Instant::now()
            } else {
                self.facts.started
            },
        };
        self.attempts(route, &body, &mut passing, attempts, ticket)
            .await
    }

    /// Tries one upstream after the other.
    async fn attempts(
        &mut self,
        route: &Route,
        body: &[u8],
        passing: &mut RequestBody,
        attempts: Attempts,
        mut ticket: Ticket,
    ) -> After {
        let Attempts {
            repeatable,
            deadline,
            sticky,
            mut now,
        } = attempts;
        let edge = Arc::clone(&self.edge);
        let pool = &edge.pool;
        let head_length = self.up.bytes.len();
        let mut tried: Vec<u64> = Vec::new();
        let mut any_sent = false;
        let mut distrust_idle = false;
        // One after a kept connection that had been closed is no further attempt, but it is sent again.
        let mut resends = 0;
        let mut last: Option<ForwardError> = None;
        loop {
            let selection = Selection {
                avoid: &tried,
                last_resort: any_sent,
                key: self.facts.key,
                sticky: self.facts.sticky,
            };
            let mut lease = match pool.pick(&selection, now) {
                Ok(lease) => lease,
                Err(unavailable) => {
                    let gave_up = last.unwrap_or_else(|| nobody(pool, unavailable));
                    drop(ticket);
                    return self.answer_gave_up(gave_up, route, passing).await;
                }
            };
            let attempts = u32::try_from(tried.len()).unwrap_or(u32::MAX) + 1;
            self.facts.attempts = attempts;
            self.facts.tried_at = now;
            if last.is_some() {
                pool.count_retry();
            }
            let address = lease.address();
            let trace = self.facts.trace.as_ref();
            let attempt =
                trace.and_then(|trace| trace.attempt(&self.facts, pool, &lease, resends, now));
            resends += 1;
            let kept = if distrust_idle {
                None
            } else {
                self.worker.upstreams.take(address, now)
            };
            let upstream = if let Some(upstream) = kept {
                edge.metrics.upstream_reuses.inc();
                Ok(upstream)
            } else {
                let limit = edge
                    .settings
                    .connect_timeout
                    .min(deadline.saturating_duration_since(now));
                edge.metrics.upstream_connects.inc();
                let made = upstreams::connect(address, pool.tls(), limit).await;
                now = Instant::now();
                made
            };
            let mut upstream = match upstream {
                Ok(upstream) => upstream,
                Err(error) => {
                    if let Some(attempt) = attempt {
                        attempt.failed(Failure::NeverSent.word());
                    }
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
                        now = Instant::now();
                        continue;
                    }
                    drop(ticket);
                    return self.answer_gave_up(gave_up, route, passing).await;
                }
            };
            self.up.rewind(head_length);
            self.up.bytes.reserve(END + body.len());
            let remaining = deadline.saturating_duration_since(now);
            let owner = any_sent.then(|| edge.instance.name());
            let host = (!self.facts.has_host).then_some(address);
            let trace = self.facts.trace.as_ref();
            let traceparent = trace.and_then(|trace| trace.traceparent(attempt.as_deref()));
            let up = &mut self.up.bytes;
            end_request(host, remaining, owner, traceparent.as_ref(), up);
            self.up.bytes.extend_from_slice(body);

            let stick = (sticky && self.facts.sticky != Some(lease.sticky_value()))
                .then(|| lease.sticky_value());
            let mut judge = Judge {
                hooks: &edge.hooks,
                route,
                recorder: &edge.recorder,
                samples: &edge.samples,
                lease,
                ticket: &mut ticket,
                stick,
                answered: None,
                attempt,
            };
            let ending = self
                .relay(&mut upstream, passing, &mut judge, deadline)
                .await;
            let Judge {
                mut lease,
                answered,
                attempt,
                ..
            } = judge;
            if let (Some(attempt), Some(word)) = (attempt, ending.word()) {
                attempt.failed(word);
            }
            let (failure, gave_up) = match ending {
                Ending::Answered {
                    reusable,
                    closing,
                    at_once,
                } => {
                    let now = answered.filter(|_| at_once).unwrap_or_else(Instant::now);
                    self.idle_since = now;
                    if reusable {
                        self.worker.upstreams.put(address, upstream.stream, now);
                    }
                    drop(lease);
                    let body_left = !passing.is_done();
                    return if body_left {
                        After::Linger
                    } else if closing {
                        After::Close
                    } else {
                        After::Stay
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
                    return if answered.is_some() {
                        After::Abort
                    } else {
                        self.refuse(refusal.into()).await
                    };
                }
                Ending::TooLarge => {
                    lease.abandoned();
                    edge.metrics.refused_for(Reason::BODY_TOO_LARGE.label);
                    if answered.is_some() {
                        return After::Abort;
                    }
                    let limit = usize::try_from(edge.settings.body_limit).unwrap_or(usize::MAX);
                    return self
                        .answer_problem(Problem::too_large(limit), Some(route), After::Linger)
                        .await;
                }
                Ending::BodyStalled => {
                    lease.abandoned();
                    return self.refuse(Reason::BODY_TIMEOUT).await;
                }
                Ending::Truncated(error) => {
                    lease.failed(FailureReason::Reset, &error);
                    return After::Abort;
                }
                Ending::Stalled { by_upstream } => {
                    if by_upstream {
                        lease.failed(
                            FailureReason::Timeout,
                            &"it stopped in the middle of its answer",
                        );
                    } else {
                        lease.abandoned();
                    }
                    return After::Abort;
                }
                Ending::TimedOut => {
                    ticket.finish(Outcome::Overloaded);
                    lease.failed(FailureReason::Timeout, &"the deadline passed");
                    let upstream = lease.name().to_string();
                    (Failure::TimedOut, ForwardError::Timeout { upstream })
                }
                Ending::Malformed(malformed) => {
                    lease.failed(FailureReason::Reset, &malformed);
                    tracing::warn!(upstream = %lease.name(), reason = malformed, "an upstream's answer cannot be understood");
                    drop(ticket);
                    let gave_up = ForwardError::Broken {
                        upstream: lease.name().to_string(),
                        source: format!("its answer is malformed: {malformed}").into(),
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
            // A kept connection that was closed meanwhile says nothing against its upstream: once, this costs neither an
            // attempt nor the budget, and the next try makes a connection of its own.
            let was_stale = !distrust_idle && failure == Failure::Broken && upstream.is_reused;
            if was_stale {
                distrust_idle = true;
            } else {
                tried.push(lease.id());
            }
            let again = repeatable.allows(failure, attempts, any_sent)
                && (was_stale || failure == Failure::NeverSent || pool.may_retry());
            drop(lease);
            if !again {
                drop(ticket);
                return self.answer_gave_up(gave_up, route, passing).await;
            }
            last = Some(gave_up);
            now = Instant::now();
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

    /// What the operator has broken on purpose. Without an answer: whether it took time.
    async fn injected(&mut self, route: &Route, deadline: Instant) -> Result<bool, After> {
        let effect = self.edge.instance.faults().effect(
            &self.facts.path,
            self.facts.started,
            rand::random::<f64>,
        );
        if effect == Effect::default() {
            return Ok(false);
        }
        let pause = if effect.hang {
            Duration::from_hours(1)
        } else {
            effect.delay
        };
        let late = Instant::now() + pause > deadline;
        tokio::time::sleep_until(deadline.min(Instant::now() + pause).into()).await;
        if effect.refuse {
            return Err(After::Abort);
        }
        let problem = match effect.error {
            _ if late => Problem::timed_out("The deadline passed before there was an answer"),
            Some(status) => Problem::new(status, "A fault was injected here on purpose"),
            None => return Ok(true),
        };
        Err(self
            .answer_problem(problem, Some(route), After::Linger)
            .await)
    }

    /// Operators come first. Who knows the operator's token is one; the word never leaves this hop.
    fn priority(&self) -> Priority {
        let operator = kit::context::OPERATOR;
        let is_operator = self.head.fields.iter().any(|field| {
            field.kind == crate::http1::Kind::Internal
                && field
                    .name(&self.inbound)
                    .eq_ignore_ascii_case(operator.as_str().as_bytes())
                && self
                    .edge
                    .instance
                    .is_operator_token(field.value(&self.inbound))
        });
        if is_operator {
            Priority::Operator
        } else {
            Priority::Normal
        }
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
        self.failed_upstream = gave_up.upstream().map(str::to_owned);
        let cause = std::error::Error::source(&gave_up).map(ToString::to_string);
        let trace = self.facts.trace.as_ref().and_then(|trace| trace.id());
        let trace_id = trace.map(tracing::field::display);
        tracing::debug!(request_id = self.facts.id, trace_id, error = %gave_up, cause, "a request could not be forwarded");
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
}

fn nobody(pool: &Pool, unavailable: Unavailable) -> ForwardError {
    let (retry_after, pool) = (pool.retry_after(), pool.name().to_owned());
    match unavailable {
        Unavailable::NoneHealthy => ForwardError::NoneHealthy { pool, retry_after },
        Unavailable::BreakersOpen => ForwardError::BreakersOpen { pool, retry_after },
    }
}

/// What an answer says of how busy the pool is.
fn outcome(status: u16) -> Outcome {
    match status {
        429 | 503 => Outcome::Overloaded,
        500..=599 => Outcome::Ignored,
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
