//! Cached reads: from this gateway's memory; from the shared cache; rebuilt by one for all; or, while the service is away,
//! the value that was.

mod absence;
mod args;
mod early;
mod job;
mod outcome;

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::{Problem, RequestContext, safeguards::Safeguard, timing::SERVER_TIMING};

pub use args::ReadArgs;

use crate::{
    cache::{Stale, StaleUse, VALUE_LIMIT, json_response, whole},
    first_level::{Copy, FirstLevel},
    flight::{Arrival, Boarding, Flights, Seat},
    gate::{Gate, X_CACHE, broken_off},
    matching::{Parameters, Route},
    metrics::Bypass,
    read::{
        job::Job,
        outcome::{Landing, Outcome},
    },
    rule::{CacheRule, Place},
    shape,
    table::{Shape, Upstream},
};

/// Ages that are answered often, ready to be sent.
static AGES: LazyLock<Vec<HeaderValue>> =
    LazyLock::new(|| (0..=600_u64).map(HeaderValue::from).collect());
/// How often a reader whose flight was lost takes another one.
const FLIGHTS: usize = 3;
/// How long whoever finds too many waiting is asked to stay away.
const CROWDED: Duration = Duration::from_secs(1);

/// Which readers may share a flight: those of one value, in one form, from one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    place: Place,
    upstream: Upstream,
    member: Option<String>,
}

/// What cached reads of this gateway share.
pub struct Reads {
    pub first_level: Option<Arc<FirstLevel>>,
    pub flights: Arc<Flights<Wanted, Stale, Landing>>,
    /// Values that somebody here rebuilds before their time.
    pub early: job::Early,
    pub negative_seconds: u32,
}

impl Reads {
    #[must_use]
    pub fn new(args: &ReadArgs, first_level: Option<Arc<FirstLevel>>) -> Self {
        Self {
            first_level,
            flights: Arc::new(Flights::new(args.read_waiters as usize)),
            early: job::Early::default(),
            negative_seconds: args.negative_seconds,
        }
    }
}

/// Answers a GET of a cacheable route.
pub async fn answer(
    gate: &Arc<Gate>,
    route: &Route,
    rule: &CacheRule,
    parameters: &Parameters,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, Problem> {
    let deadline = Gate::deadline(route);
    let answered = match rule.place(parameters, request.uri().path(), request.uri().query()) {
        Some(place) if gate.cache_enabled.load(Ordering::Relaxed) => {
            read(gate, route, rule, deadline, place, peer, request).await
        }
        place => {
            let reason = if place.is_some() {
                Bypass::off
            } else {
                Bypass::uncacheable
            };
            gate.metrics.bypasses.count(reason);
            around(gate, route, rule, deadline, peer, request).await
        }
    };
    let how = answered
        .as_ref()
        .ok()
        .and_then(|response| response.headers().get(X_CACHE));
    gate.metrics.count(how.map(HeaderValue::as_bytes));
    answered
}

/// Reads through the cache.
async fn read(
    gate: &Arc<Gate>,
    route: &Route,
    rule: &CacheRule,
    deadline: Instant,
    place: Place,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, Problem> {
    let job = |place, target| Job {
        gate: gate.clone(),
        upstream: route.upstream,
        target,
        rule: rule.clone(),
        place,
        deadline,
        limit: route.timeout,
    };
    if let Some(level) = &gate.reads.first_level {
        let now = Instant::now();
        if let Some(copy) = level.get(&place, now) {
            let response = hit(gate, rule, &copy, now);
            if let Some(context) = RequestContext::current() {
                context.record("l1", now, Instant::now());
            }
            if is_early(&copy, now) {
                job(place, target(route, &request)).refresh_early();
            }
            return Ok(response);
        }
    }
    let target = target(route, &request);
    let wanted = Wanted {
        place,
        upstream: route.upstream,
        member: match &rule.shape {
            Shape::Plain => None,
            Shape::Wrapped(member) => Some(member.clone()),
        },
    };
    for _ in 0..FLIGHTS {
        let proof = proof(gate, &wanted.place);
        let flights = &gate.reads.flights;
        let boarding = if Safeguard::Leases.is_on() {
            flights.board(&wanted, proof)
        } else {
            flights.alone(&wanted)
        };
        let (led, seat) = match boarding {
            Boarding::Passenger(seat) => (false, seat),
            Boarding::Pilot(pilot, seat) => {
                job(wanted.place.clone(), target.clone()).take_off(pilot);
                (true, seat)
            }
            Boarding::Full(stale) => {
                return match stale.filter(|stale| stale.is_usable()) {
                    Some(stale) => Ok(stale_response(gate, rule, &stale)),
                    None => Err(Problem::unavailable(
                        "Too many requests wait for this value; try again shortly",
                    )
                    .retry_after(CROWDED)),
                };
            }
        };
        match arrive(gate, rule, &seat, led, deadline).await? {
            Arrived::Answer(response) => return Ok(response),
            Arrived::Alone => return around(gate, route, rule, deadline, peer, request).await,
            Arrived::Again => {}
        }
    }
    Err(Problem::internal())
}

/// Proves, if it can, that nothing was deleted since a look-up that was sent under the same stamp.
fn proof(gate: &Gate, place: &Place) -> Option<crate::first_level::Stamp> {
    let level = gate.reads.first_level.as_ref()?;
    level.proof(&place.key, Instant::now())
}

/// How a flight ends for one of its readers.
enum Arrived {
    Answer(Response),
    /// He must ask for himself: the answer is not for everybody.
    Alone,
    /// He takes another flight.
    Again,
}

async fn arrive(
    gate: &Arc<Gate>,
    rule: &CacheRule,
    seat: &Seat<Stale, Landing>,
    led: bool,
    deadline: Instant,
) -> Result<Arrived, Problem> {
    let landing = match seat.arrive(deadline).await {
        Arrival::Landed(landing) => landing,
        Arrival::Lost if led => return Err(Problem::internal()),
        Arrival::Lost => return Ok(Arrived::Again),
        Arrival::Late(stale) => {
            return match stale.filter(|stale| stale.is_usable()) {
                Some(stale) => Ok(Arrived::Answer(stale_response(gate, rule, &stale))),
                None => Err(Problem::timed_out(
                    "The service behind did not answer in time",
                )),
            };
        }
    };
    let mut response = match &landing.outcome {
        Outcome::Hit(copy) => hit(gate, rule, copy, Instant::now()),
        Outcome::Stale(stale) => stale_response(gate, rule, stale),
        // For the others it is as if it had been there.
        Outcome::Rebuilt { copy, .. } if !led => hit(gate, rule, copy, Instant::now()),
        Outcome::Rebuilt { head, copy } => {
            fresh(head, shape_of(gate, rule, copy.json.clone()), "MISS")
        }
        Outcome::Passed { head, json } => {
            let mine = HeaderMap::new();
            let head = if led { head } else { &mine };
            fresh(head, shape_of(gate, rule, json.clone()), "BYPASS")
        }
        Outcome::Absent { kept, how, .. } if !led => {
            let how = if *how == "MISS" { "HIT" } else { *how };
            let mut response = told(kept);
            mark(&mut response, how);
            response
        }
        Outcome::Absent {
            head, body, how, ..
        } => {
            let mut response = with_head(head, body.clone());
            *response.status_mut() = StatusCode::NOT_FOUND;
            mark(&mut response, how);
            response
        }
        Outcome::Other {
            status,
            head,
            body,
            how,
        } => match landing.stand_in() {
            Some(stale) if is_failure(*status) => stale_response(gate, rule, stale),
            _ => {
                let mine = (!led).then(|| readdressed(head, body)).flatten();
                let mut response = with_head(head, mine.unwrap_or_else(|| body.clone()));
                *response.status_mut() = *status;
                mark(&mut response, how);
                response
            }
        },
        Outcome::Private(answer) => {
            let mine = led.then(|| answer.lock().ok()?.take()).flatten();
            match mine {
                Some(response) => response,
                None => return Ok(Arrived::Alone),
            }
        }
        Outcome::Refused(problem) => match landing.stand_in() {
            Some(stale) => stale_response(gate, rule, stale),
            None => return Err(problem.clone()),
        },
    };
    if let Some(timing) = &landing.timing {
        response.headers_mut().append(SERVER_TIMING, timing.clone());
    }
    if led
        && let Outcome::Hit(copy) = &landing.outcome
        && is_early(copy, Instant::now())
    {
        landing.refresh_early();
    }
    Ok(Arrived::Answer(response))
}

/// Whether this reader has the luck to rebuild the value before its time.
fn is_early(copy: &Copy, now: Instant) -> bool {
    let left = copy.fresh_until.saturating_duration_since(now);
    !copy.absent && early::is_due(left, copy.rebuild, rand::random)
}

/// Asks the service for this request alone, without the cache.
async fn around(
    gate: &Gate,
    route: &Route,
    rule: &CacheRule,
    deadline: Instant,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, Problem> {
    let response = gate.forward(route, deadline, peer, request).await?;
    if response.status() != StatusCode::OK || rule.shape == Shape::Plain {
        return Ok(response.map(Body::new));
    }
    let (mut head, body) = whole(response, VALUE_LIMIT, deadline)
        .await
        .map_err(|error| broken_off(error.as_ref()))?
        .into_parts();
    let shaped = shape::value(&rule.shape, &body).map(|value| shape_of(gate, rule, value));
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(
        head,
        Body::from(shaped.unwrap_or(body)),
    ))
}

fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// The body for a value that was just made.
fn shape_of(gate: &Gate, rule: &CacheRule, json: Bytes) -> Bytes {
    shape::answer(&rule.shape, false, json, gate.instance.id())
}

fn hit(gate: &Gate, rule: &CacheRule, copy: &Copy, now: Instant) -> Response {
    let mut response = if copy.absent {
        told(&copy.json)
    } else {
        json_response(copy.body(&rule.shape, gate.instance.id()))
    };
    let age = copy.age_seconds(now);
    response.headers_mut().insert(header::AGE, age_value(age));
    mark(&mut response, "HIT");
    response
}

fn age_value(seconds: u64) -> HeaderValue {
    let ready = usize::try_from(seconds)
        .ok()
        .and_then(|index| AGES.get(index));
    ready.map_or_else(|| HeaderValue::from(seconds), Clone::clone)
}

fn told(kept: &Bytes) -> Response {
    let id = RequestContext::current_id();
    absence::told(kept, id.as_deref().unwrap_or(""))
}

/// A problem under this request's id.
fn readdressed(head: &HeaderMap, body: &Bytes) -> Option<Bytes> {
    absence::readdressed(head, body, RequestContext::current_id().as_deref()?)
}

fn stale_response(gate: &Gate, rule: &CacheRule, stale: &Stale) -> Response {
    let body = shape::answer(&rule.shape, true, stale.json.clone(), gate.instance.id());
    let mut response = json_response(body);
    let headers = response.headers_mut();
    headers.insert(header::AGE, HeaderValue::from(stale.age_seconds()));
    headers.insert(
        header::WARNING,
        HeaderValue::from_static("110 - \"Response is Stale\""),
    );
    mark(&mut response, "STALE");
    response
}

/// A good answer of the service with a body of our making.
fn fresh(head: &HeaderMap, body: Bytes, how: &'static str) -> Response {
    let mut response = with_head(head, body);
    response
        .headers_mut()
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    mark(&mut response, how);
    response
}

fn with_head(head: &HeaderMap, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = head.clone();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
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

fn mark(response: &mut Response, how: &'static str) {
    response
        .headers_mut()
        .insert(X_CACHE, HeaderValue::from_static(how));
}

/// Whether a value past its freshness may be served at once.
fn is_for_now(stale: &Stale) -> bool {
    stale.usage == StaleUse::Revalidate && stale.is_usable()
}
