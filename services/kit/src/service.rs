//! Puts a service together: its public port, its admin port, its background tasks, and their end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router, extract::DefaultBodyLimit, extract::State, middleware, response::IntoResponse,
    routing::get,
};
use futures::future::BoxFuture;
use http::StatusCode;
use tokio::net::TcpListener;

use crate::{
    Common, Instance, Problem, Shutdown, admin, observe,
    record::Recorder,
    safeguards::{self, Safeguard},
    server,
    traces::Tracer,
};

/// The longest a request may take when its caller set no deadline.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long the last spans may take to the collector when everything else is done.
const SPANS_LIMIT: Duration = Duration::from_secs(3);
/// The largest body that is read.
const BODY_LIMIT: usize = 1024 * 1024;

/// A service that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{flag}: cannot listen on {address}: {source}")]
    Bind {
        flag: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("{name}: {reason}")]
    Config { name: &'static str, reason: String },
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A setting that cannot be used, named by its flag or variable.
    #[must_use]
    pub fn config(name: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Config {
            name,
            reason: reason.to_string(),
        }
    }

    /// Any other reason.
    #[must_use]
    pub fn other(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }
}

/// The two bound ports of an instance.
#[derive(Debug)]
pub struct Listeners {
    pub public: TcpListener,
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds the addresses of the configuration.
    pub async fn bind(common: &Common) -> Result<Self, Error> {
        let bind = |flag, address| async move {
            TcpListener::bind(address)
                .await
                .map_err(|source| Error::Bind {
                    flag,
                    address,
                    source,
                })
        };
        Ok(Self {
            public: bind("RECARGA_LISTEN (--listen)", common.listen).await?,
            admin: bind("RECARGA_ADMIN_LISTEN (--admin-listen)", common.admin_listen).await?,
        })
    }
}

/// A service being put together.
///
/// ```text
/// let service = Service::new("search", &config.common, shutdown)?;
/// let pool = kit::postgres::connect(service.instance(), &config.database)?;
/// service.public(router(pool)).run(listeners).await
/// ```
pub struct Service {
    instance: Instance,
    public: Router,
    admin: Router,
    health: bool,
    request_limit: Duration,
    body_limit: usize,
    faultless: Vec<&'static str>,
    drain_deadline: Duration,
    drain_notice: Duration,
    outermost: Option<Outermost>,
    server: Option<Server>,
    recorder: Arc<Recorder>,
    without_safeguard: Vec<Safeguard>,
}

type Outermost = Box<dyn FnOnce(Router) -> Router + Send>;
type Server = Box<dyn FnOnce(Front) -> BoxFuture<'static, ()> + Send>;

/// What a service with a server of its own is given for its public port.
pub struct Front {
    pub listener: TcpListener,
    /// Every route of the public port, with all the layers around it. It needs the `ConnectInfo` of each request.
    pub router: Router,
    /// Take no new connections, finish what is in flight.
    pub stop: Shutdown,
    /// The longest that may take.
    pub deadline: Duration,
}

impl Service {
    /// What the configuration names is read here: an error says which of it cannot be used.
    pub fn new(role: &'static str, common: &Common, shutdown: Shutdown) -> Result<Self, Error> {
        let instance = Instance::new(role, common, shutdown)?;
        Ok(Self {
            recorder: Arc::new(Recorder::new(&instance)),
            instance,
            public: Router::new(),
            admin: Router::new(),
            health: true,
            request_limit: REQUEST_LIMIT,
            body_limit: BODY_LIMIT,
            faultless: Vec::new(),
            drain_deadline: common.drain_deadline(),
            drain_notice: Duration::from_millis(common.drain_notice_ms),
            outermost: None,
            server: None,
            without_safeguard: common.without_safeguard.clone(),
        })
    }

    /// The safeguards that this service looks at, which an operator may switch off for a while.
    #[must_use]
    pub fn safeguards(self, safeguards: &'static [Safeguard]) -> Self {
        self.instance.set_safeguards(safeguards);
        self.instance.metrics().register(|registry| {
            registry.register_collector(Box::new(safeguards::Gauges(safeguards)));
        });
        let without = safeguards
            .iter()
            .filter(|safeguard| self.without_safeguard.contains(safeguard));
        safeguards::without(without.copied());
        self
    }

    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The routes of the public port; `GET /health` is added.
    #[must_use]
    pub fn public(mut self, router: Router) -> Self {
        self.public = router;
        self
    }

    /// A layer around everything of the public port, so that it sees also the answers that are made here (a wrong method, a
    /// deadline that passed, an injected fault).
    #[must_use]
    pub fn outermost(mut self, wrap: impl FnOnce(Router) -> Router + Send + 'static) -> Self {
        self.outermost = Some(Box::new(wrap));
        self
    }

    /// Serves the public port by `serve` instead of the usual HTTP/1.1 server; it runs until told to stop.
    #[must_use]
    pub fn server<F>(mut self, serve: impl FnOnce(Front) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.instance.set_streams();
        self.server = Some(Box::new(|front| Box::pin(serve(front))));
        self
    }

    /// Where this service's answered requests are written down.
    #[must_use]
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// For a service whose `/health` says more than whether it is up.
    #[must_use]
    pub fn own_health(mut self) -> Self {
        self.health = false;
        self
    }

    /// Further routes of the admin port that only read.
    #[must_use]
    pub fn admin_open(mut self, router: Router) -> Self {
        self.admin = self.admin.merge(router);
        self
    }

    /// Further routes of the admin port that need the operator's token.
    #[must_use]
    pub fn admin_operator(mut self, router: Router) -> Self {
        self.admin = self
            .admin
            .merge(admin::guarded(router, self.instance.clone()));
        self
    }

    /// The longest a request may take when its caller set no deadline (30 s by default).
    #[must_use]
    pub fn request_limit(mut self, limit: Duration) -> Self {
        self.request_limit = limit;
        self
    }

    /// The largest body in bytes (1 MiB by default).
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Paths that injected faults never touch, besides `/health`: those that other services' promises rest on.
    #[must_use]
    pub fn faultless(mut self, paths: impl IntoIterator<Item = &'static str>) -> Self {
        self.faultless.extend(paths);
        self
    }

    /// Serves until the shutdown is requested: then says so, goes on for the notice, finishes what is in flight, and
    /// waits for the background tasks; all of it bounded by the drain deadline.
    pub async fn run(self, listeners: Listeners) -> Result<(), Error> {
        let local = |listener: &TcpListener| listener.local_addr().map_err(Error::other);
        let (listen, admin_listen) = (local(&listeners.public)?, local(&listeners.admin)?);
        let instance = self.instance;
        instance.set_addresses(listen, admin_listen);
        instance.spawn(safeguards::keep(instance.shutdown().clone()));
        let mut public = self.public;
        if self.health {
            public = public.route("/health", get(health).with_state(instance.clone()));
        }
        let public = public
            .method_not_allowed_fallback(|| async {
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "This path does not take this method",
                )
            })
            .layer(DefaultBodyLimit::max(self.body_limit))
            .layer(middleware::from_fn_with_state(
                observe::Observer {
                    instance: instance.clone(),
                    is_encrypted: self.server.is_none() && instance.tiers().are_mutual(),
                    limit: self.request_limit,
                    body_limit: self.body_limit,
                    recorder: self.recorder,
                    faultless: self.faultless.into(),
                },
                observe::observe,
            ));
        let public = match self.outermost {
            Some(wrap) => wrap(public),
            None => public,
        };
        let admin = admin::router(instance.clone())
            .merge(self.admin)
            .layer(middleware::from_fn(observe::identify));
        tracing::info!(listen = %listen, admin = %admin_listen, version = crate::VERSION, "{} is up", instance.name());

        let exporting = instance.tracer().map(Tracer::export);
        let stop = Shutdown::new();
        let stop_admin = Shutdown::new();
        let serve = if let Some(serve) = self.server {
            serve
        } else {
            let guard = server::Guard::new(&instance)?;
            Box::new(|front: Front| {
                Box::pin(server::serve(
                    front.listener,
                    front.router,
                    guard,
                    front.stop,
                    front.deadline,
                )) as BoxFuture<'static, ()>
            })
        };
        let public = tokio::spawn(serve(Front {
            listener: listeners.public,
            router: public,
            stop: stop.clone(),
            deadline: self.drain_deadline,
        }));
        let admin = tokio::spawn(server::serve(
            listeners.admin,
            admin,
            None,
            stop_admin.clone(),
            Duration::from_millis(200),
        ));

        instance.shutdown().requested().await;
        instance.set_draining(true);
        tracing::info!("stopping: finishing what is in flight");
        tokio::time::sleep(self.drain_notice).await;
        stop.request();
        let _ = public.await;
        instance.tasks().close();
        if tokio::time::timeout(self.drain_deadline, instance.tasks().wait())
            .await
            .is_err()
        {
            tracing::warn!("the deadline passed with background tasks still running");
        }
        // After all that makes spans.
        if let Some(exporting) = exporting {
            exporting.end(SPANS_LIMIT).await;
        }
        stop_admin.request();
        let _ = admin.await;
        tracing::info!("stopped");
        Ok(())
    }
}

async fn health(State(instance): State<Instance>) -> impl IntoResponse {
    let (status, word) = if instance.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "up")
    };
    (
        status,
        Json(
            serde_json::json!({"status": word, "service": instance.role(), "instance": instance.name()}),
        ),
    )
}
