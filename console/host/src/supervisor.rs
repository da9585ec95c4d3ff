//! Keeps every process of a lab running, and knows where each is.

mod callers;
mod change;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use kit::{
    Topology,
    tls::MutualTlsArgs,
    topology::{Instance, State, Store},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, Result},
    event::{Events, UpEvent},
    job::Job,
    keeper::{Keeper, Progress},
    layout::{self, Layout, Secrets},
    ports::Ports,
    rewire::Rewire,
    roles::Role,
};

pub(crate) use callers::reaches_upstreams;

/// How long any process may take to become ready; PostgreSQL may have a crash to recover from.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How often a process may die on its way up before the lab gives up on it.
const DEATHS_BEFORE_READY: u32 = 3;

/// Where the stores are, with their credentials.
#[derive(Clone, Debug)]
pub struct StoreUrls {
    pub database: String,
    pub redis: String,
    /// The Redis of the queue, which may be the same.
    pub queue: String,
}

/// What all keepers share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub layout: Layout,
    pub secrets: Secrets,
    pub program: PathBuf,
    pub events: Events,
    pub http: reqwest::Client,
    rewire: Option<Rewire>,
    urls: OnceLock<StoreUrls>,
    topology: Mutex<Topology>,
    /// Since when each process is in its state.
    since: Mutex<BTreeMap<String, DateTime<Utc>>>,
    ports: Mutex<Ports>,
    keepers: tokio::sync::Mutex<BTreeMap<String, Keeper>>,
    /// Held while instances are added, taken out or restarted: one change at a time.
    changing: tokio::sync::Mutex<()>,
    /// Everything is being stopped: nothing is started any more, and no change waits for anything.
    closing: CancellationToken,
}

/// The running processes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

impl Inner {
    /// What a service is told through its environment.
    pub fn environment(&self, role: Role, name: &str) -> Vec<(String, String)> {
        let mut variables = vec![
            (kit::lifecycle::EXIT_WITH_PARENT.to_owned(), "1".to_owned()),
            (
                "RECARGA_OPERATOR_TOKEN".to_owned(),
                self.secrets.operator_token.clone(),
            ),
            (
                "RECARGA_LOG_DIR".to_owned(),
                self.layout.logs().display().to_string(),
            ),
        ];
        // On one machine callers notice a drain within a moment; whoever set these means them.
        for (name, value) in [
            ("RECARGA_DRAIN_SECONDS", "5"),
            ("RECARGA_DRAIN_NOTICE_MS", "300"),
        ] {
            if std::env::var_os(name).is_none() {
                variables.push((name.to_owned(), value.to_owned()));
            }
        }
        let topology = self.layout.topology();
        for other in Role::ALL {
            variables.push((
                other.discovery_variable(),
                format!("topology:{}#{other}", topology.display()),
            ));
        }
        let (read_only, mutual_tls) = {
            let topology = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
            (topology.read_only, topology.mutual_tls.clone())
        };
        if read_only {
            variables.push(("RECARGA_READ_ONLY".to_owned(), "true".to_owned()));
        }
        if let Some(folder) = mutual_tls {
            variables.extend(MutualTlsArgs::of(&folder, role.name()).variables());
        }
        if role == Role::Gateway {
            variables.push((
                "RECARGA_SIGNING_KEY".to_owned(),
                self.secrets.signing_key.clone(),
            ));
        }
        if let Some(urls) = self.urls.get() {
            if role.needs_database() {
                variables.push(("RECARGA_DATABASE_URL".to_owned(), urls.database.clone()));
            }
            if role.needs_redis() {
                let url = if role == Role::Queue {
                    &urls.queue
                } else {
                    &urls.redis
                };
                variables.push(("RECARGA_REDIS_URL".to_owned(), url.clone()));
            }
        }
        if let Some(rewire) = &self.rewire {
            rewire.apply(name, &mut variables);
        }
        variables
    }

    /// Changes what is known and writes it down, so that discovery follows.
    fn change(&self, change: impl FnOnce(&mut Topology)) {
        let mut topology = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
        let before = topology.clone();
        change(&mut topology);
        self.note(&before, &topology);
        if *topology != before
            && let Err(error) = topology.store(&self.layout.topology())
        {
            self.events.send(UpEvent::Warning(error.to_string()));
        }
    }

    /// Notes when the processes changed whose state or number did.
    fn note(&self, before: &Topology, now: &Topology) {
        let of_instances = |topology: &Topology| {
            let instances = topology.instances.iter();
            instances
                .map(|it| (it.name.clone(), (Some(it.state), it.pid)))
                .chain(
                    topology
                        .stores
                        .iter()
                        .map(|it| (it.kind.clone(), (None, it.pid))),
                )
                .collect::<BTreeMap<_, _>>()
        };
        let before = of_instances(before);
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, state) in of_instances(now) {
            if before.get(&name) != Some(&state) {
                since.insert(name, Utc::now());
            }
        }
    }

    pub fn set_process(&self, job: &Job, state: State, pid: Option<u32>) {
        self.change(|topology| {
            if let Some(instance) = find(topology, job) {
                instance.state = state;
                instance.pid = pid;
            } else if let Some(store) = find_store(topology, job) {
                store.pid = pid;
            }
        });
    }

    pub fn restarting(&self, job: &Job) {
        self.change(|topology| {
            if let Some(instance) = find(topology, job) {
                instance.state = State::Restarting;
                instance.pid = None;
                instance.restarts += 1;
            } else if let Some(store) = find_store(topology, job) {
                store.pid = None;
            }
        });
    }
}

fn find<'a>(topology: &'a mut Topology, job: &Job) -> Option<&'a mut Instance> {
    let name = job.name();
    topology
        .instances
        .iter_mut()
        .find(|known| known.name == name)
}

fn find_store<'a>(topology: &'a mut Topology, job: &Job) -> Option<&'a mut Store> {
    let kind = job.name();
    topology.stores.iter_mut().find(|store| store.kind == kind)
}

impl Supervisor {
    pub(crate) fn new(
        layout: Layout,
        secrets: Secrets,
        program: PathBuf,
        events: Events,
        ports: Ports,
        topology: Topology,
        rewire: Option<Rewire>,
    ) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(|error| Error::Invalid(format!("the HTTP client: {error}")))?;
        Ok(Self {
            inner: Arc::new(Inner {
                layout,
                secrets,
                program,
                events,
                http,
                rewire,
                urls: OnceLock::new(),
                topology: Mutex::new(topology),
                since: Mutex::default(),
                ports: Mutex::new(ports),
                keepers: tokio::sync::Mutex::default(),
                changing: tokio::sync::Mutex::default(),
                closing: CancellationToken::new(),
            }),
        })
    }

    /// Everything as it is known now.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.inner
            .topology
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Since when a process is in its state.
    pub(crate) fn since(&self, name: &str) -> Option<DateTime<Utc>> {
        let since = self.inner.since.lock();
        let since = since.unwrap_or_else(PoisonError::into_inner);
        since.get(name).copied()
    }

    pub(crate) fn set_surface(&self, url: String) {
        self.inner
            .change(|topology| topology.supervisor_url = Some(url));
    }

    pub(crate) fn ports(&self) -> std::sync::MutexGuard<'_, Ports> {
        self.inner
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_store_urls(&self, urls: StoreUrls) {
        let _ = self.inner.urls.set(urls);
    }

    pub(crate) fn add_store(&self, store: Store) {
        self.inner.change(|topology| {
            topology.stores.push(store);
            topology
                .stores
                .sort_by(|left, right| left.kind.cmp(&right.kind));
        });
    }

    /// Starts a store and waits until it answers.
    pub(crate) async fn start_store(&self, job: Job) -> Result<()> {
        let name = job.name().to_owned();
        self.start(job).await?;
        self.ready(&name).await
    }

    async fn start(&self, job: Job) -> Result<()> {
        let mut keepers = self.inner.keepers.lock().await;
        if self.inner.closing.is_cancelled() {
            return Err(Error::Interrupted);
        }
        keepers.insert(
            job.name().to_owned(),
            Keeper::start(self.inner.clone(), job),
        );
        Ok(())
    }

    /// Chooses addresses for the instances and writes them down; nothing is started yet.
    pub(crate) fn plan(&self, counts: &BTreeMap<Role, usize>) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for (&role, &count) in counts {
            for number in 1..=count {
                names.push(self.plan_one(role, number)?);
            }
        }
        self.ports().save()?;
        Ok(names)
    }

    fn plan_one(&self, role: Role, number: usize) -> Result<String> {
        let (listen, admin) = self.ports().of_instance(role, number)?;
        let name = format!("{role}-{number}");
        let instance = Instance {
            role: role.name().to_owned(),
            name: name.clone(),
            listen,
            admin,
            pid: None,
            restarts: 0,
            state: State::Starting,
        };
        self.inner.change(|topology| {
            topology.instances.push(instance);
            topology
                .instances
                .sort_by_key(|instance| place_of(&instance.name));
        });
        Ok(name)
    }

    /// Writes down the URLs of the published ports, which follow from the plan.
    pub(crate) fn set_urls(&self) {
        self.inner.change(|topology| {
            let url = |role: Role| {
                let first = topology
                    .instances
                    .iter()
                    .find(|instance| instance.role == role.name());
                first.map_or_else(String::new, |instance| {
                    let mut address = instance.listen;
                    if address.ip().is_unspecified() {
                        address.set_ip(Ipv4Addr::LOCALHOST.into());
                    }
                    format!("http://{address}")
                })
            };
            let urls = [Role::Balancer, Role::Cache, Role::Queue, Role::Worker].map(url);
            [
                topology.public_url,
                topology.cache_url,
                topology.queue_url,
                topology.worker_url,
            ] = urls;
        });
    }

    /// Starts a planned instance.
    pub(crate) async fn start_instance(&self, name: &str) -> Result<()> {
        let planned = self
            .topology()
            .instances
            .into_iter()
            .find(|instance| instance.name == name);
        if let Some((instance, Ok(role))) =
            planned.map(|instance| (instance.clone(), instance.role.parse::<Role>()))
        {
            self.start(Job::Service {
                role,
                name: instance.name,
                listen: instance.listen,
                admin: instance.admin,
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until a process is ready, or has shown that it will not be.
    pub async fn ready(&self, name: &str) -> Result<()> {
        let progress = self
            .inner
            .keepers
            .lock()
            .await
            .get(name)
            .map(|keeper| keeper.progress.clone());
        let Some(mut progress) = progress else {
            return Err(Error::Invalid(format!("{name} is not running")));
        };
        let decided = progress.wait_for(|progress| match progress {
            Progress::Ready => true,
            Progress::Starting { deaths } => *deaths >= DEATHS_BEFORE_READY,
        });
        let decided = tokio::select! {
            decided = tokio::time::timeout(READY_WITHIN, decided) => decided,
            () = self.inner.closing.cancelled() => return Err(Error::Interrupted),
        };
        match decided {
            Ok(Ok(progress)) => match *progress {
                Progress::Ready => Ok(()),
                Progress::Starting { deaths } => Err(self.why_not_ready(name, Some(deaths))),
            },
            Ok(Err(_)) => Err(Error::Interrupted),
            Err(_) => Err(self.why_not_ready(name, None)),
        }
    }

    fn why_not_ready(&self, name: &str, deaths: Option<u32>) -> Error {
        let log = self.inner.layout.output(name);
        let tail = layout::tail(&log, 12);
        if tail.contains("No space left on device") {
            return Error::DiskFull {
                path: self.inner.layout.root().to_owned(),
            };
        }
        let name = name.to_owned();
        match deaths {
            Some(deaths) => Error::KeepsEnding {
                name,
                deaths,
                log,
                tail,
            },
            None => Error::NotReady {
                name,
                seconds: READY_WITHIN.as_secs(),
                log,
                tail,
            },
        }
    }

    /// Leaves a topology that says that nothing runs.
    pub(crate) fn forget(&self) {
        self.inner.change(|topology| {
            topology.supervisor_pid = None;
            topology.supervisor_url = None;
            topology.stores.clear();
            topology.instances.clear();
        });
    }

    /// Stops everything: the edge first, the stores last.
    pub async fn stop(&self) {
        self.inner.closing.cancel();
        // A change on its way ends first, so that nothing is stopped too early or forgotten.
        let _changing = self.inner.changing.lock().await;
        for stage in 0..=4_u8 {
            let mut keepers = self.inner.keepers.lock().await;
            let names: Vec<String> = keepers
                .iter()
                .filter(|(_, keeper)| stage_of(&keeper.job) == stage)
                .map(|(name, _)| name.clone())
                .collect();
            let stage: Vec<Keeper> = names
                .iter()
                .filter_map(|name| keepers.remove(name))
                .collect();
            drop(keepers);
            join_all(stage.into_iter().map(Keeper::stop)).await;
        }
    }
}

fn stage_of(job: &Job) -> u8 {
    match job {
        Job::Service { role, .. } => role.stop_stage(),
        Job::Postgres(_) | Job::Redis(_) => 4,
    }
}

/// Orders instances along a request's path, then by number.
fn place_of(name: &str) -> (usize, usize) {
    let (role, number) = name.rsplit_once('-').unwrap_or((name, "0"));
    let role = Role::ALL
        .into_iter()
        .position(|known| known.name() == role)
        .unwrap_or(Role::ALL.len());
    (role, number.parse().unwrap_or(0))
}

async fn join_all(tasks: impl Iterator<Item = impl Future<Output = ()> + Send>) {
    // Few and cheap, so polling them together in one task is enough.
    let mut tasks: Vec<_> = tasks.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
        if tasks.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_ordered_along_the_path_and_by_number() {
        let mut names = ["queue-1", "gateway-10", "gateway-2", "balancer-1"];
        names.sort_by_key(|name| place_of(name));
        assert_eq!(names, ["balancer-1", "gateway-2", "gateway-10", "queue-1"]);
    }
}
