//! Spans of HTTP: a request served, and an attempt at another tier.

use std::{borrow::Cow, sync::Arc, time::Instant};

use http::{HeaderMap, Method};

use super::{Attributes, Begun, Call, Hop, Kind, Parent, Serving, Tracer, record::text};
use crate::{
    RequestContext,
    context::{TRACEPARENT, TRACESTATE},
    record::CacheLabel,
};

/// Paths that somebody looks at again and again whatever users do. (The admin port makes no spans at all.)
const UNSEEN: [&str; 2] = ["/health", "/metrics"];

/// The method as spans name it: one that is not known could be anything.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

/// A span of it begins with this word.
fn word(method: &Method) -> &'static str {
    match known(method) {
        "_OTHER" => "HTTP",
        method => method,
    }
}

fn scheme(is_encrypted: bool) -> &'static str {
    if is_encrypted { "https" } else { "http" }
}

impl Tracer {
    /// Begins to serve a request; `None` where nobody wants to see it.
    #[must_use]
    pub fn serve(
        &self,
        parent: Parent,
        method: &Method,
        path: &str,
        id: &str,
        is_encrypted: bool,
        started: Instant,
    ) -> Option<Begun> {
        if UNSEEN.contains(&path) {
            return None;
        }
        let mut attributes = Attributes::with_capacity(8);
        attributes.extend([
            ("http.request.method", known(method).into()),
            ("url.path", text(path)),
            ("url.scheme", scheme(is_encrypted).into()),
            ("recarga.request_id", text(id)),
        ]);
        Some(self.begin(Kind::Server, parent, started, attributes))
    }

    /// Begins to serve a request of this context, and writes into its headers what whoever it is passed on to is told.
    pub(crate) fn enter(
        &self,
        context: &mut RequestContext,
        headers: &mut HeaderMap,
        method: &Method,
        path: &str,
        is_encrypted: bool,
    ) -> Option<Serving> {
        let parent = Parent::of(headers);
        let state = parent.state.clone();
        let (id, started) = (Arc::clone(&context.id), context.started);
        let begun = self.serve(parent, method, path, &id, is_encrypted, started)?;
        let (traceparent, serving) = match begun {
            Begun::Recorded(serving) => (super::header(serving.hop().place()), Some(serving)),
            Begun::Unrecorded(traceparent) => (traceparent, None),
        };
        match &state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
        headers.insert(TRACEPARENT, traceparent.clone());
        context.traceparent = Some(traceparent);
        context.tracestate = state;
        context.hop = serving.as_ref().map(|serving| Arc::clone(serving.hop()));
        serving
    }
}

impl Serving {
    /// The answer's head is there. What is no path stands for requests that no route is for.
    pub fn answered(
        &self,
        method: &Method,
        route: Option<&str>,
        status: u16,
        cache: CacheLabel,
        now: Instant,
    ) {
        let route = route.filter(|route| route.starts_with('/'));
        let name = |_: &Attributes| match route {
            Some(route) => Cow::Owned(format!("{} {route}", word(method))),
            None => word(method).into(),
        };
        let failed = status >= 500;
        let more = |attributes: &mut Attributes| {
            attributes.push(("http.response.status_code", status.into()));
            if let Some(route) = route {
                attributes.push(("http.route", text(route)));
            }
            if let Some(state) = cache.state() {
                attributes.push(("recarga.cache", state.into()));
            }
            if failed {
                attributes.push(("error.type", status.to_string().into()));
            }
        };
        self.end(name, more, failed, now);
    }
}

/// What is known of an attempt before it is made.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub method: &'a Method,
    /// Who is called, by role.
    pub role: &'a str,
    /// Which instance of it, where that is known.
    pub upstream: Option<&'a str>,
    pub host: &'a str,
    pub port: u16,
    pub path: &'a str,
    pub is_encrypted: bool,
    /// 0 for the first.
    pub resends: u32,
}

impl Attempt<'_> {
    /// Begins it.
    #[must_use]
    pub fn begin(self, hop: &Arc<Hop>, now: Instant) -> Call {
        let Self {
            host, port, path, ..
        } = self;
        let scheme = scheme(self.is_encrypted);
        let mut attributes = Attributes::with_capacity(10);
        attributes.extend([
            ("http.request.method", known(self.method).into()),
            ("server.address", text(host)),
            ("server.port", port.into()),
            ("url.full", text(&format!("{scheme}://{host}:{port}{path}"))),
            ("peer.service", text(self.role)),
        ]);
        if let Some(upstream) = self.upstream {
            attributes.push(("recarga.upstream", text(upstream)));
        }
        if self.resends > 0 {
            attributes.push(("http.request.resend_count", self.resends.into()));
        }
        hop.call(Kind::Client, word(self.method), now, attributes)
    }
}
