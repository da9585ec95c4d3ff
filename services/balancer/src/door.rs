//! What the front door is told about each request: whether it is for the balancer itself, and what its answer needs.

use http::{HeaderValue, Method, header};
use proxy::{
    edge::{Decision, Hooks},
    http1::{RequestHead, encode},
};

use crate::{cors::Cors, routes::Routes};

/// Paths that the balancer answers itself, whatever the method.
const OWN: [&str; 7] = [
    "/",
    "/health",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/redoc",
    "*",
];
/// All paths below these, too.
const OWN_BELOW: [&str; 2] = ["/assets/", "/docs/"];

/// Decides by path, and says which pages may read the answers.
pub(crate) struct Door {
    pub routes: Routes,
    pub cors: Cors,
    /// Whether the router forwards, too.
    pub by_router: bool,
}

impl Hooks for Door {
    fn decide(&self, head: &RequestHead, bytes: &[u8]) -> Decision {
        let path = head.path(bytes);
        let own = OWN.contains(&path) || OWN_BELOW.iter().any(|prefix| path.starts_with(prefix));
        if own || self.by_router || is_preflight(head, bytes) {
            return Decision::Local;
        }
        Decision::Forward(self.routes.of(path))
    }

    fn decorate(&self, origin: Option<&[u8]>, out: &mut Vec<u8>) {
        encode::field(header::VARY.as_str(), b"Origin", out);
        let Some(origin) = origin
            .and_then(|origin| HeaderValue::from_bytes(origin).ok())
            .filter(|origin| self.cors.allows(origin))
        else {
            return;
        };
        for (name, value) in Cors::grants(&origin) {
            encode::field(name.as_str(), value.as_bytes(), out);
        }
    }
}

/// A browser asks beforehand whether a page may call: the door knows the answer.
fn is_preflight(head: &RequestHead, bytes: &[u8]) -> bool {
    head.method == Method::OPTIONS
        && head.fields.iter().any(|field| {
            field
                .name(bytes)
                .eq_ignore_ascii_case(header::ACCESS_CONTROL_REQUEST_METHOD.as_str().as_bytes())
        })
}
