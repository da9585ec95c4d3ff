//! Which pages may call from a browser: those on loopback, and those of configured origins. The decisions are pure; the layer
//! layers only apply them: one answers preflights, the other, around all else, marks every answer, whoever made it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Request-Id, Server-Timing, X-Gateway, X-Cache, Age, Idempotency-Replayed, Location, Retry-After",
);
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
/// Seconds for which a browser may remember a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins that may call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cors {
    configured: Arc<[String]>,
}

impl Cors {
    pub fn new(configured: &[String]) -> Self {
        Self {
            configured: configured.into(),
        }
    }

    /// The origin to allow, when the request names one and it may call.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.allows(origin).then(|| origin.clone())
    }

    /// Whether pages of this origin may call.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|text| {
            is_loopback(text)
                || self
                    .configured
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(text))
        })
    }

    /// What an answer says to a page that may read it.
    pub fn grants(origin: &HeaderValue) -> [(HeaderName, HeaderValue); 4] {
        [
            (TIMING_ALLOW_ORIGIN, origin.clone()),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            ),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        ]
    }
}

/// Whether a page of this origin was served from this machine.
fn is_loopback(origin: &str) -> bool {
    let Some(authority) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some("")),
            ),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let Some(port) = port else { return false };
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return false;
    }
    host.eq_ignore_ascii_case("localhost")
        || host == "::1"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Answers preflights; all else goes on.
pub(crate) async fn answer_preflight(
    State(cors): State<Cors>,
    request: Request,
    next: Next,
) -> Response {
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        let allowed = cors.allowed(request.headers()).is_some();
        preflight(request.headers(), allowed)
    } else {
        next.run(request).await
    }
}

/// Says on every answer whether the page that asked may read it.
pub(crate) async fn mark(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    let allowed = cors.allowed(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        // Only the front door decides this, whatever was said behind it.
        headers.remove(name);
    }
    if let Some(origin) = allowed {
        headers.extend(Cors::grants(&origin));
    }
    response
}

fn preflight(asked: &HeaderMap, allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        headers.append(
            header::VARY,
            HeaderValue::from_static(
                "Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        );
        if let Some(names) = asked
            .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
            .and_then(allowed_headers)
        {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
    }
    response
}

/// The headers a page may send: whichever it asked for, except those that only hops of ours may say.
fn allowed_headers(asked: &HeaderValue) -> Option<HeaderValue> {
    let names: Vec<String> = asked
        .to_str()
        .ok()?
        .split(',')
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .map(|name| name.as_str().to_owned())
        .filter(|name| !name.starts_with(proxy::headers::INTERNAL_PREFIX))
        .collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_pages_may_call_from_any_port() {
        for (origin, allowed) in [
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("https://LOCALHOST:8443", true),
            ("http://127.0.0.1:5500", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:8080", true),
            ("http://[::1]", true),
            ("null", false),
            ("file://", false),
            ("http://localhost.evil.example", false),
            ("http://evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost:3000@evil.example", false),
            ("http://localhost:99999", false),
            ("http://[::1]evil.example", false),
            ("http://[::1", false),
            ("http://10.0.0.1", false),
            ("http://", false),
        ] {
            assert_eq!(is_loopback(origin), allowed, "{origin}");
        }
    }

    #[test]
    fn configured_origins_match_whole() {
        let cors = Cors::new(&["https://lab.example".to_owned()]);
        let asks = |origin: &'static str| {
            cors.allowed(&HeaderMap::from_iter([(
                header::ORIGIN,
                HeaderValue::from_static(origin),
            )]))
            .is_some()
        };
        assert!(asks("https://lab.example"));
        assert!(!asks("http://lab.example"));
        assert!(!asks("https://lab.example:8443"));
        assert!(!asks("https://lab.example.evil"));
    }

    #[test]
    fn internal_headers_cannot_be_asked_for() {
        let names = allowed_headers(&HeaderValue::from_static(
            "authorization, X-Recarga-User,content-type, b@d",
        ));
        assert_eq!(names.unwrap(), "authorization, content-type");
    }
}
