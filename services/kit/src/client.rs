//! Calls between services: pooled connections, the caller's deadline, request ids, and a next instance when one refuses.

mod transport;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::Method;
use reqwest::{RequestBuilder, Response};
use tokio::sync::watch;

pub use self::transport::{Failure, Transport};
use crate::{
    Error, Problem, RequestContext,
    context::{DEADLINE, REQUEST_ID},
    discovery::Endpoint,
    tls::Tiers,
    traces::{Attempt, Call},
};

/// How much earlier than its caller a call gives up, so that the answer still arrives.
const MARGIN: Duration = Duration::from_millis(50);

/// Another service, by role.
pub struct Peer {
    role: &'static str,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    next: AtomicUsize,
    transport: Transport,
    is_encrypted: bool,
    limit: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A call that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no {0} instance is known")]
    NoInstance(&'static str),
    #[error("{role} cannot be reached: {source}")]
    Unreachable {
        role: &'static str,
        source: BoxError,
    },
    #[error("{role} did not answer in time")]
    TimedOut { role: &'static str },
    #[error("the connection to {role} broke: {source}")]
    Broken {
        role: &'static str,
        source: BoxError,
    },
    #[error("{role} answered {status}: {body}")]
    Refused {
        role: &'static str,
        status: u16,
        body: String,
    },
}

impl CallError {
    /// In one word, for spans.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoInstance(_) => "no_instance",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timeout",
            Self::Broken { .. } => "broken",
            Self::Refused { .. } => "refused",
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        tracing::debug!(error = %error, "a call failed");
        match error {
            CallError::TimedOut { role } => {
                Self::timed_out(format!("The {role} service did not answer in time"))
            }
            CallError::NoInstance(role)
            | CallError::Unreachable { role, .. }
            | CallError::Broken { role, .. } => Self::unavailable(format!(
                "The {role} service is unavailable; try again shortly"
            )),
            CallError::Refused { role, status, .. } if status == 503 || status == 429 => {
                Self::unavailable(format!(
                    "The {role} service is unavailable; try again shortly"
                ))
            }
            CallError::Refused { role, status, body } => {
                tracing::error!(role, status, body, "an unexpected answer");
                Self::internal()
            }
        }
    }
}

impl Peer {
    /// Calls the instances that are known at the time; `limit` bounds calls whose caller has no shorter deadline.
    pub fn new(
        role: &'static str,
        endpoints: watch::Receiver<Vec<Endpoint>>,
        limit: Duration,
        tiers: &Tiers,
    ) -> Result<Self, Error> {
        Ok(Self {
            role,
            endpoints,
            next: AtomicUsize::new(0),
            transport: Transport::to(role, tiers)?,
            is_encrypted: tiers.are_mutual(),
            limit,
        })
    }

    #[must_use]
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// Calls one instance; when it refuses the connection, the next one. `shape` adds headers, query and body and may
    /// run once per instance. Any status is an answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        self.call_within(self.limit, method, path, shape).await
    }

    /// [`Self::call`] with a limit of its own, for long polls.
    pub async fn call_within(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        let mut outcome = Err(CallError::NoInstance(self.role));
        for (resends, instance) in (0..).zip(self.rotation()) {
            outcome = self
                .attempt(resends, instance, limit, method.clone(), path, &shape)
                .await;
            if !matches!(outcome, Err(CallError::Unreachable { .. })) {
                break;
            }
        }
        outcome
    }

    /// The instances that are known now, beginning with the one whose turn it is.
    #[must_use]
    pub fn rotation(&self) -> Vec<SocketAddr> {
        let mut instances: Vec<_> = self
            .endpoints
            .borrow()
            .iter()
            .map(|endpoint| endpoint.address)
            .collect();
        if !instances.is_empty() {
            let start = self.next.fetch_add(1, Ordering::Relaxed) % instances.len();
            instances.rotate_left(start);
        }
        instances
    }

    /// [`Self::call_within`] one instance, for callers that must hear from each.
    pub async fn call_at(
        &self,
        address: SocketAddr,
        limit: Duration,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        self.attempt(0, address, limit, method, path, shape).await
    }

    async fn attempt(
        &self,
        resends: u32,
        address: SocketAddr,
        limit: Duration,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        let span = RequestContext::current_hop().map(|hop| {
            let attempt = Attempt {
                method: &method,
                role: self.role,
                upstream: None,
                host: &address.ip().to_string(),
                port: address.port(),
                path: path.split('?').next().unwrap_or_default(),
                is_encrypted: self.is_encrypted,
                resends,
            };
            attempt.begin(&hop, Instant::now())
        });
        let answered = self
            .exchange(span.as_ref(), address, limit, method, path, shape)
            .await;
        if let Some(span) = span {
            match &answered {
                Ok(response) => span.answered(response.status().as_u16(), Instant::now()),
                Err(error) => span.failed(error.kind()),
            }
        }
        answered
    }

    async fn exchange(
        &self,
        span: Option<&Call>,
        address: SocketAddr,
        limit: Duration,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, CallError> {
        let mut request = self
            .transport
            .request(method, format!("http://{address}{path}"));
        let mut budget = limit;
        if let Some(context) = RequestContext::current() {
            budget = budget.min(context.remaining().saturating_sub(MARGIN));
            request = request.header(REQUEST_ID, context.id.as_ref());
            for (name, value) in context.trace(span) {
                request = request.header(name, value);
            }
        }
        if budget.is_zero() {
            return Err(CallError::TimedOut { role: self.role });
        }
        let request = shape(request.header(DEADLINE, budget.as_millis().to_string()));
        let role = self.role;
        self.transport
            .send(request, budget)
            .await
            .map_err(|failure| match failure {
                Failure::Connect(source) => CallError::Unreachable { role, source },
                Failure::TimedOut => CallError::TimedOut { role },
                Failure::Broken(source) => CallError::Broken { role, source },
            })
    }

    /// Turns a status other than success into an error.
    pub async fn success(&self, response: Response) -> Result<Response, CallError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response
            .text()
            .await
            .unwrap_or_default()
            .chars()
            .take(300)
            .collect();
        Err(CallError::Refused {
            role: self.role,
            status: status.as_u16(),
            body,
        })
    }

    /// Reads a JSON answer.
    pub async fn json<T: serde::de::DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, CallError> {
        response.json().await.map_err(|source| CallError::Broken {
            role: self.role,
            source: source.into(),
        })
    }
}
