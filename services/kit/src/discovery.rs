//! Where the instances of a role are: a fixed list, DNS, or a lab's topology file, watched for changes.

mod dns;
#[cfg(test)]
mod name_server;
mod pace;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration,
};

use tokio::sync::watch;

use crate::{Shutdown, Topology, topology::State};
use pace::Pace;

pub use dns::DnsName;

/// How often names are asked for at the least, unless told otherwise: Docker says that its answers hold for ten minutes, and
/// changes them when a service is scaled.
pub const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often the topology file is looked at.
const FILE_INTERVAL: Duration = Duration::from_millis(250);

/// One instance that may be called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its name, when the source knows it; its `/health` tells it otherwise.
    pub name: Option<String>,
    pub address: SocketAddr,
}

impl Endpoint {
    fn unnamed(address: SocketAddr) -> Self {
        Self {
            name: None,
            address,
        }
    }
}

/// A way to find instances, parsed from a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `127.0.0.1:8101,127.0.0.1:8102`, with or without `http://`; host names are looked up as the system does it, one address
    /// each.
    List(Vec<String>),
    /// `dns:gateway:8080`: every address of the name. The record's time to live is obeyed, but for never less than a second nor
    /// more than the longest wait. `dns:gateway.service.consul:8080@127.0.0.1:8600` asks that name server.
    Dns(DnsName),
    /// `topology:PATH#ROLE`.
    Topology { path: PathBuf, role: String },
}

/// A source that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither HOST:PORT[,HOST:PORT…], dns:NAME:PORT[@SERVER[:PORT]] nor topology:PATH#ROLE"
)]
pub struct InvalidSource(String);

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        let invalid = || InvalidSource(text.to_owned());
        let has_port = |address: &str| {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        if let Some(name) = text.strip_prefix("dns:") {
            return name.parse().map(Self::Dns).map_err(|()| invalid());
        }
        if let Some(rest) = text.strip_prefix("topology:") {
            let (path, role) = rest.rsplit_once('#').ok_or_else(invalid)?;
            if path.is_empty() || role.is_empty() {
                return Err(invalid());
            }
            return Ok(Self::Topology {
                path: path.into(),
                role: role.to_owned(),
            });
        }
        let list: Vec<String> = text
            .split(',')
            .map(|entry| {
                entry
                    .trim()
                    .trim_start_matches("http://")
                    .trim_end_matches('/')
                    .to_owned()
            })
            .filter(|entry| !entry.is_empty())
            .collect();
        if list.is_empty() || !list.iter().all(|entry| has_port(entry)) {
            return Err(invalid());
        }
        Ok(Self::List(list))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(entries) => formatter.write_str(&entries.join(",")),
            Self::Dns(name) => write!(formatter, "dns:{name}"),
            Self::Topology { path, role } => {
                write!(formatter, "topology:{}#{role}", path.display())
            }
        }
    }
}

impl Source {
    /// [`Self::watch_within`] the usual longest wait, for those who have no configuration.
    pub async fn watch(self, shutdown: Shutdown) -> watch::Receiver<Vec<Endpoint>> {
        self.watch_within(LONGEST_WAIT, shutdown).await
    }

    /// The endpoints as they are now and as they change, until the shutdown. Names are looked up again after at most `longest`.
    /// While a look-up fails, the last good set stays.
    pub async fn watch_within(
        self,
        longest: Duration,
        shutdown: Shutdown,
    ) -> watch::Receiver<Vec<Endpoint>> {
        let mut watcher = Watcher::new(self, longest);
        let (sender, receiver) = watch::channel(Vec::new());
        let mut wait = watcher.round(&sender).await;
        tokio::spawn(async move {
            let go_on = async {
                loop {
                    tokio::time::sleep(wait).await;
                    wait = watcher.round(&sender).await;
                }
            };
            tokio::select! {
                () = go_on => {}
                () = shutdown.requested() => {}
                () = sender.closed() => {}
            }
        });
        receiver
    }
}

/// Looks at one source again and again.
struct Watcher {
    source: Source,
    /// What the names of a list stood for when they were last looked up.
    resolved: HashMap<String, SocketAddr>,
    pace: Pace,
}

/// What one look gave.
struct Found {
    endpoints: Vec<Endpoint>,
    /// How long it may be believed.
    ttl: Duration,
    /// A part that could not be looked up and is as it was.
    trouble: Option<Trouble>,
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

impl Watcher {
    fn new(source: Source, longest: Duration) -> Self {
        Self {
            source,
            resolved: HashMap::new(),
            pace: Pace::new(longest),
        }
    }

    /// Looks once, tells `known` of a change, and says how long to wait before the next time.
    async fn round(&mut self, known: &watch::Sender<Vec<Endpoint>>) -> Duration {
        let was_failing = self.pace.is_failing();
        let source = self.source.to_string();
        let (ttl, trouble) = match self.look_up().await {
            Ok(found) => {
                known.send_if_modified(|known| {
                    let changed = *known != found.endpoints;
                    if changed {
                        tracing::info!(
                            source,
                            before = known.len(),
                            now = found.endpoints.len(),
                            "the known instances changed"
                        );
                        *known = found.endpoints;
                    }
                    changed
                });
                (found.ttl, found.trouble)
            }
            Err(error) => (Duration::ZERO, Some(error)),
        };
        let wait = match trouble {
            None => {
                if was_failing {
                    tracing::info!(source, "discovery works again");
                }
                self.pace.answered(ttl)
            }
            Some(error) => {
                if !was_failing {
                    let known = known.borrow().len();
                    tracing::warn!(source, error = %error, known, "discovery fails; the last known instances stay");
                }
                self.pace.failed(rand::random())
            }
        };
        match self.source {
            Source::Topology { .. } => FILE_INTERVAL,
            Source::List(_) | Source::Dns(_) => wait,
        }
    }

    async fn look_up(&mut self) -> Result<Found, Trouble> {
        match &self.source {
            Source::List(entries) => {
                let mut found = Found {
                    endpoints: Vec::with_capacity(entries.len()),
                    ttl: Duration::MAX,
                    trouble: None,
                };
                for entry in entries {
                    match first_address(entry).await {
                        Ok(address) => {
                            self.resolved.insert(entry.clone(), address);
                        }
                        Err(error) => found.trouble = Some(format!("{entry}: {error}").into()),
                    }
                    let address = self.resolved.get(entry).copied();
                    found.endpoints.extend(address.map(Endpoint::unnamed));
                }
                Ok(found)
            }
            Source::Dns(name) => {
                let addresses = name.look_up().await?;
                Ok(Found {
                    endpoints: addresses.found.into_iter().map(Endpoint::unnamed).collect(),
                    ttl: addresses.ttl,
                    trouble: None,
                })
            }
            Source::Topology { path, role } => {
                let path = path.clone();
                let topology = tokio::task::spawn_blocking(move || Topology::load(&path)).await??;
                let endpoints = topology
                    .of_role(role)
                    .filter(|instance| instance.state != State::Stopped)
                    .map(|instance| Endpoint {
                        name: Some(instance.name.clone()),
                        address: instance.listen,
                    })
                    .collect();
                Ok(Found {
                    endpoints,
                    ttl: FILE_INTERVAL,
                    trouble: None,
                })
            }
        }
    }
}

/// An address of an entry of a list, an IPv4 one where there is one.
async fn first_address(entry: &str) -> std::io::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(entry).await?.collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first())
        .copied()
        .ok_or_else(|| std::io::Error::other("it has no address"))
}
