//! A proxy between each process of a lab and whatever it talks to, wired in through what services are told at their start.
//!
//! Stores are found by their URLs. Other services are found through the lab's topology file, of which each process gets
//! its own copy with the addresses of its own proxies. The supervisor and the clients see the lab as it is.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use host::Rewire;
use kit::Topology;
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Proxy, Toxics};

/// How often the copies are brought up to date.
const EVERY: Duration = Duration::from_millis(100);

/// Who connects to whom, by their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair {
    pub from: String,
    pub to: String,
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} → {}", self.from, self.to)
    }
}

/// All proxies of a lab; cheap to clone, and gone with the last clone.
#[derive(Clone, Debug)]
pub struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The lab's own topology file.
    topology: PathBuf,
    /// Where the copies are.
    folder: PathBuf,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    proxies: BTreeMap<Pair, Proxy>,
    /// Those who have a copy, and what is in it.
    copies: BTreeMap<String, Option<Topology>>,
}

impl Board {
    /// A board for the lab whose topology file this is; the copies go to `folder`, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(topology: &Path, folder: &Path, seed: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self(Arc::new(Inner {
            topology: topology.to_owned(),
            folder: folder.to_owned(),
            seed,
            state: Mutex::default(),
        })))
    }

    /// For the lab's options. `extra` is added to what every service is told.
    #[must_use]
    pub fn rewire(&self, extra: Vec<(String, String)>) -> Rewire {
        let board = self.clone();
        Rewire::new(move |instance, variables| {
            board.change(instance, variables);
            variables.extend(extra.iter().cloned());
        })
    }

    /// Keeps the copies up to date until the guard is dropped.
    #[must_use]
    pub fn follow(&self) -> DropGuard {
        let (board, stop) = (self.clone(), CancellationToken::new());
        let stopped = stop.clone();
        tokio::spawn(async move {
            while !stopped.is_cancelled() {
                board.refresh();
                tokio::time::sleep(EVERY).await;
            }
        });
        stop.drop_guard()
    }

    /// Every pair that has a proxy.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        self.state().proxies.keys().cloned().collect()
    }

    /// Puts faults between two; false when there is no such pair.
    #[must_use]
    pub fn set(&self, pair: &Pair, toxics: Toxics) -> bool {
        let state = self.state();
        let proxy = state.proxies.get(pair);
        if let Some(proxy) = proxy {
            proxy.set(toxics);
        }
        proxy.is_some()
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        for proxy in self.state().proxies.values() {
            if !proxy.toxics().is_clear() {
                proxy.set(Toxics::default());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy_of(&self, instance: &str) -> PathBuf {
        self.0.folder.join(format!("{instance}.json"))
    }

    fn change(&self, instance: &str, variables: &mut [(String, String)]) {
        // Without one it starts with the real addresses, and nothing breaks between it and others.
        let Ok(topology) = Topology::load(&self.0.topology) else {
            return;
        };
        let original = format!("topology:{}#", self.0.topology.display());
        let copy = format!("topology:{}#", self.copy_of(instance).display());
        let mut state = self.state();
        for (_, value) in variables.iter_mut() {
            if let Some(role) = value.strip_prefix(&original) {
                *value = format!("{copy}{role}");
            } else if let Some(changed) = self.url(&mut state, &topology, instance, value) {
                *value = changed;
            }
        }
        state.copies.entry(instance.to_owned()).or_default();
        self.write(&mut state, instance, &topology);
    }

    /// The URL of a store with the address of a proxy before it.
    fn url(
        &self,
        state: &mut State,
        topology: &Topology,
        instance: &str,
        value: &str,
    ) -> Option<String> {
        let mut url = url::Url::parse(value).ok()?;
        if !matches!(url.scheme(), "postgres" | "postgresql" | "redis") {
            return None;
        }
        let address: SocketAddr = format!("{}:{}", url.host_str()?, url.port()?)
            .parse()
            .ok()?;
        let store = topology
            .stores
            .iter()
            .find(|store| store.address == address.to_string())?;
        let proxy = self.proxy(state, instance, &store.kind, address)?;
        url.set_ip_host(proxy.ip()).ok()?;
        url.set_port(Some(proxy.port())).ok()?;
        Some(url.to_string())
    }

    fn proxy(
        &self,
        state: &mut State,
        from: &str,
        to: &str,
        target: SocketAddr,
    ) -> Option<SocketAddr> {
        let pair = Pair {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        if let Some(known) = state.proxies.get(&pair).filter(|p| p.target() == target) {
            return Some(known.address());
        }
        let seed = pair.to_string().bytes().fold(self.0.seed, |seed, byte| {
            seed.wrapping_mul(31) ^ u64::from(byte)
        });
        let proxy = Proxy::start(target, seed).ok()?;
        let address = proxy.address();
        state.proxies.insert(pair, proxy);
        Some(address)
    }

    fn refresh(&self) {
        let Ok(topology) = Topology::load(&self.0.topology) else {
            return;
        };
        let mut state = self.state();
        let instances: Vec<String> = state.copies.keys().cloned().collect();
        for instance in instances {
            self.write(&mut state, &instance, &topology);
        }
    }

    fn write(&self, state: &mut State, instance: &str, topology: &Topology) {
        let mut copy = topology.clone();
        for other in &mut copy.instances {
            if other.name == instance || !calls(instance, &other.role) {
                continue;
            }
            if let Some(proxy) = self.proxy(state, instance, &other.name, other.listen) {
                other.listen = proxy;
            }
        }
        let known = state.copies.entry(instance.to_owned()).or_default();
        if known.as_ref() != Some(&copy) && copy.store(&self.copy_of(instance)).is_ok() {
            *known = Some(copy);
        }
    }
}

/// Whether one calls instances of a role: nobody needs the other proxies.
fn calls(instance: &str, role: &str) -> bool {
    match instance.rsplit_once('-').map_or(instance, |(role, _)| role) {
        "balancer" => role == "gateway",
        "gateway" => !matches!(role, "balancer" | "gateway" | "notification"),
        "travel" | "booking" => matches!(role, "cache" | "queue"),
        "worker" | "notification" => role == "queue",
        _ => false,
    }
}
