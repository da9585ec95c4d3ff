//! A whole lab in a folder of its own, for tests that need one from end to end.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

const RECARGA: &str = env!("CARGO_BIN_EXE_recarga");

/// A lab starts its stores and fills them first, here in an unoptimised build.
const READY: Duration = Duration::from_mins(3);

/// How the folders' names begin; the process that made it follows.
const PREFIX: &str = "whole-";

/// It ends with this process at the latest.
pub struct Whole {
    folder: TempDir,
    /// The end of its standard input stops it.
    child: Child,
}

impl Whole {
    /// Starts one on free ports and waits until everything in it is healthy.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more in its environment.
    pub fn start_with(environment: &[(&str, String)]) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        clear_left_behind(parent);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = TempDir::with_prefix_in(prefix, parent).unwrap();
        // The account of the stores may enter.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let log = std::fs::File::create(folder.path().join("up.txt")).unwrap();
        let child = Command::new(RECARGA)
            .args(["up", "--no-console", "--free-ports", "--dir"])
            .arg(folder.path())
            .env("RECARGA_EXIT_WITH_PARENT", "1")
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut whole = Self { folder, child };
        let started = Instant::now();
        while !whole.is_ready() {
            let ended = whole.child.try_wait().unwrap();
            let in_time = started.elapsed() < READY;
            assert!(
                ended.is_none() && in_time,
                "not ready after {:?}, {ended:?}: {}",
                started.elapsed(),
                std::fs::read_to_string(whole.path().join("up.txt")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        whole
    }

    fn is_ready(&self) -> bool {
        let status = self.recarga(&["status", "--json"]);
        let document: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let all = document["topology"]["instances"].as_array();
        document["healthy"] == true && all.is_some_and(|all| all.len() >= 15)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Another command of the binary, on this lab.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RECARGA);
        command
            .args(["--dir".as_ref(), self.path().as_os_str()])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub fn recarga(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Folders of test processes that are gone: one that is kept to the end of its process is not removed by it.
fn clear_left_behind(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
