//! Benchmarks as processes: what they find, and that nothing of theirs is left behind.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::lab::{Lab, RECARGA, eventually, folder, gone, signal};

/// A benchmark whose temporary folders are in this one, with short rounds that a debug build can stand.
fn bench(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(RECARGA);
    command
        .arg("--dir")
        .arg(folder.path().join("no-lab-here"))
        .arg("bench")
        .args(arguments)
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

const SHORT: [&str; 6] = ["--quick", "-d", "200ms", "--warm-up", "100ms", "--json"];

fn document(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// Everything below a process.
fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((pid, parent.parse().ok()?))
        })
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| pid),
        );
        at += 1;
    }
    found.split_off(1)
}

#[tokio::test]
async fn the_edge_is_measured_side_by_side() {
    let folder = folder();
    let table = folder.path().join("table.md");
    let output = bench(&folder, &["edge", "-c", "4", "--output"])
        .arg(&table)
        .args(SHORT)
        .output();
    let document = document(&output.await.unwrap());
    let rows = document["edge"][0]["rows"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["proxy"].as_str().unwrap())
        .collect();
    for name in [
        "direct",
        "recarga",
        "nginx",
        "nginx +h",
        "HAProxy",
        "HAProxy +h",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for row in rows {
        let figures = &row["figures"];
        if figures.is_null() {
            // Only who is not installed may be absent, and then with the command that installs it.
            let words = row["absent"].as_str().unwrap();
            assert!(words.contains("install"), "{row}");
            continue;
        }
        assert!(figures["rate"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(figures["errors"], 0, "{row}");
        assert!(figures["of_reference"].as_f64().unwrap() > 0.0, "{row}");
        assert!(figures["memory_bytes"].as_f64().unwrap() > 0.0, "{row}");
        let role = if row["proxy"] == "direct" {
            "upstream"
        } else {
            "proxy"
        };
        assert!(
            figures["cpu_us"][role]["total"].as_f64().unwrap() > 0.0,
            "{row}"
        );
    }
    assert!(document["chain"].is_null());
    let text = std::fs::read_to_string(&table).unwrap();
    assert!(text.contains("| recarga |"), "{text}");
    std::fs::remove_file(&table).unwrap();
    assert!(is_empty(folder.path()), "temporary folders are removed");
}

#[tokio::test]
async fn the_built_in_upstreams_do_without_nginx() {
    let folder = folder();
    let mut command = bench(
        &folder,
        &[
            "edge",
            "-c",
            "2",
            "--bodies",
            "70000",
            "--built-in-upstreams",
        ],
    );
    let document = document(&command.args(SHORT).output().await.unwrap());
    let cell = &document["edge"][0];
    assert_eq!(cell["upstreams"], "built in, one thread");
    for row in cell["rows"].as_array().unwrap().iter().take(2) {
        assert!(row["figures"]["rate"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["figures"]["errors"], 0, "{row}");
    }
}

/// Starts a long benchmark and waits until it measures; it and all its processes.
async fn measuring(folder: &TempDir) -> (Child, Vec<u32>) {
    let log = folder.path().join("said");
    let mut command = bench(folder, &["edge", "-c", "2", "--quick", "-d", "10m"]);
    command
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    eventually("the benchmark measures", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("round 1 of")
    })
    .await;
    let processes = descendants(child.id().unwrap());
    assert!(processes.len() >= 2, "upstream and balancer at least");
    (child, processes)
}

#[tokio::test]
async fn an_interrupted_benchmark_leaves_nothing_behind() {
    let folder = folder();
    let (mut child, processes) = measuring(&folder).await;
    signal(child.id().unwrap(), Signal::INT);
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait());
    assert_eq!(status.await.unwrap().unwrap().code(), Some(130));
    gone(&processes).await;
}

#[tokio::test]
async fn a_killed_benchmark_leaves_nothing_running() {
    let folder = folder();
    let (mut child, processes) = measuring(&folder).await;
    child.kill().await.unwrap();
    gone(&processes).await;
}

#[tokio::test]
async fn overload_is_measured_against_a_known_capacity() {
    let folder = folder();
    let arguments = [
        "overload",
        "--times",
        "3",
        "-d",
        "1s",
        "--service-time",
        "20ms",
        "--at-a-time",
        "1",
        "--upstreams",
        "2",
        "--patience",
        "300ms",
        "--json",
    ];
    let document = document(&bench(&folder, &arguments).output().await.unwrap());
    let peak = document["peak"].as_f64().unwrap();
    // Two at a time for 20 ms each.
    assert!(peak > 0.0 && peak <= 101.0, "{document}");
    let off = &document["overload"][0];
    assert_eq!(off["admission"], "off");
    let offered = off["offered"].as_f64().unwrap();
    assert!((1.5..6.0).contains(&(offered / peak)), "{document}");
    assert!(off["goodput"].as_f64().unwrap() <= 135.0, "{document}");
    let missed = off["given_up"].as_f64().unwrap() + off["refused"].as_f64().unwrap();
    assert!(missed > 0.2, "{document}");
    assert!(is_empty(folder.path()));
}

#[tokio::test]
async fn the_chain_of_a_lab_is_measured_and_its_delays_put_back() {
    let lab = Lab::start().await;
    let services: Vec<_> = lab.topology().of_role("exercise").cloned().collect();
    let output = lab
        .recarga(&[&["bench", "chain", "-c", "2"][..], &SHORT[..]].concat())
        .await;
    let document = document(&output);
    let layers = document["chain"]["layers"].as_array().unwrap();
    let layer = |name: &str| {
        let found = layers.iter().find(|layer| layer["name"] == name);
        let figures = &found.unwrap_or_else(|| panic!("{name} in {document}"))["figures"];
        assert!(
            figures["rate"].as_f64().unwrap() > 0.0,
            "{name}: {document}"
        );
        assert_eq!(figures["errors"], 0, "{name}: {document}");
        let roles = figures["cpu_us"].as_object().unwrap();
        roles.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(layer("service"), ["service"]);
    assert_eq!(layer("+ balancer"), ["balancer", "service"]);
    assert_eq!(layer("+ gateway"), ["balancer", "gateway", "service"]);
    assert_eq!(layer("+ auth"), ["balancer", "gateway", "service"]);
    assert_eq!(layer("+ cache"), ["balancer", "cache", "gateway", "redis"]);
    assert_eq!(
        layer("cached, without a token"),
        ["balancer", "cache", "gateway", "redis"]
    );

    let secrets = std::fs::read_to_string(lab.path().join("secrets.json")).unwrap();
    let secrets: Value = serde_json::from_str(&secrets).unwrap();
    let http = reqwest::Client::new();
    for service in services {
        let url = format!("http://{}/admin/delays", service.admin);
        let token = secrets["operator_token"].as_str().unwrap();
        let answer = http.get(url).bearer_auth(token).send().await.unwrap();
        let delays: Value = answer.json().await.unwrap();
        assert_eq!(delays["process_ms"], 100, "{delays}");
    }
}
