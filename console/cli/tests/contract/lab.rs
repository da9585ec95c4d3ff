//! The one lab of this test binary, and what each test takes from it for itself.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::api::Api;
use crate::whole::Whole;

pub struct Lab {
    whole: Whole,
    topology: PathBuf,
    secrets: Value,
    cards: AtomicU64,
    tutors: AtomicU64,
    names: AtomicU64,
    calm: RwLock<()>,
}

/// The lab, started by whoever asks first.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(Lab::start)
}

impl Lab {
    fn start() -> Self {
        let whole = Whole::start();
        let secrets = std::fs::read(whole.path().join("secrets.json")).unwrap();
        Self {
            topology: whole.path().join("topology.json"),
            whole,
            secrets: serde_json::from_slice(&secrets).unwrap(),
            cards: AtomicU64::new(101),
            tutors: AtomicU64::new(13),
            names: AtomicU64::new(1),
            calm: RwLock::new(()),
        }
    }

    /// The lab's folder.
    pub fn folder(&self) -> &Path {
        self.whole.path()
    }

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

    /// An active card that no other test uses, nor the traffic that a test starts: that one is about cards 1 to 100.
    pub async fn own_card(&self) -> u64 {
        let api = Api::user().await;
        loop {
            let card = self.cards.fetch_add(1, Ordering::Relaxed);
            assert!(card <= 600, "the later ones are searched by property");
            let answer = api.get(&format!("/cards/{card}/balance")).await.expect(200);
            if answer.body["status"] == "active" {
                return card;
            }
        }
    }

    /// A tutor that no other test uses, nor the traffic that a test starts: that one books with the first twelve.
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
