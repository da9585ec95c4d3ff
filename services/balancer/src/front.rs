//! Everything that is not the balancer's own goes to a gateway from here.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::Limited;
use kit::{
    Problem, RequestContext,
    observe::RouteLabel,
    record::{CacheLabel, Exchange},
    timing::SERVER_TIMING,
};
use proxy::{
    ForwardError, ForwardOptions, Forwarded, Forwarder, Served,
    edge::Arrival,
    headers::strip_internal,
    samples::{Details, Samples},
};

use crate::routes::Routes;

const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What forwarding needs.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub forwarder: Forwarder,
    pub routes: Routes,
    pub samples: Samples,
    pub timeout: Duration,
    pub body_limit: usize,
}

pub(crate) async fn forward(
    State(front): State<Front>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let route = front.routes.of(request.uri().path());
    let label = RouteLabel(route.label().to_owned().into());
    let (method, target) = (request.method().clone(), request.uri().clone());
    let mut response = match front.answer(client, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    front.sample(&method, target.path(), route.label(), &response, started);
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().entry(header::ALLOW).or_insert(ALLOW);
    }
    response.extensions_mut().insert(label);
    response
}

impl Front {
    async fn answer(&self, client: SocketAddr, mut request: Request) -> Result<Response, Problem> {
        // `OPTIONS *` asks about this server, not about anything behind it.
        if request.method() == Method::OPTIONS && request.uri().path() == "*" {
            return Ok((StatusCode::NO_CONTENT, [(header::ALLOW, ALLOW)]).into_response());
        }
        strip_internal(request.headers_mut());
        let is_trusted = request
            .extensions()
            .get::<Arrival>()
            .is_some_and(|arrival| arrival.is_trusted);
        let patience =
            RequestContext::current().map_or(self.timeout, |context| context.remaining());
        let options = ForwardOptions {
            deadline: Instant::now() + patience.min(self.timeout),
            client: Some(client),
            forwarded: if is_trusted {
                Forwarded::Append
            } else {
                Forwarded::Replace
            },
        };
        let limit = self.body_limit;
        let request = request.map(|body| Limited::new(body, limit));
        match self.forwarder.forward(request, options).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) if error.is_body_too_large() => Err(self.too_large()),
            Err(error) => {
                report(&error);
                Err(error.into())
            }
        }
    }

    fn sample(
        &self,
        method: &Method,
        path: &str,
        route: &str,
        response: &Response,
        started: Instant,
    ) {
        let now = Instant::now();
        let elapsed = now - started;
        let status = response.status().as_u16();
        let Some(why) = self.samples.admit(status, elapsed, now) else {
            return;
        };
        let headers = response.headers();
        let served = response.extensions().get::<Served>();
        let id = RequestContext::current_id();
        let exchange = Exchange {
            id: id.as_deref().unwrap_or_default(),
            method: method.as_str(),
            path,
            status,
            cache: CacheLabel::of(headers.get("x-cache").map(HeaderValue::as_bytes)),
            elapsed,
            trace: RequestContext::current_trace(),
        };
        let details = Details {
            route,
            upstream: served.map(|served| served.upstream.as_str()),
            attempts: served.map_or(0, |served| served.attempts),
            sent_after: Duration::ZERO,
        };
        let timing = headers.get_all(SERVER_TIMING).iter();
        let timing = timing.map(HeaderValue::as_bytes);
        self.samples
            .keep(why, &exchange, &details, timing, Utc::now());
    }

    fn too_large(&self) -> Problem {
        Problem::too_large(self.body_limit)
    }
}

/// Failures of ours are logged here, once; the client's own are not ours to log.
fn report(error: &ForwardError) {
    if !error.status().is_server_error() {
        return;
    }
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    let id = RequestContext::current_id();
    tracing::debug!(request_id = id.as_deref(), error = %error, cause, "a request could not be forwarded");
}
