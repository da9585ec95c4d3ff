//! `recarga do`: the same actions from a shell, with exit codes for scripts.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::lab::lab;

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recarga"))
        .arg("--dir")
        .arg(lab().folder())
        .arg("do")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The JSON lines that it printed.
fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let parse = |line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{errors}"))
    };
    text.lines().map(parse).collect()
}

#[tokio::test]
async fn exit_codes_are_for_scripts() {
    let _calm = lab().calm().await;
    assert_eq!(code(&run(&["call", "GET", "/data"])), 0);
    let unknown = run(&["drain", "gateway-99", "--yes"]);
    assert_eq!(code(&unknown), 1);
    let words = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        words.contains("there is no instance \"gateway-99\""),
        "{words}"
    );
    assert_eq!(code(&run(&["drian", "gateway-1"])), 2);
    assert_eq!(code(&run(&[])), 2);
    // Nobody can be asked here.
    let unasked = run(&["kill", "gateway-1"]);
    assert_eq!(code(&unasked), 2);
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--yes"));
    assert_eq!(code(&run(&["--read-only", "clear-faults"])), 1);
    let nowhere = Command::new(env!("CARGO_BIN_EXE_recarga"))
        .args(["--dir", "/nonexistent/lab", "do", "call", "GET", "/data"])
        .output()
        .unwrap();
    assert_ne!(code(&nowhere), 0);
}

#[tokio::test]
async fn everything_that_can_be_done_is_listed() {
    let listed = run(&["--list"]);
    assert_eq!(code(&listed), 0);
    let text = String::from_utf8(listed.stdout).unwrap();
    for entry in actions::TABLE {
        assert!(text.contains(entry.example), "{}", entry.example);
    }
    let rows: Vec<Value> = serde_json::from_slice(&run(&["--list", "--json"]).stdout).unwrap();
    assert_eq!(rows.len(), actions::TABLE.len());
}

#[tokio::test]
async fn a_dry_run_tells_and_does_nothing() {
    let _calm = lab().calm().await;
    let told = run(&["--dry-run", "--json", "kill", "search-1"]);
    assert_eq!(code(&told), 0);
    let told = lines(&told);
    assert_eq!(told[0]["danger"]["type"], "search-1");
    let impact = told[0]["impact"].as_str().unwrap();
    assert!(impact.contains("THE LAST SEARCH"), "{impact}");
    assert_eq!(
        lab().instance("search-1").state,
        kit::topology::State::Running
    );
}

#[tokio::test]
async fn several_actions_are_done_and_say_how_to_undo_them() {
    let _alone = lab().alone().await;
    let done = run(&[
        "--json",
        "--yes",
        "weight",
        "gateway-2",
        "4",
        ";",
        "fault",
        "search-1",
        "latency=1ms",
        "route=/x",
    ]);
    assert_eq!(code(&done), 0, "{}", String::from_utf8_lossy(&done.stderr));
    let done = lines(&done);
    assert_eq!(done[0]["undo"], "weight gateway-2 1");
    assert_eq!(
        done[1]["action"],
        "fault search-1 latency=1ms route=/x for=60s"
    );
    for line in &done {
        // One argument is read as a line.
        let undone = run(&["--yes", line["undo"].as_str().unwrap()]);
        assert_eq!(
            code(&undone),
            0,
            "{}",
            String::from_utf8_lossy(&undone.stderr)
        );
    }
}

#[tokio::test]
async fn a_safeguard_that_is_off_is_told_by_status_and_top() {
    let _alone = lab().alone().await;
    let tell = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_recarga"))
            .arg("--dir")
            .arg(lab().folder())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        code(&run(&["safeguard", "leases", "off"])),
        2,
        "nobody is asked"
    );
    let off = run(&["--json", "--yes", "safeguard", "leases", "off", "for=60s"]);
    assert_eq!(code(&off), 0, "{}", String::from_utf8_lossy(&off.stderr));
    assert_eq!(lines(&off)[0]["undo"], "safeguard leases on");
    let status = tell(&["status"]);
    assert!(
        status.contains("WARNING  cache-1 runs without the safeguard leases; it comes back in "),
        "{status}"
    );
    let line = tell(&["top", "--plain", "--once"]);
    assert!(line.contains("; LEASES OFF 0:"), "{line}");
    let json: Value = serde_json::from_str(&tell(&["top", "--json", "--once"])).unwrap();
    assert_eq!(json["safeguards_off"][0]["safeguard"], "leases", "{json}");
    assert_eq!(json["safeguards_off"][0]["instances"], 4, "{json}");
    let screen = tell(&["top", "--view", "overview", "--once"]);
    assert!(
        screen.lines().next().unwrap().contains("LEASES OFF 0:"),
        "{screen}"
    );
    assert_eq!(code(&run(&["safeguard", "leases", "on"])), 0);
    assert!(!tell(&["status"]).contains("WARNING"));
}

#[tokio::test]
async fn the_supervisor_scales_and_restarts() {
    let _alone = lab().alone().await;
    let count = || lab().topology().of_role("exercise").count();
    let before = count();
    let more = run(&[
        "--json",
        "--yes",
        "scale",
        "exercise",
        &(before + 1).to_string(),
    ]);
    assert_eq!(code(&more), 0, "{}", String::from_utf8_lossy(&more.stderr));
    assert_eq!(count(), before + 1);
    let undo = lines(&more)[0]["undo"].as_str().unwrap().to_owned();
    assert_eq!(undo, format!("scale exercise {before}"));
    assert_eq!(code(&run(&["--yes", &undo])), 0);
    assert_eq!(count(), before);
    let pid = lab().instance("exercise-2").pid;
    let restarted = run(&["--yes", "restart", "exercise-2"]);
    assert_eq!(
        code(&restarted),
        0,
        "{}",
        String::from_utf8_lossy(&restarted.stderr)
    );
    assert_ne!(lab().instance("exercise-2").pid, pid);
    assert_eq!(code(&run(&["--yes", "scale", "balancer", "2"])), 1);
}

#[tokio::test]
async fn traffic_runs_to_its_end_and_reports() {
    let _calm = lab().calm().await;
    let output = run(&[
        "--json",
        "traffic",
        "burst",
        "rate=40",
        "for=2s",
        "mix=reads",
        "seed=3",
    ]);
    assert_eq!(
        code(&output),
        0,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["profile"], &report["profile_version"]),
        (&Value::from("burst"), &Value::from(1))
    );
    assert_eq!(report["seed"], 3);
    // Forty in the first second, none in the second one.
    let answered = report["totals"]["answered"].as_u64().unwrap();
    assert!((30..=41).contains(&answered), "{report}");
}
