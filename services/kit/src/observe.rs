//! What happens around every request: identity, deadline, faults, timing, metrics and the access log.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::HeaderValue;
use http_body::Body as _;

use crate::{
    Instance, Problem, RequestContext,
    context::REQUEST_ID,
    record::{CacheLabel, Exchange, Recorder},
    server::Abort,
    timing,
    traces::{Serving, Tracer},
};

/// Put into a response's extensions by handlers that route by themselves: the route's name for metrics and logs.
#[derive(Clone, Debug)]
pub struct RouteLabel(pub std::borrow::Cow<'static, str>);

/// Put into a response's extensions when a poll found nothing: its time was waiting and not work, so that it stays out of
/// the latency histogram, and its log line is for debugging.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

#[derive(Clone)]
pub(crate) struct Observer {
    pub instance: Instance,
    pub limit: Duration,
    pub body_limit: usize,
    pub recorder: Arc<Recorder>,
    /// Whoever asks here has come by TLS.
    pub is_encrypted: bool,
    /// Paths that injected faults never touch.
    pub faultless: Arc<[&'static str]>,
}

pub(crate) async fn observe(
    State(observer): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let mut context = RequestContext::from_headers(request.headers(), observer.limit);
    let serving = observer
        .instance
        .tracer()
        .and_then(|tracer| enter(tracer, observer.is_encrypted, &mut context, &mut request));
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    let _in_flight = observer.recorder.begin();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>().cloned();

    let mut response = context
        .clone()
        .scope(async {
            if let Ok(response) =
                AssertUnwindSafe(answer(&observer, &context, &path, request, next))
                    .catch_unwind()
                    .await
            {
                response
            } else {
                tracing::error!(http.path = %path, "a handler panicked");
                Problem::internal().into_response()
            }
        })
        .await;

    let elapsed = started.elapsed();
    let status = response.status();
    let route = match (response.extensions().get::<RouteLabel>(), &matched) {
        (Some(label), _) => observer.recorder.route(&label.0),
        (None, Some(path)) => observer.recorder.route(path.as_str()),
        (None, None) => observer.recorder.route("other"),
    };
    let quiet = response.extensions().get::<Quiet>().is_some();
    // Health checks come at a steady rate whatever users do: counted, they would pass for traffic.
    let check = path == "/health";
    let cache = CacheLabel::of(response.headers().get("x-cache").map(HeaderValue::as_bytes));
    let exchange = Exchange {
        id: context.id.as_ref(),
        method: method.as_str(),
        path: &path,
        status: status.as_u16(),
        cache,
        elapsed,
        trace: context.hop.as_ref().map(|hop| hop.place().trace),
    };
    if let Some(serving) = serving {
        if quiet {
            serving.forget();
        } else {
            let route = Some(route.label());
            serving.answered(&method, route, exchange.status, cache, started + elapsed);
        }
    }
    if check {
        tracing::debug!(target: "access", request_id = context.id.as_ref(), "{method} {path} {}", status.as_u16());
    } else if quiet {
        route.count(status.as_u16());
        tracing::debug!(target: "access", request_id = context.id.as_ref(), "{method} {path} {}", status.as_u16());
    } else {
        observer.recorder.finish(&route, &exchange, Instant::now());
    }
    timing::prepend(
        response.headers_mut(),
        observer.instance.role(),
        elapsed,
        &context.timings(),
    );
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Begins the request's span, unless nobody wants to see it.
fn enter(
    tracer: &Tracer,
    is_encrypted: bool,
    context: &mut RequestContext,
    request: &mut Request,
) -> Option<Serving> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_encrypted = is_encrypted || request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
    tracer.enter(context, request.headers_mut(), &method, &path, is_encrypted)
}

/// Gives a request of the admin port its id, for the problems it may be answered with and for whoever reports them.
pub async fn identify(request: Request, next: Next) -> Response {
    let context = RequestContext::from_headers(request.headers(), Duration::from_hours(1));
    let mut response = context.clone().scope(next.run(request)).await;
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn answer(
    observer: &Observer,
    context: &RequestContext,
    path: &str,
    request: Request,
    next: Next,
) -> Response {
    let (mut loses, mut hold) = (false, Duration::ZERO);
    if path != "/health" && !observer.faultless.contains(&path) {
        let effect = observer
            .instance
            .faults()
            .effect(path, Instant::now(), rand::random::<f64>);
        if effect.hang {
            tokio::time::sleep(Duration::from_hours(1)).await;
        }
        if !effect.delay.is_zero() {
            tokio::time::sleep(effect.delay).await;
        }
        if effect.refuse {
            return Abort::response();
        }
        if let Some(status) = effect.error {
            return Problem::new(status, "A fault was injected here on purpose").into_response();
        }
        (loses, hold) = (effect.lose, effect.hold);
    }
    if request.body().size_hint().lower() > observer.body_limit as u64 {
        crate::extract::drain(request.into_body()).await;
        return Problem::too_large(observer.body_limit).into_response();
    }
    let answer = tokio::time::timeout(context.remaining(), next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::timed_out("The deadline passed before there was an answer").into_response()
        });
    if !hold.is_zero() {
        tokio::time::sleep(hold).await;
    }
    if loses { Abort::response() } else { answer }
}
