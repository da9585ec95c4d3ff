//! Speaks the lease protocol with the cache service. Whatever goes wrong there, reads go on without it.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use kit::{RequestContext, caching::first_level::PROOF, timing::SERVER_TIMING};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proxy::{ForwardOptions, Forwarder, ResponseBody};

use crate::rule::Place;

/// What may stand in a path segment or query value as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The longest the cache itself may take, besides a wait that was asked for.
const CALL: Duration = Duration::from_millis(500);
/// Nothing larger is cached.
pub const VALUE_LIMIT: usize = 1024 * 1024;

/// What a value past its freshness is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleUse {
    /// An answer at once, while somebody rebuilds it.
    Revalidate,
    /// An answer when the service fails.
    Error,
}

/// A value past its freshness.
#[derive(Debug)]
pub struct Stale {
    pub json: Bytes,
    pub usage: StaleUse,
    made: Instant,
    usable_until: Instant,
}

impl Stale {
    /// Whether it may still be used at all: nothing is served past that.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        Instant::now() < self.usable_until
    }

    /// Whole seconds since it was made.
    #[must_use]
    pub fn age_seconds(&self) -> u64 {
        self.made.elapsed().as_secs()
    }
}

/// A value that is fresh.
#[derive(Debug)]
pub struct Found {
    pub json: Bytes,
    /// Whether it is the absence of a value.
    pub absent: bool,
    /// How old it was when it was read.
    pub age: Duration,
    /// How long it was fresh from then on.
    pub fresh: Duration,
    /// How long its making took.
    pub rebuild: Duration,
}

/// What the cache said.
#[derive(Debug)]
pub enum LookUp {
    Hit(Found),
    /// We rebuild the value.
    Lease {
        token: HeaderValue,
        stale: Option<Stale>,
    },
    /// Somebody else does, and we cannot wait longer, or need not.
    Busy {
        stale: Option<Stale>,
    },
    /// The cache cannot be asked.
    Away,
}

/// What is said of a value that is filled in.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    pub ttl_seconds: u32,
    pub swr_seconds: Option<u32>,
    pub sie_seconds: Option<u32>,
    /// How long its making took.
    pub rebuild: Duration,
    /// Whether it is the absence of a value.
    pub absent: bool,
}

/// The cache service, over the pool of its instances.
#[derive(Clone)]
pub struct Cache {
    forwarder: Forwarder,
}

impl Cache {
    #[must_use]
    pub fn new(forwarder: Forwarder) -> Self {
        Self { forwarder }
    }

    #[must_use]
    pub fn pool(&self) -> &proxy::Pool {
        self.forwarder.pool()
    }

    /// Looks a value up; waits up to `wait` for somebody else's rebuild. Also what `Server-Timing` the cache gave.
    pub async fn look_up(&self, place: &Place, wait: Duration) -> (LookUp, Option<HeaderValue>) {
        let path = format!("{}&wait_ms={}", path(place), wait.as_millis());
        let request = request(Method::GET, path, None, Bytes::new());
        let asked = Instant::now();
        let Some(response) = self.call(request, wait + CALL).await else {
            return (LookUp::Away, None);
        };
        let (head, body) = response.into_parts();
        let timing = head.headers.get(SERVER_TIMING).cloned();
        let found = match head.status {
            StatusCode::OK => match hit(&head.headers, body) {
                // What was on its way for so long may have been stopped in between, while writers went on.
                Some(_)
                    if asked.elapsed()
                        > PROOF
                            + milliseconds(&head.headers, "x-waited-ms").unwrap_or_default() =>
                {
                    tracing::debug!(key = place.key, "a hit came too late to be trusted");
                    LookUp::Away
                }
                Some(found) => LookUp::Hit(found),
                None => LookUp::Away,
            },
            StatusCode::ACCEPTED => match head.headers.get("x-lease") {
                Some(token) => LookUp::Lease {
                    token: token.clone(),
                    stale: stale(&head.headers, body, asked),
                },
                None => LookUp::Away,
            },
            StatusCode::CONFLICT => LookUp::Busy {
                stale: stale(&head.headers, body, asked),
            },
            status => {
                tracing::debug!(status = status.as_u16(), "the cache does not help");
                LookUp::Away
            }
        };
        (found, timing)
    }

    /// Takes the lease to rebuild a value that is still fresh, if nobody else has it.
    pub async fn claim_early(&self, place: &Place) -> Option<HeaderValue> {
        let path = format!("{}&early=true", path(place));
        let response = self
            .call(request(Method::GET, path, None, Bytes::new()), CALL)
            .await?;
        (response.status() == StatusCode::ACCEPTED)
            .then(|| response.headers().get("x-lease").cloned())
            .flatten()
    }

    /// Stores the rebuilt value; how long it is fresh from now on, or nothing when it was not stored. It does not matter to
    /// the reader whether that worked: a void lease means that the value may be old already, and then it must not be stored.
    pub async fn fill(
        &self,
        place: &Place,
        token: &HeaderValue,
        filling: Filling,
        json: Bytes,
    ) -> Option<Duration> {
        use std::fmt::Write;
        let mut path = format!("{}&ttl_s={}", path(place), filling.ttl_seconds);
        for (name, window) in [
            ("swr_s", filling.swr_seconds),
            ("sie_s", filling.sie_seconds),
        ] {
            if let Some(seconds) = window {
                let _ = write!(path, "&{name}={seconds}");
            }
        }
        if filling.absent {
            path.push_str("&status=404");
        }
        let _ = write!(path, "&rebuild_ms={}", filling.rebuild.as_millis());
        let answer = self
            .call(request(Method::PUT, path, Some(token), json), CALL)
            .await;
        let status = answer.as_ref().map(|answer| answer.status().as_u16());
        tracing::debug!(key = place.key, status, "filled the cache");
        let answer = answer.filter(|answer| answer.status() == StatusCode::NO_CONTENT)?;
        milliseconds(answer.headers(), "x-fresh-ms")
    }

    /// Gives the lease back, so that a waiter gets it at once.
    pub async fn release(&self, place: &Place, token: &HeaderValue) {
        let request = request(Method::DELETE, path(place), Some(token), Bytes::new());
        let answer = self.call(request, CALL).await;
        let status = answer.map(|answer| answer.status().as_u16());
        tracing::debug!(key = place.key, status, "gave the lease back");
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Option<Response<Bytes>> {
        let started = Instant::now();
        let mut deadline = started + limit;
        if let Some(context) = RequestContext::current() {
            deadline = deadline.min(context.deadline);
        }
        let options = ForwardOptions {
            deadline,
            ..ForwardOptions::within(limit)
        };
        let exchange = async {
            let mut response = self.forwarder.forward(request, options).await?;
            crate::gate::since_asked(&mut response, started);
            whole(response, VALUE_LIMIT, deadline).await
        };
        let answer: Result<_, proxy::BoxError> = exchange.await;
        answer
            .inspect_err(|error| tracing::debug!(error = %error, "the cache cannot be asked"))
            .ok()
    }
}

/// Reads an answer to its end, up to a limit in bytes, before the deadline.
pub async fn whole(
    response: Response<ResponseBody>,
    limit: usize,
    deadline: Instant,
) -> Result<Response<Bytes>, proxy::BoxError> {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout_at(deadline.into(), Limited::new(body, limit).collect())
        .await
        .map_err(|_| "no whole answer in time")??;
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn path(place: &Place) -> String {
    format!(
        "/entries/{}?variant={}",
        utf8_percent_encode(&place.key, UNRESERVED),
        utf8_percent_encode(&place.variant, UNRESERVED)
    )
}

fn request(
    method: Method,
    path: String,
    lease: Option<&HeaderValue>,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // Percent-encoded above, and the cache rule bounds its length.
    *request.uri_mut() = path.try_into().expect("an encoded path is a target");
    let headers = request.headers_mut();
    if let Some(lease) = lease {
        headers.insert("x-lease", lease.clone());
    }
    trace(headers);
    request
}

/// Lets a call be found together with the request that caused it.
pub fn trace(headers: &mut HeaderMap) {
    if let Some(context) = RequestContext::current() {
        context.tell(headers);
    }
}

fn hit(headers: &HeaderMap, json: Bytes) -> Option<Found> {
    Some(Found {
        json,
        absent: headers
            .get("x-value-status")
            .is_some_and(|status| status == "404"),
        age: milliseconds(headers, "x-age-ms")?,
        fresh: milliseconds(headers, "x-fresh-ms")?,
        rebuild: milliseconds(headers, "x-rebuild-ms").unwrap_or_default(),
    })
}

fn stale(headers: &HeaderMap, json: Bytes, asked: Instant) -> Option<Stale> {
    let usage = match headers.get("x-stale-use")?.as_bytes() {
        b"revalidate" => StaleUse::Revalidate,
        b"error" => StaleUse::Error,
        _ => return None,
    };
    let age: u64 = headers.get("x-stale-age")?.to_str().ok()?.parse().ok()?;
    let now = Instant::now();
    Some(Stale {
        json,
        usage,
        made: now.checked_sub(Duration::from_secs(age)).unwrap_or(now),
        // It may have been long on its way: the end comes rather too early than too late.
        usable_until: asked + milliseconds(headers, "x-stale-ms")?,
    })
}

fn milliseconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let value = headers.get(name)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(value))
}

/// A JSON answer.
pub fn json_response(json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_way() {
        for (key, variant, expected) in [
            ("my_data", "", "/entries/my_data?variant="),
            ("..", "", "/entries/..?variant="),
            (
                "a/b c?d#e&f=g%",
                "",
                "/entries/a%2Fb%20c%3Fd%23e%26f%3Dg%25?variant=",
            ),
            (
                "card:1:history",
                "limit=5&cursor=x",
                "/entries/card%3A1%3Ahistory?variant=limit%3D5%26cursor%3Dx",
            ),
            ("ñ", "", "/entries/%C3%B1?variant="),
        ] {
            let place = Place {
                key: key.to_owned(),
                variant: variant.to_owned(),
            };
            assert_eq!(path(&place), expected);
            let built = request(Method::GET, path(&place), None, Bytes::new());
            assert_eq!(built.uri().to_string(), expected);
        }
    }
}
