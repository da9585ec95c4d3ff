//! The one lab of this test binary, and what each test takes from it for itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long the lab may take to be ready, seeding included, in an unoptimised build.
const READY: Duration = Duration::from_mins(3);

pub struct Lab {
    topology: PathBuf,
    secrets: Value,
    cards: AtomicU64,
    tutors: AtomicU64,
    names: AtomicU64,
    calm: RwLock<()>,
    /// Its standard input ends with this process, and the lab with it.
    _child: Child,
}

/// The lab, started by whoever asks first.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();
    match LAB.get_or_init(start) {
        Ok(lab) => lab,
        Err(error) => panic!("{error}"),
    }
}

impl Lab {
    /// What is running where, now.
    pub fn topology(&self) -> kit::Topology {
        kit::Topology::load(&self.topology).unwrap()
    }

    pub fn topology_path(&self) -> &Path {
        &self.topology
    }

    pub fn secret(&self, name: &str) -> &str {
        self.secrets[name]
            .as_str()
            .unwrap_or_else(|| panic!("secrets.json has no {name}"))
    }

    /// An instance by its name.
    pub fn instance(&self, name: &str) -> kit::topology::Instance {
        let topology = self.topology();
        topology
            .instances
            .into_iter()
            .find(|instance| instance.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// The address of an instance's admin surface.
    pub fn admin(&self, name: &str) -> String {
        format!("http://{}", self.instance(name).admin)
    }

    /// An active card that no other test uses.
    pub fn own_card(&self) -> u64 {
        let card = self.cards.fetch_add(1, Ordering::Relaxed);
        assert!(card <= 100, "only cards 1 to 100 are sure to be active");
        card
    }

    /// A tutor that no other test uses.
    pub fn own_tutor(&self) -> u64 {
        self.tutors.fetch_add(1, Ordering::Relaxed)
    }

    /// A word that no other test and no other run uses.
    pub fn own_name(&self, prefix: &str) -> String {
        format!(
            "{prefix}-{}-{}",
            std::process::id(),
            self.names.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Held by tests that need the cache, the workers and all instances left alone.
    pub async fn calm(&self) -> RwLockReadGuard<'_, ()> {
        self.calm.read().await
    }

    /// Held by tests that flush, pause, drain or crash what others use.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.calm.write().await
    }
}

/// Waits until `condition` gives something, for at most `limit`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        pause.tick().await;
    }
}

fn start() -> Result<Lab, String> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    clear_left_behind(parent);
    let directory = parent.join(format!("contract-{}", std::process::id()));
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let log = std::fs::File::create(directory.join("up.txt")).map_err(|error| error.to_string())?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_recarga"))
        .args(["up", "--no-console", "--free-ports", "--dir"])
        .arg(&directory)
        .env("RECARGA_EXIT_WITH_PARENT", "1")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().map_err(|error| error.to_string())?)
        .stderr(log)
        .spawn()
        .map_err(|error| format!("recarga up does not start: {error}"))?;
    let topology = directory.join("topology.json");
    let started = Instant::now();
    let fail = |reason: &str| {
        let log = std::fs::read_to_string(directory.join("up.txt")).unwrap_or_default();
        format!("recarga up {reason}\n{log}")
    };
    while !is_ready(&topology) {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(fail(&format!("ended with {status}")));
        }
        if started.elapsed() > READY {
            return Err(fail(&format!("was not ready within {READY:?}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let secrets =
        std::fs::read(directory.join("secrets.json")).map_err(|error| error.to_string())?;
    let secrets = serde_json::from_slice(&secrets).map_err(|error| error.to_string())?;
    let count = || AtomicU64::new(1);
    Ok(Lab {
        topology,
        secrets,
        cards: count(),
        tutors: AtomicU64::new(2),
        names: count(),
        calm: RwLock::new(()),
        _child: child,
    })
}

/// Ready is: the supervisor found everything ready, upstreams included, and everything says so itself.
fn is_ready(topology: &Path) -> bool {
    let Ok(topology) = kit::Topology::load(topology) else {
        return false;
    };
    topology.instances.len() >= 14
        && topology.instances.iter().all(|instance| {
            instance.state == kit::topology::State::Running && answers(instance.admin)
        })
}

fn answers(admin: std::net::SocketAddr) -> bool {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect_timeout(&admin, Duration::from_millis(200))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

/// Folders of test processes that are gone.
fn clear_left_behind(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(pid) = name.strip_prefix("contract-")
            && !Path::new("/proc").join(pid).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
