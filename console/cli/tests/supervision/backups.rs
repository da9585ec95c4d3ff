//! A backup of a lab under load; everything deleted; what was acknowledged before it is there again, once.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::process::Command;

use crate::lab::{Lab, RECARGA, folder};

fn words(output: &Output) -> String {
    format!(
        "{:?} {}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

async fn recarga(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(RECARGA)
        .arg("--dir")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

async fn down(mut lab: Lab) {
    let down = lab.recarga(&["down"]).await;
    assert!(down.status.success(), "{}", words(&down));
    lab.child.wait().await.unwrap();
}

#[tokio::test]
async fn a_lab_under_load_is_backed_up_deleted_and_restored() {
    let shelf = folder();
    let at = |name: &str| shelf.path().join(name).display().to_string();
    let (journal, key) = (at("journal"), at("key"));
    std::fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    let lab = Lab::start().await;
    let load = ["load", "--mix", "writes", "--connections", "4"];
    let first = recarga(
        lab.path(),
        &[&load[..], &["--duration", "3s", "--journal", &journal]].concat(),
    )
    .await;
    assert!(first.status.success(), "{}", words(&first));

    // While others write on, whom nobody asks afterwards.
    let mut others = Command::new(RECARGA)
        .arg("--dir")
        .arg(lab.path())
        .args(load)
        .args(["--duration", "1m"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let shelves = at("backups");
    let backup = [
        "backup",
        "--to",
        &shelves,
        "--key-file",
        &key,
        "--keep",
        "2",
    ];
    for _ in 0..3 {
        let made = recarga(lab.path(), &backup).await;
        assert!(made.status.success(), "{}", words(&made));
    }
    assert!(others.try_wait().unwrap().is_none(), "the load has ended");
    others.kill().await.unwrap();
    let mut kept: Vec<_> = std::fs::read_dir(&shelves)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_name() != ".lock")
        .map(|entry| entry.path().display().to_string())
        .collect();
    kept.sort();
    assert_eq!(kept.len(), 2, "{kept:?}");
    let newest = &kept[1];
    down(lab).await;

    // A restore of its own, which leaves nothing behind.
    let proof = recarga(
        shelf.path(),
        &[
            "backup",
            "verify",
            newest,
            "--key-file",
            &key,
            "--journal",
            &journal,
        ],
    )
    .await;
    assert!(proof.status.success(), "{}", words(&proof));
    let refused = recarga(shelf.path(), &["backup", "verify", newest]).await;
    assert!(
        words(&refused).contains("is encrypted"),
        "{}",
        words(&refused)
    );

    // Into a new lab, which then goes on; what was on its way arrives.
    let place = folder();
    let restored = recarga(place.path(), &["restore", newest, "--key-file", &key]).await;
    assert!(restored.status.success(), "{}", words(&restored));
    let again = recarga(place.path(), &["restore", newest, "--key-file", &key]).await;
    assert!(words(&again).contains("is not empty"), "{}", words(&again));
    let lab = Lab::spawn(place, &["--free-ports"]);
    lab.line("the lab is ready", |line| line.starts_with("ready: "))
        .await;
    let refused = recarga(lab.path(), &["restore", newest, "--key-file", &key]).await;
    assert!(
        words(&refused).contains("stop it first"),
        "{}",
        words(&refused)
    );
    let verified = recarga(
        lab.path(),
        &["verify", "--journal", &journal, "--reads", "100", "--json"],
    )
    .await;
    assert!(verified.status.success(), "{}", words(&verified));
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(report.to_string().len() > 100, "{report}");
    down(lab).await;
}
