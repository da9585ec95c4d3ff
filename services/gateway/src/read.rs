//! Cached reads: hit; or rebuild under a lease; or, while the service is away, the value that was.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::Empty;
use kit::{Problem, RequestContext, timing::SERVER_TIMING};
use proxy::ForwardOptions;

use crate::{
    cache::{LookUp, Stale, VALUE_LIMIT, json_response, trace, whole},
    gate::{Gate, X_CACHE, broken_off, problem},
    matching::Route,
    rule::{CacheRule, Place},
    shape,
    table::{Shape, Upstream},
};

/// Reads through the cache.
pub async fn read(
    gate: &Arc<Gate>,
    route: &Route,
    rule: &CacheRule,
    deadline: Instant,
    place: Place,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, Problem> {
    // Half of the time for somebody else's rebuild leaves the other half to ask the service after all.
    let wait = deadline.saturating_duration_since(Instant::now()) / 2;
    let (found, timing) = gate.cache.look_up(&place, wait).await;
    let mut response = match found {
        LookUp::Hit { json, age } => {
            let body = shape::answer(&rule.shape, true, json, gate.instance.id());
            let mut response = json_response(body);
            if let Some(age) = age {
                response.headers_mut().insert(header::AGE, age);
            }
            mark(&mut response, "HIT");
            response
        }
        LookUp::Lease { token, stale } => {
            let job = Rebuild {
                gate: gate.clone(),
                upstream: route.upstream,
                target: target(route, &request),
                rule: rule.clone(),
                place,
                token,
                deadline,
            };
            match job.detached().await {
                Ok(response) => response,
                Err(failure) => stand_in(gate, rule, stale, failure)?,
            }
        }
        LookUp::Busy { stale } => around(gate, route, rule, deadline, stale, peer, request).await?,
        LookUp::Away => around(gate, route, rule, deadline, None, peer, request).await?,
    };
    if let Some(timing) = timing {
        response.headers_mut().append(SERVER_TIMING, timing);
    }
    Ok(response)
}

/// Asks the service without the cache's help; a value that was may stand in when that fails.
pub async fn around(
    gate: &Gate,
    route: &Route,
    rule: &CacheRule,
    deadline: Instant,
    stale: Option<Stale>,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, Problem> {
    let response = match gate.forward(route, deadline, peer, request).await {
        Ok(response) if stale.is_some() && is_failure(response.status()) => {
            let failure = Failure::Answer(Box::new(response.map(Body::new)));
            return stand_in(gate, rule, stale, failure);
        }
        Ok(response) => response,
        Err(refusal) => return stand_in(gate, rule, stale, Failure::None(refusal)),
    };
    if response.status() != StatusCode::OK || rule.shape == Shape::Plain {
        return Ok(response.map(Body::new));
    }
    let (head, body) = whole(response, VALUE_LIMIT, deadline)
        .await
        .map_err(|error| broken_off(error.as_ref()))?
        .into_parts();
    let shaped = shape::value(&rule.shape, &body)
        .map(|value| shape::answer(&rule.shape, false, value, gate.instance.id()));
    Ok(dressed(head, shaped.unwrap_or(body)))
}

/// Why there is no good answer from the service.
enum Failure {
    /// It said that it fails.
    Answer(Box<Response>),
    /// It said nothing.
    None(Problem),
}

fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn stand_in(
    gate: &Gate,
    rule: &CacheRule,
    stale: Option<Stale>,
    failure: Failure,
) -> Result<Response, Problem> {
    let Some(Stale { json, age_seconds }) = stale else {
        return match failure {
            Failure::Answer(response) => Ok(*response),
            Failure::None(refusal) => Err(refusal),
        };
    };
    let mut response = json_response(shape::answer(&rule.shape, true, json, gate.instance.id()));
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(age_seconds));
    headers.insert(
        header::WARNING,
        HeaderValue::from_static("110 - \"Response is Stale\""),
    );
    mark(&mut response, "STALE");
    Ok(response)
}

/// One rebuild of one value.
struct Rebuild {
    gate: Arc<Gate>,
    upstream: Upstream,
    target: http::Uri,
    rule: CacheRule,
    place: Place,
    token: HeaderValue,
    deadline: Instant,
}

impl Rebuild {
    /// In a task of its own: others wait for the value also when the client that happened to come first has left.
    async fn detached(self) -> Result<Response, Failure> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let instance = self.gate.instance.clone();
        let job = async move {
            let _ = sender.send(self.run().await);
        };
        match RequestContext::current() {
            Some(context) => instance.spawn(context.scope(job)),
            None => instance.spawn(job),
        }
        receiver
            .await
            .unwrap_or_else(|_| Err(Failure::None(Problem::internal())))
    }

    async fn run(self) -> Result<Response, Failure> {
        let mut request = http::Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.target.clone();
        // Nothing of the client's goes along: the answer is for everybody.
        request
            .headers_mut()
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        trace(request.headers_mut());
        let options = ForwardOptions {
            deadline: self.deadline,
            ..ForwardOptions::within(std::time::Duration::ZERO)
        };
        let exchange = async {
            let sent = self.gate.send(self.upstream, request, options).await;
            whole(sent.map_err(problem)?, VALUE_LIMIT, self.deadline)
                .await
                .map_err(|error| broken_off(error.as_ref()))
        };
        let (head, body) = match exchange.await {
            Ok(response) => response.into_parts(),
            Err(refusal) => {
                self.give_back().await;
                return Err(Failure::None(refusal));
            }
        };
        let value = (head.status == StatusCode::OK && is_shareable(&head.headers))
            .then(|| shape::value(&self.rule.shape, &body))
            .flatten();
        let Some(value) = value else {
            self.give_back().await;
            let failed = is_failure(head.status);
            let mut response = dressed(head, body);
            if failed {
                return Err(Failure::Answer(Box::new(response)));
            }
            mark(&mut response, "MISS");
            return Ok(response);
        };
        self.gate
            .cache
            .fill(
                &self.place,
                &self.token,
                self.rule.ttl_seconds,
                value.clone(),
            )
            .await;
        let body = shape::answer(&self.rule.shape, false, value, self.gate.instance.id());
        let mut response = dressed(head, body);
        mark(&mut response, "MISS");
        Ok(response)
    }

    async fn give_back(&self) {
        self.gate.cache.release(&self.place, &self.token).await;
    }
}

/// Whether an answer may be given to others.
fn is_shareable(headers: &HeaderMap) -> bool {
    let private = headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        value.to_str().map_or(true, |text| {
            let text = text.to_ascii_lowercase();
            text.contains("no-store") || text.contains("private")
        })
    });
    !private && !headers.contains_key(header::SET_COOKIE)
}

fn target(route: &Route, request: &Request) -> http::Uri {
    let Some(path) = &route.upstream_path else {
        return request.uri().clone();
    };
    request
        .uri()
        .query()
        .and_then(|query| format!("{}?{query}", path.path()).parse().ok())
        .unwrap_or_else(|| path.clone().into())
}

fn dressed(mut head: http::response::Parts, body: Bytes) -> Response {
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}

fn mark(response: &mut Response, how: &'static str) {
    response
        .headers_mut()
        .insert(X_CACHE, HeaderValue::from_static(how));
}
