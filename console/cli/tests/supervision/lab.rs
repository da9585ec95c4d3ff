//! A lab of its own for each test, and what its processes are doing.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use kit::{
    Topology,
    topology::{Instance, State},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::watch,
};

/// Everything a lab does in these tests is over by then, or never will be.
const PATIENCE: Duration = Duration::from_mins(2);

pub const RECARGA: &str = env!("CARGO_BIN_EXE_recarga");

/// A running `recarga up`, in a folder that is removed with it.
pub struct Lab {
    pub child: Child,
    /// Its end would stop the lab, and waiting for a child closes what is left in it.
    _input: ChildStdin,
    folder: TempDir,
    lines: watch::Receiver<Vec<String>>,
}

/// A temporary folder that the stores' account may enter.
pub fn folder() -> TempDir {
    let folder = TempDir::with_prefix_in("supervision-", env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

impl Lab {
    /// Starts a small lab and waits until it says that it is ready.
    pub async fn start() -> Self {
        let lab = Self::spawn(folder(), &["--free-ports"]);
        lab.line("the lab is ready", |line| line.starts_with("ready: "))
            .await;
        lab
    }

    pub fn spawn(folder: TempDir, arguments: &[&str]) -> Self {
        let mut child = Command::new(RECARGA)
            .args(["up", "--no-console", "--dir"])
            .arg(folder.path())
            .args(arguments)
            .env("RECARGA_EXIT_WITH_PARENT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, lines) = watch::channel(Vec::new());
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        Self {
            _input: child.stdin.take().unwrap(),
            child,
            folder,
            lines,
        }
    }

    /// Waits for a line that `up` prints.
    pub async fn line(&self, what: &str, matches: impl Fn(&str) -> bool) {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|line| matches(line)));
        let found = tokio::time::timeout(PATIENCE, found).await;
        assert!(
            matches!(found, Ok(Ok(_))),
            "{what}: not so after\n{}",
            self.lines.borrow().join("\n")
        );
    }

    /// Keeps the folder of a lab that has ended.
    pub fn into_folder(self) -> TempDir {
        self.folder
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn topology(&self) -> Topology {
        Topology::load(&self.path().join("topology.json")).unwrap()
    }

    pub fn instance(&self, name: &str) -> Option<Instance> {
        let topology = self.topology();
        topology
            .instances
            .into_iter()
            .find(|instance| instance.name == name)
    }

    /// Every process of the lab but its supervisor: services, stores, guards.
    pub fn processes(&self) -> Vec<u32> {
        let topology = self.topology();
        let instances = topology
            .instances
            .iter()
            .filter_map(|instance| instance.pid);
        let stores = topology.stores.iter().filter_map(|store| store.pid);
        instances
            .chain(stores)
            .chain(children(self.child.id().unwrap()))
            .collect()
    }

    /// Runs another command of the binary on this lab.
    pub async fn recarga(&self, arguments: &[&str]) -> Output {
        Command::new(RECARGA)
            .arg("--dir")
            .arg(self.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap()
    }

    /// Waits until an instance runs with more restarts than before.
    pub async fn back(&self, name: &str, restarts: u32) -> Instance {
        let mut found = None;
        eventually(&format!("{name} is back"), || {
            found = self.instance(name).filter(|instance| {
                instance.state == State::Running && instance.restarts > restarts
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, wait).await;
    assert!(held.is_ok(), "waited in vain: {what}");
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Waits until none of the processes is there any more.
pub async fn gone(processes: &[u32]) {
    let mut left = Vec::new();
    let wait = async {
        loop {
            left = processes
                .iter()
                .copied()
                .filter(|&pid| is_alive(pid))
                .collect();
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(40), wait).await;
    let words: Vec<String> = left.iter().map(|&pid| command_line(pid)).collect();
    assert!(ended.is_ok(), "left behind: {words:?}");
}

/// One that only waits to be buried does nothing any more.
fn is_alive(pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = status
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

fn command_line(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid}: {}", text.replace('\0', " "))
}

fn children(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let path = task.unwrap().path().join("children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .map(|pid| pid.parse::<u32>().unwrap()),
        );
    }
    children
}
