//! Speaks the lease protocol with the cache service. Whatever goes wrong there, reads go on without it.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use kit::{
    RequestContext,
    context::{REQUEST_ID, TRACEPARENT},
    timing::SERVER_TIMING,
};
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

/// A value past its freshness that may stand in while the service is away.
#[derive(Debug)]
pub struct Stale {
    pub json: Bytes,
    pub age_seconds: u64,
}

/// What the cache said.
#[derive(Debug)]
pub enum LookUp {
    Hit {
        json: Bytes,
        age: Option<HeaderValue>,
    },
    /// We rebuild the value.
    Lease {
        token: HeaderValue,
        stale: Option<Stale>,
    },
    /// Somebody else does, and we cannot wait longer.
    Busy { stale: Option<Stale> },
    /// The cache cannot be asked.
    Away,
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
        let Some(response) = self.call(request, wait + CALL).await else {
            return (LookUp::Away, None);
        };
        let (head, body) = response.into_parts();
        let timing = head.headers.get(SERVER_TIMING).cloned();
        let found = match head.status {
            StatusCode::OK => LookUp::Hit {
                json: body,
                age: head.headers.get(header::AGE).cloned(),
            },
            StatusCode::ACCEPTED => match head.headers.get("x-lease") {
                Some(token) => LookUp::Lease {
                    token: token.clone(),
                    stale: stale(&head.headers, body),
                },
                None => LookUp::Away,
            },
            StatusCode::CONFLICT => LookUp::Busy {
                stale: stale(&head.headers, body),
            },
            status => {
                tracing::debug!(status = status.as_u16(), "the cache does not help");
                LookUp::Away
            }
        };
        (found, timing)
    }

    /// Stores the rebuilt value. It does not matter to the reader whether that worked: a void lease means that the value
    /// may be old already, and then it must not be stored.
    pub async fn fill(&self, place: &Place, token: &HeaderValue, ttl_seconds: u32, json: Bytes) {
        let path = format!("{}&ttl_s={ttl_seconds}", path(place));
        let answer = self
            .call(request(Method::PUT, path, Some(token), json), CALL)
            .await;
        let status = answer.map(|answer| answer.status().as_u16());
        tracing::debug!(key = place.key, status, "filled the cache");
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
            let response = self.forwarder.forward(request, options).await?;
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
        if let Ok(id) = HeaderValue::from_str(&context.id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(traceparent) = context.traceparent {
            headers.insert(TRACEPARENT, traceparent);
        }
    }
}

fn stale(headers: &HeaderMap, json: Bytes) -> Option<Stale> {
    let age_seconds = headers.get("x-stale-age")?.to_str().ok()?.parse().ok()?;
    (!json.is_empty()).then_some(Stale { json, age_seconds })
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
