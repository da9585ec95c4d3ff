//! Writes down every answered request: the counters and histograms of its route, and a line in the access log.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use crate::{
    Instance,
    metrics::{DurationLabels, Metrics, RequestLabels},
    route_latency::{RouteLabels, RouteLatency},
    telemetry::Sampler,
    traces::TraceId,
};

/// What an answer says of the cache; the label of the latency histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheLabel {
    Hit,
    Miss,
    Stale,
    Bypass,
    #[default]
    None,
}

impl CacheLabel {
    const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Stale, Self::Bypass, Self::None];

    /// From the value of `X-Cache`.
    #[must_use]
    pub fn of(value: Option<&[u8]>) -> Self {
        match value {
            Some(b"HIT") => Self::Hit,
            Some(b"MISS") => Self::Miss,
            Some(b"STALE") => Self::Stale,
            Some(b"BYPASS") => Self::Bypass,
            _ => Self::None,
        }
    }

    /// As `X-Cache` says it.
    #[must_use]
    pub fn state(self) -> Option<&'static str> {
        match self {
            Self::Hit => Some("HIT"),
            Self::Miss => Some("MISS"),
            Self::Stale => Some("STALE"),
            Self::Bypass => Some("BYPASS"),
            Self::None => None,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Bypass => "bypass",
            Self::None => "none",
        }
    }
}

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub id: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub cache: CacheLabel,
    /// From the request's head to the answer's head.
    pub elapsed: Duration,
    /// The trace that it is recorded in.
    pub trace: Option<TraceId>,
}

/// The counters of one route, looked up once.
#[derive(Debug)]
pub struct Route {
    label: Box<str>,
    metrics: Metrics,
    /// A route answers with a handful of statuses: a short list is quicker than a map.
    statuses: RwLock<Vec<(u16, Counter)>>,
    /// From its first answer on, where routes are timed.
    latency: OnceLock<RouteLatency>,
}

impl Route {
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Counts one answer.
    pub fn count(&self, status: u16) {
        let known = self
            .statuses
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|(known, _)| *known == status)
            .map(|(_, counter)| {
                counter.inc();
            });
        if known.is_none() {
            let labels = RequestLabels {
                route: self.label.to_string(),
                status,
            };
            let counter = self.metrics.requests.get_or_create_owned(&labels);
            counter.inc();
            let mut statuses = self
                .statuses
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if !statuses.iter().any(|(known, _)| *known == status) {
                statuses.push((status, counter));
            }
        }
    }
}

/// Where an instance's answered requests are written down; one for all its ports and threads.
#[derive(Debug)]
pub struct Recorder {
    metrics: Metrics,
    in_flight: Gauge,
    durations: [Histogram; 5],
    routes: RwLock<HashMap<Box<str>, Arc<Route>>>,
    latencies: OnceLock<Family<RouteLabels, RouteLatency>>,
    served: Sampler,
    failed: Sampler,
}

/// Counts one request as in flight until it is dropped, also when its client leaves.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Recorder {
    #[must_use]
    pub fn new(instance: &Instance) -> Self {
        let metrics = instance.metrics().clone();
        let rate = instance.access_log_rate();
        Self {
            in_flight: metrics.in_flight.clone(),
            durations: CacheLabel::ALL.map(|cache| {
                metrics.durations.get_or_create_owned(&DurationLabels {
                    cache: cache.as_str(),
                })
            }),
            routes: RwLock::default(),
            latencies: OnceLock::new(),
            served: Sampler::new(rate),
            failed: Sampler::new(rate),
            metrics,
        }
    }

    /// From now on the latencies of each route are counted apart, as `recarga_http_route_duration_seconds`.
    pub fn time_routes(&self) {
        self.latencies.get_or_init(|| {
            let latencies = Family::default();
            self.metrics.register(|registry| {
                registry.register(
                    "recarga_http_route_duration_seconds",
                    "Time from the request's head to the answer's head, by route",
                    Family::clone(&latencies),
                );
            });
            latencies
        });
    }

    /// A request has begun.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// The counters of a route. Labels come from the program, never from clients: each is kept for good.
    #[must_use]
    pub fn route(&self, label: &str) -> Arc<Route> {
        if let Some(route) = self
            .routes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(label)
        {
            return Arc::clone(route);
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry(label.into()).or_insert_with(|| {
            Arc::new(Route {
                label: label.into(),
                metrics: self.metrics.clone(),
                statuses: RwLock::default(),
                latency: OnceLock::new(),
            })
        });
        Arc::clone(route)
    }

    /// A request was answered, `now`.
    pub fn finish(&self, route: &Route, exchange: &Exchange<'_>, now: Instant) {
        route.count(exchange.status);
        self.durations[exchange.cache as usize].observe(exchange.elapsed.as_secs_f64());
        if let Some(latencies) = self.latencies.get() {
            let latency = route.latency.get_or_init(|| {
                latencies.get_or_create_owned(&RouteLabels {
                    route: route.label().to_owned(),
                })
            });
            latency.observe(exchange.elapsed);
        }
        self.log(route, exchange, now);
    }

    fn log(&self, route: &Route, exchange: &Exchange<'_>, now: Instant) {
        let failed = exchange.status >= 500;
        let sampler = if failed { &self.failed } else { &self.served };
        let Some(suppressed) = sampler.admit(now) else {
            return;
        };
        let Exchange {
            id,
            method,
            path,
            status,
            elapsed,
            trace,
            ..
        } = *exchange;
        let trace = trace.map(tracing::field::display);
        // To the microsecond: what is beyond it says nothing, and makes long lines.
        let milliseconds = (elapsed.as_secs_f64() * 1e6).round() / 1e3;
        let route = route.label();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "access",
                    request_id = id,
                    trace_id = trace,
                    http.method = method,
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
}
