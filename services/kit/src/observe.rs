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
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use crate::{
    Instance, Problem, RequestContext,
    context::REQUEST_ID,
    metrics::{DurationLabels, RequestLabels},
    server::Abort,
    telemetry::Sampler,
    timing,
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
    faultless: Arc<[&'static str]>,
    served: Arc<Sampler>,
    failed: Arc<Sampler>,
}

impl Observer {
    pub fn new(
        instance: Instance,
        limit: Duration,
        body_limit: usize,
        faultless: Vec<&'static str>,
    ) -> Self {
        let rate = instance.access_log_rate();
        Self {
            instance,
            limit,
            body_limit,
            faultless: faultless.into(),
            served: Arc::new(Sampler::new(rate)),
            failed: Arc::new(Sampler::new(rate)),
        }
    }
}

pub(crate) async fn observe(
    State(observer): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let context = RequestContext::from_headers(request.headers(), observer.limit);
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    let metrics = observer.instance.metrics();
    metrics.in_flight.inc();
    // Decrements also when the client leaves and this future is dropped.
    let _in_flight = OnDrop(|| {
        metrics.in_flight.dec();
    });
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
    let route = response
        .extensions()
        .get::<RouteLabel>()
        .map(|label| label.0.to_string())
        .or_else(|| matched.map(|path| path.as_str().to_owned()))
        .unwrap_or_else(|| "other".to_owned());
    let quiet = response.extensions().get::<Quiet>().is_some();
    // Health checks come at a steady rate whatever users do: counted, they would pass for traffic.
    let check = path == "/health";
    if !check {
        metrics
            .requests
            .get_or_create(&RequestLabels {
                route: route.clone(),
                status: status.as_u16(),
            })
            .inc();
    }
    if !check && !quiet {
        metrics
            .durations
            .get_or_create(&DurationLabels {
                cache: cache_label(response.headers()),
            })
            .observe(elapsed.as_secs_f64());
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
    if check || quiet {
        tracing::debug!(target: "access", request_id = context.id.as_ref(), "{method} {path} {}", status.as_u16());
    } else {
        log(&observer, &context, &method, &path, &route, status, elapsed);
    }
    response
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
    }
    if request.body().size_hint().lower() > observer.body_limit as u64 {
        crate::extract::drain(request.into_body()).await;
        return Problem::too_large(observer.body_limit).into_response();
    }
    tokio::time::timeout(context.remaining(), next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::timed_out("The deadline passed before there was an answer").into_response()
        })
}

fn cache_label(headers: &HeaderMap) -> &'static str {
    match headers.get("x-cache").map(HeaderValue::as_bytes) {
        Some(b"HIT") => "hit",
        Some(b"MISS") => "miss",
        Some(b"STALE") => "stale",
        Some(b"BYPASS") => "bypass",
        _ => "none",
    }
}

fn log(
    observer: &Observer,
    context: &RequestContext,
    method: &http::Method,
    path: &str,
    route: &str,
    status: StatusCode,
    elapsed: Duration,
) {
    let failed = status.is_server_error();
    let sampler = if failed {
        &observer.failed
    } else {
        &observer.served
    };
    let Some(suppressed) = sampler.admit(Instant::now()) else {
        return;
    };
    let (id, status, milliseconds) = (
        context.id.as_ref(),
        status.as_u16(),
        elapsed.as_secs_f64() * 1000.0,
    );
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "access",
                request_id = id,
                http.method = %method,
                http.path = path,
                http.route = route,
                http.status = status,
                duration_ms = milliseconds,
                suppressed,
                "{method} {path} {status} {milliseconds:.1} ms"
            )
        };
    }
    if failed {
        line!(warn);
    } else {
        line!(info);
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
