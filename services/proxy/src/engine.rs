//! The forwarder: picks an upstream, sends the request, repeats it where that is safe, and streams the answer back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    request::Parts,
    uri::{Authority, Scheme},
};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use kit::{
    RequestContext,
    context::TRACEPARENT,
    tls::Connector,
    traces::{self, Call},
};

use crate::{
    admission::{Outcome, Priority, Ticket},
    body::{BoxError, Held, OutgoingBody, Payload, ResponseBody},
    edge::Arrival,
    error::ForwardError,
    headers::{self, Forwarded},
    lease::Lease,
    limit::class_of,
    metrics::FailureReason,
    pool::Pool,
    retry::{Failure, RETRY_OWNER, Repeatable},
    selection::{Selection, Unavailable},
    sticky,
};

/// How a forwarder behaves, whatever the request.
#[derive(Clone, Debug)]
pub struct ForwarderSettings {
    /// Who repeats requests here: this instance's name, sent along with a repeated request.
    pub owner: String,
    /// The longest a connection may take to be made.
    pub connect_timeout: Duration,
    /// Unused connections are closed after this; keep it below the upstreams' own idle limit.
    pub idle_timeout: Duration,
    /// Unused connections kept for each upstream.
    pub idle_connections: usize,
    /// The largest request body, in bytes, that is kept so that it can be sent again.
    pub replay_limit: u64,
    /// The longest an upstream may pause in the middle of its answer.
    pub stall_limit: Duration,
    /// Speak HTTP/2 to the upstreams, without TLS and without asking: they must know it.
    pub http2: bool,
}

impl ForwarderSettings {
    #[must_use]
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            connect_timeout: Duration::from_millis(500),
            idle_timeout: Duration::from_secs(20),
            idle_connections: 512,
            replay_limit: 64 * 1024,
            stall_limit: Duration::from_secs(30),
            http2: false,
        }
    }
}

/// What one request asks for.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// When the answer's head must be there; the remaining time is told to the upstream.
    pub deadline: Instant,
    /// Who sent it: goes into `X-Forwarded-For`.
    pub client: Option<SocketAddr>,
    /// What to believe of the `X-Forwarded-*` headers it came with.
    pub forwarded: Forwarded,
}

impl ForwardOptions {
    /// For a request that must be answered within `budget`, from a sender that is not trusted.
    #[must_use]
    pub fn within(budget: Duration) -> Self {
        Self {
            deadline: Instant::now() + budget,
            client: None,
            forwarded: Forwarded::Replace,
        }
    }
}

/// In a forwarded answer's extensions: who answered, and at which attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The upstream's name.
    pub upstream: String,
    /// 1 when the first attempt succeeded.
    pub attempts: u32,
}

/// Forwards requests to a pool; cheap to clone, one per pool.
#[derive(Clone, Debug)]
pub struct Forwarder {
    pool: Pool,
    client: Client<Connector, OutgoingBody>,
    settings: ForwarderSettings,
    owner: HeaderValue,
}

/// An attempt that failed.
struct Attempt {
    failure: Failure,
    source: BoxError,
}

impl Forwarder {
    #[must_use]
    pub fn new(pool: Pool, settings: ForwarderSettings) -> Self {
        let connector = Connector::new(settings.connect_timeout, pool.tls().cloned());
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(settings.idle_connections)
            .set_host(false)
            .http2_only(settings.http2)
            .build(connector);
        let owner = HeaderValue::from_str(&settings.owner)
            .unwrap_or_else(|_| HeaderValue::from_static("proxy"));
        Self {
            pool,
            client,
            settings,
            owner,
        }
    }

    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sends the request to an upstream of the pool and returns its answer as soon as the head is there; both bodies stream.
    ///
    /// The answer's extensions hold [`Served`]. An upstream's own error statuses are answers, not errors.
    pub async fn forward<B>(
        &self,
        request: Request<B>,
        options: ForwardOptions,
    ) -> Result<Response<ResponseBody>, ForwardError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = request.into_parts();
        if matches!(head.method, Method::CONNECT | Method::TRACE) {
            return Err(ForwardError::Method(head.method));
        }
        if headers::is_ambiguously_framed(&head.headers) {
            return Err(ForwardError::AmbiguousFraming);
        }
        headers::strip_hop_by_hop(&mut head.headers);
        let encrypted = head
            .extensions
            .get::<Arrival>()
            .is_some_and(|arrival| arrival.is_encrypted);
        let (hash_on, sticks) = self.pool.depends_on();
        let key = hash_on.and_then(|on| on.key(&head.headers, options.client, options.forwarded));
        let sent = sticks.then(|| sticky::read(&head.headers)).flatten();
        headers::forward_origin(
            &mut head.headers,
            options.client,
            encrypted,
            options.forwarded,
        );

        self.pool.count_request();
        let deadline = tokio::time::Instant::from_std(options.deadline);
        let mut payload =
            tokio::time::timeout_at(deadline, Payload::new(body, self.settings.replay_limit))
                .await
                .map_err(|_| ForwardError::BodyTimeout)?
                .map_err(|source| ForwardError::RequestBody { source })?;
        let repeatable = Repeatable::new(&head.method, &head.headers, payload.is_replayable());

        let mut ticket = self.admit(&head, options.deadline).await?;
        let mut tried: Vec<u64> = Vec::new();
        let mut any_sent = false;
        let mut last: Option<(String, Attempt)> = None;
        let hop = RequestContext::current_hop();
        loop {
            // An upstream whose kept connection broke may be asked again, over a new one, when there is no other.
            let selection = Selection {
                avoid: &tried,
                last_resort: any_sent,
                key,
                sticky: sent,
            };
            let mut lease = match self.pool.pick(&selection, Instant::now()) {
                Ok(lease) => lease,
                Err(unavailable) => return Err(self.gave_up(last, unavailable)),
            };
            let Some(body) = payload.take() else {
                return Err(self.gave_up(last, Unavailable::NoneHealthy));
            };
            let attempts = u32::try_from(tried.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            if attempts > 1 {
                self.pool.count_retry();
                tracing::debug!(pool = self.pool.name(), upstream = %lease.name(), attempts, "sending the request again");
            }
            let span = hop.as_ref().map(|hop| {
                let name = lease.name();
                let span = self.span(&head, lease.authority(), &name, attempts - 1);
                span.begin(hop, Instant::now())
            });
            let mut outgoing =
                self.outgoing(&head, lease.authority(), body, options.deadline, any_sent)?;
            if let Some(traceparent) = span.as_ref().and_then(Call::traceparent) {
                outgoing.headers_mut().insert(TRACEPARENT, traceparent);
            }
            let attempt =
                match tokio::time::timeout_at(deadline, self.client.request(outgoing)).await {
                    Ok(Ok(response)) => {
                        if let Some(span) = span {
                            span.answered(response.status().as_u16(), Instant::now());
                        }
                        ticket.finish(match response.status() {
                            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                                Outcome::Overloaded
                            }
                            _ => Outcome::Answered,
                        });
                        let serves = lease.sticky_value();
                        let mut response = self.answer(response, lease, ticket, attempts);
                        if sticks && sent != Some(serves) {
                            sticky::write(response.headers_mut(), serves);
                        }
                        return Ok(response);
                    }
                    Ok(Err(error)) => match payload.read_failure() {
                        Some(source) => return Err(ForwardError::RequestBody { source }),
                        None if error.is_connect() => Attempt {
                            failure: Failure::NeverSent,
                            source: error.into(),
                        },
                        None => Attempt {
                            failure: Failure::Broken,
                            source: error.into(),
                        },
                    },
                    Err(_) => Attempt {
                        failure: Failure::TimedOut,
                        source: "the deadline passed".into(),
                    },
                };
            if let Some(span) = span {
                span.failed(attempt.failure.word());
            }
            note(&mut lease, &attempt);
            any_sent |= attempt.failure != Failure::NeverSent;
            tried.push(lease.id());
            if attempt.failure == Failure::TimedOut {
                ticket.finish(Outcome::Overloaded);
            }
            let again = repeatable.allows(attempt.failure, attempts, any_sent)
                // What was never sent adds load to nobody.
                && (attempt.failure == Failure::NeverSent || self.pool.may_retry());
            // Once the request was sent somewhere, a later refusal must not make it look as if it never was.
            if attempt.failure != Failure::NeverSent || !any_sent {
                last = Some((lease.name().to_string(), attempt));
            }
            drop(lease);
            if !again {
                return Err(self.gave_up(last, Unavailable::NoneHealthy));
            }
        }
    }

    /// Waits for the request's turn, if there is a limit.
    async fn admit(&self, head: &Parts, deadline: Instant) -> Result<Ticket, ForwardError> {
        let admission = self.pool.admission();
        let mut ticket = admission
            .acquire(Priority::Normal, deadline)
            .await
            .map_err(|shed| ForwardError::Shed {
                pool: self.pool.name().to_owned(),
                retry_after: shed.retry_after,
            })?;
        ticket.set_class(|| class_of(head.method.as_str(), head.uri.path()));
        Ok(ticket)
    }

    /// What is told of one attempt.
    fn span<'a>(
        &'a self,
        head: &'a Parts,
        authority: &'a Authority,
        upstream: &'a str,
        resends: u32,
    ) -> traces::Attempt<'a> {
        traces::Attempt {
            method: &head.method,
            role: self.pool.name(),
            upstream: Some(upstream),
            host: authority.host(),
            port: authority.port_u16().unwrap_or(80),
            path: head.uri.path(),
            is_encrypted: self.pool.tls().is_some(),
            resends,
        }
    }

    /// The request for one attempt.
    fn outgoing(
        &self,
        head: &Parts,
        authority: &Authority,
        body: OutgoingBody,
        deadline: Instant,
        repeated: bool,
    ) -> Result<Request<OutgoingBody>, ForwardError> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(authority.clone());
        uri.path_and_query = Some(
            head.uri
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        );
        let uri = Uri::from_parts(uri).map_err(|error| ForwardError::Target(error.into()))?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        let mut headers = head.headers.clone();
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            headers.insert(header::HOST, host);
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        headers.insert(
            headers::DEADLINE,
            HeaderValue::from(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX)),
        );
        if repeated {
            headers.insert(RETRY_OWNER, self.owner.clone());
        }
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn answer(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        ticket: Ticket,
        attempts: u32,
    ) -> Response<ResponseBody> {
        lease.answered(
            response.status().as_u16(),
            headers::retry_after(response.headers()),
            Instant::now(),
        );
        let served = Served {
            upstream: lease.name().to_string(),
            attempts,
        };
        let (mut head, body) = response.into_parts();
        headers::strip_hop_by_hop(&mut head.headers);
        strip_answer(&mut head.headers);
        head.extensions.clear();
        head.extensions.insert(served);
        Response::from_parts(
            head,
            ResponseBody::new(
                body,
                Held {
                    lease,
                    _ticket: ticket,
                },
                self.settings.stall_limit,
            ),
        )
    }

    fn gave_up(&self, last: Option<(String, Attempt)>, unavailable: Unavailable) -> ForwardError {
        let retry_after = self.pool.retry_after();
        let Some((upstream, Attempt { failure, source })) = last else {
            let pool = self.pool.name().to_owned();
            return match unavailable {
                Unavailable::NoneHealthy => ForwardError::NoneHealthy { pool, retry_after },
                Unavailable::BreakersOpen => ForwardError::BreakersOpen { pool, retry_after },
            };
        };
        match failure {
            Failure::NeverSent => ForwardError::Unreachable {
                upstream,
                retry_after,
                source,
            },
            Failure::Broken => ForwardError::Broken { upstream, source },
            Failure::TimedOut => ForwardError::Timeout { upstream },
            Failure::ClientGone => ForwardError::RequestBody { source },
        }
    }
}

/// Tells the pool of a failed attempt.
fn note(lease: &mut Lease, attempt: &Attempt) {
    let cause = root_cause(attempt.source.as_ref());
    match attempt.failure {
        Failure::NeverSent => lease.failed(FailureReason::Connect, &cause),
        Failure::Broken => lease.failed(FailureReason::Reset, &cause),
        Failure::TimedOut => lease.failed(FailureReason::Timeout, &cause),
        Failure::ClientGone => lease.abandoned(),
    }
}

/// Internal headers of an answer stay inside as well.
fn strip_answer(headers: &mut HeaderMap) {
    headers::strip_internal(headers);
}

/// The innermost cause, which for a connection is the operating system's own words.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
