//! Every request's way through the gateway: find the route, admit, then answer, forward or read through the cache.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::Limited;
use kit::{
    Instance, Problem, RequestContext,
    context::{ROLE, USER},
    observe::RouteLabel,
};
use proxy::{ForwardError, ForwardOptions, Forwarded, Forwarder, headers::strip_internal};

use crate::{
    address::{client_address, is_near},
    auth,
    cache::{Cache, whole},
    config::AuthMode,
    gcra::Standing,
    limit::{Limits, LoginLimits, Subject},
    login,
    matching::{Found, Parameters, Route},
    metrics::Metrics,
    read::{self, Reads},
    running::Running,
    shape,
    table::{LimitBy, Upstream},
    token::{Identity, Tokens, Verified},
};

pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const X_GATEWAY: HeaderName = HeaderName::from_static("x-gateway");
const RETRY_OWNER: HeaderName = HeaderName::from_static(proxy::retry::RETRY_OWNER);
/// The largest body of a request, and of an answer that is changed on its way, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;
/// How much earlier than its own deadline the gateway gives up on a service, so that its answer still arrives.
const MARGIN: Duration = Duration::from_millis(50);

/// What all requests share.
pub struct Gate {
    pub instance: Instance,
    pub running: Arc<Running>,
    pub routes_file: Option<PathBuf>,
    pub mode: AuthMode,
    pub tokens: Tokens,
    pub limits: Limits,
    pub logins: LoginLimits,
    pub pools: HashMap<Upstream, Forwarder>,
    pub cache: Cache,
    pub cache_enabled: AtomicBool,
    pub reads: Reads,
    pub metrics: Metrics,
    pub name: HeaderValue,
}

pub async fn handle(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    // One table from the beginning to the end, whatever is changed meanwhile.
    let snapshot = gate.running.current();
    let found = snapshot.table.find(request.method(), request.uri().path());
    let (label, mut response) = match found {
        Found::Route(route, parameters) => (
            Some(route.path.clone()),
            gate.answer(route, parameters, peer, request).await,
        ),
        Found::OtherMethods(path, methods) => (Some(path.to_owned()), other_methods(&methods)),
        Found::Nothing => (
            None,
            Problem::not_found("There is no such path; /docs lists them").into_response(),
        ),
    };
    let headers = response.headers_mut();
    headers.insert(X_GATEWAY, gate.name.clone());
    headers
        .entry(X_CACHE)
        .or_insert(HeaderValue::from_static("BYPASS"));
    if let Some(label) = label {
        response.extensions_mut().insert(RouteLabel(label.into()));
    }
    response
}

/// Counts an answer's `Server-Timing` from when this gateway had the request on whose behalf it asked.
pub fn since_asked<B>(response: &mut Response<B>, asked: Instant) {
    if let Some(context) = kit::RequestContext::current() {
        let after = asked.saturating_duration_since(context.started);
        kit::timing::shift(response.headers_mut(), after);
    }
}

fn other_methods(methods: &[&Method]) -> Response {
    let mut names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    let mut response = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path takes {}", names.join(", ")),
    )
    .into_response();
    if let Ok(allow) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

impl Gate {
    /// Lets the request in or refuses it, by who calls and by how often.
    async fn answer(
        self: &Arc<Self>,
        route: &Route,
        parameters: Parameters,
        peer: SocketAddr,
        request: Request,
    ) -> Response {
        let headers = request.headers();
        let admitted = auth::admit(route.level, self.mode, || {
            auth::claimed(headers, &self.tokens, Utc::now())
        });
        let caller = match admitted {
            Ok(caller) => caller,
            Err(refusal) => return refusal.into_response(),
        };
        let Some(limit) = &route.limit else {
            return self
                .serve(route, parameters, peer, caller.as_deref(), request)
                .await
                .unwrap_or_else(IntoResponse::into_response);
        };
        let subject = match (limit.by, caller.as_deref()) {
            (LimitBy::All, _) => Subject::All,
            (LimitBy::User, Some(caller)) => Subject::User(caller.identity.user()),
            (LimitBy::User | LimitBy::Address, _) => {
                Subject::address(client_address(peer, headers))
            }
        };
        let standing = self.limits.take((limit, subject)).await;
        let mut response = if standing.admitted {
            self.serve(route, parameters, peer, caller.as_deref(), request)
                .await
                .unwrap_or_else(IntoResponse::into_response)
        } else {
            self.too_many(standing)
        };
        limit.tell(standing, response.headers_mut());
        response
    }

    fn too_many(&self, standing: Standing) -> Response {
        self.metrics.rate_limited.inc();
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many of these requests; wait as long as Retry-After says",
        )
        .retry_after(standing.wait)
        .into_response()
    }

    async fn serve(
        self: &Arc<Self>,
        route: &Route,
        parameters: Parameters,
        peer: SocketAddr,
        caller: Option<&Verified>,
        mut request: Request,
    ) -> Result<Response, Problem> {
        if request.body().size_hint().lower() > BODY_LIMIT as u64 {
            return Err(too_large());
        }
        dress(&mut request, peer, caller.map(|caller| &caller.identity));
        if route.upstream == Upstream::Gateway {
            return Ok(login::answer(self, peer, request).await);
        }
        if let Some(rule) = &route.cache
            && request.method() == Method::GET
        {
            return read::answer(self, route, rule, &parameters, peer, request).await;
        }
        let deadline = Self::deadline(route);
        let response = self.forward(route, deadline, peer, request).await?;
        if route.adds_gateway_id && response.status().is_success() {
            return self.with_gateway_id(response, deadline).await;
        }
        Ok(response.map(Body::new))
    }

    /// When the service must have answered.
    pub fn deadline(route: &Route) -> Instant {
        deadline(route.timeout)
    }

    /// Sends a request on to the route's service.
    pub async fn forward(
        &self,
        route: &Route,
        deadline: Instant,
        peer: SocketAddr,
        mut request: Request,
    ) -> Result<Response<proxy::ResponseBody>, Problem> {
        if let Some(path) = &route.upstream_path {
            let target = match request.uri().query() {
                Some(query) => format!("{}?{query}", path.path()).parse(),
                None => Ok(path.clone().into()),
            };
            *request.uri_mut() =
                target.map_err(|_| Problem::bad_request("The request's target cannot be used"))?;
        }
        let options = ForwardOptions {
            deadline,
            client: Some(peer),
            forwarded: if is_near(peer.ip()) {
                Forwarded::Append
            } else {
                Forwarded::Replace
            },
        };
        let request = request.map(|body| Limited::new(body, BODY_LIMIT));
        self.send(route.upstream, request, options)
            .await
            .map_err(problem)
    }

    /// Sends any request to a service.
    pub async fn send<B>(
        &self,
        upstream: Upstream,
        request: http::Request<B>,
        options: ForwardOptions,
    ) -> Result<Response<proxy::ResponseBody>, ForwardError>
    where
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<proxy::BoxError>,
    {
        let asked = Instant::now();
        match self.pools.get(&upstream) {
            Some(forwarder) => {
                let mut response = forwarder.forward(request, options).await?;
                since_asked(&mut response, asked);
                Ok(response)
            }
            // The table was checked at the start: only the gateway itself has no pool.
            None => Err(ForwardError::NoneHealthy {
                pool: upstream.name().to_owned(),
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    async fn with_gateway_id(
        &self,
        response: Response<proxy::ResponseBody>,
        deadline: Instant,
    ) -> Result<Response, Problem> {
        let response = whole(response, BODY_LIMIT, deadline)
            .await
            .map_err(|error| broken_off(error.as_ref()))?;
        let (mut head, body) = response.into_parts();
        let body = shape::with_gateway_id(&body, self.instance.id()).unwrap_or(body);
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, Body::from(body)))
    }
}

/// When whoever we ask must have answered: within our own limit, and earlier than our caller gives up on us.
pub fn deadline(limit: Duration) -> Instant {
    let patience = RequestContext::current()
        .map_or(limit, |context| context.remaining().saturating_sub(MARGIN));
    Instant::now() + patience.min(limit)
}

/// Takes off what only hops of ours may say, and puts on what we know.
fn dress(request: &mut Request, peer: SocketAddr, identity: Option<&Identity>) {
    let headers = request.headers_mut();
    let owner = is_near(peer.ip())
        .then(|| headers.remove(RETRY_OWNER))
        .flatten();
    strip_internal(headers);
    if let Some(owner) = owner {
        headers.insert(RETRY_OWNER, owner);
    }
    // The services trust us, not tokens.
    headers.remove(header::AUTHORIZATION);
    if let Some(identity) = identity {
        headers.insert(USER, identity.header());
        headers.insert(ROLE, HeaderValue::from_static(identity.role.name()));
    }
}

/// What the client is told when a service gave no answer.
pub fn problem(error: ForwardError) -> Problem {
    if error.is_body_too_large() {
        return too_large();
    }
    tracing::debug!(error = %error, "a request could not be forwarded");
    error.into()
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The request's body is larger than 1 MiB",
    )
}

/// What the client is told when an answer began and did not end.
pub fn broken_off(error: &(dyn std::error::Error + Send + Sync)) -> Problem {
    tracing::debug!(error = %error, "an answer broke off");
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "The service's answer broke off or was too large; the request may have been carried out",
    )
}
