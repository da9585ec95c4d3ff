//! Labs that are started, hurt, scaled, joined, and ended in every way.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::lab::{Lab, folder, gone, signal};

#[tokio::test]
async fn what_dies_comes_back_and_down_leaves_nothing() {
    let mut lab = Lab::start().await;

    let before = lab.instance("gateway-2").unwrap();
    signal(before.pid.unwrap(), Signal::KILL);
    let after = lab.back("gateway-2", before.restarts).await;
    assert_ne!(after.pid, before.pid);
    assert_eq!((after.listen, after.admin), (before.listen, before.admin));

    for (index, store) in lab.topology().stores.into_iter().enumerate() {
        assert!(store.managed);
        signal(store.pid.unwrap(), Signal::KILL);
        lab.line(&format!("{} is back", store.kind), |line| {
            line.starts_with(&format!("{} is ready again", store.kind))
        })
        .await;
        let again = &lab.topology().stores[index];
        assert_ne!(again.pid, store.pid);
        assert_eq!(again.address, store.address);
    }

    let second = lab.recarga(&["up", "--no-console", "--free-ports"]).await;
    assert!(second.status.success());
    let text = String::from_utf8(second.stdout).unwrap();
    assert!(text.contains("a lab runs here already"), "{text}");
    assert!(text.contains("gateway-3"), "{text}");

    let processes = lab.processes();
    assert!(processes.len() >= 14 + 4, "{processes:?}");
    let down = lab.recarga(&["down"]).await;
    assert!(down.status.success());
    assert!(lab.child.wait().await.unwrap().success());
    gone(&processes).await;

    let down = lab.recarga(&["down"]).await;
    assert_eq!(down.status.code(), Some(5));
}

#[tokio::test]
async fn a_role_grows_and_shrinks_while_everything_runs() {
    let lab = Lab::start().await;
    let more = lab.recarga(&["scale", "gateway=5", "search=0"]).await;
    let text = String::from_utf8(more.stdout).unwrap();
    assert_eq!(
        text,
        "gateway: gateway-1 gateway-2 gateway-3 gateway-4 gateway-5\nsearch: none\n"
    );
    let fifth = lab.instance("gateway-5").unwrap();
    let less = lab.recarga(&["scale", "gateway=2"]).await;
    assert!(less.status.success());
    assert!(lab.instance("gateway-3").is_none());
    gone(&[fifth.pid.unwrap()]).await;

    let refused = lab.recarga(&["scale", "balancer=2"]).await;
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn a_frozen_supervisor_is_named_instead_of_waited_for() {
    let lab = Lab::start().await;
    let supervisor = lab.child.id().unwrap();
    signal(supervisor, Signal::STOP);
    let (status, json, scale, restart, down) = tokio::join!(
        lab.recarga(&["status"]),
        lab.recarga(&["status", "--json"]),
        lab.recarga(&["scale", "gateway=4"]),
        lab.recarga(&["restart", "gateway-1"]),
        lab.recarga(&["down"]),
    );
    for (what, output) in [
        ("status", &status),
        ("status --json", &json),
        ("scale", &scale),
        ("restart", &restart),
        ("down", &down),
    ] {
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {words}");
        assert!(
            words.contains(&format!("kill -CONT {supervisor}")),
            "{what}: {words}"
        );
    }
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("gateway-3"), "the services are there: {text}");
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["supervisor_answers"], false);
    assert_eq!(document["healthy"], false);
    assert_eq!(document["instances"]["gateway-1"]["ready"], true);

    signal(supervisor, Signal::CONT);
    // It does what it was asked for meanwhile, the stop last.
    let mut lab = lab;
    assert!(lab.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn instances_are_restarted_one_after_the_other() {
    let lab = Lab::start().await;
    let pids = |role: &str| -> Vec<Option<u32>> {
        let topology = lab.topology();
        topology
            .of_role(role)
            .map(|instance| instance.pid)
            .collect()
    };
    let before = [pids("gateway"), pids("travel")];
    let restarted = lab.recarga(&["restart", "gateway", "travel-2"]).await;
    let text = String::from_utf8(restarted.stdout).unwrap();
    assert!(restarted.status.success(), "{text}");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" was restarted").map(|(name, _)| name))
        .collect();
    assert_eq!(names, ["gateway-1", "gateway-2", "gateway-3", "travel-2"]);
    let after = [pids("gateway"), pids("travel")];
    for (old, new) in before[0].iter().zip(&after[0]) {
        assert!(new.is_some() && old != new);
    }
    assert_eq!(before[1][0], after[1][0]);
    assert_ne!(before[1][1], after[1][1]);
    assert_eq!(lab.instance("gateway-1").unwrap().restarts, 0);

    let unknown = lab.recarga(&["restart", "gateway-9"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let words = String::from_utf8(unknown.stderr).unwrap();
    assert!(words.contains("no gateway-9 is running"), "{words}");
    let nonsense = lab.recarga(&["restart", "postgres"]).await;
    assert_eq!(nonsense.status.code(), Some(2));
}

#[tokio::test]
async fn nothing_outlives_a_killed_supervisor_and_the_next_lab_takes_over() {
    let mut lab = Lab::start().await;
    let processes = lab.processes();
    let address = lab.topology().stores[0].address.clone();
    lab.child.kill().await.unwrap();
    gone(&processes).await;

    let folder = lab.into_folder();
    let mut again = Lab::spawn(folder, &["--free-ports"]);
    again
        .line("the city is kept", |line| {
            line.contains("city is there already")
        })
        .await;
    again
        .line("the lab is ready", |line| line.starts_with("ready: "))
        .await;
    assert_eq!(again.topology().stores[0].address, address);
    let processes = again.processes();
    signal(again.child.id().unwrap(), Signal::TERM);
    assert!(again.child.wait().await.unwrap().success());
    gone(&processes).await;
}

#[tokio::test]
async fn stores_end_even_when_supervisor_and_guards_are_killed_together() {
    let mut lab = Lab::start().await;
    let processes = lab.processes();
    let stores: Vec<u32> = lab
        .topology()
        .stores
        .iter()
        .filter_map(|store| store.pid)
        .collect();
    // The supervisor first, so that it restarts nothing.
    let supervisor = lab.child.id().unwrap();
    signal(supervisor, Signal::STOP);
    for &pid in processes.iter().filter(|pid| !stores.contains(pid)) {
        signal_if_there(pid);
    }
    signal(supervisor, Signal::KILL);
    lab.child.wait().await.unwrap();
    gone(&processes).await;
}

fn signal_if_there(pid: u32) {
    if std::path::Path::new(&format!("/proc/{pid}")).exists() {
        signal(pid, Signal::KILL);
    }
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = folder();
    let output = tokio::process::Command::new(crate::lab::RECARGA)
        .arg("--dir")
        .arg(folder.path())
        .args(["up", "--no-console", "--free-ports", "--port", &port])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&format!("port {port} is taken by another program")),
        "{text}"
    );
    assert!(!folder.path().join("stores").exists());
}
