//! Brings a whole lab up on one machine, step by step, and takes it down again.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::Utc;
use kit::{
    Topology,
    topology::{Store, VERSION},
};
use tokio::task::AbortHandle;

use crate::{
    account::Account,
    certificates,
    control::Control,
    database,
    error::{Error, Result},
    event::{Events, UpEvent},
    find,
    job::Job,
    layout::{Layout, Lock, Secrets},
    leftovers,
    ports::{Ports, Wanted},
    rewire::Rewire,
    roles::{self, Count},
    store::{self, Cluster, Fsync, Part, Server, postgres::DATABASE, redis},
    supervisor::{StoreUrls, Supervisor},
    surface::Surface,
};

/// How long a lab's certificates are good for; each start makes new ones.
const CERTIFICATE_DAYS: u64 = 365;

/// What kind of lab, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lab's folder.
    pub directory: PathBuf,
    /// The `recarga` binary that services and guards are run from.
    pub program: PathBuf,
    /// Roles with another number of instances than usual.
    pub counts: Vec<Count>,
    pub ports: Wanted,
    /// Use this PostgreSQL instead of a private one.
    pub database_url: Option<String>,
    /// Use this Redis instead of a private one.
    pub redis_url: Option<String>,
    /// Use this Redis for the queue; without it the queue has a private one, or shares the one above when that is given.
    pub queue_redis_url: Option<String>,
    /// The city that an empty database is filled with.
    pub plan: seed::Plan,
    /// Changes what services are told; a lab is wired as usual without it.
    pub rewire: Option<Rewire>,
    /// Refuse every lever of the lab, whoever pulls it.
    pub read_only: bool,
    /// Encrypt every call between tiers, and have both sides show who they are.
    pub mutual_tls: bool,
}

/// A lab that runs in this process's care.
#[derive(Debug)]
pub struct Lab {
    supervisor: Supervisor,
    layout: Layout,
    secrets: Secrets,
    events: Events,
    control: Option<AbortHandle>,
    surface: Option<AbortHandle>,
    _lock: Lock,
}

/// Whether this call started the lab, or found one.
#[derive(Debug)]
pub enum Outcome {
    Started(Box<Lab>),
    /// Another process runs a lab in the folder.
    AlreadyRunning,
}

/// Starts everything and waits until it is ready. Whatever was started is stopped again on failure, and when
/// `shutdown` is requested on the way.
pub async fn up(options: Options, events: Events, shutdown: kit::Shutdown) -> Result<Outcome> {
    let began = Instant::now();
    let Some(mut lab) = Lab::open(&options, events).await? else {
        return Ok(Outcome::AlreadyRunning);
    };
    let started = tokio::select! {
        started = lab.start(options, &shutdown) => started,
        () = shutdown.requested() => Err(Error::Interrupted),
    };
    match started {
        Ok(()) => {
            lab.events.send(UpEvent::Ready {
                public_url: lab.topology().public_url,
                took: began.elapsed(),
            });
            Ok(Outcome::Started(Box::new(lab)))
        }
        Err(error) => {
            lab.stop().await;
            Err(error)
        }
    }
}

/// Starts the stores of a lab alone, and makes those that are not there yet; `None` while a lab runs in the folder. They end
/// with [`Lab::stop`].
pub async fn stores(
    options: Options,
    events: Events,
    shutdown: kit::Shutdown,
) -> Result<Option<(Box<Lab>, StoreUrls)>> {
    let Some(lab) = Lab::open(&options, events).await? else {
        return Ok(None);
    };
    let started = tokio::select! {
        started = lab.start_stores(&options) => started,
        () = shutdown.requested() => Err(Error::Interrupted),
    };
    match started.and_then(|urls| lab.supervisor.ports().save().map(|()| urls)) {
        Ok(urls) => Ok(Some((Box::new(lab), urls))),
        Err(error) => {
            lab.stop().await;
            Err(error)
        }
    }
}

fn empty_topology(read_only: bool, mutual_tls: Option<PathBuf>) -> Topology {
    Topology {
        version: VERSION,
        public_url: String::new(),
        cache_url: String::new(),
        queue_url: String::new(),
        worker_url: String::new(),
        supervisor_pid: Some(std::process::id()),
        supervisor_url: None,
        read_only,
        mutual_tls,
        stores: Vec::new(),
        instances: Vec::new(),
    }
}

impl Lab {
    /// Takes the folder; `None` when another process has it. Nothing runs yet.
    async fn open(options: &Options, events: Events) -> Result<Option<Self>> {
        let layout = Layout::open(&options.directory)?;
        let Some(lock) = layout.try_lock()? else {
            return Ok(None);
        };
        layout.check_space()?;
        let secrets = Secrets::load_or_generate(&layout)?;
        leftovers::stop_services(&layout, &events).await;
        let ports = Ports::load(&layout, options.ports.clone());
        let certificates = options.mutual_tls.then(|| layout.certificates());
        if let Some(folder) = &certificates {
            certificates::make(folder, CERTIFICATE_DAYS, Utc::now())?;
        }
        let supervisor = Supervisor::new(
            layout.clone(),
            secrets.clone(),
            options.program.clone(),
            events.clone(),
            ports,
            empty_topology(options.read_only, certificates),
            options.rewire.clone(),
        )?;
        Ok(Some(Self {
            supervisor,
            layout,
            secrets,
            events,
            control: None,
            surface: None,
            _lock: lock,
        }))
    }

    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    #[must_use]
    pub fn topology(&self) -> Topology {
        self.supervisor.topology()
    }

    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    async fn start(&mut self, options: Options, shutdown: &kit::Shutdown) -> Result<()> {
        let counts = roles::counts(&options.counts);
        // Ports first: the most likely thing to be wrong, and the quickest to tell.
        let names = self.supervisor.plan(&counts)?;
        self.supervisor.set_urls();
        let control = Control::listen(&self.layout, &self.secrets).await?;
        let serving = control.serve(self.supervisor.clone(), shutdown.clone());
        self.control = Some(tokio::spawn(serving).abort_handle());
        let surface = Surface::listen(&self.supervisor, &self.secrets).await?;
        self.surface = Some(tokio::spawn(surface.serve()).abort_handle());

        let urls = self.start_stores(&options).await?;
        self.supervisor.ports().save()?;
        database::prepare(&urls.database, options.plan, &self.secrets, &self.events).await?;
        self.supervisor.set_store_urls(urls);
        self.start_services(&names).await
    }

    /// The URLs of PostgreSQL and of the Redis of cache and queue, private or given.
    async fn start_stores(&self, options: &Options) -> Result<StoreUrls> {
        let folder = if options.database_url.is_none() || options.redis_url.is_none() {
            Some(store::place(&self.layout, &self.secrets)?)
        } else {
            None
        };
        let postgres = async {
            match (&options.database_url, &folder) {
                (None, Some(folder)) => self.start_postgres(folder.join("postgres")).await,
                (Some(url), _) => self.use_postgres(url).await,
                (None, None) => unreachable!("a private store has a folder"),
            }
        };
        let redis = async {
            match (&options.redis_url, &folder) {
                (None, Some(folder)) => {
                    let server = self.redis("redis", folder, Fsync::EverySecond)?;
                    self.start_redis("Redis", server).await
                }
                (Some(url), _) => self.use_redis("redis", "Redis", url).await,
                (None, None) => unreachable!("a private store has a folder"),
            }
        };
        let queue = async {
            match (&options.queue_redis_url, &options.redis_url, &folder) {
                (Some(url), _, _) => self.use_redis("queue", "the queue's Redis", url).await,
                (None, Some(shared), _) => Ok(shared.clone()),
                (None, None, Some(folder)) => {
                    let server = self.redis("queue", folder, Fsync::Always)?;
                    self.start_redis("the queue's Redis", server).await
                }
                (None, None, None) => unreachable!("a private store has a folder"),
            }
        };
        let (database, redis, queue) = tokio::try_join!(postgres, redis, queue)?;
        Ok(StoreUrls {
            database,
            redis,
            queue,
        })
    }

    /// A private Redis, not started yet.
    fn redis(&self, name: &'static str, folder: &Path, fsync: Fsync) -> Result<Server> {
        let tool = find::redis().found().ok_or_else(missing)?;
        if name == "redis" {
            self.events.send(UpEvent::Found {
                what: "Redis",
                path: tool.program.clone(),
                version: tool.version.to_string(),
            });
        }
        Ok(Server {
            name,
            tool,
            folder: folder.join(name),
            port: 0,
            account: Account::for_store("redis")?,
            password: self.secrets.redis_password.clone(),
            databases: 16,
            durable: true,
            fsync,
            part: Part::One,
            tls: None,
        })
    }

    async fn start_postgres(&self, folder: PathBuf) -> Result<String> {
        let began = Instant::now();
        let tool = find::postgres().found().ok_or_else(missing)?;
        self.events.send(UpEvent::Found {
            what: "PostgreSQL",
            path: tool.programs.join("postgres"),
            version: tool.version.to_string(),
        });
        let mut cluster = Cluster {
            tool,
            folder,
            port: 0,
            account: Account::for_store("postgres")?,
            password: self.secrets.database_password.clone(),
            durable: true,
        };
        if cluster.initialise().await? {
            self.events.send(UpEvent::ClusterCreated {
                path: cluster.folder.clone(),
                took: began.elapsed(),
            });
        }
        // Before the port is chosen, or the leftover would keep it.
        if cluster.stop_leftover().await {
            self.events.send(UpEvent::LeftoverStopped {
                name: "postgres".to_owned(),
            });
        }
        cluster.port = self.supervisor.ports().any("postgres", None)?;
        self.supervisor.add_store(Store {
            kind: "postgres".to_owned(),
            address: cluster.address(),
            pid: None,
            managed: true,
        });
        self.supervisor
            .start_store(Job::Postgres(cluster.clone()))
            .await?;
        cluster.create_database().await?;
        self.events.send(UpEvent::StoreReady {
            kind: "PostgreSQL",
            address: cluster.address(),
            managed: true,
            took: began.elapsed(),
        });
        Ok(cluster.url(DATABASE))
    }

    async fn start_redis(&self, kind: &'static str, mut server: Server) -> Result<String> {
        let began = Instant::now();
        if server.stop_leftover().await {
            self.events.send(UpEvent::LeftoverStopped {
                name: server.name.to_owned(),
            });
        }
        server.port = self.supervisor.ports().any(server.name, None)?;
        server.initialise()?;
        self.supervisor.add_store(Store {
            kind: server.name.to_owned(),
            address: server.address(),
            pid: None,
            managed: true,
        });
        self.supervisor
            .start_store(Job::Redis(server.clone()))
            .await?;
        self.events.send(UpEvent::StoreReady {
            kind,
            address: server.address(),
            managed: true,
            took: began.elapsed(),
        });
        Ok(server.url())
    }

    async fn use_postgres(&self, url: &str) -> Result<String> {
        let began = Instant::now();
        let address = database::check_external(url).await?;
        self.external("postgres", "PostgreSQL", address, began);
        Ok(url.to_owned())
    }

    async fn use_redis(&self, kind: &str, name: &'static str, url: &str) -> Result<String> {
        let began = Instant::now();
        let address = redis::check_external(url).await?;
        self.external(kind, name, address, began);
        Ok(url.to_owned())
    }

    fn external(&self, kind: &str, name: &'static str, address: String, began: Instant) {
        self.supervisor.add_store(Store {
            kind: kind.to_owned(),
            address: address.clone(),
            pid: None,
            managed: false,
        });
        self.events.send(UpEvent::StoreReady {
            kind: name,
            address,
            managed: false,
            took: began.elapsed(),
        });
    }

    async fn start_services(&self, names: &[String]) -> Result<()> {
        let mut waits = tokio::task::JoinSet::new();
        for name in names {
            self.supervisor.start_instance(name).await?;
            let (supervisor, name) = (self.supervisor.clone(), name.clone());
            waits.spawn(async move { supervisor.ready(&name).await.map(|()| name) });
        }
        let mut ready = 0;
        while let Some(waited) = waits.join_next().await {
            let name = waited.map_err(|_| Error::Interrupted)??;
            ready += 1;
            let address = self
                .topology()
                .instances
                .iter()
                .find(|instance| instance.name == name)
                .map(|instance| instance.listen.to_string())
                .unwrap_or_default();
            self.events.send(UpEvent::InstanceReady {
                name,
                address,
                ready,
                of: names.len(),
            });
        }
        Ok(())
    }

    /// Stops everything in order and gives the folder free.
    pub async fn stop(self) {
        let began = Instant::now();
        self.events.send(UpEvent::Stopping);
        self.supervisor.stop().await;
        self.supervisor.forget();
        let _ = std::fs::remove_file(self.layout.control());
        let _ = std::fs::remove_file(self.layout.control_socket());
        self.events.send(UpEvent::Down {
            took: began.elapsed(),
        });
        for serving in [self.control, self.surface].into_iter().flatten() {
            serving.abort();
        }
    }
}

fn missing() -> Error {
    match find::both() {
        Err(error) => error,
        Ok(_) => Error::Interrupted,
    }
}
