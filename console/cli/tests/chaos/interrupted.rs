//! Ctrl-C in the middle of a round leaves nothing running and nothing lying about.

use std::{fs, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{command, seat};

/// Everything is stopped by then, or never will be.
const PATIENCE: Duration = Duration::from_mins(2);
/// What the command ends with when it was stopped by a signal.
const INTERRUPTED: i32 = 130;

#[tokio::test]
async fn an_interrupted_run_cleans_up() {
    let _seat = seat().await;
    let mut child = command(&["--rounds", "100"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut folder = None;
    let first_round = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, path)) = line.split_once(" runs in ") {
                folder = Some(path.to_owned());
            }
            if line.starts_with("round ") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, first_round).await.unwrap();
    let folder = folder.unwrap();
    assert!(
        !users(&folder).is_empty(),
        "the lab's processes are known by its folder"
    );

    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(INTERRUPTED));
    assert_eq!(users(&folder), Vec::<String>::new());
    assert!(!Path::new(&folder).exists());
}

/// The processes that have to do with a folder, by what they were started with.
fn users(folder: &str) -> Vec<String> {
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let words = read("cmdline");
        // One that is only waiting to be buried has neither.
        if words.contains(folder) || read("environ").contains(folder) {
            users.push(words);
        }
    }
    users
}
